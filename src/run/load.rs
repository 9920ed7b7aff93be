//! Loads a schema into a scratch database, statement by statement, and says where it failed.

use std::collections::BTreeSet;
use std::fmt;

use crate::pg::conn::{Conn, ConnError, DbError};
use crate::sql::quote;
use crate::sql::script::{self, Class, Step, StepKind};

/// A statement that PostgreSQL refused, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStatement {
    /// `file:line:column` of what PostgreSQL points at, or of the statement.
    pub at: String,
    /// The statement, shortened.
    pub statement: String,
    /// What PostgreSQL said.
    pub error: DbError,
}

impl fmt::Display for FailedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.error.message)?;
        if let Some(detail) = &self.error.detail {
            write!(f, "\n  detail: {detail}")?;
        }
        if let Some(hint) = &self.error.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        write!(f, "\n  SQLSTATE {}, in the statement\n", self.error.code)?;
        for line in self.statement.lines() {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FailedStatement {}

/// What stopped a schema from loading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A statement was refused.
    #[error("load the schema\n{0}")]
    Statement(Box<FailedStatement>),
    /// The connection was lost.
    #[error("load the schema")]
    Conn(#[from] ConnError),
    /// The schema would change a role that was on the named server before.
    #[error(
        "load the schema: {at} changes role `{role}`, which was on the server before; rename it in the schema, or use a server of our own (--server local)"
    )]
    ForeignRole {
        /// Place.
        at: String,
        /// Role.
        role: String,
    },
}

/// How to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Role to run the files as, where not the superuser.
    pub load_as: Option<String>,
    /// Roles that must not be touched: those of a server that the user named.
    pub protected_roles: BTreeSet<String>,
}

/// Runs all steps. Leaves the connection as superuser, outside of a transaction.
pub async fn load(conn: &mut Conn, steps: &[Step], options: &LoadOptions) -> Result<(), LoadError> {
    become_loader(conn, options).await?;
    for step in steps {
        protect(step, &options.protected_roles)?;
        let refused = match &step.kind {
            StepKind::Sql => conn.run(&step.text).await?.error,
            StepKind::Copy { data } => conn
                .copy_in(step.text.trim_end().trim_end_matches(';'), data)
                .await?
                .err(),
            StepKind::Reconnect => {
                become_loader(conn, options).await?;
                None
            }
        };
        let Some(error) = refused else { continue };
        // Roles outlive databases: one that another schema of this server made is as good.
        if error.code == "42710" && matches!(script::classify(step), Class::CreateRole { .. }) {
            continue;
        }
        conn.query("ROLLBACK").await?;
        return Err(LoadError::Statement(Box::new(failed(step, error))));
    }
    let superuser = quote::ident(conn.superuser());
    conn.query("COMMIT").await?;
    conn.query(&format!("RESET ALL; RESET ROLE; SET SESSION AUTHORIZATION {superuser}"))
        .await?;
    Ok(())
}

async fn become_loader(conn: &mut Conn, options: &LoadOptions) -> Result<(), LoadError> {
    // A file may leave a transaction, role or settings behind; each connection of psql starts without.
    let superuser = quote::ident(conn.superuser());
    conn.query("COMMIT").await?;
    conn.query(&format!(
        "RESET ALL; RESET ROLE; SET SESSION AUTHORIZATION {superuser}; SET client_min_messages = error"
    ))
    .await?;
    if let Some(role) = &options.load_as {
        conn.query(&format!("SET SESSION AUTHORIZATION {}", quote::ident(role)))
            .await?;
    }
    Ok(())
}

fn protect(step: &Step, protected: &BTreeSet<String>) -> Result<(), LoadError> {
    if protected.is_empty() {
        return Ok(());
    }
    let touched = match script::classify(step) {
        Class::AlterRole { name } => vec![name],
        Class::TouchesRole { names } => names,
        Class::TouchesAllRoles => vec!["ALL".to_owned()],
        Class::TransactionControl
        | Class::NeedsNoTransaction
        | Class::CreateRole { .. }
        | Class::CreateExtension { .. }
        | Class::Ordinary => Vec::new(),
    };
    match touched
        .into_iter()
        .find(|name| protected.contains(name) || name == "ALL")
    {
        Some(role) => Err(LoadError::ForeignRole {
            at: step.origin.to_string(),
            role,
        }),
        None => Ok(()),
    }
}

fn failed(step: &Step, error: DbError) -> FailedStatement {
    let (line, column) = match error.position {
        Some(position) => script::locate(step, position),
        None => (step.origin.line, step.origin.column),
    };
    let mut statement: String = step.text.lines().take(12).collect::<Vec<_>>().join("\n");
    if step.text.lines().count() > 12 {
        statement += "\n...";
    }
    FailedStatement {
        at: format!("{}:{line}:{column}", step.origin.file.display()),
        statement,
        error,
    }
}
