//! The order of things for one pair of universes: grow, observe, write, take away, observe again; then judge.
//!
//! All of it happens in one transaction that is rolled back. What needs a commit is in `run::commit`.

mod verdicts;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::catalog::Privileges;
use crate::model::{Catalog, Cell, CellVerdict, ContextState, Function, FunctionKind, Relation, Session};
use crate::pg::conn::{Conn, ConnError, DbError};
use crate::probe::attempt::{Bench, Effect, Look};
use crate::probe::binding::{Binding, has_identity, identity_settings};
use crate::probe::call::{self, Call};
use crate::probe::judge::Hit;
use crate::probe::observe::{self, Query, Seen};
use crate::probe::state::State;
use crate::probe::trial::{Trial, Worlds};
use crate::probe::write::{self, Purpose, WriteProbe};
use crate::sql::quote;
use crate::world::{Classes, Grower, KeyPair, Keys, Universe};

/// What a pair of universes is run with.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What columns mean.
    pub classes: &'a Classes,
    /// Sessions that share their set-up.
    pub sessions: &'a [(&'a Session, Privileges)],
    /// Keys of the universe that belongs to nobody.
    pub common: &'a Keys,
    /// Whether tenants have a parent, so that a base tenant is grown.
    pub base_tenant: bool,
}

/// What one pair showed.
#[derive(Debug, Default)]
pub struct Shown {
    /// Cells; empty for pairs that only observe.
    pub cells: Vec<Cell>,
    /// Faults.
    pub hits: Vec<Hit>,
    /// Tables that stayed empty, with the reason.
    pub unfilled: BTreeMap<u32, String>,
    /// Statements that grew A and the common rows, for the committing phase.
    pub grown: Vec<String>,
    /// Set-up statements that failed.
    pub setup_errors: Vec<String>,
}

/// What a session did and saw in one pair.
#[derive(Debug, Default)]
struct Record {
    queries: Vec<Query>,
    base: Vec<Seen>,
    zero: Vec<Seen>,
    again: Vec<Seen>,
    one: Vec<Seen>,
    victim: Vec<Seen>,
    intruder: Vec<Seen>,
    unset_base: Vec<Seen>,
    unset: Vec<Seen>,
    empty: Vec<Seen>,
    writes: Vec<Tried>,
    calls: Vec<CallTried>,
}

#[derive(Debug)]
struct Tried {
    relation: u32,
    state: ContextState,
    probe: WriteProbe,
    effect: Effect,
    without: Option<Effect>,
    /// Which queries the looks asked: as A, as B, and as A's user in B's tenant.
    asked: [Vec<usize>; 3],
}

#[derive(Debug)]
struct CallTried {
    function: u32,
    call: Call,
    one: Effect,
    zero: Option<(Effect, Effect)>,
    asked: Vec<usize>,
}

/// Runs a pair. `full` also writes and calls; otherwise the pair only observes.
pub async fn run_pair(
    conn: &mut Conn,
    setting: Setting<'_>,
    pair: &KeyPair,
    full: bool,
    progress: &dyn Fn(&str),
) -> Result<Shown, ConnError> {
    conn.query("BEGIN").await?;
    let shown = run_in_transaction(conn, setting, pair, full, progress).await;
    // Whatever happened, the transaction does not stay.
    let superuser = quote::ident(conn.superuser());
    let ended = conn.query("ROLLBACK").await;
    let shown = shown?;
    ended?;
    conn.query(&format!("SET SESSION AUTHORIZATION {superuser}; DISCARD PLANS"))
        .await?;
    Ok(shown)
}

async fn run_in_transaction(
    conn: &mut Conn,
    setting: Setting<'_>,
    pair: &KeyPair,
    full: bool,
    progress: &dyn Fn(&str),
) -> Result<Shown, ConnError> {
    let catalog = setting.catalog;
    let classes = setting.classes;
    let tables: Vec<&Relation> = catalog.tables().filter(|t| !t.is_partition).collect();
    let mut shown = Shown::default();
    let mut records: Vec<Record> = setting
        .sessions
        .iter()
        .map(|(_, p)| Record {
            queries: queries(catalog, p),
            ..Record::default()
        })
        .collect();

    let bindings = identity_bindings(setting.sessions);
    let grower = Grower {
        catalog,
        classes,
        common: None,
        bindings: &bindings,
        rival: None,
    };
    let common = grower
        .grow(conn, setting.common.clone(), |t| {
            classes.is_shared(t.oid) || setting.base_tenant
        })
        .await?;
    let grower = Grower {
        common: Some(&common),
        ..grower
    };
    let mut worlds = Worlds {
        base: State::read(conn, &tables).await?,
        ..Worlds::default()
    };
    for ((session, _), record) in setting.sessions.iter().zip(&mut records) {
        let unset = Binding::new(session, &pair.a, ContextState::Unset);
        if full {
            record.unset_base = observe::observe(conn, &unset, &record.queries).await?;
        }
    }
    conn.query("SAVEPOINT tp_base").await?;

    let mine = |t: &Relation| !classes.is_shared(t.oid);
    let mut a = grower.grow(conn, pair.a.clone(), mine).await?;
    set_up(conn, setting, &mut a, &mut shown).await?;
    worlds.zero = State::read(conn, &tables).await?;
    conn.query("SAVEPOINT tp_zero").await?;
    let against = Grower {
        rival: Some(&pair.a),
        ..grower
    };
    let mut b = against.grow(conn, pair.b.clone(), mine).await?;
    set_up(conn, setting, &mut b, &mut shown).await?;
    worlds.one = State::read(conn, &tables).await?;
    // What cannot be read in one world says nothing in the others.
    worlds.one.limit_to(&worlds.zero);
    worlds.one.limit_to(&worlds.base);
    worlds.zero.limit_to(&worlds.one);
    if !full && b.unfilled.len() > a.unfilled.len() {
        // The schema does not take this pair of keys (a check, an enum): nothing to judge.
        return Ok(shown);
    }
    shown.unfilled = a.unfilled.iter().cloned().collect();
    for universe in [&common, &a] {
        shown.grown.extend(
            universe
                .rows
                .iter()
                .filter(|r| !r.insert.starts_with("--"))
                .map(|r| r.insert.clone()),
        );
        shown.grown.extend(universe.setup.iter().cloned());
    }

    let record_queries: Vec<Vec<Query>> = records.iter().map(|r| r.queries.clone()).collect();
    let trials: Vec<Trial<'_>> = setting
        .sessions
        .iter()
        .zip(&record_queries)
        .map(|((session, privileges), queries)| {
            Trial::new(catalog, classes, session, privileges, &common, &a, &b, &worlds, queries)
        })
        .collect();

    // Never bound first: once a setting was set, it reads '' and not NULL for the rest of the connection.
    progress("without context");
    for (trial, record) in trials.iter().zip(&mut records) {
        record.unset = observe::observe(conn, &trial.as_a(ContextState::Unset), &record.queries).await?;
        if full {
            let mut bench = Bench::new(conn, catalog, classes, worlds.one.clone()).await?;
            stateless_writes(&mut bench, trial, ContextState::Unset, record).await?;
        }
    }
    for (trial, record) in trials.iter().zip(&mut records) {
        if !has_identity(trial.session) {
            continue;
        }
        progress("with both tenants");
        record.one = observe::observe(conn, &trial.as_a(ContextState::Bound), &record.queries).await?;
        if full {
            record.victim = observe::observe(conn, &trial.as_b(), &record.queries).await?;
            let mut bench = Bench::new(conn, catalog, classes, worlds.one.clone()).await?;
            bound_writes(&mut bench, trial, record, progress).await?;
            calls(&mut bench, trial, record, progress).await?;
        }
    }
    for (trial, record) in trials.iter().zip(&mut records) {
        if has_identity(trial.session) && !identity_settings(trial.session).is_empty() {
            record.empty = observe::observe(conn, &trial.as_a(ContextState::Empty), &record.queries).await?;
            if full {
                let mut bench = Bench::new(conn, catalog, classes, worlds.one.clone()).await?;
                stateless_writes(&mut bench, trial, ContextState::Empty, record).await?;
            }
        }
    }

    progress("with one tenant");
    conn.query("ROLLBACK TO SAVEPOINT tp_zero").await?;
    for (trial, record) in trials.iter().zip(&mut records) {
        if !has_identity(trial.session) {
            continue;
        }
        let bound = trial.as_a(ContextState::Bound);
        record.zero = observe::observe(conn, &bound, &record.queries).await?;
        // Only where the worlds differ does it matter whether one world differs from itself.
        let differs = |at: &usize| record.zero.get(*at) != record.one.get(*at);
        record.again = observe_some(conn, &bound, &record.queries, differs, &record.zero).await?;
        if full {
            let mut bench = Bench::new(conn, catalog, classes, worlds.zero.clone()).await?;
            replay(&mut bench, trial, record).await?;
        }
    }
    conn.query("ROLLBACK TO SAVEPOINT tp_base").await?;
    for (trial, record) in trials.iter().zip(&mut records) {
        if full && has_identity(trial.session) {
            record.base = observe::observe(conn, &trial.as_a(ContextState::Bound), &record.queries).await?;
        } else if !full {
            // What is A's own decides cells, and these are those of the plain pair.
            let nothing = vec![Seen::Rows(Vec::new()); record.queries.len()];
            let shows = |at: &usize| {
                let stateless = [record.unset.get(*at), record.empty.get(*at)];
                stateless.into_iter().flatten().any(|s| !s.rows().is_empty())
            };
            let unset = trial.as_a(ContextState::Unset);
            record.unset_base = observe_some(conn, &unset, &record.queries, shows, &nothing).await?;
            record.base = nothing;
        }
    }
    for (trial, record) in trials.iter().zip(&records) {
        verdicts::judge(trial, record, pair.purpose, full, &mut shown);
    }
    for (oid, why) in &shown.unfilled {
        let name = catalog.relation(*oid).map(|r| r.name.to_string());
        let is_theirs = |c: &&mut Cell| c.verdict == CellVerdict::Vacuous && Some(&c.object) == name.as_ref();
        // A cell that says itself that it timed out knows better.
        for cell in shown.cells.iter_mut().filter(is_theirs) {
            if !cell.reason.as_ref().is_some_and(|r| r.starts_with("timed out")) {
                cell.reason = Some(format!("the table stayed empty: {why}"));
            }
        }
    }
    Ok(shown)
}

/// Runs those queries that are wanted; the others show what is given for them.
async fn observe_some(
    conn: &mut Conn,
    binding: &Binding,
    queries: &[Query],
    wanted: impl Fn(&usize) -> bool,
    others: &[Seen],
) -> Result<Vec<Seen>, ConnError> {
    let places: Vec<usize> = (0..queries.len()).filter(wanted).collect();
    let seen = observe::observe(conn, binding, &pick(queries, &places)).await?;
    let mut all = others.to_vec();
    for (at, seen) in places.into_iter().zip(seen) {
        all[at] = seen;
    }
    Ok(all)
}

/// Settings by which the sessions say who they are, as templates: for rows that only a bound request can make.
fn identity_bindings(sessions: &[(&Session, Privileges)]) -> Vec<(String, String)> {
    let mut bindings: Vec<(String, String)> = Vec::new();
    for (session, _) in sessions {
        for name in identity_settings(session) {
            if !bindings.iter().any(|(known, _)| known == name)
                && let Some(template) = session.settings.get(name)
            {
                bindings.push((name.to_owned(), template.clone()));
            }
        }
    }
    bindings
}

/// Queries over everything the role may read.
fn queries(catalog: &Catalog, privileges: &Privileges) -> Vec<Query> {
    catalog
        .relations
        .iter()
        .filter_map(|r| observe::query_of(r, privileges.relations.get(&r.oid)?))
        .collect()
}

/// Runs the target's set-up statements for a universe.
async fn set_up(
    conn: &mut Conn,
    setting: Setting<'_>,
    universe: &mut Universe,
    shown: &mut Shown,
) -> Result<(), ConnError> {
    // Sessions of one setting share their set-up: that of the first is that of all.
    let Some((session, _)) = setting.sessions.first() else {
        return Ok(());
    };
    for template in &session.setup {
        let statement = universe.keys.fill(template, |key| key.replace('\'', "''"));
        let outcome = conn.run(&format!("SAVEPOINT tp_setup; {statement}")).await?;
        match outcome.error {
            None => {
                conn.query("RELEASE SAVEPOINT tp_setup").await?;
                universe.setup.push(statement);
            }
            Some(error) => {
                conn.query("ROLLBACK TO SAVEPOINT tp_setup").await?;
                shown
                    .setup_errors
                    .push(format!("session `{}`: {error} [{statement}]", session.name));
            }
        }
    }
    Ok(())
}

/// Relations that a session may write at all.
fn writable<'a>(trial: &Trial<'a>) -> Vec<&'a Relation> {
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
                && (r.kind.holds_rows() || r.kind == crate::model::RelationKind::View)
        })
        .collect()
}

/// Which queries to ask again after an accepted write to a relation whose rows decide what others show: all, or in a large
/// schema those that may read it.
fn asked_after(trial: &Trial<'_>, record: &Record, relation: &Relation) -> Vec<usize> {
    let holder = trial.holder_oid(relation);
    let source = write::source(trial, relation).map(|s| s.oid);
    if !trial.decides_access(holder) && !source.is_some_and(|oid| trial.decides_access(oid)) {
        return Vec::new();
    }
    let all = 0..record.queries.len();
    if all.len() <= ASKED_ALL {
        return all.collect();
    }
    let changed: Vec<u32> = written_with(trial, relation).into_iter().chain(source).collect();
    let readers = trial.classes.reach().readers_of(&changed);
    all.filter(|at| readers.contains(&record.queries[*at].relation))
        .collect()
}

/// Most relations that are all asked again, whatever reads what.
const ASKED_ALL: usize = 64;

fn pick<T: Clone>(from: &[T], which: &[usize]) -> Vec<T> {
    which.iter().filter_map(|at| from.get(*at).cloned()).collect()
}

async fn bound_writes(
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
                let mut asked = asked.clone();
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
fn keep_news(looked: &mut Vec<Seen>, asked: &mut Vec<usize>, before: &[Seen]) {
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
fn written_with(trial: &Trial<'_>, relation: &Relation) -> BTreeSet<u32> {
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

async fn stateless_writes(
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
fn callable<'a>(trial: &Trial<'a>) -> Vec<&'a Function> {
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

async fn calls(
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
        let writes = function.volatility == crate::model::Volatility::Volatile;
        let asked = if writes { all.clone() } else { Vec::new() };
        let again = pick(&record.queries, &asked);
        bench.expect([]);
        loop {
            let from = record.calls.len();
            for call in call::calls(trial, function) {
                let looks = [Look {
                    binding: &bound,
                    queries: &again,
                    where_decided: true,
                }];
                let act = crate::probe::attempt::Act::of(call.sql.clone());
                let mut one = bench.attempt(&bound, &act, &watch, &looks).await?;
                let hangs = is_hanging(&one);
                let mut asked = asked.clone();
                if let Some(looked) = one.looked.first_mut() {
                    keep_news(looked, &mut asked, &record.one);
                }
                record.calls.push(CallTried {
                    function: function.oid,
                    call,
                    one,
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
async fn replay(bench: &mut Bench<'_>, trial: &Trial<'_>, record: &mut Record) -> Result<(), ConnError> {
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
        let act = crate::probe::attempt::Act::of(tried.call.sql.clone());
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
