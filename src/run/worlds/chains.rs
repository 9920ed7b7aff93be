//! Two steps: a write that is accepted, then one that was refused before. What the first opened shows in the second.

use super::attempts::keep_news;
use super::{Record, Tried};
use crate::model::ContextState;
use crate::pg::conn::ConnError;
use crate::probe::attempt::{Act, Bench, Look};
use crate::probe::trial::Trial;
use crate::probe::write::{Purpose, WriteProbe};

/// Most first and second steps: each pair of them is a message.
const MAX_STEPS: usize = 8;

/// Tries refused writes again after accepted ones, where both are to tables that decide access.
pub(super) async fn chains(bench: &mut Bench<'_>, trial: &Trial<'_>, record: &mut Record) -> Result<(), ConnError> {
    let bound = trial.as_a(ContextState::Bound);
    let of_access = |t: &&Tried| {
        t.state == ContextState::Bound
            && trial.decides_access(t.relation)
            && matches!(t.probe.purpose, Purpose::Plant | Purpose::Move | Purpose::State)
    };
    let firsts: Vec<(u32, WriteProbe)> = record
        .writes
        .iter()
        .filter(of_access)
        .filter(|t| t.effect.error.is_none() && t.effect.changes.iter().any(|c| c.is_new))
        .filter(|t| !opens_alone(trial, record, t))
        .map(|t| (t.relation, t.probe.clone()))
        .take(MAX_STEPS)
        .collect();
    if firsts.is_empty() {
        return Ok(());
    }
    let seconds: Vec<(u32, WriteProbe)> = record
        .writes
        .iter()
        .filter(of_access)
        .filter(|t| t.effect.error.as_ref().is_some_and(|e| e.code == "42501"))
        .map(|t| (t.relation, t.probe.clone()))
        .take(MAX_STEPS)
        .collect();
    let intruder = trial.as_intruder();
    for (relation, first) in &firsts {
        for (then, second) in seconds.iter().filter(|(then, _)| then != relation) {
            let readers: Vec<usize> = (0..record.queries.len()).collect();
            let by_intruder = if intruder.is_some() {
                readers.clone()
            } else {
                Vec::new()
            };
            let mut asked = [readers, Vec::new(), by_intruder];
            let bindings = [&bound, &bound, intruder.as_ref().unwrap_or(&bound)];
            let queries = asked.each_ref().map(|which| super::pick(&record.queries, which));
            let looks: Vec<Look<'_>> = bindings
                .into_iter()
                .zip(&queries)
                .map(|(binding, queries)| Look {
                    binding,
                    queries,
                    where_decided: true,
                })
                .collect();
            let probe = WriteProbe {
                act: Act {
                    prepare: [first.act.prepare.clone(), second.act.prepare.clone()].concat(),
                    ..Act::of(format!("{};\n{}", first.act.sql, second.act.sql))
                },
                ..first.clone()
            };
            let mut effect = bench.attempt(&bound, &probe.act, &[], &looks).await?;
            let before = [&record.one, &record.victim, &record.intruder];
            asked = [0, 1, 2].map(|which| effect.asked(which, &asked[which]));
            for ((looked, asked), before) in effect.looked.iter_mut().zip(&mut asked).zip(before) {
                keep_news(looked, asked, before);
            }
            if effect.error.is_none() {
                record.writes.push(Tried {
                    relation: *then,
                    state: ContextState::Bound,
                    probe,
                    effect,
                    without: None,
                    asked,
                });
            }
        }
    }
    Ok(())
}

/// Whether a write by itself showed rows of B: what it opens further is its own doing.
fn opens_alone(trial: &Trial<'_>, record: &Record, tried: &Tried) -> bool {
    let before = [&record.one, &record.victim, &record.intruder];
    [0, 2].into_iter().any(|which| {
        let seen = tried.effect.looked.get(which).into_iter().flatten();
        tried.asked[which].iter().zip(seen).any(|(at, after)| {
            let query = record.queries.get(*at);
            let relation = query.and_then(|q| trial.catalog.relation(q.relation));
            let before = before[which].get(*at);
            relation
                .zip(before)
                .is_some_and(|(relation, before)| !trial.foreign_among(relation, &after.beyond(before)).is_empty())
        })
    })
}
