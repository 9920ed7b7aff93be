//! PLACE FOR THE EMBEDDED SERVER: this file is replaced by the real one; what stands here only refuses.

use sqlx::postgres::PgConnectOptions;

use super::error::ServerError;

/// One instance: one database, and one connection in its life.
#[derive(Debug)]
pub(super) struct Embedded;

impl Embedded {
    pub(super) async fn start() -> Result<Self, ServerError> {
        Err(ServerError::Embedded { reason: "this build holds none".into() })
    }

    pub(super) fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
    }

    pub(super) async fn stop(self) {}
}
