//! Trying what a session may write and call, in the world with both tenants and again without B.

use std::collections::BTreeSet;

use super::{CallTried, Record, Tried};
use crate::model::{ContextState, Function, FunctionKind, Relation, RelationKind, Volatility};
use crate::pg::conn::{ConnError, DbError};
use crate::probe::attempt::{Act, Bench, Effect, Look};
use crate::probe::binding::identity_settings;
use crate::probe::call;
use crate::probe::observe::{self, Query, Seen};
use crate::probe::trial::Trial;
use crate::probe::write::{self, Purpose};

/// Relations that a session may write at all.
pub(super) fn writable<'a>(trial: &Trial<'a>) -> Vec<&'a Relation> {
    trial
        .catalog
        .relations
        .iter()
        .filter(|r| {
            trial
                .privileges
                .relations
                .get(&r.oid)
                .is_some_and(|p| !p.insert.is_empty() || !p.update.is_empty() || p.delete || p.truncate)
                && (r.kind.holds_rows() || r.kind == RelationKind::View)
        })
        .collect()
}

/// Which queries to ask again after an accepted write to a relation whose rows decide what others show: of all of them those
/// that what was changed can show in.
fn asked_after(trial: &Trial<'_>, record: &Record, relation: &Relation) -> Vec<usize> {
    let holder = trial.holder_oid(relation);
    let source = write::source(trial, relation).map(|s| s.oid);
    if !trial.decides_access(holder) && !source.is_some_and(|oid| trial.decides_access(oid)) {
        return Vec::new();
    }
    (0..record.queries.len()).collect()
}

pub(super) fn pick<T: Clone>(from: &[T], which: &[usize]) -> Vec<T> {
    which.iter().filter_map(|at| from.get(*at).cloned()).collect()
}

pub(super) async fn bound_writes(
    bench: &mut Bench<'_>,
    trial: &Trial<'_>,
    record: &mut Record,
    progress: &dyn Fn(&str),
) -> Result<(), ConnError> {
    let bound = trial.as_a(ContextState::Bound);
    let victim = trial.as_b();
    let intruder = trial.as_intruder();
    if let Some(intruder) = &intruder {
        record.intruder = observe::observe(bench.conn, intruder, &record.queries).await?;
    }
    for relation in writable(trial) {
        progress(&relation.name.to_string());
        let by_a = asked_after(trial, record, relation);
        // Where no column says whose a row is, what the victim sees says it.
        let holder = trial.holder(trial.catalog.relation(relation.oid).unwrap_or(relation));
        let shows = |q: &Query| q.relation == relation.oid || q.relation == holder.oid;
        let by_b: Vec<usize> = if trial.says_tenant(holder) {
            Vec::new()
        } else {
            (0..record.queries.len())
                .filter(|at| shows(&record.queries[*at]))
                .collect()
        };
        let by_intruder = if intruder.is_some() { by_a.clone() } else { Vec::new() };
        let asked = [by_a, by_b, by_intruder];
        let queries = asked.each_ref().map(|which| pick(&record.queries, which));
        bench.expect(written_with(trial, relation));
        loop {
            let from = record.writes.len();
            for probe in write::probes(trial, relation) {
                let bindings = [&bound, &victim, intruder.as_ref().unwrap_or(&bound)];
                let looks: Vec<Look<'_>> = bindings
                    .into_iter()
                    .zip(&queries)
                    .enumerate()
                    .map(|(at, (binding, queries))| Look {
                        binding,
                        queries,
                        where_decided: at != 1,
                    })
                    .collect();
                let mut effect = bench.attempt(&bound, &probe.act, &[], &looks).await?;
                let hangs = is_hanging(&effect);
                let mut asked = [0, 1, 2].map(|which| effect.asked(which, &asked[which]));
                let before = [&record.one, &record.victim, &record.intruder];
                for ((looked, asked), before) in effect.looked.iter_mut().zip(&mut asked).zip(before) {
                    keep_news(looked, asked, before);
                }
                record.writes.push(Tried {
                    relation: relation.oid,
                    state: ContextState::Bound,
                    probe,
                    effect,
                    without: None,
                    asked,
                });
                if hangs {
                    break;
                }
            }
            if !bench.strays().await? {
                break;
            }
            record.writes.truncate(from);
        }
        bench.expect_any();
    }
    Ok(())
}

/// Whether a statement hung: the relation's or function's other statements would, too, and its cell is vacuous as it is.
fn is_hanging(effect: &Effect) -> bool {
    effect.error.as_ref().is_some_and(DbError::is_timeout)
}

/// Of what was looked at again, what is not as it was before: all that judging needs, and little to keep.
pub(super) fn keep_news(looked: &mut Vec<Seen>, asked: &mut Vec<usize>, before: &[Seen]) {
    let found = std::mem::take(looked);
    let places = std::mem::take(asked);
    for (seen, at) in found.into_iter().zip(places) {
        if before.get(at) != Some(&seen) {
            looked.push(seen);
            asked.push(at);
        }
    }
}

/// Tables that a write to a relation can be expected to write to: its own, and what foreign keys with an action lead to.
/// A guess: what it misses is noticed (see [`Bench::strays`]).
pub(super) fn written_with(trial: &Trial<'_>, relation: &Relation) -> BTreeSet<u32> {
    let catalog = trial.catalog;
    let mut found = BTreeSet::new();
    let mut waiting = vec![relation.oid];
    waiting.extend(write::source(trial, relation).map(|s| s.oid));
    while let Some(oid) = waiting.pop() {
        if !found.insert(oid) {
            continue;
        }
        waiting.extend(catalog.children(oid).map(|c| c.oid));
        let acts = |action: &str| matches!(action, "c" | "n" | "d");
        let follows = |r: &&Relation| {
            let mut keys = r.foreign_keys.iter().filter(|k| k.references == oid);
            keys.any(|k| acts(&k.on_delete) || acts(&k.on_update))
        };
        waiting.extend(catalog.referrers(oid).filter(follows).map(|r| r.oid));
    }
    found
}

pub(super) async fn stateless_writes(
    bench: &mut Bench<'_>,
    trial: &Trial<'_>,
    state: ContextState,
    record: &mut Record,
) -> Result<(), ConnError> {
    let binding = trial.as_a(state);
    for relation in writable(trial) {
        bench.expect(written_with(trial, relation));
        loop {
            let from = record.writes.len();
            for probe in write::probes(trial, relation) {
                let wanted = match probe.purpose {
                    Purpose::Own | Purpose::All => true,
                    Purpose::Plant
                    | Purpose::Steal
                    | Purpose::Move
                    | Purpose::Adopt(_)
                    | Purpose::State
                    | Purpose::Echo
                    | Purpose::Mention
                    | Purpose::Key(_) => false,
                };
                if wanted {
                    let effect = bench.attempt(&binding, &probe.act, &[], &[]).await?;
                    let hangs = is_hanging(&effect);
                    record.writes.push(Tried {
                        relation: relation.oid,
                        state,
                        probe,
                        effect,
                        without: None,
                        asked: Default::default(),
                    });
                    if hangs {
                        break;
                    }
                }
            }
            if !bench.strays().await? {
                break;
            }
            record.writes.truncate(from);
        }
        bench.expect_any();
    }
    Ok(())
}

/// Functions that the session may call and that it is ours to call.
pub(super) fn callable<'a>(trial: &Trial<'a>) -> Vec<&'a Function> {
    let may: BTreeSet<u32> = trial.privileges.functions.iter().copied().collect();
    let is_plain =
        |f: &&Function| matches!(f.kind, FunctionKind::Function | FunctionKind::Procedure) && !f.is_trigger();
    trial
        .catalog
        .functions
        .iter()
        .filter(is_plain)
        .filter(|f| may.contains(&f.oid) && !f.opens_requests())
        .collect()
}

pub(super) async fn calls(
    bench: &mut Bench<'_>,
    trial: &Trial<'_>,
    record: &mut Record,
    progress: &dyn Fn(&str),
) -> Result<(), ConnError> {
    let bound = trial.as_a(ContextState::Bound);
    let watch = identity_settings(trial.session);
    let all: Vec<usize> = (0..record.queries.len()).collect();
    for function in callable(trial) {
        progress(&function.identity());
        let writes = function.volatility == Volatility::Volatile;
        let asked = if writes { all.clone() } else { Vec::new() };
        let again = pick(&record.queries, &asked);
        let takes_away = trial.unpublish(function);
        bench.expect([]);
        loop {
            let from = record.calls.len();
            for call in call::calls(trial, function) {
                let looks = [Look {
                    binding: &bound,
                    queries: &again,
                    where_decided: true,
                }];
                let act = Act::of(call.sql.clone());
                let mut one = bench.attempt(&bound, &act, &watch, &looks).await?;
                let hangs = is_hanging(&one);
                let mut asked = one.asked(0, &asked);
                if let Some(looked) = one.looked.first_mut() {
                    keep_news(looked, &mut asked, &record.one);
                }
                let takes_away = takes_away.clone();
                let unpublished = if takes_away.is_empty() || one.error.is_some() {
                    None
                } else {
                    let act = Act {
                        prepare: takes_away,
                        ..Act::of(call.sql.clone())
                    };
                    Some(bench.attempt(&bound, &act, &[], &[]).await?)
                };
                record.calls.push(CallTried {
                    function: function.oid,
                    call,
                    one,
                    unpublished,
                    zero: None,
                    asked,
                });
                if hangs {
                    break;
                }
            }
            if !bench.strays().await? {
                break;
            }
            record.calls.truncate(from);
        }
        bench.expect_any();
    }
    Ok(())
}

/// What has to end the same way without B, without B.
pub(super) async fn replay(bench: &mut Bench<'_>, trial: &Trial<'_>, record: &mut Record) -> Result<(), ConnError> {
    let bound = trial.as_a(ContextState::Bound);
    // Only what comes back is compared with world 1, not what changed.
    bench.expect([]);
    for tried in record
        .writes
        .iter_mut()
        .filter(|t| t.probe.compare && t.state == ContextState::Bound)
    {
        if is_hanging(&tried.effect) {
            continue;
        }
        tried.without = Some(bench.attempt(&bound, &tried.probe.act, &[], &[]).await?);
    }
    for tried in record.calls.iter_mut().filter(|t| !is_hanging(&t.one)) {
        let act = Act::of(tried.call.sql.clone());
        let first = bench.attempt(&bound, &act, &[], &[]).await?;
        // Only where the worlds differ does it matter whether one world differs from itself.
        let second = if first.rows == tried.one.rows && first.code() == tried.one.code() {
            first.clone()
        } else {
            bench.attempt(&bound, &act, &[], &[]).await?
        };
        tried.zero = Some((first, second));
    }
    Ok(())
}
