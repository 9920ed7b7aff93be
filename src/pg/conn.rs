//! One connection, spoken to in the simple query protocol: several statements a message, every value as text.
//!
//! Owns how outcomes of the server become values. An error that the server reports for a statement is an [`Outcome`]; a
//! connection that is lost is an error, never an outcome.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use sqlx::{AssertSqlSafe, Column as _, Connection, Either, Row as _, ValueRef as _};

use super::error::ServerError;
use super::scratch::{RoleChanges, Scratch};

/// Rows of one statement; NULL is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// An error that the server reported for a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct DbError {
    /// SQLSTATE.
    pub code: String,
    /// Primary message.
    pub message: String,
    /// Detail.
    pub detail: Option<String>,
    /// Hint.
    pub hint: Option<String>,
    /// Position in the statement, 1-based, in characters.
    pub position: Option<usize>,
    /// Constraint.
    pub constraint: Option<String>,
    /// Table.
    pub table: Option<String>,
    /// Context (`W` field).
    pub context: Option<String>,
}

impl DbError {
    /// Whether it says nothing of what the session may do: a timeout, a lock, exhausted resources, a fault of the server
    /// (classes of the manual's appendix "PostgreSQL Error Codes"). Never evidence of isolation.
    pub fn is_interference(&self) -> bool {
        let class = self.code.get(..2).unwrap_or("");
        ["08", "25", "40", "53", "54", "55", "57", "58", "XX"].contains(&class)
    }

    /// Stands for what a statement did to a table that cannot be read for another's lock.
    pub fn unread(table: &str) -> Self {
        Self {
            code: "55P03".to_owned(),
            message: format!("table {table} is locked, so what changed in it is not known"),
            detail: None,
            hint: None,
            position: None,
            constraint: None,
            table: Some(table.to_owned()),
            context: None,
        }
    }

    /// How much it wears out a session of the embedded server: the parser's errors five times as much as others.
    fn wear(&self) -> usize {
        let of_the_parser = ["42601", "0A000", "22021", "22025", "42602", "42622"];
        if of_the_parser.contains(&self.code.as_str()) {
            5
        } else {
            1
        }
    }

    /// Whether it ended what took too long, or waited too long for another's lock.
    pub fn is_timeout(&self) -> bool {
        matches!(self.code.as_str(), "57014" | "55P03")
    }

    /// Code and message as the reason of a cell, and that it is no answer where it is none.
    pub fn reason(&self) -> String {
        let what = match (self.is_timeout(), self.is_interference()) {
            (true, _) => "timed out: ",
            (false, true) => "cut short: ",
            (false, false) => "",
        };
        format!("{what}{} {}", self.code, self.message)
    }

    /// Everything a client can see of it.
    pub fn visible_text(&self) -> String {
        [
            Some(self.message.as_str()),
            self.detail.as_deref(),
            self.hint.as_deref(),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
    }
}

/// What one message came to: the results up to its end, or up to the statement that failed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// One entry a statement that ended.
    pub results: Vec<StatementResult>,
    /// The error that ended the message, if one did.
    pub error: Option<DbError>,
}

/// Result of one statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementResult {
    /// Rows.
    pub rows: Rows,
    /// Rows affected, by the command tag.
    pub affected: u64,
}

/// What stopped a query from being answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnError {
    /// The connection failed or was lost.
    #[error("talk to the server: {0}")]
    Lost(#[source] sqlx::Error),
    /// The connection was lost in the middle of a message.
    #[error("get an answer, for the server ended the connection; nothing is judged: {source} [{statement}]")]
    LostDuring {
        /// What the driver or the server said.
        #[source]
        source: sqlx::Error,
        /// The message's first characters.
        statement: String,
    },
    /// A statement of our own failed.
    #[error("run a statement of tenantproof's own: {error} [{statement}]")]
    Refused {
        /// What the server said.
        #[source]
        error: Box<DbError>,
        /// The statement's first characters.
        statement: String,
    },
    /// The server did not answer in time.
    #[error("get an answer within {after:?}; nothing is judged [{statement}]")]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// The message's first characters.
        statement: String,
    },
}

/// A connection to a scratch database, as a superuser.
#[derive(Debug)]
pub struct Conn {
    inner: PgConnection,
    superuser: String,
    statements: u64,
    patience: Duration,
    /// Statements that go ahead of the next message, and how many they are.
    deferred: (String, usize),
    /// Messages that ended by a timeout.
    timeouts: usize,
    errors: usize,
    is_embedded: bool,
    /// Settings that hold until the connection ends.
    standing: String,
}

/// So many of the errors that a session of the embedded server can bear are spent before the others are caught.
const ERRORS_SPENT: usize = 1_500;

impl Conn {
    /// Connects. `patience` bounds each message; the server's own `statement_timeout` is set a little lower.
    pub async fn open(options: &PgConnectOptions, patience: Duration) -> Result<Self, ConnError> {
        let options = options.clone().application_name("tenantproof");
        let inner = tokio::time::timeout(
            patience.max(Duration::from_secs(10)),
            PgConnection::connect_with(&options),
        )
        .await
        .map_err(|_| ConnError::TimedOut {
            after: patience,
            statement: "connect".to_owned(),
        })?
        .map_err(ConnError::Lost)?;
        let mut conn = Self {
            inner,
            superuser: String::new(),
            statements: 0,
            patience,
            deferred: Default::default(),
            timeouts: 0,
            errors: 0,
            standing: String::new(),
            is_embedded: false,
        };
        let rows = conn.query("SELECT session_user, (version() ~ 'wasm')::text").await?;
        conn.superuser = rows[0][0][0].clone().unwrap_or_default();
        conn.is_embedded = rows[0][0][1].as_deref() == Some("true");
        Ok(conn)
    }

    /// Sets what [`Self::reset`] keeps.
    pub async fn stand(&mut self, statement: &str) -> Result<(), ConnError> {
        self.query(statement).await?;
        self.standing = format!("; {statement}");
        Ok(())
    }

    /// Back to the superuser and the settings that the connection had, whatever a session left behind.
    pub async fn reset(&mut self) -> Result<(), ConnError> {
        let superuser = crate::sql::quote::ident(&self.superuser);
        let standing = self.standing.clone();
        self.query(&format!(
            "RESET ROLE; SET SESSION AUTHORIZATION {superuser}; RESET ALL{standing}"
        ))
        .await?;
        Ok(())
    }

    /// The role that the connection logged in as.
    pub fn superuser(&self) -> &str {
        &self.superuser
    }

    /// Messages sent so far.
    pub fn statements(&self) -> u64 {
        self.statements
    }

    /// Has statements of ours go ahead of the next message rather than in one of their own: a round trip saved. They are not
    /// seen in its outcome, and must succeed.
    pub fn defer(&mut self, statements: &[&str]) {
        for statement in statements {
            self.deferred.0 += statement;
            self.deferred.0 += "; ";
            self.deferred.1 += 1;
        }
    }

    /// Whether it is the embedded server's.
    pub fn is_embedded(&self) -> bool {
        self.is_embedded
    }

    /// Whether errors that reach the client should be kept few from now on: each wears the embedded server's session out, and
    /// those that PL/pgSQL catches do not.
    pub fn spares_errors(&self) -> bool {
        self.is_embedded && self.errors > ERRORS_SPENT
    }

    /// Statements by which what is tried next waits less than usual, once some have hung, and how many they are: a schema in
    /// which many hang is judged in bounded time. For within a savepoint; none while nothing has hung.
    pub fn limits(&self) -> (String, usize) {
        let (statement, lock) = match self.timeouts {
            0 => return Default::default(),
            1..5 => ("2s", "1s"),
            5..20 => ("500ms", "250ms"),
            _ => ("150ms", "100ms"),
        };
        let sql = format!("SET LOCAL statement_timeout = '{statement}'; SET LOCAL lock_timeout = '{lock}'; ");
        (sql, 2)
    }

    /// Sends a message and returns whatever came back; an error of the server is part of the outcome.
    pub async fn run(&mut self, sql: &str) -> Result<Outcome, ConnError> {
        let (mut ahead, count) = std::mem::take(&mut self.deferred);
        if count == 0 {
            return self.send(sql).await;
        }
        let shift = ahead.chars().count();
        ahead += sql;
        let mut outcome = self.send(&ahead).await?;
        if outcome.results.len() < count
            && let Some(error) = outcome.error
        {
            return Err(refused(error, &ahead));
        }
        outcome.results.drain(..count.min(outcome.results.len()));
        if let Some(position) = outcome.error.as_mut().and_then(|e| e.position.as_mut()) {
            *position = position.saturating_sub(shift);
        }
        Ok(outcome)
    }

    async fn send(&mut self, sql: &str) -> Result<Outcome, ConnError> {
        self.statements += 1;
        let patience = self.patience;
        let outcome = tokio::time::timeout(patience, self.run_unbounded(sql)).await;
        let outcome = outcome.map_err(|_| ConnError::TimedOut {
            after: patience,
            statement: shortened(sql),
        })?;
        let outcome = outcome.map_err(|error| match error {
            ConnError::Lost(source) => ConnError::LostDuring {
                source,
                statement: shortened(sql),
            },
            other => other,
        })?;
        self.errors += outcome.error.as_ref().map_or(0, DbError::wear);
        self.timeouts += usize::from(outcome.error.as_ref().is_some_and(DbError::is_timeout));
        Ok(outcome)
    }

    async fn run_unbounded(&mut self, sql: &str) -> Result<Outcome, ConnError> {
        let mut outcome = Outcome::default();
        let mut rows = Rows::new();
        let mut stream = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(&mut self.inner);
        loop {
            match stream.try_next().await {
                Ok(Some(Either::Left(done))) => outcome.results.push(StatementResult {
                    rows: std::mem::take(&mut rows),
                    affected: done.rows_affected(),
                }),
                Ok(Some(Either::Right(row))) => rows.push(text_values(&row)?),
                Ok(None) => return Ok(outcome),
                Err(sqlx::Error::Database(error)) => {
                    outcome.error = Some(db_error(&*error)?);
                    // The stream has to be read to its end for the connection to be usable again.
                    while let Ok(Some(_)) = stream.try_next().await {}
                    return Ok(outcome);
                }
                Err(error) => return Err(ConnError::Lost(error)),
            }
        }
    }

    /// Sends a message that must succeed; the rows of each statement.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<Rows>, ConnError> {
        let outcome = self.run(sql).await?;
        match outcome.error {
            None => Ok(outcome.results.into_iter().map(|r| r.rows).collect()),
            Some(error) => Err(refused(error, sql)),
        }
    }

    /// Feeds the rows of a `COPY ... FROM stdin`.
    pub async fn copy_in(&mut self, statement: &str, data: &[u8]) -> Result<Result<(), DbError>, ConnError> {
        self.statements += 1;
        let outcome = async {
            let mut sink = self.inner.copy_in_raw(statement).await?;
            sink.send(data).await?;
            sink.finish().await
        }
        .await;
        match outcome {
            Ok(_) => Ok(Ok(())),
            Err(sqlx::Error::Database(error)) => Ok(Err(db_error(&*error)?)),
            Err(error) => Err(ConnError::Lost(error)),
        }
    }

    /// Whether a transaction is open.
    pub async fn is_in_transaction(&mut self) -> Result<bool, ConnError> {
        let outcome = self.run("SAVEPOINT tp_open; RELEASE SAVEPOINT tp_open").await?;
        match outcome.error {
            None => Ok(true),
            // no_active_sql_transaction
            Some(error) if error.code == "25P01" => Ok(false),
            Some(error) => Err(ConnError::Refused {
                error: Box::new(error),
                statement: "SAVEPOINT".to_owned(),
            }),
        }
    }

    /// Marks the roles that the open transaction has made as the scratch database's, see [`Scratch::note_created_roles`].
    pub async fn note_created_roles(&mut self, scratch: &Scratch) -> Result<RoleChanges, ServerError> {
        scratch.note_created_roles(&mut self.inner).await
    }

    /// Ends the connection in order.
    pub async fn close(self) {
        // A server that is already gone has nothing left to close.
        let _ = self.inner.close().await;
    }
}

fn refused(error: DbError, statement: &str) -> ConnError {
    ConnError::Refused {
        error: Box::new(error),
        statement: shortened(statement),
    }
}

fn shortened(statement: &str) -> String {
    statement.chars().take(400).collect()
}

fn text_values(row: &sqlx::postgres::PgRow) -> Result<Vec<Option<String>>, ConnError> {
    row.columns()
        .iter()
        .map(|column| {
            let value = row.try_get_raw(column.ordinal()).map_err(ConnError::Lost)?;
            if value.is_null() {
                return Ok(None);
            }
            value
                .as_str()
                .map(|s| Some(s.to_owned()))
                .map_err(|e| ConnError::Lost(sqlx::Error::Decode(e)))
        })
        .collect()
}

/// FATAL and worse ends the session: that is a lost connection, not an answer.
fn db_error(error: &dyn sqlx::error::DatabaseError) -> Result<DbError, ConnError> {
    let Some(pg) = error.try_downcast_ref::<PgDatabaseError>() else {
        return Err(ConnError::Lost(sqlx::Error::Protocol(error.to_string())));
    };
    if matches!(
        pg.severity(),
        sqlx::postgres::PgSeverity::Fatal | sqlx::postgres::PgSeverity::Panic
    ) {
        return Err(ConnError::Lost(sqlx::Error::Protocol(format!(
            "{}: {}",
            pg.code(),
            pg.message()
        ))));
    }
    Ok(DbError {
        code: pg.code().to_owned(),
        message: pg.message().to_owned(),
        detail: pg.detail().map(str::to_owned),
        hint: pg.hint().map(str::to_owned),
        position: match pg.position() {
            Some(sqlx::postgres::PgErrorPosition::Original(at)) => Some(at),
            _ => None,
        },
        constraint: pg.constraint().map(str::to_owned),
        table: pg.table().map(str::to_owned),
        context: pg.r#where().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::DbError;

    #[test]
    fn refusals_are_told_from_interference() {
        let error = |code: &str| DbError {
            code: code.to_owned(),
            message: String::new(),
            detail: None,
            hint: None,
            position: None,
            constraint: None,
            table: None,
            context: None,
        };
        for (code, interferes) in [
            ("42501", false),
            ("23505", false),
            ("57014", true),
            ("55P03", true),
            ("XX000", true),
        ] {
            assert_eq!(error(code).is_interference(), interferes, "{code}");
        }
    }
}
