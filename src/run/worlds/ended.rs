//! Relationships that have ended: what a session reads with them, and no longer without them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Command, ContextState, ObjectType, Relation, RelationKind, Severity};
use crate::pg::conn::{Conn, ConnError};
use crate::probe::binding::Binding;
use crate::probe::judge::{Hit, Judge, Subject, named_columns};
use crate::probe::observe::{self, Query, Seen};
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::sql::quote;
use crate::world::GrownRow;
use crate::world::grow::{Variant, closings, key_condition};

/// What is seen with ended relationships and without.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Tables that hold them.
    tables: BTreeSet<u32>,
    /// By the session that such a relationship would open the other tenant to: as they were grown, then in every other state
    /// that ends one, with the statements that put them into it.
    with: Vec<(Vec<String>, Vec<Seen>)>,
    without: Vec<Seen>,
}

/// Most states that the relationships are put into.
const MAX_STATES: usize = 6;

/// The request that a relationship would open another tenant to.
fn binding(trial: &Trial<'_>) -> Binding {
    trial.as_intruder().unwrap_or_else(|| trial.as_a(ContextState::Bound))
}

/// Looks at everything in each state of the relationships, and once more without them. `grown` is what such a request saw before.
pub(super) async fn look(
    conn: &mut Conn,
    trial: &Trial<'_>,
    queries: &[Query],
    grown: &[Seen],
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
    let by = binding(trial);
    let mut ended = Ended {
        tables: closed.iter().map(|r| r.relation).collect(),
        with: vec![(Vec::new(), grown.to_vec())],
        without: grown.to_vec(),
    };
    if let Some((_, seen)) = look_after(conn, &by, queries, &deletes).await? {
        ended.without = seen;
    }
    for state in 0..MAX_STATES {
        let changes: Vec<String> = closed.iter().filter_map(|r| put_into(trial, r, state)).collect();
        if changes.is_empty() {
            break;
        }
        if let Some((changes, seen)) = look_after(conn, &by, queries, &changes).await? {
            ended.with.push((changes, seen));
        }
    }
    Ok(ended)
}

/// Changes something, looks, and takes it back; what of it the server took, and nothing where it took nothing.
async fn look_after(
    conn: &mut Conn,
    by: &Binding,
    queries: &[Query],
    changes: &[String],
) -> Result<Option<(Vec<String>, Vec<Seen>)>, ConnError> {
    conn.query("SAVEPOINT tp_ended; SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL session_replication_role = replica")
        .await?;
    let mut done = Vec::new();
    for change in changes {
        let outcome = conn.run(&format!("SAVEPOINT tp_change; {change}")).await?;
        if outcome.error.is_none() {
            done.push(change.clone());
        } else {
            conn.query("ROLLBACK TO SAVEPOINT tp_change").await?;
        }
    }
    let mut seen = Vec::new();
    if !done.is_empty() {
        conn.query("SET LOCAL session_replication_role = origin").await?;
        seen = observe::observe(conn, by, queries).await?;
    }
    conn.query("ROLLBACK TO SAVEPOINT tp_ended; RELEASE SAVEPOINT tp_ended")
        .await?;
    Ok((!done.is_empty()).then_some((done, seen)))
}

/// Puts a relationship into one of the states that end it, everything else being as where it is in force.
fn put_into(trial: &Trial<'_>, row: &GrownRow, state: usize) -> Option<String> {
    let table = trial.catalog.relation(row.relation)?;
    let key = table.primary_key().or(table.keys.first())?;
    let closings = closings(trial.classes, table);
    let (column, value) = closings.get(state)?;
    let in_force = trial.b.base(row.relation);
    let mut values: BTreeMap<&String, Option<&String>> = closings
        .iter()
        .map(|(c, _)| (c, in_force.and_then(|base| base.values.get(c)?.as_ref())))
        .collect();
    values.insert(column, Some(value));
    let assignments: Vec<String> = values
        .into_iter()
        .map(|(c, v)| {
            let value = v.map_or("NULL".to_owned(), |v| quote::literal(v));
            format!("{} = {value}", quote::ident(c))
        })
        .collect();
    let place = key_condition(key, row)?;
    Some(format!(
        "UPDATE {} SET {} WHERE {place}",
        table.name,
        assignments.join(", ")
    ))
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
    let mut how: &[String] = &[];
    for (changes, with) in &ended.with {
        for ((query, with), without) in queries.iter().zip(with).zip(&ended.without) {
            let Some(relation) = trial.catalog.relation(query.relation) else {
                continue;
            };
            // The relationship itself is the session's to see.
            let shows = !trial.foreign_among(relation, &with.beyond(without)).is_empty();
            if shows && !ended.tables.contains(&relation.oid) {
                opened.push((relation, query));
                how = changes;
            }
        }
        if !opened.is_empty() {
            break;
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
        scene.read_after(&sentence, &binding, &named_columns(query), how)
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
