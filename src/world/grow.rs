//! Grows one universe: rows in every table, related by foreign keys, all of one tenant.
//!
//! Each row is inserted as superuser under a savepoint; what the server refuses is mended from what it says (a CHECK is
//! solved by asking the server, a used key gets a fresh one, a missing parent is grown) or recorded with the reason.

mod adopt;
mod insert;
mod mend;
mod parents;
mod paths;
mod plan;
mod polymorphic;
mod rules;
mod solve;
mod states;
pub use paths::paths;
pub use states::closings;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use super::classes::Classes;
use super::keys::Keys;
use crate::model::{Catalog, Generated, Identity, Relation, UniqueKey};
use crate::pg::conn::{Conn, ConnError};
use crate::sql::quote;
use rules::{Memory, Rules};

/// Values of a row by column, as text.
pub type Values = BTreeMap<String, Option<String>>;

/// Why a row is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variant {
    /// The row that others refer to.
    Base,
    /// A second row, to which nothing refers.
    Leaf,
    /// A row in a state that some policy, view or check distinguishes.
    State {
        /// The column.
        column: String,
        /// Its value.
        value: Option<String>,
    },
    /// A relationship with the other tenant that has ended, or has not begun: it must open nothing.
    Closed {
        /// The column that says so.
        column: String,
    },
    /// A row of another table needed it as a parent.
    Parent,
    /// A row that would fit; not kept.
    Candidate,
}

/// One row of a universe.
#[derive(Debug, Clone)]
pub struct GrownRow {
    /// Its table.
    pub relation: u32,
    /// Its values as stored.
    pub values: Values,
    /// Why it is there.
    pub variant: Variant,
    /// The statement that made it.
    pub insert: String,
}

/// The rows of one tenant.
#[derive(Debug, Clone)]
pub struct Universe {
    /// Its keys.
    pub keys: Keys,
    /// Rows in the order they were made.
    pub rows: Vec<GrownRow>,
    /// Tables without a row, with the reason.
    pub unfilled: Vec<(u32, String)>,
    /// Statements run after growth, as the target asks.
    pub setup: Vec<String>,
    /// Rows that would fit but were not made, by table: what the tenant could insert.
    pub candidates: BTreeMap<u32, Values>,
    /// Tables in which no further row fits: their candidate takes the place of one that is there.
    pub replaced: BTreeSet<u32>,
    /// Rows that the schema itself put into tables that belong to no tenant.
    seeds: BTreeMap<u32, Vec<Values>>,
    /// Values of columns that are compared with one another (see [`Classes::group`]).
    groups: HashMap<usize, String>,
    /// Counter behind distinct values.
    counter: u64,
    /// Which rows are of which table.
    by_table: HashMap<u32, Vec<usize>>,
    /// What was learned of the tables while growing, for the universes that follow.
    memory: Arc<Mutex<Memory>>,
}

impl Universe {
    /// An empty universe.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            rows: Vec::new(),
            unfilled: Vec::new(),
            setup: Vec::new(),
            candidates: BTreeMap::new(),
            replaced: BTreeSet::new(),
            seeds: BTreeMap::new(),
            groups: HashMap::new(),
            counter: 0,
            by_table: HashMap::new(),
            memory: Arc::default(),
        }
    }

    /// Rows of one table.
    pub fn rows_of(&self, relation: u32) -> impl Iterator<Item = &GrownRow> {
        self.by_table
            .get(&relation)
            .into_iter()
            .flatten()
            .filter_map(|at| self.rows.get(*at))
    }

    /// The row that stands for the table: its base row.
    pub fn base(&self, relation: u32) -> Option<&GrownRow> {
        self.rows_of(relation).next()
    }

    fn push(&mut self, row: GrownRow) -> usize {
        let at = self.rows.len();
        self.by_table.entry(row.relation).or_default().push(at);
        self.rows.push(row);
        at
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

/// What growing needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Grower<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What columns mean.
    pub classes: &'a Classes,
    /// The universe that belongs to nobody, once it is grown.
    pub common: Option<&'a Universe>,
    /// Settings by which requests say who they are, as templates: for triggers that ask.
    pub bindings: &'a [(String, String)],
    /// The other tenant, who is named in relationships that have ended.
    pub rival: Option<&'a Keys>,
    /// The other tenant's rows, whose names within the tenant this one uses as well.
    pub like: Option<&'a Universe>,
}

/// A row that could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

type Made<T> = Result<Result<T, Refusal>, ConnError>;

/// A row that is wanted.
#[derive(Debug, Clone)]
struct Wish {
    variant: Variant,
    /// Values that it must have.
    fixed: Values,
    /// The partition that it is for.
    partition: Option<u32>,
}

impl Wish {
    fn of(variant: Variant) -> Self {
        Self {
            variant,
            fixed: Values::new(),
            partition: None,
        }
    }

    fn with(variant: Variant, fixed: Values) -> Self {
        Self {
            variant,
            fixed,
            partition: None,
        }
    }
}

/// A row that can only be made in one statement with the row that it refers to.
#[derive(Debug)]
struct Waiting {
    /// Its table.
    table: u32,
    /// Its place in the universe.
    at: usize,
    row: Values,
    /// The table whose row it waits for.
    needs: u32,
}

/// One universe in the making.
struct Growth<'g, 'c> {
    grower: Grower<'g>,
    conn: &'c mut Conn,
    universe: Universe,
    tables: HashMap<u32, &'g Relation>,
    partitions: HashMap<u32, Vec<u32>>,
    /// Foreign key columns that refer to a column.
    referring: HashMap<(u32, String), Vec<(u32, String)>>,
    /// Tables that lead to no tenant.
    unowned: BTreeSet<u32>,
    rules: HashMap<u32, Arc<Rules>>,
    /// Tables of the rows that are being made, the outermost first, and for each the table that it waits for.
    making: Vec<(u32, Option<u32>)>,
    /// Key values that rows being made will have, because others refer to them already.
    promised: BTreeMap<u32, Values>,
    waiting: Vec<Waiting>,
    /// Foreign keys that were left NULL because they close a circle.
    cut: Vec<(u32, usize)>,
    /// Tables with rows that a deferred constraint does not take yet.
    pending: BTreeSet<u32>,
    /// Tables whose rows are made without triggers.
    forced: BTreeSet<u32>,
    has_helpers: bool,
    /// Keys that the server said are taken, though no row of the universe has them.
    taken: HashSet<(u32, Vec<String>, Vec<Option<String>>)>,
}

impl<'a> Grower<'a> {
    /// Grows a universe over the tables that `wanted` selects.
    pub async fn grow(
        &self,
        conn: &mut Conn,
        keys: Keys,
        wanted: impl Fn(&Relation) -> bool,
    ) -> Result<Universe, ConnError> {
        let order = self.in_order();
        let mut forced = BTreeSet::new();
        loop {
            conn.query("SAVEPOINT tp_universe; SET CONSTRAINTS ALL DEFERRED")
                .await?;
            let mut growth = Growth::new(*self, conn, keys.clone(), forced.clone());
            growth.run(&order, &wanted).await?;
            let (universe, unsettled) = growth.settle().await?;
            // Deferred constraints that nothing fulfils: those rows are made without triggers in another go.
            if unsettled.is_subset(&forced) {
                conn.query("RELEASE SAVEPOINT tp_universe").await?;
                return Ok(universe);
            }
            conn.query("ROLLBACK TO SAVEPOINT tp_universe; RELEASE SAVEPOINT tp_universe")
                .await?;
            forced.extend(unsettled);
        }
    }

    /// Tables that take rows, parents before children.
    fn in_order(&self) -> Vec<&'a Relation> {
        let tables: Vec<&Relation> = self.catalog.tables().filter(|t| !t.is_partition).collect();
        let held: HashSet<u32> = tables.iter().map(|t| t.oid).collect();
        let mut order: Vec<&Relation> = Vec::with_capacity(tables.len());
        let mut placed: HashSet<u32> = HashSet::new();
        let mut rest = tables;
        for strict in [true, false] {
            loop {
                let (ready, waiting): (Vec<&Relation>, Vec<&Relation>) = rest.iter().copied().partition(|t| {
                    t.foreign_keys.iter().all(|key| {
                        key.references == t.oid
                            || placed.contains(&key.references)
                            || (!strict && key.columns.iter().any(|c| t.column(c).is_some_and(|c| !c.not_null)))
                            || !held.contains(&key.references)
                    })
                });
                if ready.is_empty() {
                    break;
                }
                placed.extend(ready.iter().map(|t| t.oid));
                order.extend(ready);
                rest = waiting;
            }
        }
        order.extend(rest);
        order
    }
}

impl<'g, 'c> Growth<'g, 'c> {
    fn new(grower: Grower<'g>, conn: &'c mut Conn, keys: Keys, forced: BTreeSet<u32>) -> Self {
        let catalog = grower.catalog;
        let mut universe = Universe::new(keys);
        if let Some(common) = grower.common {
            universe.memory = Arc::clone(&common.memory);
        }
        let mut partitions: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut referring: HashMap<(u32, String), Vec<(u32, String)>> = HashMap::new();
        for table in catalog.tables() {
            for parent in table.parents.iter().filter(|_| table.is_partition) {
                partitions.entry(*parent).or_default().push(table.oid);
            }
            for key in &table.foreign_keys {
                for (here, there) in key.columns.iter().zip(&key.referenced_columns) {
                    let to = referring.entry((key.references, there.clone())).or_default();
                    to.push((table.oid, here.clone()));
                }
            }
        }
        Self {
            grower,
            conn,
            universe,
            tables: catalog.tables().map(|t| (t.oid, t)).collect(),
            partitions,
            referring,
            unowned: unowned(catalog, grower.classes),
            rules: HashMap::new(),
            making: Vec::new(),
            promised: BTreeMap::new(),
            waiting: Vec::new(),
            cut: Vec::new(),
            pending: BTreeSet::new(),
            forced,
            has_helpers: false,
            taken: HashSet::new(),
        }
    }

    async fn run(&mut self, order: &[&'g Relation], wanted: &impl Fn(&Relation) -> bool) -> Result<(), ConnError> {
        if self.grower.common.is_none() {
            self.read_seeds().await?;
        }
        for table in order.iter().copied().filter(|t| wanted(t)) {
            if self.universe.base(table.oid).is_none()
                && let Err(Refusal(reason)) = self.insert(table, &Wish::of(Variant::Base), 0).await?
            {
                self.universe.unfilled.push((table.oid, reason));
                continue;
            }
            // A second row may not fit (one row a tenant); states may contradict a check. Neither is a fault.
            let _ = self.insert(table, &Wish::of(Variant::Leaf), 0).await?;
            for wish in self.states(table) {
                let _ = self.insert(table, &wish, 0).await?;
            }
            if let Some(fixed) = self
                .grower
                .like
                .and_then(|l| states::namesake(self.grower.classes, table, l))
            {
                let _ = self.insert(table, &Wish::with(Variant::Leaf, fixed), 0).await?;
            }
            if let Some(rival) = self.grower.rival {
                for (column, fixed) in
                    states::closed_relationships(self.grower.catalog, self.grower.classes, table, rival)
                {
                    let _ = self
                        .insert(table, &Wish::with(Variant::Closed { column }, fixed), 0)
                        .await?;
                }
            }
            if self.insert(table, &Wish::of(Variant::Candidate), 0).await?.is_err() {
                self.replace_one(table);
            }
            for wish in self.partition_candidates(table) {
                let _ = self.insert(table, &wish, 0).await?;
            }
            if !self.pending.is_empty() {
                self.try_settle().await?;
            }
        }
        if self.grower.common.is_some() {
            let tables: Vec<&'g Relation> = order.iter().copied().filter(|t| wanted(t)).collect();
            self.at_paths(&tables).await?;
        }
        self.close_circles().await
    }

    /// Offers a row that is there as what the tenant could insert, where no further one fits.
    fn replace_one(&mut self, table: &Relation) {
        let rows: Vec<&GrownRow> = self.universe.rows_of(table.oid).collect();
        let leaf = rows.iter().find(|r| r.variant == Variant::Leaf);
        let Some(row) = leaf.or(rows.first()).filter(|_| !self.forced.contains(&table.oid)) else {
            return;
        };
        let given = |name: &str| table.column(name).is_some_and(|c| c.is_insertable() && !c.is_serial());
        let values: Values = row
            .values
            .iter()
            .filter(|(c, _)| given(c))
            .map(|(c, v)| (c.clone(), v.clone()))
            .collect();
        self.universe.candidates.insert(table.oid, values);
        self.universe.replaced.insert(table.oid);
    }

    /// Whether deferred constraints are content now.
    async fn try_settle(&mut self) -> Result<(), ConnError> {
        let outcome = self
            .conn
            .run("SAVEPOINT tp_settle; SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; RELEASE SAVEPOINT tp_settle")
            .await?;
        if outcome.error.is_some() {
            self.conn
                .query("ROLLBACK TO SAVEPOINT tp_settle; RELEASE SAVEPOINT tp_settle")
                .await?;
        } else {
            self.pending.clear();
        }
        Ok(())
    }

    /// The universe, and tables with rows that deferred constraints do not take.
    async fn settle(mut self) -> Result<(Universe, BTreeSet<u32>), ConnError> {
        if !self.pending.is_empty() {
            self.try_settle().await?;
        }
        Ok((self.universe, self.pending))
    }

    /// Rows that the schema put into tables of no tenant, where others refer to them.
    async fn read_seeds(&mut self) -> Result<(), ConnError> {
        let referred: BTreeSet<u32> = self.referring.keys().map(|(oid, _)| *oid).collect();
        let tables: Vec<&Relation> = self
            .grower
            .catalog
            .tables()
            .filter(|t| !t.is_partition && referred.contains(&t.oid) && self.unowned.contains(&t.oid))
            .filter(|t| !t.columns.is_empty() && !is_keyed_at_random(t))
            .collect();
        for some in tables.chunks(200) {
            let queries: Vec<String> = some
                .iter()
                .map(|t| format!("SELECT {} FROM {} ORDER BY 1 LIMIT 50", insert::returned(t), t.name))
                .collect();
            for (rows, table) in self.conn.query(&queries.join("; ")).await?.into_iter().zip(some) {
                if !rows.is_empty() {
                    let rows = rows.into_iter().map(|r| insert::named(table, r)).collect();
                    self.universe.seeds.insert(table.oid, rows);
                }
            }
        }
        Ok(())
    }

    fn table(&self, oid: u32) -> Option<&'g Relation> {
        self.tables.get(&oid).copied()
    }
}

/// Whether seeded rows have other keys each time that the schema is loaded: no script could refer to them.
fn is_keyed_at_random(table: &Relation) -> bool {
    let is_random = |default: &str| {
        ["gen_random_uuid", "uuid_generate", "random("]
            .iter()
            .any(|f| default.contains(f))
    };
    table.primary_key().is_some_and(|key| {
        let mut columns = key.columns.iter().filter_map(|c| table.column(c));
        columns.any(|c| c.default.as_deref().is_some_and(is_random))
    })
}

/// Tables without a column of a tenant or user, and without a way to a table that has one.
fn unowned(catalog: &Catalog, classes: &Classes) -> BTreeSet<u32> {
    let owned = classes.owned(catalog);
    catalog
        .tables()
        .map(|t| t.oid)
        .filter(|oid| !owned.contains(oid))
        .collect()
}

/// A condition that only this row meets: its values in a key; none where one of them is NULL.
pub fn key_condition(key: &UniqueKey, row: &GrownRow) -> Option<String> {
    let part = |column: &String| {
        let value = row.values.get(column)?.as_deref()?;
        Some(format!("{}::text = {}", quote::ident(column), quote::literal(value)))
    };
    let parts: Option<Vec<String>> = key.columns.iter().map(part).collect();
    Some(parts?.join(" AND "))
}

/// The statement that inserts these values.
pub fn insert_statement(table: &Relation, row: &Values) -> String {
    let given: Vec<(&String, &Option<String>)> = table
        .columns
        .iter()
        .filter(|c| c.generated == Generated::No)
        .filter_map(|c| row.get_key_value(&c.name))
        .collect();
    if given.is_empty() {
        return format!("INSERT INTO {} DEFAULT VALUES", table.name);
    }
    let columns: Vec<String> = given.iter().map(|(name, _)| quote::ident(name)).collect();
    let values: Vec<String> = given
        .iter()
        .map(|(_, v)| v.as_deref().map_or("NULL".to_owned(), quote::literal))
        .collect();
    let is_identity = |name: &str| table.column(name).is_some_and(|c| c.identity == Identity::Always);
    let overriding = if given.iter().any(|(name, _)| is_identity(name)) {
        " OVERRIDING SYSTEM VALUE"
    } else {
        ""
    };
    format!(
        "INSERT INTO {} ({}){overriding} VALUES ({})",
        table.name,
        columns.join(", "),
        values.join(", ")
    )
}
