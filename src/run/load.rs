//! Loads a schema into a scratch database, statement by statement, and says where it failed.

mod assumed;

use std::fmt;

use assumed::Assumed;

use crate::pg::conn::{Conn, ConnError, DbError};
use crate::pg::{Scratch, ServerError};
use crate::sql::quote;
use crate::sql::script::{self, Block, Class, ScriptError, Step, StepKind};

/// Functions that make extensions, or stubs of them.
pub const EXTENSIONS: &str = include_str!("../../presets/extensions.sql");
/// Roles of a Supabase project, with their attributes.
pub const SUPABASE_ROLES: &str = include_str!("../../presets/supabase/01_roles.sql");

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
    /// A file of our own cannot be read.
    #[error("load what the schema leans on")]
    Preset(#[source] ScriptError),
    /// The roles that a statement made could not be looked at.
    #[error(transparent)]
    Server(#[from] ServerError),
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
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// Role to run the files as, where not the superuser.
    pub load_as: Option<&'a str>,
    /// The scratch database, on a server that the user named: roles that the schema makes are marked as its own, and those
    /// that were there before must not be touched.
    pub guard: Option<&'a Scratch>,
    /// Whether a platform's schemas were loaded first; the schema's own take their place.
    pub platform: bool,
}

/// Runs all steps. Leaves the connection as superuser, outside of a transaction. Roles and extensions that the schema leans on
/// and that are not there are made up where that can be done; what was made up, or passed over, is said.
pub async fn load(conn: &mut Conn, steps: &[Step], options: LoadOptions<'_>) -> Result<Vec<String>, LoadError> {
    become_loader(conn, options).await?;
    let mut assumed = Assumed::default();
    let mut at = 0;
    // Where the transaction that is open was begun by the script.
    let mut begun: Option<usize> = None;
    while let Some(step) = steps.get(at) {
        let Some(text) = assumed.text(at, step) else {
            at += 1;
            continue;
        };
        let block = script::block(step);
        let refused = match &step.kind {
            StepKind::Sql => match options.guard {
                Some(scratch) if touches_roles(step) => guarded(conn, step, &text, scratch).await?,
                Some(_) | None => conn.run(&text).await?.error,
            },
            StepKind::Copy { data } => conn.copy_in(text.trim_end().trim_end_matches(';'), data).await?.err(),
            StepKind::Reconnect => {
                become_loader(conn, options).await?;
                begun = None;
                None
            }
        };
        let Some(error) = refused else {
            match block {
                Block::Begins => begun = begun.or(Some(at)),
                Block::Ends => begun = None,
                Block::Stays => {}
            }
            at += 1;
            continue;
        };
        // Roles outlive databases: one that another schema of this server made is as good.
        if error.code == "42710" && matches!(script::classify(step), Class::CreateRole { .. }) {
            at += 1;
            continue;
        }
        conn.query("ROLLBACK").await?;
        if assumed.make_up(conn, steps, at, &error, options).await? {
            at = begun.take().unwrap_or(at);
            continue;
        }
        return Err(LoadError::Statement(Box::new(failed(step, error, assumed.hint()))));
    }
    let superuser = quote::ident(conn.superuser());
    conn.query("COMMIT").await?;
    conn.query(&format!(
        "RESET ALL; RESET ROLE; SET SESSION AUTHORIZATION {superuser}; SET client_min_messages = error; \
         DROP SCHEMA IF EXISTS tenantproof_load CASCADE; RESET client_min_messages"
    ))
    .await?;
    Ok(assumed.notes)
}

async fn become_loader(conn: &mut Conn, options: LoadOptions<'_>) -> Result<(), LoadError> {
    // A file may leave a transaction, role or settings behind; each connection of psql starts without.
    let superuser = quote::ident(conn.superuser());
    conn.query("COMMIT").await?;
    conn.query(&format!(
        "RESET ALL; RESET ROLE; SET SESSION AUTHORIZATION {superuser}; SET client_min_messages = error"
    ))
    .await?;
    if let Some(role) = options.load_as {
        conn.query(&format!("SET SESSION AUTHORIZATION {}", quote::ident(role)))
            .await?;
    }
    Ok(())
}

/// Whether a statement may make or change roles; of a DO block or function only running it tells.
fn touches_roles(step: &Step) -> bool {
    match script::classify(step) {
        Class::CreateRole { .. } | Class::AlterRole { .. } | Class::TouchesRole { .. } | Class::TouchesAllRoles => true,
        Class::Ordinary => script::hides_role_commands(step),
        Class::TransactionControl | Class::NeedsNoTransaction | Class::CreateExtension { .. } => false,
    }
}

/// Runs a statement that may touch roles in a transaction, and takes it back where it changed one that was there before.
async fn guarded(conn: &mut Conn, step: &Step, text: &str, scratch: &Scratch) -> Result<Option<DbError>, LoadError> {
    let is_open = conn.is_in_transaction().await?;
    if !is_open {
        conn.query("BEGIN").await?;
    }
    if let Some(error) = conn.run(text).await?.error {
        if !is_open {
            conn.query("ROLLBACK").await?;
        }
        return Ok(Some(error));
    }
    let changes = conn.note_created_roles(scratch).await?;
    if let Some(role) = changes.altered.first() {
        conn.query("ROLLBACK").await?;
        return Err(LoadError::ForeignRole {
            at: step.origin.to_string(),
            role: role.clone(),
        });
    }
    if !is_open {
        conn.query("COMMIT").await?;
    }
    Ok(None)
}

fn failed(step: &Step, mut error: DbError, hint: Option<String>) -> FailedStatement {
    if hint.is_some() {
        error.hint = hint;
    }
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
