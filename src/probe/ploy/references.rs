//! References that bind another tenant: A's row refers to B's, and B can no longer delete it.

use super::{By, Ploy, Sign, Step, shows};
use crate::model::{Command, ForeignKey, Relation, Severity};
use crate::probe::judge::Subject;
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::world::grow::{Variant, insert_statement, key_condition};
use crate::world::{Class, Form, GrownRow};

pub(super) fn ploys(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = Vec::new();
    for table in trial.catalog.tables().filter(|t| !t.is_partition) {
        for key in &table.foreign_keys {
            ploys.extend(blocked(trial, table, key));
        }
    }
    ploys
}

fn blocked(trial: &Trial<'_>, table: &Relation, key: &ForeignKey) -> Option<Ploy> {
    let privileges = trial.privileges.relations.get(&table.oid)?;
    let parent = trial.catalog.relation(key.references)?;
    let may_delete = trial.privileges.relations.get(&parent.oid).is_some_and(|p| p.delete);
    if !matches!(key.on_delete.as_str(), "a" | "r") || !may_delete || trial.classes.is_shared(parent.oid) {
        return None;
    }
    let is_tenant = |c: &String| trial.classes.class(table.oid, c) == Some((Class::Tenant, Form::Whole));
    if key.columns.iter().any(is_tenant) {
        return None;
    }
    let mine = trial.candidate(trial.a, table, &privileges.insert)?;
    if !key.columns.iter().all(|c| privileges.insert.contains(c)) {
        return None;
    }
    // A row to which nothing of B's refers: B could delete it.
    let is_free = |r: &&GrownRow| !matches!(r.variant, Variant::Closed { .. }) && !is_referred(trial, parent, r);
    let theirs = trial.b.rows_of(parent.oid).find(is_free)?;
    let mut row = mine;
    for (here, there) in key.columns.iter().zip(&key.referenced_columns) {
        row.insert(here.clone(), theirs.values.get(there).cloned().flatten());
    }
    let place = key_condition(parent.primary_key()?, theirs)?;
    let delete = Step::new(
        By::B,
        format!(
            "DO $proof$ BEGIN DELETE FROM {} WHERE {}; IF NOT FOUND THEN PERFORM pg_catalog.set_config('proof.shown', 'blocked', false); END IF; \
             SET CONSTRAINTS ALL IMMEDIATE; EXCEPTION WHEN foreign_key_violation THEN PERFORM pg_catalog.set_config('proof.shown', 'blocked', false); END $proof$",
            parent.name, place
        ),
    );
    let mut ploy = Ploy::new(
        &oracle::FOREIGN_ROW_HELD,
        Subject::of(table),
        format!(
            "refers to a row of another tenant through foreign key `{}`, so that it can no longer be deleted from {}",
            key.name, parent.name
        ),
        vec![Step::new(By::A, insert_statement(table, &row)), delete.clone()],
        Sign::Fact(shows("blocked")),
    );
    ploy.control = vec![delete];
    ploy.severity = Severity::Medium;
    ploy.command = Command::Insert;
    Some(ploy)
}

/// Whether a row of B's universe refers to this one.
fn is_referred(trial: &Trial<'_>, parent: &Relation, row: &GrownRow) -> bool {
    trial.catalog.referrers(parent.oid).any(|child| {
        let mut keys = child.foreign_keys.iter().filter(|k| k.references == parent.oid);
        keys.any(|key| {
            trial.b.rows_of(child.oid).any(|r| {
                let mut pairs = key.columns.iter().zip(&key.referenced_columns);
                pairs.all(|(here, there)| {
                    let value = r.values.get(here).and_then(Option::as_ref);
                    value.is_some() && value == row.values.get(there).and_then(Option::as_ref)
                })
            })
        })
    })
}
