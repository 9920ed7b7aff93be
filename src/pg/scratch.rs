//! Scratch databases: made, handed out, and dropped with the roles their schema created.
//!
//! Roles belong to the server, not to a database. Those that a schema creates carry the name of their scratch database as
//! first line of their comment, set in the transaction that creates them: there is no moment at which a killed run
//! leaves a role that the next does not know for its own, and none at which somebody else's role looks like ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::embedded::Embedded;
use super::error::ServerError;
use super::own_thread::on_own_thread;
use super::server::{Ledger, lock};
use super::stamp::Stamp;

/// A server that is gone shall not hold up a drop.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// An empty database of our own. Dropping it drops the database, if less surely than [`Scratch::drop_now`] does.
#[derive(Debug)]
pub struct Scratch {
    name: String,
    options: PgConnectOptions,
    // By oid: a role that is renamed stays the same role.
    before: BTreeMap<i64, String>,
    names_before: BTreeSet<String>,
    noted: Mutex<BTreeSet<i64>>,
    home: Option<Home>,
}

/// What has to be given back.
#[derive(Debug)]
enum Home {
    Database { admin: Box<PgConnectOptions>, live: Ledger },
    Instance(Embedded),
}

/// How the server makes a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Block by block, through the log.
    WalLog,
    /// File by file, between two checkpoints.
    FileCopy,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WalLog => "wal_log",
            Self::FileCopy => "file_copy",
        })
    }
}

/// What a transaction did to the server's roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleChanges {
    /// Roles that it created; they are dropped with the scratch database.
    pub created: BTreeSet<String>,
    /// Roles that were there before and that it altered, renamed or dropped, or gave or took memberships of or in, by the
    /// names they had. On a server of the user's, such a transaction must not commit.
    pub altered: BTreeSet<String>,
}

impl Scratch {
    pub(super) async fn create(
        admin: &PgConnectOptions,
        live: &Ledger,
        strategy: Strategy,
        template: Option<&str>,
    ) -> Result<Self, ServerError> {
        let name = Stamp::new().to_string();
        let failed = |source| ServerError::Scratch {
            doing: "create",
            name: name.clone(),
            source,
        };
        let mut connection = PgConnection::connect_with(admin).await.map_err(failed)?;
        let before = roles(&mut connection).await.map_err(failed)?;
        let statement = match template {
            Some(template) => {
                format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY {strategy}")
            }
            None => {
                let encoding = sqlx::query(include_str!("scratch/encoding.sql"))
                    .fetch_one(&mut connection)
                    .await;
                let is_utf8 = encoding.and_then(|row| row.try_get::<bool, _>(0)).map_err(failed)?;
                // template0, as the user's server may have things of its own in template1.
                let other = if is_utf8 { "" } else { " ENCODING 'UTF8' LOCALE 'C'" };
                format!("CREATE DATABASE {name} TEMPLATE template0 STRATEGY {strategy}{other}")
            }
        };
        let scratch = Self {
            options: admin.clone().database(&name),
            names_before: before.values().cloned().collect(),
            before,
            noted: Mutex::default(),
            home: Some(Home::Database {
                admin: Box::new(admin.clone()),
                live: live.clone(),
            }),
            name: name.clone(),
        };
        // INVARIANT: known before it is there, so that whatever ends us here, it is dropped.
        lock(live).insert(name.clone());
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .map_err(failed)?;
        let _ = connection.close().await;
        Ok(scratch)
    }

    pub(super) fn instance(instance: Embedded) -> Self {
        Self {
            name: "postgres".into(),
            options: instance.connect_options(),
            before: BTreeMap::new(),
            names_before: BTreeSet::new(),
            noted: Mutex::default(),
            home: Some(Home::Instance(instance)),
        }
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to connect to it, as the server's superuser.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The same with limits for statements and locks, so that what hangs is cut short; the embedded server has none.
    pub fn bounded_options(&self) -> PgConnectOptions {
        let options = self.connect_options();
        match self.home {
            Some(Home::Instance(_)) => options,
            _ => options.options([("statement_timeout", "10s"), ("lock_timeout", "5s")]),
        }
    }

    /// The roles that were on the server before this database was; none on the embedded server, whose instances share
    /// nothing.
    pub fn roles_before(&self) -> &BTreeSet<String> {
        &self.names_before
    }

    /// Marks the roles that the open transaction has created as this database's, to be dropped with it, and tells which
    /// earlier ones it changed.
    ///
    /// To be called as a superuser, after each statement that may create roles or comment on them (`CREATE ROLE`, `DO`, a
    /// function's call, `COMMENT ON ROLE`), in its transaction. Others may create roles at the same time: theirs are
    /// not taken for ours.
    ///
    /// # Errors
    ///
    /// When no transaction is open, it has failed, or the session may not comment on roles.
    pub async fn note_created_roles(&self, connection: &mut PgConnection) -> Result<RoleChanges, ServerError> {
        if let Some(Home::Instance(_)) = self.home {
            return Ok(RoleChanges::default());
        }
        let failed = |source| ServerError::Scratch {
            doing: "note the roles of",
            name: self.name.clone(),
            source,
        };
        let open = sqlx::raw_sql("SAVEPOINT tenantproof; RELEASE SAVEPOINT tenantproof")
            .execute(&mut *connection)
            .await;
        if let Err(error) = open {
            let is_outside = error.as_database_error().and_then(|error| error.code()).as_deref() == Some("25P01");
            return Err(if is_outside {
                ServerError::NoTransaction
            } else {
                failed(error)
            });
        }
        let noted: Vec<i64> = lock(&self.noted).iter().copied().collect();
        let rows = sqlx::query(include_str!("scratch/touched_roles.sql"))
            .bind(self.before.keys().copied().collect::<Vec<_>>())
            .bind(noted)
            .bind(&self.name)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
        let mut changes = RoleChanges::default();
        for row in rows {
            let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
            let (oid, name, mark): (i64, String, Option<String>) = read().map_err(failed)?;
            match self.before.get(&oid) {
                Some(old) => changes.altered.insert(old.clone()),
                None => changes.created.insert(name),
            };
            if let Some(mark) = mark {
                sqlx::raw_sql(AssertSqlSafe(mark))
                    .execute(&mut *connection)
                    .await
                    .map_err(failed)?;
                lock(&self.noted).insert(oid);
            }
        }
        let now = roles(connection).await.map_err(failed)?;
        changes.altered.extend(
            self.before
                .iter()
                .filter(|(oid, _)| !now.contains_key(oid))
                .map(|(_, name)| name.clone()),
        );
        Ok(changes)
    }

    /// Roles that came after this database and that no scratch database owns: of somebody else, or of a statement that
    /// [`Scratch::note_created_roles`] did not see. Nobody drops them.
    ///
    /// # Errors
    ///
    /// When the server is gone.
    pub async fn stray_roles(&self, connection: &mut PgConnection) -> Result<BTreeSet<String>, ServerError> {
        let failed = |source| ServerError::Scratch {
            doing: "look for stray roles of",
            name: self.name.clone(),
            source,
        };
        let mut strays = roles(connection).await.map_err(failed)?;
        strays.retain(|oid, _| !self.before.contains_key(oid));
        for (_, role) in marked_roles(connection).await.map_err(failed)? {
            strays.retain(|_, name| *name != role);
        }
        Ok(strays.into_values().collect())
    }

    /// Drops the database, whoever is connected to it, and the roles it created.
    ///
    /// # Errors
    ///
    /// When the server is gone, or refuses; a role that something outside of the database depends on stays, and is tried
    /// again by later runs.
    pub async fn drop_now(mut self) -> Result<(), ServerError> {
        match self.home.take() {
            Some(Home::Database { admin, live }) => {
                let failed = |source| ServerError::Scratch {
                    doing: "drop",
                    name: self.name.clone(),
                    source,
                };
                let mut connection = PgConnection::connect_with(&admin).await.map_err(failed)?;
                drop_database(&mut connection, &admin, &self.name)
                    .await
                    .map_err(failed)?;
                lock(&live).remove(&self.name);
                let _ = connection.close().await;
            }
            Some(Home::Instance(instance)) => instance.stop().await,
            None => {}
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let name = self.name.clone();
        match self.home.take() {
            Some(Home::Database { admin, live }) => on_own_thread(async move {
                let dropping = tokio::time::timeout(DROP_LIMIT, drop_all(&admin, BTreeSet::from([name.clone()])));
                if dropping.await.is_ok() {
                    lock(&live).remove(&name);
                }
            }),
            // Its own drop ends it.
            Some(Home::Instance(_)) | None => {}
        }
    }
}

/// Drops these databases and their roles, as far as it goes.
pub(super) async fn drop_all(admin: &PgConnectOptions, names: BTreeSet<String>) {
    if names.is_empty() {
        return;
    }
    let Ok(mut connection) = PgConnection::connect_with(admin).await else {
        return;
    };
    for name in names {
        let _ = drop_database(&mut connection, admin, &name).await;
    }
    let _ = connection.close().await;
}

/// Drops one of our databases, and then the roles that carry its name.
pub(super) async fn drop_database(
    connection: &mut PgConnection,
    admin: &PgConnectOptions,
    name: &str,
) -> Result<(), sqlx::Error> {
    let statement = || AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    if sqlx::raw_sql(statement()).execute(&mut *connection).await.is_err() {
        clear_obstacles(connection, admin, name).await;
        sqlx::raw_sql(statement()).execute(&mut *connection).await?;
    }
    drop_roles(connection, name).await.map(|_| ())
}

/// Removes what FORCE does not: being a template, replication slots, prepared transactions, subscriptions.
async fn clear_obstacles(connection: &mut PgConnection, admin: &PgConnectOptions, name: &str) {
    let from_outside = run_generated(connection, include_str!("scratch/obstacles_outside.sql"), name).await;
    let Ok(mut inside) = PgConnection::connect_with(&admin.clone().database(name)).await else {
        return;
    };
    let from_inside = run_generated(&mut inside, include_str!("scratch/obstacles_inside.sql"), name).await;
    // What is still in the way shows when the drop is tried again.
    let _ = (from_outside, from_inside, inside.close().await);
}

/// Runs the statements that a query writes, which knows PostgreSQL's quoting best.
async fn run_generated(connection: &mut PgConnection, query: &'static str, name: &str) -> Result<(), sqlx::Error> {
    for row in sqlx::query(query).bind(name).fetch_all(&mut *connection).await? {
        let statement: String = row.try_get(0)?;
        // One that fails leaves the next its chance.
        let _ = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await;
    }
    Ok(())
}

/// Drops the roles that carry this database's name; returns those that went.
pub(super) async fn drop_roles(connection: &mut PgConnection, owner: &str) -> Result<Vec<String>, sqlx::Error> {
    let mut dropped = Vec::new();
    // One may depend on another (as the grantor of its membership, say), so go on while it helps.
    loop {
        let rows = sqlx::query(include_str!("scratch/drop_roles.sql"))
            .bind(owner)
            .fetch_all(&mut *connection)
            .await?;
        let mut progress = false;
        for row in rows {
            let (role, drop_role, drop_owned): (String, String, Option<String>) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            if let Some(drop_owned) = drop_owned {
                let _ = sqlx::raw_sql(AssertSqlSafe(drop_owned)).execute(&mut *connection).await;
            }
            if sqlx::raw_sql(AssertSqlSafe(drop_role))
                .execute(&mut *connection)
                .await
                .is_ok()
            {
                dropped.push(role);
                progress = true;
            }
        }
        if !progress {
            return Ok(dropped);
        }
    }
}

/// The names of our databases that roles carry, and the roles.
pub(super) async fn marked_roles(connection: &mut PgConnection) -> Result<Vec<(String, String)>, sqlx::Error> {
    let rows = sqlx::query(include_str!("scratch/marked_roles.sql"))
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn roles(connection: &mut PgConnection) -> Result<BTreeMap<i64, String>, sqlx::Error> {
    let rows = sqlx::query(include_str!("scratch/roles.sql"))
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
