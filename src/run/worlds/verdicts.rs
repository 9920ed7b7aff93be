//! From what a session did and saw to cells and faults.

use std::collections::{BTreeMap, BTreeSet};

use super::{CallTried, Record, Shown, Tried, callable, pick, writable};
use super::{addresses, colleagues, disguised, ended};
use crate::model::{Cell, CellVerdict, Command, ContextState, PolicyCommand, Relation};
use crate::pg::conn::DbError;
use crate::probe::Called;
use crate::probe::attempt::Effect;
use crate::probe::binding::has_identity;
use crate::probe::call::Taste;
use crate::probe::judge::{Hit, Judge, Observed, Subject};
use crate::probe::observe::Seen;
use crate::probe::ploy;
use crate::probe::state::Change;
use crate::probe::trial::{Owner, Trial};
use crate::probe::write::{self, Purpose};

pub(super) fn judge(trial: &Trial<'_>, record: &Record, purpose: &'static str, full: bool, shown: &mut Shown) {
    let by_relation = |seen: &[Seen]| -> BTreeMap<u32, Seen> {
        record
            .queries
            .iter()
            .zip(seen)
            .map(|(q, s)| (q.relation, s.clone()))
            .collect()
    };
    let seen_zero = by_relation(&record.zero);
    let judge = Judge {
        trial,
        seen_zero: &seen_zero,
        purpose,
    };
    let mut cells: BTreeMap<(String, ContextState, Command), (CellVerdict, Option<String>)> = BTreeMap::new();

    for (at, query) in record.queries.iter().enumerate() {
        let Some(relation) = trial.catalog.relation(query.relation) else {
            continue;
        };
        let is_visitor = !has_identity(trial.session);
        let saw_nothing = matches!(record.unset.get(at), Some(Seen::Rows(rows)) if rows.is_empty());
        let unreachable = no_policy(relation, trial, Command::Select);
        let mut put = |state, mut judged: crate::probe::judge::ReadJudgement| {
            shown.hits.extend(judged.hit);
            if judged.verdict == CellVerdict::Vacuous && unreachable {
                judged.verdict = CellVerdict::Denied;
                judged.reason = Some(NO_POLICY.to_owned());
            } else if judged.verdict == CellVerdict::Vacuous && is_visitor && saw_nothing {
                judged.reason = Some(VISITOR.to_owned());
            }
            cells.insert(
                (relation.name.to_string(), state, Command::Select),
                (judged.verdict, judged.reason),
            );
        };
        if let (Some(base), Some(zero), Some(again), Some(one)) = (
            record.base.get(at),
            record.zero.get(at),
            record.again.get(at),
            record.one.get(at),
        ) {
            put(
                ContextState::Bound,
                judge.bound_read(relation, query, Observed { base, zero, again, one }),
            );
        }
        let bound = record.zero.get(at);
        if let (Some(base), Some(unset)) = (record.unset_base.get(at), record.unset.get(at)) {
            put(
                ContextState::Unset,
                judge.stateless_read(relation, query, ContextState::Unset, base, unset, bound),
            );
        }
        if let (Some(base), Some(empty)) = (record.unset_base.get(at), record.empty.get(at)) {
            put(
                ContextState::Empty,
                judge.stateless_read(relation, query, ContextState::Empty, base, empty, bound),
            );
        }
    }
    if !full {
        return;
    }
    let plain = by_relation(&record.one);
    shown.hits.extend(disguised::judge(&judge, &record.guises, &plain));
    shown.hits.extend(ploy::judge(&judge, &record.played, &record.one));
    judge_writes(&judge, record, &mut cells, shown);
    judge_calls(&judge, record, &mut cells, shown);
    shown.hits.extend(colleagues::judge(&judge, &record.colleagues));
    shown.hits.extend(addresses::judge(&judge, &record.addresses));
    ended::judge(&judge, &record.ended, &record.queries, &mut shown.hits);
    deny(trial, &mut cells);
    shown.cells.extend(
        cells
            .into_iter()
            .map(|((object, state, command), (verdict, reason))| Cell {
                session: trial.session.name.clone(),
                object,
                state,
                command,
                verdict,
                reason,
            }),
    );
}

/// An error that says nothing of what the session may do: what was tried has then not been seen through.
fn interference<'e>(mut effects: impl Iterator<Item = &'e Effect>) -> Option<&'e DbError> {
    effects.find_map(|e| e.error.as_ref().filter(|error| error.is_interference()))
}

type CellMap = BTreeMap<(String, ContextState, Command), (CellVerdict, Option<String>)>;

fn judge_writes(judge: &Judge<'_>, record: &Record, cells: &mut CellMap, shown: &mut Shown) {
    let trial = judge.trial;
    let mut groups: BTreeMap<(u32, ContextState, Command), Vec<&Tried>> = BTreeMap::new();
    for tried in &record.writes {
        groups
            .entry((tried.relation, tried.state, tried.probe.command))
            .or_default()
            .push(tried);
    }
    let mut controlled: BTreeSet<(u32, Command)> = BTreeSet::new();
    // Bound cells first: their controls stand for the others.
    for ((oid, state, command), tried) in &groups {
        let Some(relation) = trial.catalog.relation(*oid) else {
            continue;
        };
        let mut hits: Vec<Hit> = Vec::new();
        for one in tried {
            hits.extend(judge.write(relation, &one.probe, *state, &one.effect));
            if *state != ContextState::Bound || one.effect.error.is_some() {
                if let Some(without) = &one.without {
                    hits.extend(judge.outcome(relation, &one.probe, without, &one.effect));
                }
                continue;
            }
            if let Some(without) = &one.without {
                hits.extend(judge.outcome(relation, &one.probe, without, &one.effect));
            }
            let looked = |which: usize| one.effect.looked.get(which).filter(|seen| !seen.is_empty());
            let asked = |which: usize| pick(&record.queries, &one.asked[which]);
            let act = &one.probe.act;
            if let Some(seen) = looked(0) {
                let before = pick(&record.one, &one.asked[0]);
                let bound = trial.as_a(ContextState::Bound);
                hits.extend(judge.seen_by_a(Subject::of(relation), *command, act, &bound, seen, &before, &asked(0)));
            }
            if let (Some(seen), Some(intruder)) = (looked(2), trial.as_intruder()) {
                let before = pick(&record.intruder, &one.asked[2]);
                hits.extend(judge.seen_by_a(
                    Subject::of(relation),
                    *command,
                    act,
                    &intruder,
                    seen,
                    &before,
                    &asked(2),
                ));
            }
            let is_own = matches!(one.probe.purpose, Purpose::Own)
                || one.probe.command != Command::Insert
                    && !matches!(one.probe.purpose, Purpose::Adopt(_) | Purpose::Move);
            if let Some(seen) = looked(1).filter(|_| !is_own) {
                let before = pick(&record.victim, &one.asked[1]);
                hits.extend(judge.seen_by_b(relation, &one.probe, seen, &before, &asked(1)));
            }
        }
        let source = write::source(trial, relation).map(|s| s.oid);
        let own_work = |t: &&Tried| {
            let changes = &t.effect.changes;
            let is_prepared = !t.probe.act.prepare.is_empty();
            let is_here = |c: &Change| !is_prepared || Some(c.relation) == source;
            // What a preparation took away leaves nothing in its place; what an UPDATE reached does.
            let is_done =
                !is_prepared || t.probe.command != Command::Update || changes.iter().any(|c| c.is_new && is_here(c));
            t.effect.error.is_none()
                && (t.probe.purpose == Purpose::Own || is_done && trial.hits(changes, Owner::Own).iter().any(is_here))
        };
        if *state == ContextState::Bound && tried.iter().any(own_work) {
            controlled.insert((*oid, *command));
        }
        let serious = hits.iter().any(|h| h.severity >= crate::model::Severity::Medium);
        let cell = if *command == Command::Truncate && !trial.may_truncate(relation) {
            (CellVerdict::Denied, Some(NO_TRUNCATE.to_owned()))
        } else if serious {
            (CellVerdict::Violated, None)
        } else if let Some(error) = tried
            .iter()
            .find_map(|t| t.effect.error.as_ref().filter(|e| takes_no_rows(e)))
        {
            (CellVerdict::Denied, Some(error.message.clone()))
        } else if let Some(error) = interference(tried.iter().map(|t| &t.effect)) {
            (CellVerdict::Vacuous, Some(error.reason()))
        } else if controlled.contains(&(*oid, *command)) {
            (CellVerdict::Held, None)
        } else if no_policy(relation, trial, *command) {
            (CellVerdict::Denied, Some(NO_POLICY.to_owned()))
        } else if !has_identity(trial.session) && tried.iter().all(|t| is_quiet(&t.effect)) {
            (CellVerdict::Vacuous, Some(VISITOR.to_owned()))
        } else {
            let reason = tried.iter().find_map(|t| t.effect.error.as_ref()).map_or_else(
                || "no own row is reached".to_owned(),
                |e| format!("own work fails: {} {}", e.code, e.message),
            );
            (CellVerdict::Vacuous, Some(reason))
        };
        shown.hits.extend(hits);
        cells.insert((relation.name.to_string(), *state, *command), cell);
    }
    // Relations that may be written but for which no row could be made.
    for relation in writable(trial) {
        let Some(p) = trial.privileges.relations.get(&relation.oid) else {
            continue;
        };
        for (command, may) in [
            (Command::Insert, !p.insert.is_empty()),
            (Command::Update, !p.update.is_empty()),
            (Command::Delete, p.delete),
        ] {
            if !may {
                continue;
            }
            let states: Vec<ContextState> = if has_identity(trial.session) {
                vec![ContextState::Bound]
            } else {
                vec![ContextState::Unset]
            };
            for state in states {
                let verdict = if no_policy(relation, trial, command) {
                    (CellVerdict::Denied, Some(NO_POLICY.to_owned()))
                } else {
                    (
                        CellVerdict::Vacuous,
                        Some("no row could be made to try it with".to_owned()),
                    )
                };
                cells
                    .entry((relation.name.to_string(), state, command))
                    .or_insert(verdict);
            }
        }
    }
}

/// Whether the server says that a view is not for writing.
fn takes_no_rows(error: &DbError) -> bool {
    error.code == "55000"
        && [
            "cannot insert into view ",
            "cannot update view ",
            "cannot delete from view ",
        ]
        .iter()
        .any(|said| error.message.starts_with(said))
}

/// Whether a statement reached no row, or was refused one by row security.
fn is_quiet(effect: &Effect) -> bool {
    effect
        .error
        .as_ref()
        .map_or(effect.changes.is_empty(), |e| e.code == "42501")
}

/// A session without identity has no rows of its own that would show it was looked at rightly: other sessions' have to.
pub(in crate::run) const VISITOR: &str = "a session that is nobody's reaches no row here";

const NO_POLICY: &str = "row security: no policy permits it";

const NO_TRUNCATE: &str = "the API that makes the statements sends no TRUNCATE";

/// Whether row security lets nothing through for a command: the session may not do it at all.
fn no_policy(relation: &Relation, trial: &Trial<'_>, command: Command) -> bool {
    let wanted = match command {
        Command::Select | Command::Copy => PolicyCommand::Select,
        Command::Insert | Command::Merge => PolicyCommand::Insert,
        Command::Update => PolicyCommand::Update,
        Command::Delete => PolicyCommand::Delete,
        Command::Truncate | Command::Execute | Command::Usage => return false,
    };
    !relation.has_policy_for(wanted, |role| trial.is_member(role))
}

fn judge_calls(judge: &Judge<'_>, record: &Record, cells: &mut CellMap, shown: &mut Shown) {
    let trial = judge.trial;
    for function in callable(trial) {
        let tried: Vec<&CallTried> = record.calls.iter().filter(|t| t.function == function.oid).collect();
        let mut hits: Vec<Hit> = Vec::new();
        for one in &tried {
            let Some((zero, again)) = &one.zero else { continue };
            hits.extend(judge.call(
                function,
                &one.call,
                Called {
                    zero,
                    again,
                    one: &one.one,
                    unpublished: one.unpublished.as_ref(),
                },
            ));
            if let Some(looked) = one.one.looked.first() {
                let act = crate::probe::attempt::Act::of(one.call.sql.clone());
                let queries = pick(&record.queries, &one.asked);
                let before = pick(&record.one, &one.asked);
                hits.extend(judge.seen_by_a(
                    Subject::of_function(function),
                    Command::Execute,
                    &act,
                    &trial.as_a(ContextState::Bound),
                    looked,
                    &before,
                    &queries,
                ));
            }
        }
        let worked = tried
            .iter()
            .any(|t| t.one.error.is_none() && t.call.taste != Taste::Foreign);
        let cell = if hits.iter().any(|h| h.severity >= crate::model::Severity::Medium) {
            (CellVerdict::Violated, None)
        } else if let Some(error) = interference(tried.iter().map(|t| &t.one)) {
            (CellVerdict::Vacuous, Some(error.reason()))
        } else if worked {
            (CellVerdict::Held, None)
        } else if let Some(error) = refused(&tried) {
            (CellVerdict::Denied, Some(error.message.clone()))
        } else if has_identity(trial.session) {
            let reason = tried.iter().find_map(|t| t.one.error.as_ref()).map_or_else(
                || "no arguments are known".to_owned(),
                |e| format!("no call succeeds: {} {}", e.code, e.message),
            );
            (CellVerdict::Vacuous, Some(reason))
        } else {
            continue;
        };
        shown.hits.extend(hits);
        cells.insert((function.identity(), ContextState::Bound, Command::Execute), cell);
    }
}

/// The server's own word that the session may not do what a function does, where every call gets it.
fn refused<'t>(tried: &[&'t CallTried]) -> Option<&'t DbError> {
    let own_word = |error: &&DbError| {
        error.code == "42501"
            && ["permission denied for ", "new row violates row-level security policy "]
                .iter()
                .any(|said| error.message.starts_with(said))
    };
    let mut errors = tried.iter().map(|t| t.one.error.as_ref().filter(own_word));
    let first = errors.next()??;
    errors.all(|e| e.is_some()).then_some(first)
}

/// Commands that the session was not granted, on relations that it may otherwise use.
fn deny(trial: &Trial<'_>, cells: &mut CellMap) {
    let state = if has_identity(trial.session) {
        ContextState::Bound
    } else {
        ContextState::Unset
    };
    for relation in &trial.catalog.relations {
        if !relation.kind.holds_rows() {
            continue;
        }
        let none = crate::model::catalog::RelationPrivileges::default();
        let p = trial.privileges.relations.get(&relation.oid).unwrap_or(&none);
        let may = [
            (Command::Select, !p.select.is_empty()),
            (Command::Insert, !p.insert.is_empty()),
            (Command::Update, !p.update.is_empty()),
            (Command::Delete, p.delete),
            (Command::Truncate, p.truncate),
        ];
        for (command, may) in may {
            if !may {
                cells
                    .entry((relation.name.to_string(), state, command))
                    .or_insert((CellVerdict::Denied, Some("no privilege".to_owned())));
            } else if command == Command::Truncate && !trial.may_truncate(relation) {
                cells
                    .entry((relation.name.to_string(), state, command))
                    .or_insert((CellVerdict::Denied, Some(NO_TRUNCATE.to_owned())));
            }
        }
    }
}
