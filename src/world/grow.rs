//! Grows one universe: rows in every table, related by foreign keys, all of one tenant.
//!
//! Each row is inserted as superuser under a savepoint; what the server refuses is mended from what it says (a CHECK is
//! solved by asking the server, a used key gets a fresh one, a missing parent is grown) or recorded with the reason.

mod mend;
mod states;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::classes::{Class, Classes};
use super::keys::Keys;
use super::values;
use crate::model::{Catalog, Column, ForeignKey, Generated, Relation, UniqueKey};
use crate::pg::conn::{Conn, ConnError};
use crate::sql::quote;

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
    /// Where the rows of a table are.
    places: HashMap<u32, Vec<usize>>,
    /// Values of columns that are compared with one another (see [`Classes::group`]).
    groups: HashMap<usize, String>,
    /// Counter behind distinct values.
    counter: u64,
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
            places: HashMap::new(),
            groups: HashMap::new(),
            counter: 0,
        }
    }

    /// Rows of one table.
    pub fn rows_of(&self, relation: u32) -> impl Iterator<Item = &GrownRow> {
        let places = self.places.get(&relation).map_or(&[][..], Vec::as_slice);
        places.iter().map(|at| &self.rows[*at])
    }

    /// Adds a row; its index.
    fn keep(&mut self, row: GrownRow) -> usize {
        let at = self.rows.len();
        self.places.entry(row.relation).or_default().push(at);
        self.rows.push(row);
        at
    }

    /// The row that stands for the table: its base row.
    pub fn base(&self, relation: u32) -> Option<&GrownRow> {
        self.rows_of(relation).next()
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

/// How often a refused row is mended before it is given up.
const MAX_MENDS: usize = 8;

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
}

/// A row that could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

type Made<T> = Result<Result<T, Refusal>, ConnError>;

impl<'a> Grower<'a> {
    /// Grows a universe over the tables that `wanted` selects.
    pub async fn grow(
        &self,
        conn: &mut Conn,
        keys: Keys,
        wanted: impl Fn(&Relation) -> bool,
    ) -> Result<Universe, ConnError> {
        let mut universe = Universe::new(keys);
        for table in self.in_order() {
            if !wanted(table) {
                continue;
            }
            if universe.base(table.oid).is_none()
                && let Err(Refusal(reason)) = self
                    .insert(conn, &mut universe, table, Variant::Base, &Values::new(), 0)
                    .await?
            {
                universe.unfilled.push((table.oid, reason));
                continue;
            }
            // A second row may not fit (one row a tenant); states may contradict a check. Neither is a fault.
            let _ = self
                .insert(conn, &mut universe, table, Variant::Leaf, &Values::new(), 0)
                .await?;
            for (column, value) in self.states(table, &universe) {
                let fixed = Values::from([(column.clone(), value.clone())]);
                let _ = self
                    .insert(conn, &mut universe, table, Variant::State { column, value }, &fixed, 0)
                    .await?;
            }
            if let Some(rival) = self.rival {
                for (column, fixed) in states::closed_relationships(self.classes, table, rival) {
                    let closed = Variant::Closed { column };
                    let _ = self.insert(conn, &mut universe, table, closed, &fixed, 0).await?;
                }
            }
            let _ = self
                .insert(conn, &mut universe, table, Variant::Candidate, &Values::new(), 0)
                .await?;
        }
        Ok(universe)
    }

    /// Tables that take rows, parents before children.
    fn in_order(&self) -> Vec<&'a Relation> {
        let tables: Vec<&Relation> = self.catalog.tables().filter(|t| !t.is_partition).collect();
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
                            || self.catalog.relation(key.references).is_none_or(|r| r.is_partition)
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

    /// Makes one row; its index in the universe.
    async fn insert(
        &self,
        conn: &mut Conn,
        universe: &mut Universe,
        table: &Relation,
        variant: Variant,
        fixed: &Values,
        depth: usize,
    ) -> Made<usize> {
        let mut row = match Box::pin(self.plan(conn, universe, table, fixed, depth)).await? {
            Ok(row) => row,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut last = None;
        let mut bound = false;
        for _ in 0..MAX_MENDS {
            let insert = insert_statement(table, &row);
            let (bind, unbind) = if bound {
                self.binding(&universe.keys)
            } else {
                Default::default()
            };
            let columns: Vec<String> = table
                .columns
                .iter()
                .map(|c| format!("{}::text", quote::ident(&c.name)))
                .collect();
            let returning = if columns.is_empty() {
                String::new()
            } else {
                format!(" RETURNING {}", columns.join(", "))
            };
            let undo = if variant == Variant::Candidate {
                "ROLLBACK TO SAVEPOINT tp_grow; "
            } else {
                ""
            };
            let (limit, limited) = conn.limits();
            let outcome = conn
                .run(&format!("SAVEPOINT tp_grow; {limit}{bind}{insert}{returning}; {unbind}SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; {undo}RELEASE SAVEPOINT tp_grow"))
                .await?;
            let Some(error) = outcome.error else {
                let stored = outcome
                    .results
                    .get(1 + limited + if bound { self.bindings.len() } else { 0 })
                    .and_then(|r| r.rows.first())
                    .cloned()
                    .unwrap_or_default();
                if stored.is_empty() && !columns.is_empty() {
                    return Ok(Err(Refusal("a trigger or rule swallows inserted rows".to_owned())));
                }
                let values: Values = table.columns.iter().map(|c| c.name.clone()).zip(stored).collect();
                // A trigger that asks who makes the row has put another tenant in, or none.
                if !bound && !self.bindings.is_empty() && self.lost_its_tenant(table, &row, &values) {
                    if variant != Variant::Candidate {
                        conn.query(&format!(
                            "DELETE FROM {} WHERE ctid = (SELECT max(ctid) FROM {0})",
                            table.name
                        ))
                        .await?;
                    }
                    bound = true;
                    continue;
                }
                if variant == Variant::Candidate {
                    universe.candidates.insert(table.oid, row);
                    return Ok(Ok(0));
                }
                let insert = format!("{bind}{insert}{}", unbind.trim_end_matches("; "));
                return Ok(Ok(universe.keep(GrownRow {
                    relation: table.oid,
                    values,
                    variant,
                    insert,
                })));
            };
            conn.defer(&["ROLLBACK TO SAVEPOINT tp_grow", "RELEASE SAVEPOINT tp_grow"]);
            // A trigger or default that asks who makes the row and finds nobody.
            if !bound && !self.bindings.is_empty() && mend::asks_for_identity(&error) {
                bound = true;
                last = Some(error);
                continue;
            }
            let mended = Box::pin(self.mend(conn, universe, table, &mut row, fixed, &error, depth)).await?;
            last = Some(error);
            if !mended {
                break;
            }
        }
        let reason = last.map_or_else(|| "no row fits".to_owned(), |e| e.reason());
        if variant == Variant::Base
            && let Some(values) = self.adopt(conn, universe, table).await?
        {
            let insert = format!("-- made by a trigger: a row of {}", table.name);
            return Ok(Ok(universe.keep(GrownRow {
                relation: table.oid,
                values,
                variant,
                insert,
            })));
        }
        Ok(Err(Refusal(reason)))
    }

    /// Statements that bind the universe's identity around an insert, and unbind it.
    fn binding(&self, keys: &Keys) -> (String, String) {
        let set = |name: &str, value: &str| {
            format!(
                "SELECT pg_catalog.set_config({}, {}, true); ",
                quote::literal(name),
                quote::literal(value)
            )
        };
        let bind = self
            .bindings
            .iter()
            .map(|(name, template)| set(name, &keys.setting(template)))
            .collect();
        let unbind: String = self.bindings.iter().map(|(name, _)| set(name, "")).collect();
        (bind, format!("; {unbind}").trim_start_matches("; ").to_owned())
    }

    /// Whether a stored row carries another tenant than it was given.
    fn lost_its_tenant(&self, table: &Relation, given: &Values, stored: &Values) -> bool {
        given.iter().any(|(column, value)| {
            self.classes
                .class(table.oid, column)
                .is_some_and(|(class, _)| class == Class::Tenant)
                && value.is_some()
                && stored.get(column) != Some(value)
        })
    }

    /// A row that is there already and carries the universe's key: a trigger made it.
    async fn adopt(&self, conn: &mut Conn, universe: &Universe, table: &Relation) -> Result<Option<Values>, ConnError> {
        let Some((column, key)) = table
            .columns
            .iter()
            .find_map(|c| match self.classes.class(table.oid, &c.name)? {
                (Class::Tenant, _) => Some((c, &universe.keys.tenant)),
                (Class::User, _) => Some((c, &universe.keys.user)),
                (Class::Email, _) => None,
            })
        else {
            return Ok(None);
        };
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|c| format!("{}::text", quote::ident(&c.name)))
            .collect();
        let rows = conn
            .query(&format!(
                "SELECT {} FROM {} WHERE {}::text = {} LIMIT 1",
                columns.join(", "),
                table.name,
                quote::ident(&column.name),
                quote::literal(key)
            ))
            .await?;
        Ok(rows
            .into_iter()
            .next()
            .and_then(|r| r.into_iter().next())
            .map(|row| table.columns.iter().map(|c| c.name.clone()).zip(row).collect()))
    }

    /// Chooses a value for every column that has to be given.
    async fn plan(
        &self,
        conn: &mut Conn,
        universe: &mut Universe,
        table: &Relation,
        fixed: &Values,
        depth: usize,
    ) -> Made<Values> {
        let mut row = Values::new();
        for column in table.columns.iter().filter(|c| c.is_insertable()) {
            if let Some(value) = fixed.get(&column.name) {
                row.insert(column.name.clone(), value.clone());
            } else if let Some((class, form)) = self.classes.class(table.oid, &column.name) {
                row.insert(column.name.clone(), Some(form.value(class.key(&universe.keys), column)));
            }
        }
        for key in &table.foreign_keys {
            match Box::pin(self.parent(conn, universe, table, key, depth, false)).await? {
                Ok(parent) => {
                    for (column, value) in parent {
                        let given = row.get(&column);
                        if fixed.contains_key(&column) || given.is_some_and(|g| g.is_some() && value.is_none()) {
                            continue;
                        }
                        row.insert(column, value);
                    }
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        for column in table.columns.iter().filter(|c| c.is_insertable()) {
            if row.contains_key(&column.name) {
                continue;
            }
            match self.free_value(universe, table, column) {
                Some(Choice::Default) => {}
                Some(Choice::Value(value)) => {
                    row.insert(column.name.clone(), value);
                }
                None if column.not_null => {
                    return Ok(Err(Refusal(format!(
                        "no value known for type {} of column {}",
                        column.type_name, column.name
                    ))));
                }
                None => {}
            }
        }
        for key in &table.keys {
            if let Err(refusal) = Box::pin(self.make_unique(conn, universe, table, key, &mut row, fixed, depth)).await?
            {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(row))
    }

    /// A value for a column that is no key of identity and no foreign key.
    fn free_value(&self, universe: &mut Universe, table: &Relation, column: &Column) -> Option<Choice> {
        let in_key = table.keys.iter().any(|k| k.columns.contains(&column.name));
        if let Some(document) = self.json_value(universe, table, column) {
            return Some(Choice::Value(Some(document)));
        }
        if let Some(group) = self.classes.group(table.oid, &column.name) {
            let n = universe.next();
            let value = match universe.groups.get(&group) {
                Some(value) => value.clone(),
                None => {
                    let value = values::generate(column, &universe.keys, n)?;
                    universe.groups.insert(group, value.clone());
                    value
                }
            };
            return Some(Choice::Value(Some(value)));
        }
        if self.classes.is_null_preferred(table.oid, &column.name) && !column.not_null {
            return Some(Choice::Value(None));
        }
        if self.classes.is_compared_with_now(table.oid, &column.name) {
            return Some(Choice::Value(Some("2999-01-01 00:00:00+00".to_owned())));
        }
        if let Some(value) = self.classes.preferred_literal(table.oid, &column.name) {
            return Some(Choice::Value(Some(value.to_owned())));
        }
        if let Some(default) = &column.default
            && !in_key
            && !column.is_serial()
            && (!default.contains('(') || default.contains("now()") || default.contains("CURRENT_TIMESTAMP"))
        {
            return Some(Choice::Default);
        }
        let n = universe.next();
        values::generate(column, &universe.keys, n).map(|v| Choice::Value(Some(v)))
    }

    /// A JSON document with the places that something reads.
    fn json_value(&self, universe: &Universe, table: &Relation, column: &Column) -> Option<String> {
        let mut document = serde_json::json!({});
        let mut any = false;
        for (path, class) in self.classes.json_places(table.oid, &column.name) {
            let text = class.map_or_else(
                || format!("{}-{}", universe.keys.canary, path.join("-")),
                |c| c.key(&universe.keys).to_owned(),
            );
            let mut slot = &mut document;
            for key in path {
                if !slot.is_object() {
                    *slot = serde_json::json!({});
                }
                slot = &mut slot[key.as_str()];
            }
            *slot = serde_json::Value::String(text);
            any = true;
        }
        any.then(|| document.to_string())
    }

    /// Values for the columns of a foreign key, from a row of the parent in this universe, in the common one, or grown now.
    async fn parent(
        &self,
        conn: &mut Conn,
        universe: &mut Universe,
        table: &Relation,
        key: &ForeignKey,
        depth: usize,
        fresh: bool,
    ) -> Made<Vec<(String, Option<String>)>> {
        let nullable = key.columns.iter().any(|c| table.column(c).is_some_and(|c| !c.not_null));
        let nothing = || {
            key.columns
                .iter()
                .filter(|c| table.column(c).is_some_and(|c| !c.not_null))
                .map(|c| (c.clone(), None))
                .collect::<Vec<_>>()
        };
        let take = |row: &GrownRow| {
            key.columns
                .iter()
                .cloned()
                .zip(
                    key.referenced_columns
                        .iter()
                        .map(|c| row.values.get(c).cloned().flatten()),
                )
                .collect::<Vec<_>>()
        };
        if key.references == table.oid {
            // The base tenant is the parent of every tenant; any other self-reference starts without a parent.
            let common = self
                .common
                .and_then(|c| c.base(table.oid))
                .filter(|_| self.classes.is_root(table.oid));
            return Ok(match common {
                Some(row) if nullable => Ok(take(row)),
                _ if nullable => Ok(nothing()),
                _ => Ok(Vec::new()),
            });
        }
        if !fresh {
            if let Some(row) = universe.base(key.references) {
                return Ok(Ok(take(row)));
            }
            if let Some(row) = self
                .common
                .and_then(|c| c.base(key.references))
                .filter(|_| self.classes.is_shared(key.references))
            {
                return Ok(Ok(take(row)));
            }
        }
        let Some(parent) = self.catalog.relation(key.references) else {
            return Ok(if nullable {
                Ok(nothing())
            } else {
                Err(Refusal(format!(
                    "the table that {} references is out of reach",
                    key.name
                )))
            });
        };
        if depth >= 4 {
            return Ok(if nullable {
                Ok(nothing())
            } else {
                Err(Refusal(format!("foreign keys go round in a circle at {}", key.name)))
            });
        }
        let variant = if universe.base(parent.oid).is_none() {
            Variant::Base
        } else {
            Variant::Parent
        };
        match Box::pin(self.insert(conn, universe, parent, variant, &Values::new(), depth + 1)).await? {
            Ok(index) => Ok(Ok(take(&universe.rows[index]))),
            Err(_) if nullable => Ok(Ok(nothing())),
            Err(Refusal(reason)) => Ok(Err(Refusal(format!("its parent {} has no row: {reason}", parent.name)))),
        }
    }

    /// Changes key columns until no row of this universe has the same key.
    #[expect(
        clippy::too_many_arguments,
        reason = "one row in the making: its universe, table and values"
    )]
    async fn make_unique(
        &self,
        conn: &mut Conn,
        universe: &mut Universe,
        table: &Relation,
        key: &UniqueKey,
        row: &mut Values,
        fixed: &Values,
        depth: usize,
    ) -> Made<()> {
        if key.columns.is_empty() || key.is_exclusion {
            return Ok(Ok(()));
        }
        let taken = universe.rows_of(table.oid).any(|other| {
            key.columns
                .iter()
                .all(|c| row.get(c).is_some_and(Option::is_some) && row.get(c) == other.values.get(c))
        });
        if !taken || (key.is_partial && key.columns.iter().any(|c| fixed.contains_key(c))) {
            return Ok(Ok(()));
        }
        self.refresh(conn, universe, table, &key.columns, row, fixed, depth)
            .await
    }

    /// Gives one of the columns a new value: a plain one if there is, else a fresh parent, else another user.
    #[expect(
        clippy::too_many_arguments,
        reason = "one row in the making: its universe, table and values"
    )]
    async fn refresh(
        &self,
        conn: &mut Conn,
        universe: &mut Universe,
        table: &Relation,
        columns: &[String],
        row: &mut Values,
        fixed: &Values,
        depth: usize,
    ) -> Made<()> {
        let free = |c: &&String| !fixed.contains_key(*c) && table.column(c).is_some_and(Column::is_insertable);
        let class = |c: &str| self.classes.class(table.oid, c).map(|(class, _)| class);
        let is_foreign = |c: &String| table.foreign_keys.iter().any(|k| k.columns.contains(c));
        if let Some(name) = columns.iter().filter(free).find(|c| {
            class(c).is_none()
                && !is_foreign(c)
                && table
                    .column(c)
                    .is_some_and(|c| c.category != "B" && c.labels.is_empty())
        }) {
            let column = table.column(name).expect("a key column is a column");
            let n = universe.next();
            if let Some(value) = values::generate(column, &universe.keys, n) {
                row.insert(name.clone(), Some(value));
                return Ok(Ok(()));
            }
        }
        for key in &table.foreign_keys {
            let moves = key
                .columns
                .iter()
                .any(|c| columns.contains(c) && free(&c) && class(c) != Some(Class::Tenant));
            if !moves || key.references == table.oid {
                continue;
            }
            if let Ok(parent) = Box::pin(self.parent(conn, universe, table, key, depth + 1, true)).await? {
                for (column, value) in parent {
                    if !fixed.contains_key(&column) {
                        row.insert(column, value);
                    }
                }
                return Ok(Ok(()));
            }
        }
        if let Some(name) = columns
            .iter()
            .filter(free)
            .find(|c| class(c) == Some(Class::User) && !is_foreign(c))
        {
            let column = table.column(name).expect("a key column is a column");
            let n = universe.next();
            if let Some(value) = values::generate(column, &universe.keys, n) {
                row.insert(name.clone(), Some(value));
                return Ok(Ok(()));
            }
        }
        Ok(Err(Refusal(format!("one row a tenant fits ({})", columns.join(", ")))))
    }
}

enum Choice {
    Default,
    Value(Option<String>),
}

/// The statement that inserts these values.
pub fn insert_statement(table: &Relation, row: &Values) -> String {
    let given: Vec<(&String, &Option<String>)> = row
        .iter()
        .filter(|(name, _)| table.column(name).is_some_and(|c| c.generated == Generated::No))
        .collect();
    if given.is_empty() {
        return format!("INSERT INTO {} DEFAULT VALUES", table.name);
    }
    let in_order: Vec<(&String, &Option<String>)> = table
        .columns
        .iter()
        .filter_map(|c| given.iter().find(|(name, _)| **name == c.name).copied())
        .collect();
    let columns: Vec<String> = in_order.iter().map(|(name, _)| quote::ident(name)).collect();
    let values: Vec<String> = in_order
        .iter()
        .map(|(_, v)| v.as_deref().map_or("NULL".to_owned(), quote::literal))
        .collect();
    format!(
        "INSERT INTO {} ({}) VALUES ({})",
        table.name,
        columns.join(", "),
        values.join(", ")
    )
}
