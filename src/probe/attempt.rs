//! One attempt: a statement run as a session under a savepoint, what came back, and what it changed; then undone.

use std::collections::{BTreeMap, BTreeSet};

mod shield;

use super::binding::Binding;
use super::observe::{self, Query, Seen};
use super::state::{Change, State};
use crate::model::{Catalog, Relation};
use crate::pg::conn::{Conn, ConnError, DbError, Rows};
use crate::sql::quote;
use crate::world::Classes;

/// What an attempt did.
#[derive(Debug, Clone, Default)]
pub struct Effect {
    /// The error that ended it.
    pub error: Option<DbError>,
    /// What the statement returned.
    pub rows: Rows,
    /// Rows that came or went, in any table.
    pub changes: Vec<Change>,
    /// `current_user`, `session_user` and the watched settings, after the statement.
    pub identity: Vec<Option<String>>,
    /// What the second look saw (see [`Look`]), of the queries that may show something else.
    pub looked: Vec<Vec<Seen>>,
    /// Which of each look's queries those are.
    looked_at: Vec<Vec<usize>>,
}

impl Effect {
    /// Of what a look was to ask, what it asked: places elsewhere that go with the look's queries, narrowed to those.
    pub fn asked(&self, look: usize, places: &[usize]) -> Vec<usize> {
        let at = self.looked_at.get(look).into_iter().flatten();
        at.filter_map(|at| places.get(*at).copied()).collect()
    }

    /// SQLSTATE, or `ok`.
    pub fn code(&self) -> &str {
        self.error.as_ref().map_or("ok", |e| &e.code)
    }
}

/// Looking again after an accepted statement.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// As whom.
    pub binding: &'a Binding,
    /// At what.
    pub queries: &'a [Query],
    /// Only where the statement changed rows that decide what others show.
    pub where_decided: bool,
}

/// A statement to try.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Act {
    /// Statements run before, as superuser.
    pub prepare: Vec<String>,
    /// One statement, run as the session.
    pub sql: String,
    /// A table to read again whatever the counters say: TRUNCATE moves none of them.
    pub reread: Option<u32>,
}

impl Act {
    /// A statement without preparation.
    pub fn of(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            ..Self::default()
        }
    }
}

/// Runs attempts against one world.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The connection, within a transaction.
    pub conn: &'a mut Conn,
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What columns and tables mean.
    pub classes: &'a Classes,
    /// What the tables hold now.
    pub baseline: State,
    counters: BTreeMap<u32, i64>,
    /// Tables whose counters are asked for after each attempt; none for all. See [`Bench::strays`].
    watched: Option<BTreeSet<u32>>,
    /// Tables that were written to without having been expected.
    strayed: BTreeSet<u32>,
}

impl<'a> Bench<'a> {
    /// A bench over the world as it is now.
    pub async fn new(
        conn: &'a mut Conn,
        catalog: &'a Catalog,
        classes: &'a Classes,
        baseline: State,
    ) -> Result<Self, ConnError> {
        let mut bench = Self {
            conn,
            catalog,
            classes,
            baseline,
            counters: BTreeMap::new(),
            watched: None,
            strayed: BTreeSet::new(),
        };
        bench.strays().await?;
        if bench.conn.is_embedded() {
            bench.conn.query(shield::HELPER).await?;
        }
        Ok(bench)
    }

    /// Expects attempts to write to these tables and to no other: only their counters are asked for, until
    /// [`Self::expect_any`]. Whether that was right is for [`Self::strays`] to say.
    pub fn expect(&mut self, tables: impl IntoIterator<Item = u32>) {
        let mut expected: BTreeSet<u32> = tables.into_iter().collect();
        expected.extend(&self.strayed);
        self.watched = Some(expected);
    }

    /// Attempts may write to any table.
    pub fn expect_any(&mut self) {
        self.watched = None;
    }

    /// Whether attempts wrote to tables that were not expected. They are from now on; what was tried since
    /// [`Self::expect`] has to be tried again, for it was judged without them.
    pub async fn strays(&mut self) -> Result<bool, ConnError> {
        let sql = counters(self.catalog.tables().map(|t| t.oid));
        let rows = self.conn.query(&sql).await?.pop().unwrap_or_default();
        let mut moved = self.touched(&rows);
        let Some(watched) = &mut self.watched else {
            return Ok(false);
        };
        moved.retain(|oid| watched.insert(*oid));
        // A few tables that everything writes to (logs) are remembered; those of one relation are not worth it.
        self.strayed
            .extend(moved.iter().take(MAX_STRAYED.saturating_sub(self.strayed.len())));
        Ok(!moved.is_empty())
    }

    /// Runs one statement as the session and undoes it. `watch` names settings to report after it.
    pub async fn attempt(
        &mut self,
        binding: &Binding,
        act: &Act,
        watch: &[&str],
        looks: &[Look<'_>],
    ) -> Result<Effect, ConnError> {
        let superuser = quote::ident(self.conn.superuser());
        let settings: String = watch
            .iter()
            .map(|name| format!(", pg_catalog.current_setting({}, true)", quote::literal(name)))
            .collect();
        let prepare: String = act.prepare.iter().map(|s| format!("{s}; ")).collect();
        let shielded = self.conn.spares_errors().then(|| shield::around(&act.sql));
        let sql = shielded.as_deref().unwrap_or(&act.sql);
        let settings = settings + if shielded.is_some() { shield::ERROR } else { "" };
        let (limit, limited) = self.conn.limits();
        let counters = match &self.watched {
            Some(watched) => counters(watched.iter().copied()),
            None => counters(self.catalog.tables().map(|t| t.oid)),
        };
        let outcome = self
            .conn
            .run(&format!(
                "SAVEPOINT tp_attempt; {limit}SET CONSTRAINTS ALL IMMEDIATE; {prepare} {bind} {sql}; \
                 SELECT current_user::text, session_user::text{settings}; \
                 SET LOCAL SESSION AUTHORIZATION {superuser}; {counters}",
                bind = binding.sql(),
            ))
            .await?;
        let mut effect = Effect {
            error: outcome.error,
            ..Effect::default()
        };
        let mut moved = Rows::new();
        if effect.error.is_none() {
            let mut results = outcome
                .results
                .into_iter()
                .skip(2 + limited + act.prepare.len() + binding.statements());
            effect.rows = results.next().map(|r| r.rows).unwrap_or_default();
            let mut tail: Vec<Rows> = results.map(|r| r.rows).collect();
            moved = tail.pop().unwrap_or_default();
            effect.identity = tail
                .into_iter()
                .find(|rows| rows.len() == 1)
                .and_then(|mut r| r.pop())
                .unwrap_or_default();
            if shielded.is_some() {
                effect.error = effect.identity.pop().flatten().and_then(|text| shield::error(&text));
            }
        }
        if effect.error.is_some() {
            effect.rows.clear();
            effect.identity.clear();
        } else {
            let mut touched = self.touched(&moved);
            touched.extend(act.reread);
            if !touched.is_empty() {
                let tables: Vec<&Relation> = self.roots_of(&touched);
                let now = State::read(self.conn, &tables).await?;
                effect.changes = self.baseline.changes(&now);
                let is_known = |t: &&&Relation| now.0.contains_key(&t.oid) && self.baseline.0.contains_key(&t.oid);
                if let Some(table) = tables.iter().find(|t| !is_known(t)) {
                    effect.error = Some(DbError::unread(&table.name.to_string()));
                }
            }
            // A statement that changed nothing that decides access opened nothing.
            let decided = self.decides(&effect.changes);
            for look in looks {
                let is_due = if look.where_decided {
                    decided
                } else {
                    !effect.changes.is_empty()
                };
                let at = if is_due {
                    self.readers(&effect.changes, look.queries)
                } else {
                    Vec::new()
                };
                let queries: Vec<Query> = at.iter().map(|at| look.queries[*at].clone()).collect();
                effect
                    .looked
                    .push(observe::observe(self.conn, look.binding, &queries).await?);
                effect.looked_at.push(at);
            }
        }
        self.conn.defer(&[
            "ROLLBACK TO SAVEPOINT tp_attempt",
            &format!("SET LOCAL SESSION AUTHORIZATION {superuser}"),
            "RELEASE SAVEPOINT tp_attempt",
        ]);
        Ok(effect)
    }

    /// Whether rows that decide access came or went, or changed in a column that anything which decides looks at.
    fn decides(&self, changes: &[Change]) -> bool {
        let reach = self.classes.reach();
        changes
            .iter()
            .filter(|c| self.classes.is_authority(c.relation))
            .any(|change| {
                let Some(table) = self.catalog.relation(change.relation) else {
                    return true;
                };
                let Some(key) = table.primary_key() else { return true };
                let at = |name: &String| table.columns.iter().position(|c| c.name == *name);
                let places: Vec<usize> = key.columns.iter().filter_map(at).collect();
                let is_same = |other: &&Change| {
                    other.relation == change.relation
                        && other.is_new != change.is_new
                        && places.iter().all(|at| other.row.get(*at) == change.row.get(*at))
                };
                // A row that is new, or gone, decides; one that was changed does by what was changed.
                changes.iter().find(is_same).is_none_or(|other| {
                    let columns = table.columns.iter().zip(change.row.iter().zip(&other.row));
                    columns
                        .filter(|(_, (one, other))| one != other)
                        .any(|(column, _)| reach.decides_by(&column.name))
                })
            })
    }

    /// Queries that may show something else once these rows changed.
    fn readers(&self, changes: &[Change], queries: &[Query]) -> Vec<usize> {
        if queries.len() <= ASKED_ALL {
            return (0..queries.len()).collect();
        }
        let mut changed: BTreeSet<u32> = BTreeSet::new();
        let mut waiting: Vec<u32> = changes.iter().map(|c| c.relation).collect();
        while let Some(oid) = waiting.pop() {
            if changed.insert(oid) {
                waiting.extend(self.catalog.children(oid).map(|c| c.oid));
            }
        }
        let changed: Vec<u32> = changed.into_iter().collect();
        let readers = self.classes.reach().readers_of(&changed);
        let places = 0..queries.len();
        places.filter(|at| readers.contains(&queries[*at].relation)).collect()
    }

    /// Tables whose counters moved since the last look.
    fn touched(&mut self, rows: &Rows) -> Vec<u32> {
        let mut touched = Vec::new();
        for row in rows {
            if let [Some(oid), Some(count)] = row.as_slice()
                && let (Ok(oid), Ok(count)) = (oid.parse::<u32>(), count.parse::<i64>())
                && self.counters.insert(oid, count) != Some(count)
            {
                touched.push(oid);
            }
        }
        touched
    }

    /// The tables that hold the rows of these: a partition's rows are read through its topmost parent.
    fn roots_of(&self, touched: &[u32]) -> Vec<&'a Relation> {
        let catalog: &'a Catalog = self.catalog;
        let mut roots: Vec<&Relation> = Vec::new();
        for oid in touched {
            let Some(mut relation) = catalog.relation(*oid) else {
                continue;
            };
            while relation.is_partition {
                let Some(parent) = relation.parents.first().and_then(|p| catalog.relation(*p)) else {
                    break;
                };
                relation = parent;
            }
            if relation.kind.holds_rows() && !roots.iter().any(|r| r.oid == relation.oid) {
                roots.push(relation);
            }
        }
        roots
    }
}

/// Most relations that are all asked again, whatever reads what.
const ASKED_ALL: usize = 16;

/// Most tables that are watched because something once wrote to them unexpectedly.
const MAX_STRAYED: usize = 32;

/// Rows written to these tables in this transaction, as text. Counts also what was rolled back to a savepoint: a counter
/// that moved only says where to look. The view `pg_stat_xact_user_tables` says the same, but walks the whole catalog.
fn counters(tables: impl Iterator<Item = u32>) -> String {
    let oids: Vec<String> = tables.map(|oid| oid.to_string()).collect();
    let written = "pg_catalog.pg_stat_get_xact_tuples_inserted(t) + pg_catalog.pg_stat_get_xact_tuples_updated(t) + pg_catalog.pg_stat_get_xact_tuples_deleted(t)";
    format!(
        "SELECT t::text, w::text FROM (SELECT t, {written} AS w FROM pg_catalog.unnest('{{{}}}'::pg_catalog.oid[]) AS t OFFSET 0) AS c WHERE w > 0",
        oids.join(",")
    )
}
