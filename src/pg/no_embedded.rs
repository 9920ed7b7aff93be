//! In the place of the embedded server in a build without it: it only refuses.

use std::convert::Infallible;

use sqlx::postgres::PgConnectOptions;

/// There is none of these.
#[derive(Debug)]
pub(super) struct Embedded(Infallible);

/// This build has no embedded server.
#[derive(Debug, thiserror::Error)]
#[error("this build holds none (cargo feature `embedded`)")]
pub(super) struct EmbeddedError;

impl Embedded {
    pub(super) async fn start() -> Result<Self, EmbeddedError> {
        Err(EmbeddedError)
    }

    pub(super) fn connect_options(&self) -> PgConnectOptions {
        match self.0 {}
    }

    pub(super) async fn stop(self) {
        match self.0 {}
    }
}
