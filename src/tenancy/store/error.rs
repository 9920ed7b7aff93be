//! What can go wrong between a service and its database.

use std::time::Duration;

use crate::tenancy::context::NoTenant;

/// Why a unit of work did not go through. Its text fits after "failed to" and holds no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No tenant is set for the running task.
    #[error(transparent)]
    NoTenant(#[from] NoTenant),
    /// The URL is none.
    #[error("read the database URL: it has to look like postgres://user@host:5432/database")]
    Url(#[source] sqlx::Error),
    /// The database cannot be reached.
    #[error("reach the database at {at}")]
    Unreachable {
        /// Host and port.
        at: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The login cannot become a role of requests.
    #[error("become {role} as {login}; run: GRANT {role} TO {login}")]
    NotAMember {
        /// The role that the pool logs in as.
        login: String,
        /// The role it has to become.
        role: &'static str,
    },
    /// The login needs no policies to read everything, so that a forgotten context would not be refused.
    #[error("use {login} for the pool: it {why}; log in as a role that is NOSUPERUSER, NOBYPASSRLS and NOINHERIT")]
    TooMighty {
        /// The role that the pool logs in as.
        login: String,
        /// What it may.
        why: &'static str,
    },
    /// The schema is not there.
    #[error("find the table public.tenants in this database; load the schema in policies/ first")]
    NoSchema,
    /// Row security or a missing grant refused: the row would be another tenant's, or the role may not do this.
    #[error("{doing}: the tenant's role may not do this, or the row would not be the tenant's")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// It took too long.
    #[error("{doing} within {limit:?}")]
    Deadline {
        /// What was tried.
        doing: &'static str,
        /// How long it was allowed to take.
        limit: Duration,
    },
    /// The connection was lost while committing: the work may or may not have been done.
    #[error("learn whether the transaction was committed: the connection was lost meanwhile")]
    Uncertain(#[source] sqlx::Error),
    /// Anything else that the server or the driver said.
    #[error("{doing}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// What was said.
        #[source]
        source: sqlx::Error,
    },
}

/// A statement of the service's own, run on a transaction of the store's.
impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        Self::of("run a statement", source)
    }
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another transaction was in the way; the same work may go through now.
    Serialization,
    /// The connection is gone, or the server is not there yet.
    Lost,
    /// The same work would fail again.
    Final,
}

impl StoreError {
    pub(in crate::tenancy) fn of(doing: &'static str, source: sqlx::Error) -> Self {
        match code(&source).as_deref() {
            Some("42501") => Self::Refused { doing, source },
            _ => Self::Database { doing, source },
        }
    }

    /// SQLSTATE, where the server said something.
    pub fn code(&self) -> Option<String> {
        match self {
            Self::Refused { source, .. } | Self::Database { source, .. } | Self::Uncertain(source) => code(source),
            Self::Unreachable { source, .. } | Self::Url(source) => code(source),
            Self::NoTenant(_)
            | Self::NotAMember { .. }
            | Self::TooMighty { .. }
            | Self::NoSchema
            | Self::Deadline { .. } => None,
        }
    }

    /// Whether the same work, done again, may go through, and nothing of it has been done.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { source, .. } | Self::Database { source, .. } => kind(source) != Kind::Final,
            Self::Unreachable { .. } => true,
            Self::NoTenant(_)
            | Self::Url(_)
            | Self::NotAMember { .. }
            | Self::TooMighty { .. }
            | Self::NoSchema
            | Self::Deadline { .. }
            | Self::Uncertain(_) => false,
        }
    }
}

/// SQLSTATE.
pub(in crate::tenancy) fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

/// Classes of SQLSTATE: manual, appendix A.
pub(super) fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => Kind::Lost,
        other => match code(other).as_deref() {
            // serialization_failure, deadlock_detected
            Some("40001" | "40P01") => Kind::Serialization,
            // admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections; class 08: connection exceptions
            Some("57P01" | "57P02" | "57P03" | "53300") => Kind::Lost,
            Some(code) if code.starts_with("08") => Kind::Lost,
            _ => Kind::Final,
        },
    }
}
