//! The truth: what every table holds, read as superuser, and what a statement changed in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Relation;
use crate::pg::conn::{Conn, ConnError};
use crate::sql::quote;

/// Where a row is: table (or partition) and `ctid`. An update moves the row, so a changed row has a new one.
pub type RowId = (String, String);

/// Values of a row, in the order of the table's columns.
pub type Row = Vec<Option<String>>;

/// What tables hold, by table.
#[derive(Debug, Clone, Default)]
pub struct State(pub BTreeMap<u32, BTreeMap<RowId, Row>>);

/// A row that came, or one that went; an update is both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub relation: u32,
    /// Where the row is or was.
    pub id: RowId,
    /// The row.
    pub row: Row,
    /// Whether it came.
    pub is_new: bool,
}

impl State {
    /// Reads tables. Children are read by themselves, partitions through their parent.
    pub async fn read(conn: &mut Conn, tables: &[&Relation]) -> Result<Self, ConnError> {
        let queries: Vec<String> = tables
            .iter()
            .map(|table| {
                let only = if table.partition_key.is_some() { "" } else { "ONLY " };
                let columns: String = table
                    .columns
                    .iter()
                    .map(|c| format!(", {}::text", quote::ident(&c.name)))
                    .collect();
                format!(
                    "SELECT tableoid::pg_catalog.regclass::text, ctid::text{columns} FROM {only}{}",
                    table.name
                )
            })
            .collect();
        let mut state = Self::default();
        // A message is kept to a size that the server parses in one go without a large peak.
        for (queries, tables) in queries.chunks(200).zip(tables.chunks(200)) {
            for (rows, table) in conn.query(&queries.join("; ")).await?.into_iter().zip(tables) {
                let rows = rows.into_iter().filter_map(|mut row| {
                    let values = row.split_off(2);
                    let ctid = row.pop()??;
                    let table = row.pop()??;
                    Some(((table, ctid), values))
                });
                state.0.insert(table.oid, rows.collect());
            }
        }
        Ok(state)
    }

    /// Rows that are here and not in `earlier`, by table.
    pub fn since(&self, earlier: &Self) -> BTreeMap<u32, BTreeSet<RowId>> {
        let none = BTreeMap::new();
        self.0
            .iter()
            .map(|(table, rows)| {
                let before = earlier.0.get(table).unwrap_or(&none);
                (
                    *table,
                    rows.keys().filter(|id| !before.contains_key(*id)).cloned().collect(),
                )
            })
            .collect()
    }

    /// The row at a place.
    pub fn row(&self, table: u32, id: &RowId) -> Option<&Row> {
        self.0.get(&table)?.get(id)
    }

    /// What `later`, which may hold fewer tables, changed.
    pub fn changes(&self, later: &Self) -> Vec<Change> {
        let none = BTreeMap::new();
        let mut changes = Vec::new();
        for (table, now) in &later.0 {
            let before = self.0.get(table).unwrap_or(&none);
            let gone = before
                .iter()
                .filter(|(id, _)| !now.contains_key(*id))
                .map(|(id, row)| (id, row, false));
            let come = now
                .iter()
                .filter(|(id, _)| !before.contains_key(*id))
                .map(|(id, row)| (id, row, true));
            changes.extend(gone.chain(come).map(|(id, row, is_new)| Change {
                relation: *table,
                id: id.clone(),
                row: row.clone(),
                is_new,
            }));
        }
        changes
    }
}
