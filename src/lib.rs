//! Proves, by running it, that no tenant of a PostgreSQL database can read, change or notice another tenant's data.

/// Everything that talks to PostgreSQL.
pub mod pg {
    #[cfg(feature = "embedded")]
    pub mod embedded;
}
