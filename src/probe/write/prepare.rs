//! What is taken away before a write is tried, so that row security alone decides: rows that stand where the new one goes, rows
//! that refer to those that move or go.

use std::collections::BTreeSet;

use super::named;
use crate::model::{Relation, UniqueKey};
use crate::probe::trial::Trial;
use crate::sql::quote;
use crate::world::grow::{Values, Variant, key_condition};
use crate::world::{Class, GrownRow, Universe};

/// Takes away an ended membership of A's user that stands where a new one is to be tried.
pub(super) fn ended_membership(trial: &Trial<'_>, table: &Relation, row: &Values) -> Vec<String> {
    let user = named(trial, table, Class::User, &row.keys().cloned().collect::<Vec<_>>());
    let names_a = user
        .iter()
        .any(|(c, _)| row.get(c).cloned().flatten().as_ref() == Some(&trial.a.keys.user));
    if !names_a || !trial.classes.is_membership(table) {
        return Vec::new();
    }
    let key: Vec<String> = table
        .columns
        .iter()
        .filter(|c| trial.classes.class(table.oid, &c.name).is_some())
        .filter_map(|c| Some((c, row.get(&c.name)?.as_ref()?)))
        .map(|(c, v)| format!("{} = {}", quote::ident(&c.name), quote::literal(v)))
        .collect();
    vec![format!("DELETE FROM {} WHERE {}", table.name, key.join(" AND "))]
}

/// Statements that empty the tables which refer to one whose references go round in a circle: no order of deletions is
/// right there, so they go without foreign keys being looked at.
pub(super) fn clear_circle(trial: &Trial<'_>, oid: u32) -> Vec<String> {
    let mut waiting = vec![oid];
    let mut seen = Vec::new();
    while let Some(at) = waiting.pop() {
        let keys = trial.catalog.relation(at).map(|t| &t.foreign_keys);
        for next in keys
            .into_iter()
            .flatten()
            .map(|k| k.references)
            .filter(|next| *next != at)
        {
            if !seen.contains(&next) {
                seen.push(next);
                waiting.push(next);
            }
        }
    }
    if !seen.contains(&oid) {
        return Vec::new();
    }
    let refers = |t: &&Relation| !t.is_partition && t.oid != oid && t.foreign_keys.iter().any(|k| k.references == oid);
    let tables = trial.catalog.tables().filter(refers);
    unchecked(tables.map(|t| format!("DELETE FROM {}", t.name)).collect())
}

/// Takes away the row whose place a candidate is to take, where a tenant can have no further one.
pub(super) fn make_room(table: &Relation, universe: &Universe, row: &Values) -> Vec<String> {
    if !universe.replaced.contains(&table.oid) {
        return Vec::new();
    }
    let same = |key: &UniqueKey| {
        let parts: Option<Vec<String>> = key
            .columns
            .iter()
            .map(|c| {
                Some(format!(
                    "{} = {}",
                    quote::ident(c),
                    quote::literal(row.get(c)?.as_deref()?)
                ))
            })
            .collect();
        parts
            .filter(|p| !p.is_empty())
            .map(|p| format!("({})", p.join(" AND ")))
    };
    let plain = table.keys.iter().filter(|k| !k.has_expressions && !k.is_exclusion);
    let conditions: Vec<String> = plain.filter_map(same).collect();
    if conditions.is_empty() {
        return Vec::new();
    }
    unchecked(vec![format!(
        "DELETE FROM {} WHERE {}",
        table.name,
        conditions.join(" OR ")
    )])
}

/// Statements that empty the tables which refer to this one, the farthest first.
pub(super) fn clear_children(trial: &Trial<'_>, oid: u32, path: &mut BTreeSet<u32>, prepare: &mut Vec<String>) {
    for child in trial.catalog.referrers(oid) {
        if child.is_partition || !child.kind.holds_rows() || !path.insert(child.oid) {
            continue;
        }
        clear_children(trial, child.oid, path, prepare);
        prepare.push(format!("DELETE FROM {}", child.name));
    }
}

/// Statements that take away A's rows that refer to this table, directly or not: others see what they saw before.
pub(super) fn clear_own_children(trial: &Trial<'_>, oid: u32) -> Vec<String> {
    let mut tables = Vec::new();
    let mut path = BTreeSet::from([oid]);
    let mut waiting = vec![oid];
    while let Some(at) = waiting.pop() {
        for child in trial.catalog.referrers(at) {
            if !child.is_partition && child.kind.holds_rows() && path.insert(child.oid) {
                waiting.push(child.oid);
                tables.push(child);
            }
        }
    }
    tables.into_iter().filter_map(|table| clear_own(trial, table)).collect()
}

/// Takes away A's rows of a table: those with its key, or those that were grown for it.
fn clear_own(trial: &Trial<'_>, table: &Relation) -> Option<String> {
    let conditions: Vec<String> = match trial.classes.columns_of(table, Class::Tenant).into_iter().next() {
        Some(tenant) => vec![format!(
            "{}::text = {}",
            quote::ident(&tenant),
            quote::literal(&trial.a.keys.tenant)
        )],
        None => {
            let key = table.primary_key()?;
            let rows = trial.a.rows_of(table.oid);
            rows.filter_map(|row| Some(format!("({})", key_condition(key, row)?)))
                .collect()
        }
    };
    (!conditions.is_empty()).then(|| format!("DELETE FROM {} WHERE {}", table.name, conditions.join(" OR ")))
}

/// Preparations that no trigger and no foreign key refuses.
pub(super) fn unchecked(prepare: Vec<String>) -> Vec<String> {
    if prepare.is_empty() {
        return prepare;
    }
    let mode = |role: &str| format!("SET session_replication_role = {role}");
    [vec![mode("replica")], prepare, vec![mode("origin")]].concat()
}

/// Rows of A to move one at a time: a condition on the new row that one of them does not meet would refuse all.
pub(super) fn in_turn<'t>(trial: &'t Trial<'_>, table: &Relation) -> Vec<&'t GrownRow> {
    let states = trial
        .a
        .rows_of(table.oid)
        .filter(|r| matches!(r.variant, Variant::State { .. }));
    trial.a.base(table.oid).into_iter().chain(states.take(3)).collect()
}

/// Takes away all rows of A but this one.
pub(super) fn all_but(trial: &Trial<'_>, table: &Relation, base: &GrownRow) -> Option<String> {
    let place = key_condition(table.primary_key()?, base)?;
    let tenant = trial.classes.columns_of(table, Class::Tenant).into_iter().next()?;
    Some(format!(
        "DELETE FROM {} WHERE {}::text = {} AND NOT ({place})",
        table.name,
        quote::ident(&tenant),
        quote::literal(&trial.a.keys.tenant)
    ))
}
