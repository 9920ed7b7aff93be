//! Relationships that have ended: what a session reads with them, and no longer without them.

use std::collections::BTreeSet;

use crate::model::{Command, ContextState, ObjectType, Relation, RelationKind, Severity};
use crate::pg::conn::{Conn, ConnError};
use crate::probe::binding::Binding;
use crate::probe::judge::{Hit, Judge, Subject, named_columns};
use crate::probe::observe::{self, Query, Seen};
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::world::GrownRow;
use crate::world::grow::{Variant, key_condition};

/// What is seen with ended relationships and without.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Tables that hold them.
    tables: BTreeSet<u32>,
    /// By the session that such a relationship would open the other tenant to.
    with: Vec<Seen>,
    without: Vec<Seen>,
}

/// The request that a relationship would open another tenant to.
fn binding(trial: &Trial<'_>) -> Binding {
    trial.as_intruder().unwrap_or_else(|| trial.as_a(ContextState::Bound))
}

/// Takes the relationships away, looks again, and puts them back. `with` is what such a request saw before.
pub(super) async fn look(
    conn: &mut Conn,
    trial: &Trial<'_>,
    queries: &[Query],
    with: &[Seen],
) -> Result<Ended, ConnError> {
    let closed: Vec<&GrownRow> = trial
        .b
        .rows
        .iter()
        .filter(|r| matches!(r.variant, Variant::Closed { .. }))
        .collect();
    let deletes: Vec<String> = closed.iter().filter_map(|r| delete(trial, r)).collect();
    if deletes.is_empty() {
        return Ok(Ended::default());
    }
    let outcome = conn
        .run(&format!(
            "SAVEPOINT tp_ended; SET CONSTRAINTS ALL IMMEDIATE; {}",
            deletes.join("; ")
        ))
        .await?;
    let without = match outcome.error {
        None => observe::observe(conn, &binding(trial), queries).await?,
        Some(_) => with.to_vec(),
    };
    conn.query("ROLLBACK TO SAVEPOINT tp_ended; RELEASE SAVEPOINT tp_ended")
        .await?;
    Ok(Ended {
        tables: closed.iter().map(|r| r.relation).collect(),
        with: with.to_vec(),
        without,
    })
}

fn delete(trial: &Trial<'_>, row: &GrownRow) -> Option<String> {
    let table = trial.catalog.relation(row.relation)?;
    let key = table.primary_key().or(table.keys.first())?;
    Some(format!("DELETE FROM {} WHERE {}", table.name, key_condition(key, row)?))
}

/// One fault for all that such relationships open; what other probes saw of the same tables is a symptom of it.
pub(super) fn judge(judge: &Judge<'_>, ended: &Ended, queries: &[Query], hits: &mut Vec<Hit>) {
    let trial = judge.trial;
    let mut opened: Vec<(&Relation, &Query)> = Vec::new();
    for ((query, with), without) in queries.iter().zip(&ended.with).zip(&ended.without) {
        let Some(relation) = trial.catalog.relation(query.relation) else {
            continue;
        };
        // The relationship itself is the session's to see.
        if !ended.tables.contains(&relation.oid) && !trial.foreign_among(relation, &with.beyond(without)).is_empty() {
            opened.push((relation, query));
        }
    }
    let Some((first, query)) = opened.first().copied() else {
        return;
    };
    let mut subject = reader(trial, &ended.tables).unwrap_or_else(|| Subject::of(first));
    subject.route = Some((
        first.name.to_string(),
        crate::probe::judge::type_of(first),
        Command::Select,
    ));
    let binding = binding(trial);
    let sentence = format!(
        "{} {}: session `{}` reads rows of another tenant in {} by a relationship that has ended or has not begun",
        subject.object_type.word(),
        subject.object,
        trial.session.name,
        first.name
    );
    let evidence = judge.scene(&trial.as_a(ContextState::Bound), first.oid, |scene| {
        scene.read(&sentence, &binding, &named_columns(query))
    });
    let names: BTreeSet<String> = opened.iter().map(|(r, _)| r.name.to_string()).collect();
    for hit in hits
        .iter_mut()
        .filter(|h| h.state == ContextState::Bound && names.contains(&h.object))
    {
        hit.through.insert(0, subject.object.clone());
    }
    hits.push(judge.hit(
        &oracle::ENDED_RELATIONSHIP_COUNTS,
        Severity::Critical,
        subject,
        Command::Select,
        ContextState::Bound,
        sentence,
        evidence,
        Vec::new(),
    ));
}

/// The view or function that policies go by and that reads these tables.
fn reader(trial: &Trial<'_>, tables: &BTreeSet<u32>) -> Option<Subject> {
    let catalog = trial.catalog;
    let says = |text: &str, name: &str| {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|word| word == name)
    };
    let mut reached: Vec<&str> = catalog
        .relations
        .iter()
        .flat_map(|r| &r.policies)
        .flat_map(|p| [p.using.as_deref(), p.check.as_deref()])
        .flatten()
        .collect();
    let mut objects: Vec<(Subject, &str)> = Vec::new();
    let mut at = 0;
    while let Some(text) = reached.get(at).copied() {
        at += 1;
        for view in catalog.relations.iter().filter(|r| r.kind == RelationKind::View) {
            let known = objects.iter().any(|(s, _)| s.object == view.name.to_string());
            if let Some(definition) = view
                .definition
                .as_deref()
                .filter(|_| !known && says(text, &view.name.name))
            {
                objects.push((Subject::of(view), definition));
                reached.push(definition);
            }
        }
        for function in &catalog.functions {
            let known = objects.iter().any(|(s, _)| s.object == function.identity());
            if !known && says(text, &function.name.name) {
                objects.push((Subject::of_function(function), &function.body));
                reached.push(&function.body);
            }
        }
    }
    let holders: Vec<&str> = tables
        .iter()
        .filter_map(|oid| catalog.relation(*oid))
        .map(|t| t.name.name.as_str())
        .collect();
    let mut readers = objects
        .into_iter()
        .filter(|(_, text)| holders.iter().any(|name| says(text, name)))
        .map(|(subject, _)| subject)
        .collect::<Vec<_>>();
    readers.sort_by_key(|s| s.object_type != ObjectType::View);
    readers.into_iter().next()
}
