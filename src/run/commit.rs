//! What needs a commit: whether identity that a function sets outlives its transaction, as it would on a pooled connection.
//!
//! Writes to the scratch database for good, so it comes last.

use std::collections::BTreeSet;

use crate::model::catalog::Privileges;
use crate::model::{Catalog, Command, ContextState, Function, FunctionKind, Relation, RelationKind, Session, Severity};
use crate::pg::conn::{Conn, ConnError};
use crate::probe::binding::{Binding, has_identity, identity_settings};
use crate::probe::call::{self, Taste};
use crate::probe::judge::{Hit, Judge, Subject};
use crate::probe::observe::{self, Query};
use crate::probe::oracle;
use crate::probe::trial::{Trial, Worlds};
use crate::sql::quote;
use crate::world::{Classes, Grower, KeyPair, Keys, Universe};

/// What the committing phase runs with.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What columns mean.
    pub classes: &'a Classes,
    /// Sessions and what their roles may do.
    pub sessions: &'a [(&'a Session, &'a Privileges)],
    /// Keys of both tenants.
    pub pair: &'a KeyPair,
    /// Keys of nobody's rows.
    pub common: &'a Keys,
    /// Whether tenants have a parent.
    pub base_tenant: bool,
}

/// Everything that needs a commit.
pub async fn committed(conn: &mut Conn, stage: Stage<'_>) -> Result<Vec<Hit>, ConnError> {
    let catalog = stage.catalog;
    let is_foreign = |r: &Relation| r.kind == RelationKind::ForeignTable;
    let has_foreign = catalog.relations.iter().any(is_foreign);
    let may_leave = stage.sessions.iter().any(|(_, p)| !suspects(catalog, p).is_empty());
    if !has_foreign && !may_leave {
        return Ok(Vec::new());
    }
    let Stage { classes, pair, .. } = stage;
    conn.query("BEGIN").await?;
    let grower = Grower {
        catalog,
        classes,
        common: None,
        bindings: &[],
        rival: None,
        like: None,
    };
    let wanted = |t: &Relation| classes.is_shared(t.oid) || stage.base_tenant;
    let shared = grower.grow(conn, stage.common.clone(), wanted).await?;
    let grower = Grower {
        common: Some(&shared),
        ..grower
    };
    let mine = |t: &Relation| !classes.is_shared(t.oid);
    let a = grower.grow(conn, pair.a.clone(), mine).await?;
    let b = if has_foreign {
        grower.grow(conn, pair.b.clone(), mine).await?
    } else {
        Universe::new(pair.b.clone())
    };
    conn.query("COMMIT").await?;
    let worlds = Worlds::default();
    // A request that is nobody's yet may set what the others go by.
    let names: BTreeSet<&str> = stage.sessions.iter().flat_map(|(s, _)| identity_settings(s)).collect();
    let mut hits = Vec::new();
    for (session, privileges) in stage.sessions {
        let trial = Trial::new(catalog, classes, session, privileges, &shared, &a, &b, &worlds, &[]);
        let seen = std::collections::BTreeMap::new();
        let judge = Judge {
            trial: &trial,
            seen_zero: &seen,
            purpose: "plain",
        };
        if has_identity(session) {
            hits.extend(foreign_tables(conn, &judge).await?);
        }
        hits.extend(leftovers(conn, &judge, &names).await?);
    }
    Ok(hits)
}

fn suspects<'a>(catalog: &'a Catalog, privileges: &Privileges) -> Vec<&'a Function> {
    catalog
        .functions
        .iter()
        .filter(|f| {
            privileges.functions.contains(&f.oid)
                && !f.is_trigger()
                && matches!(f.kind, FunctionKind::Function | FunctionKind::Procedure)
        })
        .filter(|f| may_set(f))
        .collect()
}

/// Calls what may set identity, commits, and looks at what is left.
async fn leftovers(conn: &mut Conn, judge: &Judge<'_>, names: &BTreeSet<&str>) -> Result<Vec<Hit>, ConnError> {
    let trial = judge.trial;
    let mut bindings = vec![trial.as_a(ContextState::Unset), trial.as_a(ContextState::Bound)];
    // A login that takes the tenants' roles in turn.
    let taken = [trial.as_a(ContextState::Bound).role, trial.as_b().role];
    if trial.session.role.contains('{') {
        bindings = trial
            .catalog
            .roles
            .iter()
            .filter(|r| !r.superuser && taken.iter().all(|t| r.memberships.iter().any(|m| m.role == *t)))
            .map(|login| Binding {
                role: login.name.clone(),
                ..trial.as_a(ContextState::Unset)
            })
            .collect();
    }
    let mut hits = Vec::new();
    for function in suspects(trial.catalog, trial.privileges) {
        let mut found = false;
        let own = call::calls(trial, function)
            .into_iter()
            .filter(|c| c.taste != Taste::Foreign);
        for call in own.take(8) {
            let mut hit = None;
            for binding in &bindings {
                hit = leftover(conn, judge, names, function, binding, &call.sql).await?;
                if hit.is_some() {
                    break;
                }
            }
            if let Some(hit) = hit {
                hits.push(hit);
                found = true;
                break;
            }
        }
        if !found {
            hits.extend(names.iter().find_map(|name| written(judge, function, name)));
        }
    }
    Ok(hits)
}

/// What cannot be called, for want of a token or a password, says in its text that it sets identity for the session.
fn written(judge: &Judge<'_>, function: &Function, name: &str) -> Option<Hit> {
    let quoted = quote::literal(name);
    let sets = function.body.split("set_config").skip(1).any(|rest| {
        let Some(arguments) = rest.trim_start().strip_prefix('(').and_then(|r| inside(r)) else {
            return false;
        };
        let parts = top_level(arguments);
        matches!(parts.as_slice(), [setting, _, is_local] if setting.trim() == quoted && is_local.trim().eq_ignore_ascii_case("false"))
    });
    if !sets {
        return None;
    }
    let subject = Subject::of_function(function);
    let sentence = format!(
        "{} {}: its text sets `{name}` for the session, not the transaction, so the next request on the connection runs as this tenant",
        subject.object_type.word(),
        subject.object
    );
    let evidence = format!(
        "-- {sentence}\n-- Run as superuser on a fresh database that holds the schema: psql -X -q -At -f FILE\n\
         -- No call succeeds without a secret, so the text is looked at.\n\
         SELECT CASE WHEN EXISTS (\n  SELECT FROM pg_catalog.pg_proc AS p WHERE p.oid = pg_catalog.to_regprocedure({})\n    \
         AND coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc) ~* {}\n) THEN 'VIOLATED' ELSE 'HELD' END;\n",
        quote::literal(&function.identity()),
        quote::literal(&format!(
            "set_config\\s*\\(\\s*'{}'\\s*,[^;]*,\\s*false\\s*\\)",
            name.replace('.', "\\.")
        ))
    );
    Some(judge.hit(
        &oracle::CONTEXT_OUTLIVES_TRANSACTION,
        Severity::High,
        subject,
        Command::Execute,
        ContextState::Unset,
        sentence,
        evidence,
        Vec::new(),
    ))
}

/// The text up to the parenthesis that closes the one before it.
fn inside(text: &str) -> Option<&str> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[..at]);
        }
    }
    None
}

/// Arguments, apart at the commas outside of parentheses.
fn top_level(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A foreign table reads by a connection of its own, which sees committed rows only.
async fn foreign_tables(conn: &mut Conn, judge: &Judge<'_>) -> Result<Vec<Hit>, ConnError> {
    let trial = judge.trial;
    let is_foreign = |oid: &u32| {
        trial
            .catalog
            .relation(*oid)
            .is_some_and(|r| r.kind == RelationKind::ForeignTable)
    };
    let reached = trial
        .catalog
        .relations
        .iter()
        .filter(|r| is_foreign(&r.oid) || r.reads.iter().any(is_foreign));
    let queries: Vec<Query> = reached
        .filter_map(|r| observe::query_of(r, trial.privileges.relations.get(&r.oid)?))
        .collect();
    let mut hits = Vec::new();
    conn.query("BEGIN").await?;
    let binding = trial.as_a(ContextState::Bound);
    let seen = observe::observe(conn, &binding, &queries).await;
    conn.query("ROLLBACK").await?;
    for (query, seen) in queries.iter().zip(seen?) {
        let Some(relation) = trial.catalog.relation(query.relation) else {
            continue;
        };
        let foreign = seen.rows().iter().filter(|row| trial.has_canary(row)).count();
        if foreign == 0 {
            continue;
        }
        let what = format!("reads {foreign} rows of another tenant");
        let oracle = &oracle::FOREIGN_ROWS_READABLE;
        hits.push(judge.reads(oracle, Severity::Critical, relation, query, &binding, &what));
    }
    Ok(hits)
}

async fn leftover(
    conn: &mut Conn,
    judge: &Judge<'_>,
    names: &BTreeSet<&str>,
    function: &Function,
    binding: &Binding,
    sql: &str,
) -> Result<Option<Hit>, ConnError> {
    let (limit, _) = conn.limits();
    let outcome = conn
        .run(&format!("BEGIN; {limit}{} {sql}; COMMIT", binding.sql()))
        .await?;
    if outcome.error.is_some() {
        conn.query("ROLLBACK").await?;
    }
    let settings: String = names
        .iter()
        .map(|n| format!(", pg_catalog.current_setting({}, true)", quote::literal(n)))
        .collect();
    let left = conn
        .query(&format!("SELECT pg_catalog.current_setting('role'){settings}"))
        .await?;
    conn.reset().await?;
    let row = left
        .into_iter()
        .next()
        .and_then(|r| r.into_iter().next())
        .unwrap_or_default();
    let role = row.first().cloned().flatten().unwrap_or_default();
    let setting = names
        .iter()
        .zip(row.iter().skip(1))
        .find(|(_, v)| v.as_deref().is_some_and(|v| !v.is_empty()));
    let (condition, what) = match setting {
        Some((name, _)) => (
            format!(
                "coalesce(pg_catalog.current_setting({}, true), '') <> ''",
                quote::literal(name)
            ),
            format!("leaves `{name}` set"),
        ),
        None if role != "none" && role != conn.superuser() => (
            "pg_catalog.current_setting('role') <> 'none'".to_owned(),
            format!("leaves role `{role}` set"),
        ),
        None => return Ok(None),
    };
    let subject = Subject::of_function(function);
    let sentence = format!(
        "{} {}: {what} after COMMIT, so the next request on the connection runs as this tenant",
        subject.object_type.word(),
        subject.object
    );
    let evidence = judge.scene(binding, 0, |scene| scene.outlives(&sentence, binding, sql, &condition));
    Ok(Some(judge.hit(
        &oracle::CONTEXT_OUTLIVES_TRANSACTION,
        Severity::Critical,
        subject,
        Command::Execute,
        ContextState::Unset,
        sentence,
        evidence,
        Vec::new(),
    )))
}

/// Whether the text of a function sets anything.
fn may_set(function: &Function) -> bool {
    let body = function.body.to_lowercase();
    body.contains("set_config")
        || body
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|w| w == "set" || w == "reset")
}
