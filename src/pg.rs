//! Servers, connections and transactions: the floor that talks to PostgreSQL.

pub mod conn;

/// What reports say of the server that was used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// `container`, `local`, `embedded` or `url`.
    pub provider: String,
    /// Version, such as `15.18`.
    pub version: String,
    /// Providers that were tried before, and why they were passed over.
    pub passed_over: Vec<(String, String)>,
}
