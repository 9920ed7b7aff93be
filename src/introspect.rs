//! Reads the system catalog into values: the queries beside this file, sent as one message, one round trip.
//!
//! Leaves out what the rows mean: see `model`.

use crate::model::Catalog;
use crate::model::catalog::Privileges;
use crate::pg::conn::{Conn, ConnError, Rows};
use crate::sql::quote;

const ROLES: &str = include_str!("introspect/roles.sql");
const RELATIONS: &str = include_str!("introspect/relations.sql");
const FUNCTIONS: &str = include_str!("introspect/functions.sql");
const DEFAULT_SETTINGS: &str = include_str!("introspect/default_settings.sql");
const PRIVILEGES: &str = include_str!("introspect/privileges.sql");

/// What stopped the catalog from being read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectError {
    /// The server refused a query or went away.
    #[error("read the system catalog")]
    Query(#[from] ConnError),
    /// A row had another shape than the query promises.
    #[error("understand a catalog row: {row}")]
    Row {
        /// The row.
        row: String,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads the catalog of the connection's database.
pub async fn read_catalog(conn: &mut Conn) -> Result<Catalog, IntrospectError> {
    let sql = [ROLES, RELATIONS, FUNCTIONS, DEFAULT_SETTINGS]
        .map(str::trim_end)
        .join(";\n");
    let mut results = conn.query(&sql).await?.into_iter();
    let mut next = || results.next().unwrap_or_default();
    Ok(Catalog {
        roles: parse(next())?,
        relations: parse(next())?,
        functions: parse(next())?,
        default_settings: parse(next())?,
    })
}

/// What a role may do in effect, as the server computes it.
pub async fn read_privileges(conn: &mut Conn, role: &str) -> Result<Privileges, IntrospectError> {
    let sql = PRIVILEGES.replace("$role", &quote::literal(role));
    let rows = conn.query(&sql).await?.into_iter().next().unwrap_or_default();
    Ok(parse(rows)?.into_iter().next().unwrap_or_default())
}

fn parse<T: serde::de::DeserializeOwned>(rows: Rows) -> Result<Vec<T>, IntrospectError> {
    rows.into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .map(|text| {
            serde_json::from_str(&text).map_err(|source| IntrospectError::Row {
                row: text.clone(),
                source,
            })
        })
        .collect()
}
