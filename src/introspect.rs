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
const SCHEMAS: &str = include_str!("introspect/schemas.sql");
const DEFAULT_PRIVILEGES: &str = include_str!("introspect/default_privileges.sql");
const PUBLICATIONS: &str = include_str!("introspect/publications.sql");
const TYPES: &str = include_str!("introspect/types.sql");
const CANONICAL_ON: &str = include_str!("introspect/canonical_on.sql");
const CANONICAL_OFF: &str = include_str!("introspect/canonical_off.sql");
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

/// Every query of the catalog, in the order in which [`catalog_of`] takes their rows.
const CATALOG: [&str; 8] = [
    ROLES,
    RELATIONS,
    FUNCTIONS,
    DEFAULT_SETTINGS,
    SCHEMAS,
    DEFAULT_PRIVILEGES,
    PUBLICATIONS,
    TYPES,
];

/// Reads the catalog of the connection's database. Names in expressions are printed as the connection's settings have it.
pub async fn read_catalog(conn: &mut Conn) -> Result<Catalog, IntrospectError> {
    let sql = CATALOG.map(str::trim_end).join(";\n");
    catalog_of(conn.query(&sql).await?)
}

/// Reads the same under fixed printing settings: every name outside of `pg_catalog` is qualified, and a date is printed
/// alike whatever the database, the role or the connection has set. This is what `snapshot` takes. The settings are back as
/// they were when it returns.
pub async fn read_catalog_canonically(conn: &mut Conn) -> Result<Catalog, IntrospectError> {
    let sql = [&[CANONICAL_ON], &CATALOG[..], &[CANONICAL_OFF]].concat();
    let sql: Vec<&str> = sql.into_iter().map(str::trim_end).collect();
    let mut results = conn.query(&sql.join(";\n")).await?;
    results.remove(0);
    catalog_of(results)
}

fn catalog_of(results: Vec<Rows>) -> Result<Catalog, IntrospectError> {
    let mut results = results.into_iter();
    let mut next = || results.next().unwrap_or_default();
    Ok(Catalog {
        roles: parse(next())?,
        relations: parse(next())?,
        functions: parse(next())?,
        default_settings: parse(next())?,
        schemas: parse(next())?,
        default_privileges: parse(next())?,
        publications: parse(next())?,
        lookup: Default::default(),
        types: parse(next())?,
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
