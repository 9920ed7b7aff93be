//! Judging function calls: what came back in both worlds, what changed, and who the session is afterwards.

use super::attempt::{Act, Effect};
use super::call::{Call, Taste};
use super::evidence::Check;
use super::judge::{Hit, Judge, Subject};
use super::observe::Seen;
use super::oracle;
use super::state::Change;
use super::trial::{Owner, Trial};
use crate::model::{Command, ContextState, Function, Severity};
use crate::sql::quote;

/// One call in all worlds it was made in.
#[derive(Debug, Clone, Copy)]
pub struct Called<'e> {
    /// With A alone.
    pub zero: &'e Effect,
    /// With A alone, again.
    pub again: &'e Effect,
    /// With A and B.
    pub one: &'e Effect,
    /// With A and B, but for B's rows that are public by their state.
    pub unpublished: Option<&'e Effect>,
}

impl Judge<'_> {
    /// Faults that a call shows.
    pub fn call(&self, function: &Function, call: &Call, called: Called<'_>) -> Vec<Hit> {
        let mut hits = Vec::new();
        hits.extend(self.returned(function, call, called));
        hits.extend(self.changed(function, call, called.one));
        hits.extend(self.became(function, call, called.one));
        hits
    }

    fn returned(&self, function: &Function, call: &Call, called: Called<'_>) -> Option<Hit> {
        let trial = self.trial;
        let Called { zero, again, one, .. } = called;
        // What is public by its state may be counted by all.
        if called
            .unpublished
            .is_some_and(|u| u.error.is_none() && zero.error.is_none() && u.rows == zero.rows)
        {
            return None;
        }
        let seen = |effect: &Effect| match &effect.error {
            Some(error) => Seen::Failed(error.clone()),
            None => {
                let mut rows = effect.rows.clone();
                rows.sort();
                Seen::Rows(rows)
            }
        };
        let (before, twice, after) = (seen(zero), seen(again), seen(one));
        let is_noise = before != twice;
        let (oracle, severity, what) = match (&before, &after) {
            (Seen::Rows(_), Seen::Rows(_)) => {
                let extra = after.beyond(&before);
                let foreign = extra
                    .iter()
                    .filter(|r| trial.has_canary(r) && !call_names(trial, call, r))
                    .count();
                if foreign > 0 {
                    (
                        &oracle::FOREIGN_ROWS_READABLE,
                        Severity::Critical,
                        "returns rows of another tenant".to_owned(),
                    )
                } else if before != after && !(is_noise && before.shape() == after.shape()) {
                    (
                        &oracle::FOREIGN_VALUES_IN_AGGREGATE,
                        self.guessable(function, call),
                        "returns another result once another tenant has rows".to_owned(),
                    )
                } else {
                    return None;
                }
            }
            (Seen::Failed(error), _) | (_, Seen::Failed(error)) if error.is_interference() => return None,
            (_, Seen::Failed(error)) => {
                let text = error.visible_text();
                let was = match &before {
                    Seen::Failed(e) => e.visible_text(),
                    Seen::Rows(_) => String::new(),
                };
                if was == text || (is_noise && before.shape() == after.shape()) {
                    return None;
                }
                if trial.has_canary(&[Some(text.clone())])
                    && !trial.has_canary(&[Some(was)])
                    && !call_names(trial, call, &[Some(text)])
                {
                    (
                        &oracle::FOREIGN_VALUE_IN_ERROR,
                        Severity::Medium,
                        format!("quotes another tenant's data in error {}", error.code),
                    )
                } else if before.shape() != after.shape() {
                    (
                        &oracle::EXISTENCE_REVEALED,
                        self.guessable(function, call),
                        format!("fails with {} once another tenant has rows", error.code),
                    )
                } else {
                    return None;
                }
            }
            (Seen::Failed(error), Seen::Rows(rows)) => {
                if rows.iter().any(|r| trial.has_canary(r) && !call_names(trial, call, r)) {
                    (
                        &oracle::FOREIGN_ROWS_READABLE,
                        Severity::Critical,
                        "returns rows of another tenant".to_owned(),
                    )
                } else {
                    (
                        &oracle::EXISTENCE_REVEALED,
                        self.guessable(function, call),
                        format!("stops failing with {} once another tenant has rows", error.code),
                    )
                }
            }
        };
        let subject = Subject::of_function(function);
        let binding = trial.as_a(ContextState::Bound);
        let sentence = format!(
            "{} {}: called by session `{}`, {what}",
            subject.object_type.word(),
            subject.object,
            trial.session.name
        );
        let differs_by_error = matches!(before, Seen::Failed(_)) || matches!(after, Seen::Failed(_));
        let evidence = self.scene(&binding, 0, |scene| {
            if differs_by_error || call.sql.starts_with("CALL") {
                scene.outcome(&sentence, &binding, &call.sql.replacen("SELECT", "PERFORM", 1))
            } else {
                scene.call(&sentence, &binding, &call.sql)
            }
        });
        Some(self.hit(
            oracle,
            severity,
            subject,
            Command::Execute,
            ContextState::Bound,
            sentence,
            evidence,
            self.read_by(function),
        ))
    }

    fn changed(&self, function: &Function, call: &Call, effect: &Effect) -> Option<Hit> {
        let trial = self.trial;
        let foreign = trial.hits(&effect.changes, Owner::Foreign);
        let common = trial.hits(&effect.changes, Owner::Common);
        let planted = trial.planted(&effect.changes);
        let (change, oracle, what): (&Change, _, _) = match (foreign.first(), common.first(), planted.first()) {
            (Some(change), _, _) => (change, &oracle::FOREIGN_ROWS_WRITABLE, "changes rows of another tenant"),
            (None, Some(change), _) if trial.is_tenant_row(change) => (
                change,
                &oracle::FOREIGN_ROWS_WRITABLE,
                "changes rows that tenants inherit",
            ),
            (None, _, Some(change)) => (change, &oracle::FOREIGN_ROW_PLANTABLE, "makes rows of another tenant"),
            (None, _, None) => return None,
        };
        let table = trial.catalog.relation(change.relation)?;
        let subject = Subject::of_function(function);
        let binding = trial.as_a(ContextState::Bound);
        let sentence = format!(
            "{} {}: called by session `{}`, {what} in {}",
            subject.object_type.word(),
            subject.object,
            trial.session.name,
            table.name
        );
        let check = if change.is_new {
            Check::NoNewRow(table, self.foreign_tenant(table))
        } else {
            Check::RowsKept(table)
        };
        let evidence = self.scene(&binding, 0, |scene| {
            scene.write(&sentence, &binding, &Act::of(call.sql.clone()), &check)
        });
        Some(self.hit(
            oracle,
            Severity::Critical,
            subject,
            Command::Execute,
            ContextState::Bound,
            sentence,
            evidence,
            Vec::new(),
        ))
    }

    /// Whether role or settings are another tenant's after the call.
    fn became(&self, function: &Function, call: &Call, effect: &Effect) -> Option<Hit> {
        let trial = self.trial;
        let [current, session, settings @ ..] = effect.identity.as_slice() else {
            return None;
        };
        let binding = trial.as_a(ContextState::Bound);
        let is_other_role =
            current.as_deref() != Some(binding.role.as_str()) || session.as_deref() != Some(binding.role.as_str());
        let victim = trial.as_b();
        let names = super::binding::identity_settings(trial.session);
        let taken = names.iter().zip(settings).find(|(name, value)| {
            let theirs = victim.settings.iter().find(|(n, _)| n == *name).map(|(_, v)| v);
            let mine = binding.settings.iter().find(|(n, _)| n == *name).map(|(_, v)| v);
            value.is_some() && value.as_ref() == theirs && theirs != mine
        });
        let (condition, what) = match (taken, is_other_role) {
            (Some((name, _)), _) => {
                let value = victim.settings.iter().find(|(n, _)| n == *name).map_or("", |(_, v)| v);
                (
                    format!(
                        "pg_catalog.current_setting('proof.identity', true) = {}",
                        quote::literal(value)
                    ),
                    format!("sets `{name}` to another tenant"),
                )
            }
            (None, true) => (
                "pg_catalog.current_setting('proof.identity', true) IS NOT NULL".to_owned(),
                "leaves the session with another role".to_owned(),
            ),
            (None, false) => return None,
        };
        let watched = taken.map_or_else(
            || "current_user::text".to_owned(),
            |(name, _)| format!("pg_catalog.current_setting({}, true)", quote::literal(name)),
        );
        let subject = Subject::of_function(function);
        let sentence = format!(
            "{} {}: called by session `{}`, {what}",
            subject.object_type.word(),
            subject.object,
            trial.session.name
        );
        let act = Act::of(format!(
            "{};\nSELECT pg_catalog.set_config('proof.identity', {watched}, false)",
            call.sql
        ));
        let evidence = self.scene(&binding, 0, |scene| {
            scene.write(&sentence, &binding, &act, &Check::Never(condition))
        });
        Some(self.hit(
            &oracle::IDENTITY_GAINED,
            Severity::Critical,
            subject,
            Command::Execute,
            ContextState::Bound,
            sentence,
            evidence,
            Vec::new(),
        ))
    }

    /// A difference that needs another tenant's random key to be seen tells little.
    fn guessable(&self, function: &Function, call: &Call) -> Severity {
        let needs_random = call.taste == Taste::Foreign && function.arguments.iter().any(|a| a.type_name == "uuid");
        // The key of a tenant is no secret; that of a row may be.
        let names_tenant = call.sql.contains(&self.trial.b.keys.tenant);
        if needs_random && !names_tenant {
            Severity::Info
        } else {
            Severity::Medium
        }
    }

    /// Relations that a function with the caller's rights reads: a fault of theirs shows through it.
    fn read_by(&self, function: &Function) -> Vec<String> {
        if function.is_definer {
            return Vec::new();
        }
        let facts = crate::sql::expr::of_plpgsql(&function.body);
        facts
            .relations
            .iter()
            .filter_map(|named| self.trial.catalog.find_relation(named.schema.as_deref(), &named.name))
            .map(|r| r.name.to_string())
            .collect()
    }
}

/// Whether what a row holds of B is only what the call passed in.
fn call_names(trial: &Trial<'_>, call: &Call, row: &[Option<String>]) -> bool {
    let mut passed: Vec<&str> = call
        .sql
        .split('\'')
        .skip(1)
        .step_by(2)
        .filter(|p| p.len() > 2)
        .collect();
    passed.sort_by_key(|p| std::cmp::Reverse(p.len()));
    let rest = |value: &String| passed.iter().fold(value.clone(), |text, p| text.replace(p, ""));
    let row: Vec<Option<String>> = row.iter().map(|v| v.as_ref().map(rest)).collect();
    // The key of a row that was found by what was passed is more than was passed.
    let keys = || {
        trial
            .b
            .rows
            .iter()
            .flat_map(|r| r.values.values().flatten())
            .filter(|v| v.len() == 36)
    };
    let holds_key = || {
        row.iter()
            .flatten()
            .any(|text| keys().any(|key| text.contains(key.as_str())))
    };
    !trial.has_canary(&row) && !holds_key()
}
