//! Servers, connections and transactions: the floor that talks to PostgreSQL.

pub mod conn;
