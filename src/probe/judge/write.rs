//! Judging writes: what changed, what others then see, and whether the outcome tells of another tenant.

use super::{Hit, Judge, Subject, named_columns, source_is, type_of};
use crate::model::{Column, Command, ContextState, ObjectType, Relation, Severity};
use crate::probe::attempt::{Act, Effect};
use crate::probe::binding::Binding;
use crate::probe::call::is_secret;
use crate::probe::evidence::Check;
use crate::probe::observe::{Query, Seen};
use crate::probe::oracle;
use crate::probe::state::Change;
use crate::probe::trial::Owner;
use crate::probe::write::{self, Purpose, WriteProbe};
use crate::world::Class;

impl<'a> Judge<'a> {
    /// What an accepted write means; `bound` says whether the tenant's own context was set.
    pub fn write(&self, relation: &Relation, probe: &WriteProbe, state: ContextState, effect: &Effect) -> Vec<Hit> {
        let trial = self.trial;
        let mut hits = Vec::new();
        if effect.error.is_some() {
            return hits;
        }
        let binding = trial.as_a(state);
        let holder = trial.holder_oid(relation);
        // What was taken away in preparation is no doing of the session.
        let mine = |c: &&Change| {
            let is_named = c.relation == holder || source_is(trial, relation, c.relation);
            probe.act.prepare.is_empty() || (is_named && (c.is_new || probe.command != Command::Insert))
        };
        let changes: Vec<Change> = effect.changes.iter().filter(mine).cloned().collect();
        // A membership of A's own user is A's to end, whatever tenant it names.
        let mut foreign = trial.hits(&changes, Owner::Foreign);
        foreign.retain(|c| !trial.asks_to_belong(c));
        let common = trial.hits(&changes, Owner::Common);
        let own = trial.hits(&changes, Owner::Own);
        // A row of theirs that was changed is changed, not planted.
        let mut planted = trial.planted(&changes);
        planted.retain(|new| !foreign.iter().chain(&common).any(|old| trial.is_same_row(old, new)));
        let who = format!("session `{}`", trial.session.name);

        if probe.command == Command::Truncate && !trial.may_truncate(relation) {
            hits.extend(
                (state == ContextState::Bound && !foreign.is_empty()).then(|| self.truncatable(relation, probe)),
            );
            return hits;
        }
        if state != ContextState::Bound {
            let touched = [foreign, common, own, planted].concat();
            let made: Vec<Change> = changes
                .iter()
                // A tenant that is made is no tenant's row yet: signing up has no context.
                .filter(|c| c.is_new && self.carries_tenant(c) && !trial.classes.is_root(c.relation))
                .cloned()
                .collect();
            if let Some(change) = touched.first().or(made.first()) {
                let table = trial.catalog.relation(change.relation).unwrap_or(relation);
                let sentence = format!(
                    "{} {}: a request of {who} without a tenant (context {}) can {} rows of tenants",
                    type_of(relation).word(),
                    relation.name,
                    state.word(),
                    probe.command
                );
                let check = if change.is_new {
                    Check::NoNewRow(table, self.any_tenant(table))
                } else {
                    Check::RowsKept(table)
                };
                let evidence = self.scene(&trial.as_a(ContextState::Bound), relation.oid, |scene| {
                    scene.write(&sentence, &binding, &probe.act, &check)
                });
                hits.push(self.hit(
                    &oracle::WRITES_WITHOUT_CONTEXT,
                    Severity::High,
                    self.subject(relation, table, false),
                    probe.command,
                    state,
                    sentence,
                    evidence,
                    Vec::new(),
                ));
            }
            return hits;
        }
        let other = |found: &[Change], fallback: &'a str| -> &'a str {
            if found.is_empty() { fallback } else { "another tenant" }
        };
        if let Some(change) = foreign.first().or(common.first()) {
            let table = trial.catalog.relation(change.relation).unwrap_or(relation);
            let whose = other(&foreign, "all tenants (shared or inherited)");
            let sentence = format!(
                "{} {}: {who} can {} rows of {whose}",
                type_of(table).word(),
                table.name,
                probe.command
            );
            let check = Check::RowsKept(table);
            let evidence = self.scene(&binding, relation.oid, |scene| {
                scene.write(&sentence, &binding, &probe.act, &check)
            });
            hits.push(self.hit(
                &oracle::FOREIGN_ROWS_WRITABLE,
                self.severity(Severity::Critical),
                self.subject(relation, table, true),
                probe.command,
                state,
                sentence,
                evidence,
                vec![table.name.to_string()],
            ));
        }
        let named = |c: &&Change| c.is_new && (c.relation == holder || source_is(trial, relation, c.relation));
        let asks_to_belong = changes.iter().filter(named).any(|c| trial.asks_to_belong(c));
        let change = planted
            .iter()
            .find(|c| named(c))
            .or(planted.first())
            .filter(|_| !asks_to_belong);
        if let Some(change) = change {
            let table = trial.catalog.relation(change.relation).unwrap_or(relation);
            let sentence = format!(
                "{} {}: {who} can {} a row that belongs to another tenant",
                type_of(relation).word(),
                relation.name,
                probe.command
            );
            let check = Check::NoNewRow(table, self.foreign_tenant(table));
            let evidence = self.scene(&binding, relation.oid, |scene| {
                scene.write(&sentence, &binding, &probe.act, &check)
            });
            hits.push(self.hit(
                &oracle::FOREIGN_ROW_PLANTABLE,
                Severity::High,
                self.subject(relation, table, true),
                probe.command,
                state,
                sentence,
                evidence,
                vec![table.name.to_string()],
            ));
        }
        hits
    }

    /// A privilege that the API in front of the database never uses: said once, for whoever else comes to hold the role.
    fn truncatable(&self, relation: &Relation, probe: &WriteProbe) -> Hit {
        let trial = self.trial;
        let binding = trial.as_a(ContextState::Bound);
        let tables = write::truncatable(trial).count();
        let sentence = format!(
            "role {}: it may TRUNCATE {tables} {}, to which row security does not apply; the API sends no TRUNCATE, others who come to hold the role can",
            binding.role,
            if tables == 1 { "table" } else { "tables" },
        );
        let check = Check::RowsKept(relation);
        let evidence = self.scene(&binding, relation.oid, |scene| {
            scene.write(&sentence, &binding, &probe.act, &check)
        });
        let mut subject = Subject::of(relation);
        subject.route = Some((relation.name.to_string(), type_of(relation), Command::Truncate));
        subject.object = binding.role.clone();
        subject.object_type = ObjectType::Role;
        self.hit(
            &oracle::TRUNCATE_GRANTED,
            Severity::Info,
            subject,
            Command::Truncate,
            ContextState::Bound,
            sentence,
            evidence,
            Vec::new(),
        )
    }

    /// What B's session newly sees after a write of A's.
    pub fn seen_by_b(
        &self,
        relation: &Relation,
        probe: &WriteProbe,
        looked: &[Seen],
        before: &[Seen],
        queries: &[Query],
    ) -> Option<Hit> {
        for ((after, before), query) in looked.iter().zip(before).zip(queries) {
            if after == before || matches!(after, Seen::Failed(_)) {
                continue;
            }
            let binding = self.trial.as_a(ContextState::Bound);
            let victim = self.trial.as_b();
            let sentence = format!(
                "{} {}: session `{}` can {} what another tenant then sees",
                type_of(relation).word(),
                relation.name,
                self.trial.session.name,
                probe.command
            );
            let check = Check::SameView(&victim, named_columns(query));
            let evidence = self.scene(&binding, relation.oid, |scene| {
                scene.write(&sentence, &binding, &probe.act, &check)
            });
            return Some(self.hit(
                &oracle::FOREIGN_ROW_PLANTABLE,
                Severity::High,
                Subject::of(relation),
                probe.command,
                ContextState::Bound,
                sentence,
                evidence,
                Vec::new(),
            ));
        }
        None
    }

    /// What A, or A's user in B's tenant, newly sees after an accepted statement of A's: rows of B.
    #[expect(clippy::too_many_arguments, reason = "the act and the two looks around it")]
    pub fn seen_by_a(
        &self,
        subject: Subject,
        command: Command,
        act: &Act,
        looker: &Binding,
        looked: &[Seen],
        before: &[Seen],
        queries: &[Query],
    ) -> Option<Hit> {
        for ((after, before), query) in looked.iter().zip(before).zip(queries) {
            let Some(relation) = self.trial.catalog.relation(query.relation) else {
                continue;
            };
            let extra = after.beyond(before);
            let mut gained = self.trial.foreign_among(relation, &extra);
            // Where B's rows showed before, other values of them are nothing that was gained.
            let known: Vec<&Vec<Option<String>>> = before.rows().iter().collect();
            let now: Vec<&Vec<Option<String>>> = after.rows().iter().collect();
            let count = |rows: &[&Vec<Option<String>>]| self.trial.foreign_among(relation, rows).len();
            if !gained.is_empty() && count(&now) <= count(&known) {
                continue;
            }
            if !relation.kind.holds_rows() {
                // Not what the statement itself put there.
                gained.retain(|row| self.trial.has_stored_value(row, &act.sql));
            }
            if gained.is_empty() {
                continue;
            }
            let binding = self.trial.as_a(ContextState::Bound);
            let sentence = format!(
                "{} {}: after {command}, session `{}` reads rows of another tenant in {}",
                subject.object_type.word(),
                subject.object,
                self.trial.session.name,
                relation.name
            );
            let check = Check::SameView(looker, named_columns(query));
            let evidence = self.scene(&binding, relation.oid, |scene| {
                scene.write(&sentence, &binding, act, &check)
            });
            return Some(self.hit(
                &oracle::IDENTITY_GAINED,
                Severity::Critical,
                subject,
                command,
                ContextState::Bound,
                sentence,
                evidence,
                Vec::new(),
            ));
        }
        None
    }

    /// An own row with values of B's is refused only where B's row is there: a trigger looks beyond the tenant.
    fn echoed(&self, relation: &Relation, probe: &WriteProbe, with: &Effect) -> Option<Hit> {
        let trial = self.trial;
        let error = with.error.as_ref().filter(|e| !e.is_interference())?;
        let text = error.visible_text();
        let told = trial.stored_value_in(&text, &probe.act.sql);
        let mut subject = Subject::of(relation);
        if let Some(function) = error.context.as_deref().and_then(|c| function_in(trial, c)) {
            subject = Subject::of_function(function);
            subject.route = Some((relation.name.to_string(), type_of(relation), probe.command));
        }
        let (oracle, what) = match told {
            Some(_) => (&oracle::FOREIGN_VALUE_IN_ERROR, "quotes another tenant's row"),
            None => (
                &oracle::EXISTENCE_REVEALED,
                "tells whether another tenant has the same value",
            ),
        };
        let binding = trial.as_a(ContextState::Bound);
        let sentence = format!(
            "{} {}: {} on {} by session `{}` fails with {} and {what}",
            subject.object_type.word(),
            subject.object,
            probe.command,
            relation.name,
            trial.session.name,
            error.code
        );
        let evidence = self.scene(&binding, relation.oid, |scene| {
            scene.outcome(&sentence, &binding, &probe.act.sql)
        });
        Some(self.hit(
            oracle,
            Severity::Medium,
            subject,
            probe.command,
            ContextState::Bound,
            sentence,
            evidence,
            Vec::new(),
        ))
    }

    /// The same statement in both worlds.
    pub fn outcome(&self, relation: &Relation, probe: &WriteProbe, without: &Effect, with: &Effect) -> Option<Hit> {
        let interferes = |e: &Effect| e.error.as_ref().is_some_and(|e| e.is_interference());
        if without.code() == with.code() || interferes(without) || interferes(with) {
            return None;
        }
        let trial = self.trial;
        if probe.purpose == Purpose::Echo {
            return self.echoed(relation, probe, with);
        }
        let (what, columns, object) = match &probe.purpose {
            Purpose::Key(key) if without.error.is_none() => (
                format!("key `{}` tells whether another tenant has the same value", key.name),
                key.columns.clone(),
                relation,
            ),
            Purpose::Adopt(key) if with.error.is_none() => (
                format!(
                    "foreign key `{}` accepts a row of another tenant and so confirms that it exists",
                    key.name
                ),
                key.columns.clone(),
                relation,
            ),
            Purpose::Key(_)
            | Purpose::Adopt(_)
            | Purpose::Own
            | Purpose::Plant
            | Purpose::All
            | Purpose::Steal
            | Purpose::Move
            | Purpose::Echo
            | Purpose::Mention
            | Purpose::State => return None,
        };
        // Only a key that can be guessed or chosen is worth acting on.
        let mut parts = columns
            .iter()
            .filter(|c| {
                trial
                    .classes
                    .class(relation.oid, c)
                    .is_none_or(|(class, _)| class != Class::Tenant)
            })
            .peekable();
        // One part that cannot be guessed is enough; a number that the server counts out says how many there were, no more.
        let of = |test: fn(&Column) -> bool| move |name: &&String| relation.column(name).is_some_and(test);
        let severity = if parts.peek().is_none() || parts.clone().any(|c| of(is_random)(&c)) {
            Severity::Info
        } else if matches!(probe.purpose, Purpose::Key(_)) && parts.all(|c| of(is_surrogate)(&c)) {
            Severity::Low
        } else {
            Severity::Medium
        };
        let binding = trial.as_a(ContextState::Bound);
        let sentence = format!("{} {}: {what}", type_of(object).word(), object.name);
        let evidence = self.scene(&binding, relation.oid, |scene| {
            scene.outcome(&sentence, &binding, &probe.act.sql)
        });
        let mut hit = self.hit(
            &oracle::EXISTENCE_REVEALED,
            severity,
            Subject::of(object),
            probe.command,
            ContextState::Bound,
            sentence,
            evidence,
            Vec::new(),
        );
        if let Purpose::Adopt(key) = &probe.purpose
            && let Some(parent) = trial.catalog.relation(key.references)
        {
            hit.route = (parent.name.to_string(), type_of(parent), probe.command);
        }
        Some(hit)
    }
}

/// Whether a column's values say nothing but which row it is.
fn is_surrogate(column: &Column) -> bool {
    column.is_serial() || column.name == "id" && column.category == "S"
}

/// Whether nobody can guess or choose a column's values: keys and tokens that are made at random.
fn is_random(column: &Column) -> bool {
    let by_default = |default: &String| {
        let default = default.to_lowercase();
        ["random", "uuid", "token"].iter().any(|word| default.contains(word))
    };
    column.base_type == "uuid" || is_secret(&column.name) || column.default.as_ref().is_some_and(by_default)
}

/// The function that a PL/pgSQL error context names first.
fn function_in<'t>(trial: &crate::probe::trial::Trial<'t>, context: &str) -> Option<&'t crate::model::Function> {
    let name = context.split("PL/pgSQL function ").nth(1)?.split('(').next()?;
    let (schema, name) = match name.rsplit_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, name),
    };
    trial.catalog.find_functions(schema, name.trim_matches('"')).next()
}
