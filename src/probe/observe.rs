//! Observing: what a session gets from every relation it may read, errors included, as values.

use std::collections::BTreeMap;

use super::binding::Binding;
use crate::model::catalog::RelationPrivileges;
use crate::model::{Relation, RelationKind};
use crate::pg::conn::{Conn, ConnError, DbError, Rows};
use crate::sql::quote;

/// Most rows that are looked at per relation.
const LIMIT: usize = 5_000;

/// What came back for one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Rows, sorted: their order says nothing.
    Rows(Rows),
    /// The error.
    Failed(DbError),
}

impl Seen {
    /// Rows, none for an error.
    pub fn rows(&self) -> &[Vec<Option<String>>] {
        match self {
            Self::Rows(rows) => rows,
            Self::Failed(_) => &[],
        }
    }

    /// The error, where it is no answer.
    pub fn interference(&self) -> Option<&DbError> {
        match self {
            Self::Failed(error) => Some(error).filter(|e| e.is_interference()),
            Self::Rows(_) => None,
        }
    }

    /// Rows that are here more often than in the other.
    pub fn beyond<'a>(&'a self, other: &Self) -> Vec<&'a Vec<Option<String>>> {
        let mut counts: BTreeMap<&Vec<Option<String>>, usize> = BTreeMap::new();
        for row in other.rows() {
            *counts.entry(row).or_default() += 1;
        }
        self.rows()
            .iter()
            .filter(|row| match counts.get_mut(row) {
                Some(n) if *n > 0 => {
                    *n -= 1;
                    false
                }
                _ => true,
            })
            .collect()
    }

    /// What is compared between worlds where values are noise: number of rows, or SQLSTATE.
    pub fn shape(&self) -> String {
        match self {
            Self::Rows(rows) => format!("{} rows", rows.len()),
            Self::Failed(error) => error.code.clone(),
        }
    }
}

/// Something to observe: the query that a session sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The relation it reads.
    pub relation: u32,
    /// Statement.
    pub sql: String,
}

/// The query that reads what a session may of a relation, or none where it may read nothing.
pub fn query_of(relation: &Relation, privileges: &RelationPrivileges) -> Option<Query> {
    let sql = match relation.kind {
        RelationKind::Sequence => {
            if privileges.select.is_empty() {
                return None;
            }
            format!("SELECT last_value::text, is_called::text FROM {}", relation.name)
        }
        RelationKind::Table
        | RelationKind::PartitionedTable
        | RelationKind::View
        | RelationKind::MaterializedView
        | RelationKind::ForeignTable => {
            let columns: Vec<String> = privileges
                .select
                .iter()
                .map(|c| format!("{}::text", quote::ident(c)))
                .collect();
            if columns.is_empty() {
                return None;
            }
            format!("SELECT {} FROM {} LIMIT {LIMIT}", columns.join(", "), relation.name)
        }
    };
    Some(Query {
        relation: relation.oid,
        sql,
    })
}

/// Most queries of a message.
const BATCH: usize = 200;

/// Runs the queries as the session; in the order given. Leaves nothing behind.
pub async fn observe(conn: &mut Conn, binding: &Binding, queries: &[Query]) -> Result<Vec<Seen>, ConnError> {
    let mut seen = Vec::with_capacity(queries.len());
    let superuser = quote::ident(conn.superuser());
    let mut batch = BATCH;
    while seen.len() < queries.len() {
        let rest = &queries[seen.len()..queries.len().min(seen.len() + batch)];
        let statements: Vec<&str> = rest.iter().map(|q| q.sql.as_str()).collect();
        let (limit, limited) = conn.limits();
        let ahead = 1 + limited + binding.statements();
        let outcome = conn
            .run(&format!(
                "SAVEPOINT tp_observe; {limit}{} {}",
                binding.sql(),
                statements.join("; ")
            ))
            .await?;
        conn.defer(&[
            "ROLLBACK TO SAVEPOINT tp_observe",
            &format!("SET LOCAL SESSION AUTHORIZATION {superuser}"),
            "RELEASE SAVEPOINT tp_observe",
        ]);
        let mut results = outcome.results.into_iter();
        let prepared = results.by_ref().take(ahead).count();
        if let Some(error) = &outcome.error
            && prepared < ahead
        {
            return Err(ConnError::Refused {
                error: Box::new(error.clone()),
                statement: binding.sql(),
            });
        }
        let answered = results.map(|mut r| {
            r.rows.sort();
            Seen::Rows(r.rows)
        });
        seen.extend(answered.take(rest.len()));
        // What follows an error is sent again, so where they are many the messages are short.
        batch = if let Some(error) = outcome.error {
            seen.push(Seen::Failed(error));
            (batch / 4).max(1)
        } else {
            (batch * 2).min(BATCH)
        };
    }
    Ok(seen)
}
