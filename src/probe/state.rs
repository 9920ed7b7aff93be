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
    /// Reads tables. Children are read by themselves, partitions through their parent. A table that cannot be read in time
    /// is left out.
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
        let mut from = 0;
        while from < tables.len() {
            let to = tables.len().min(from + 200);
            let sql = queries[from..to].join("; ");
            let outcome = conn
                .run(&format!("SAVEPOINT tp_read; {sql}; RELEASE SAVEPOINT tp_read"))
                .await?;
            let results: Vec<_> = outcome.results.into_iter().skip(1).collect();
            let read = results.len().min(to - from);
            for (result, table) in results.into_iter().zip(&tables[from..to]) {
                let rows = result.rows.into_iter().filter_map(|mut row| {
                    let values = row.split_off(2);
                    let ctid = row.pop()??;
                    let table = row.pop()??;
                    Some(((table, ctid), values))
                });
                state.0.insert(table.oid, rows.collect());
            }
            from += read;
            if let Some(error) = outcome.error {
                conn.defer(&["ROLLBACK TO SAVEPOINT tp_read", "RELEASE SAVEPOINT tp_read"]);
                if !error.is_interference() {
                    return Err(ConnError::Refused {
                        error: Box::new(error),
                        statement: queries.get(from).cloned().unwrap_or_default(),
                    });
                }
                // Somebody holds a lock on it: what it holds is not known.
                from += 1;
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

    /// Leaves out the tables that the other does not know.
    pub fn limit_to(&mut self, other: &Self) {
        self.0.retain(|table, _| other.0.contains_key(table));
    }

    /// The row at a place.
    pub fn row(&self, table: u32, id: &RowId) -> Option<&Row> {
        self.0.get(&table)?.get(id)
    }

    /// What `later`, which may hold fewer tables, changed.
    pub fn changes(&self, later: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (table, now) in &later.0 {
            // Not known before: nothing can be said of it.
            let Some(before) = self.0.get(table) else { continue };
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
