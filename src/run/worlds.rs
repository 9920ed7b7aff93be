//! The order of things for one pair of universes: grow, observe, write, take away, observe again; then judge.
//!
//! All of it happens in one transaction that is rolled back. What needs a commit is in `run::commit`.

mod addresses;
mod attempts;
mod chains;
mod colleagues;
mod disguised;
mod ended;
mod verdicts;

use std::collections::BTreeMap;

use attempts::{bound_writes, callable, calls, pick, replay, stateless_writes, writable};

pub(super) use verdicts::VISITOR;

use super::territory::Territories;
use crate::model::catalog::Privileges;
use crate::model::{Catalog, Cell, CellVerdict, ContextState, Relation, RelationKind, Session};
use crate::pg::conn::{Conn, ConnError};
use crate::probe::attempt::{Bench, Effect};
use crate::probe::binding::{Binding, has_identity, identity_settings};
use crate::probe::call::Call;
use crate::probe::judge::Hit;
use crate::probe::observe::{self, Query, Seen};
use crate::probe::ploy::{self, Played};
use crate::probe::state::State;
use crate::probe::trial::{Trial, Worlds};
use crate::probe::write::WriteProbe;
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
    /// What the roles may do that a session reaches by SET ROLE.
    pub of_roles: &'a BTreeMap<String, Privileges>,
    /// Schemas of tenants, where each has one.
    pub territories: &'a Territories,
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
    guises: Vec<disguised::Disguised>,
    played: Vec<Played>,
    ended: ended::Ended,
    colleagues: Vec<colleagues::Moved>,
    addresses: Vec<addresses::Opened>,
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
    /// The same without B's rows that are public by their state.
    unpublished: Option<Effect>,
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
        like: None,
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

    let owned_by = |tenant: &str| {
        let tenant = tenant.to_owned();
        move |t: &Relation| {
            let schema = &t.name.schema;
            !classes.is_shared(t.oid) && (!setting.territories.schemas.contains(schema) || *schema == tenant)
        }
    };
    let mut a = grower.grow(conn, pair.a.clone(), owned_by(&pair.a.tenant)).await?;
    set_up(conn, setting, &mut a, &mut shown).await?;
    refresh(conn, catalog, &mut a).await?;
    worlds.zero = State::read(conn, &tables).await?;
    conn.query("SAVEPOINT tp_zero").await?;
    let against = Grower {
        rival: Some(&pair.a),
        like: full.then_some(&a),
        ..grower
    };
    let mut b = against.grow(conn, pair.b.clone(), owned_by(&pair.b.tenant)).await?;
    set_up(conn, setting, &mut b, &mut shown).await?;
    refresh(conn, catalog, &mut b).await?;
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
        // A role of its own says who asks: there is no state without it.
        if has_identity(trial.session) && identity_settings(trial.session).is_empty() {
            continue;
        }
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
            record.guises = disguised::look(conn, trial, setting.of_roles, &record.queries).await?;
            let mut bench = Bench::new(conn, catalog, classes, worlds.one.clone()).await?;
            bound_writes(&mut bench, trial, record, progress).await?;
            chains::chains(&mut bench, trial, record).await?;
            record.colleagues = colleagues::moves(&mut bench, trial, record).await?;
            record.addresses = addresses::claims(&mut bench, trial, record).await?;
            calls(&mut bench, trial, record, progress).await?;
            record.played = ploy::play(conn, trial).await?;
            let with = if trial.as_intruder().is_some() {
                &record.intruder
            } else {
                &record.one
            };
            record.ended = ended::look(conn, trial, &record.queries, with).await?;
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
            ploy::replay(conn, trial, &mut record.played).await?;
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

/// Materialized views hold what was there when they were refreshed, as a job would do it from time to time.
async fn refresh(conn: &mut Conn, catalog: &Catalog, universe: &mut Universe) -> Result<(), ConnError> {
    let views = catalog
        .relations
        .iter()
        .filter(|r| r.kind == RelationKind::MaterializedView);
    for view in views {
        let statement = format!("REFRESH MATERIALIZED VIEW {}", view.name);
        let outcome = conn
            .run(&format!(
                "SAVEPOINT tp_refresh; SET CONSTRAINTS ALL IMMEDIATE; {statement}"
            ))
            .await?;
        if outcome.error.is_none() {
            universe.setup.push(statement);
        } else {
            conn.query("ROLLBACK TO SAVEPOINT tp_refresh").await?;
        }
        conn.query("RELEASE SAVEPOINT tp_refresh").await?;
    }
    Ok(())
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
