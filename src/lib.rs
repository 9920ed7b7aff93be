//! Proves, by running it, that no tenant of a PostgreSQL database can read, change or notice another tenant's data.
pub mod cli;
pub mod introspect;
pub mod model;
pub mod pg;
pub mod probe;
pub mod report;
pub mod run;
pub mod snapshot;
pub mod sql;
pub mod tenancy;
pub mod world;
