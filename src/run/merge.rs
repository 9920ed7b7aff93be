//! One finding a cause: hits of the same fault on the same object are one, and what a view, partition or caller's-rights
//! function merely shows of a faulty table is a route to that table's finding.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Catalog, Command, Finding, FindingKind, Route, RowSecurity, Severity, Source};
use crate::probe::judge::Hit;

/// Puts hits together, the worst findings first.
pub fn findings(catalog: &Catalog, hits: Vec<Hit>) -> Vec<Finding> {
    let mut groups: BTreeMap<(String, &'static str), Vec<Hit>> = BTreeMap::new();
    for hit in hits {
        groups.entry((hit.object.clone(), hit.oracle.id)).or_default().push(hit);
    }
    // A fault that has a deeper cause among the findings becomes a route to it.
    let causes: BTreeMap<String, Vec<(FindingKind, &'static str)>> =
        groups.iter().fold(BTreeMap::new(), |mut map, ((object, id), hits)| {
            map.entry(object.clone())
                .or_insert_with(Vec::new)
                .push((hits[0].oracle.kind, id));
            map
        });
    let keys: Vec<(String, &'static str)> = groups.keys().cloned().collect();
    for key in keys {
        let Some(hits) = groups.get(&key) else { continue };
        let cause = hits[0].through.iter().find_map(|object| {
            if *object == key.0 {
                return None;
            }
            let (_, id) = causes
                .get(object)?
                .iter()
                .find(|(kind, id)| *id == "ended-relationship-counts" || same_cause(*kind, hits[0].oracle.kind))?;
            Some((object.clone(), *id))
        });
        if let Some(cause) = cause
            && groups.contains_key(&cause)
            && let Some(moved) = groups.remove(&key)
        {
            groups.entry(cause).or_default().extend(moved);
        }
    }
    let is_open = |r: &&crate::model::Relation| r.kind.holds_rows() && r.row_security == RowSecurity::Disabled;
    let open: BTreeSet<String> = catalog
        .relations
        .iter()
        .filter(is_open)
        .map(|r| r.name.to_string())
        .collect();
    // A request without context reads what every request reads: the same cause.
    let keys: Vec<(String, &'static str)> = groups.keys().cloned().collect();
    for key in keys {
        let deeper = match key.1 {
            // Where no policy applies, none of these has a cause of its own.
            "foreign-rows-writable"
            | "foreign-row-plantable"
            | "foreign-row-held"
            | "writes-without-context"
            | "existence-revealed"
                if open.contains(&key.0) =>
            {
                "foreign-rows-readable"
            }
            "reads-without-context" => "foreign-rows-readable",
            "writes-without-context" => "foreign-rows-writable",
            "foreign-values-in-aggregate" => "foreign-rows-readable",
            _ => continue,
        };
        let cause = (key.0.clone(), deeper);
        if groups.contains_key(&cause)
            && let Some(moved) = groups.remove(&key)
        {
            groups.entry(cause).or_default().extend(moved);
        }
    }
    // One channel of the server, whichever table shows it.
    let by_explain: Vec<_> = groups
        .keys()
        .filter(|k| k.1 == "rows-counted-by-explain")
        .cloned()
        .collect();
    if let Some((first, others)) = by_explain.split_first() {
        let moved: Vec<Hit> = others.iter().filter_map(|key| groups.remove(key)).flatten().collect();
        groups.entry(first.clone()).or_default().extend(moved);
    }
    let mut findings: Vec<Finding> = groups
        .into_iter()
        .map(|((object, id), hits)| finding(object, id, hits))
        .collect();
    findings.sort_by(|a, b| {
        (std::cmp::Reverse(a.severity), a.kind, &a.object, &a.rule).cmp(&(
            std::cmp::Reverse(b.severity),
            b.kind,
            &b.object,
            &b.rule,
        ))
    });
    findings
}

fn same_cause(cause: FindingKind, symptom: FindingKind) -> bool {
    cause == symptom || (cause == FindingKind::Leak && symptom == FindingKind::Context)
}

fn finding(object: String, id: &'static str, mut hits: Vec<Hit>) -> Finding {
    // The hit that names the object itself, by the strongest effect, speaks for all.
    hits.sort_by_key(|h| (h.object != object, h.oracle.id != id, std::cmp::Reverse(h.severity)));
    let severity = hits.iter().map(|h| h.severity).max().unwrap_or(Severity::Info);
    let mut routes: Vec<Route> = hits
        .iter()
        .map(|h| Route {
            object: h.route.0.clone(),
            object_type: h.route.1,
            command: h.route.2,
        })
        .collect();
    routes.sort();
    routes.dedup();
    let first = hits.swap_remove(0);
    let remedy = match first.route.2 {
        // "TRUNCATE ... [is] not subject to row security" (manual, Row Security Policies).
        Command::Truncate if first.oracle.id != "truncate-granted" => {
            format!("revoke it, for row security does not apply: REVOKE TRUNCATE ON {object} FROM the role")
        }
        _ => first.oracle.remedy.to_owned(),
    };
    Finding {
        rule: id.to_owned(),
        source: Source::Dynamic,
        kind: first.oracle.kind,
        severity,
        object,
        object_type: first.object_type,
        command: Some(first.route.2),
        session: Some(first.session),
        message: first.message,
        evidence: Some(first.scenery.fill(&first.evidence)),
        remedy,
        routes,
    }
}
