//! Proves, by running it, that no tenant of a PostgreSQL database can read, change or notice another tenant's data.

pub mod pg;
