//! PostgreSQL servers, the scratch databases on them, and connections to those.
//!
//! This floor is the only one that knows containers, server processes and how they end. [`Server::start`] picks a
//! provider, [`Server::scratch`] hands out fresh empty databases, and whatever either leaves behind when the process is
//! killed is swept up by the next run. What is loaded into a database, and what is tried there, is not known here.

pub mod conn;
mod container;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(not(feature = "embedded"))]
#[path = "pg/no_embedded.rs"]
mod embedded;
mod error;
mod local;
mod own_thread;
mod scratch;
mod server;
mod stamp;
mod sweep;
mod url;

pub use error::ServerError;
pub use scratch::{RoleChanges, Scratch};
pub use server::{CleanupHandle, Provider, Server, ServerChoice, ServerOptions};
pub use sweep::Swept;

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
