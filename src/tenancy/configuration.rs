//! Configurations of tenants: what holds for a tenant and where it is from, and changes to it.
//!
//! A tenant inherits from its base tenant, that one from its own base, and the last from the schema's defaults. A base may
//! lock a key, which keeps its heirs from overriding it. What holds is decided in the database, by the view
//! `effective_configurations`; nothing here decides it again.

mod change;
mod migrate;
mod schema;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::context::{NoTenant, TenantContext};
use super::id::{TenantId, UserId};
use super::store::{Store, StoreError, TenantTransaction, Transient};
use super::usage::Metric;
pub use change::{Change, Expected};
pub(super) use change::{Locks, write_configuration};
use change::{Turn, take_turn};
pub use migrate::{FailedTenant, Migrator, Report, Step};
pub(super) use schema::shortened;
pub use schema::{Fault, KeySchema, Schema, ValueType};

/// Why a configuration was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema does not take the value.
    #[error("set `{key}` of tenant {tenant} to {value}: {fault}")]
    Invalid {
        /// Whose.
        tenant: TenantId,
        /// Key.
        key: String,
        /// What it should have been set to, shortened, secrets left out.
        value: String,
        /// What is wrong.
        fault: Fault,
    },
    /// A base tenant says it is final.
    #[error("set `{key}` of tenant {tenant}: it is locked by tenant {by}, which it inherits from")]
    Locked {
        /// Whose.
        tenant: TenantId,
        /// Key.
        key: String,
        /// Who locked it.
        by: TenantId,
    },
    /// Somebody changed it since it was read.
    #[error("change `{key}` of tenant {tenant}: expected {expected}, found {found}; read it again")]
    Conflict {
        /// Whose.
        tenant: TenantId,
        /// Key.
        key: String,
        /// What the change was made for.
        expected: Expected,
        /// What is there.
        found: Expected,
    },
    /// A set of changes has two for one key.
    #[error("change `{key}` of tenant {tenant}: the set of changes has it twice")]
    Twice {
        /// Whose.
        tenant: TenantId,
        /// Key.
        key: String,
    },
    /// The database holds a schema that this crate cannot read.
    #[error("read version {version} of the configuration schema: {reason}")]
    Schema {
        /// Which.
        version: i32,
        /// Why.
        reason: String,
    },
}

impl From<NoTenant> for ConfigurationError {
    fn from(error: NoTenant) -> Self {
        Self::Store(error.into())
    }
}

impl Transient for ConfigurationError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Invalid { .. }
            | Self::Locked { .. }
            | Self::Conflict { .. }
            | Self::Twice { .. }
            | Self::Schema { .. } => false,
        }
    }
}

/// Where a value is from.
///
/// ```
/// use tenantproof::tenancy::Origin;
/// assert_eq!(Origin::Default { version: 2 }.to_string(), "default of schema version 2");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The tenant set it.
    Own,
    /// A tenant it inherits from did; 1 is its base.
    Inherited {
        /// Whose it is.
        tenant: TenantId,
        /// How far away.
        depth: i32,
    },
    /// The default of a version of the schema.
    Default {
        /// Which.
        version: i32,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("own"),
            Self::Inherited { tenant, depth } => write!(f, "inherited from {tenant}, {depth} up"),
            Self::Default { version } => write!(f, "default of schema version {version}"),
        }
    }
}

/// What holds for a key.
#[derive(Clone, PartialEq, Serialize)]
pub struct Effective {
    /// Its value.
    pub value: Value,
    /// Where it is from.
    pub origin: Origin,
    /// Whether a tenant it inherits from keeps it from being overridden.
    pub locked: bool,
    /// Names what was read, for [`Expected::Version`]; none for a default.
    pub version: Option<Uuid>,
    /// Whether it is not to be printed.
    pub secret: bool,
    /// Whether the tenant's version of the schema knows the key.
    pub known: bool,
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.secret {
            "(secret)".to_owned()
        } else {
            shortened(&self.value)
        };
        f.debug_struct("Effective")
            .field("value", &value)
            .field("origin", &self.origin)
            .field("locked", &self.locked)
            .finish_non_exhaustive()
    }
}

/// A row of a key's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryEntry {
    /// Which key.
    pub key: String,
    /// INSERT, UPDATE or DELETE.
    pub command: String,
    /// What it was.
    pub old_value: Option<Value>,
    /// What it became.
    pub new_value: Option<Value>,
    /// By whom; none where the server did it.
    pub changed_by: Option<UserId>,
    /// When, as ISO 8601.
    pub changed_at: String,
}

/// Reads and changes configurations. From [`Store::configurations`].
///
/// ```no_run
/// use tenantproof::tenancy::{Change, ConfigurationError, Expected, Store};
///
/// # async fn f(store: &Store) -> Result<(), ConfigurationError> {
/// let configurations = store.configurations(); // in the context of an administrator
/// let before = configurations.get("search.enabled").await?.and_then(|e| e.version);
/// configurations
///     .apply_tenant_configuration_changes(&[
///         Change::set("search.enabled", true).expecting(before.map_or(Expected::Absent, Expected::Version)),
///         Change::unset("search.model"),
///     ])
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Configurations {
    store: Store,
}

impl Store {
    /// Configurations of the current tenant.
    pub fn configurations(&self) -> Configurations {
        Configurations { store: self.clone() }
    }
}

impl Configurations {
    /// What holds for every key, in one query.
    ///
    /// # Errors
    ///
    /// Without a context; when the database does not answer.
    pub async fn effective(&self) -> Result<BTreeMap<String, Effective>, ConfigurationError> {
        self.read(None).await
    }

    /// What holds for a key.
    ///
    /// # Errors
    ///
    /// As [`Configurations::effective`].
    pub async fn get(&self, key: &str) -> Result<Option<Effective>, ConfigurationError> {
        Ok(self.read(Some(key)).await?.remove(key))
    }

    async fn read(&self, key: Option<&str>) -> Result<BTreeMap<String, Effective>, ConfigurationError> {
        let tenant = TenantContext::current()?.tenant();
        let mut tx = self.store.begin().await?;
        let effective = effective(&mut tx, tenant, key).await?;
        tx.commit().await?;
        self.store.usage().add(tenant, Metric::Rows, effective.len() as u64);
        Ok(effective)
    }

    /// Does all changes or none.
    ///
    /// The values have to be what the tenant's version of the schema takes; keys locked above are refused; a change made for
    /// a version that is no longer there is a conflict. History, audit trail and the notification of other processes are part
    /// of the same transaction.
    ///
    /// # Errors
    ///
    /// One that names the tenant and the first key that is wrong; nothing was changed then.
    pub async fn apply_tenant_configuration_changes(&self, changes: &[Change]) -> Result<(), ConfigurationError> {
        let tenant = TenantContext::current()?.tenant();
        self.store
            .run(|| async {
                let mut tx = self.store.begin().await?;
                write_configuration(&mut tx, tenant, changes, Locks::Hold).await?;
                tx.commit().await.map_err(ConfigurationError::from)
            })
            .await
    }

    /// What would hold after these changes; nothing is changed.
    ///
    /// # Errors
    ///
    /// As [`Configurations::apply_tenant_configuration_changes`].
    pub async fn try_changes(&self, changes: &[Change]) -> Result<BTreeMap<String, Effective>, ConfigurationError> {
        let tenant = TenantContext::current()?.tenant();
        let mut tx = self.store.begin().await?;
        write_configuration(&mut tx, tenant, changes, Locks::Hold).await?;
        let effective = effective(&mut tx, tenant, None).await?;
        tx.rollback().await?;
        Ok(effective)
    }

    /// The version of the schema that the tenant's values are of.
    ///
    /// # Errors
    ///
    /// As [`Configurations::effective`].
    pub async fn schema(&self) -> Result<Schema, ConfigurationError> {
        let tenant = TenantContext::current()?.tenant();
        let mut tx = self.store.begin().await?;
        let rows = before_changes(&mut tx, tenant, &[""]).await?;
        tx.commit().await?;
        schema_of(&rows)
    }

    /// The tenant's own locks, with their reasons.
    ///
    /// # Errors
    ///
    /// As [`Configurations::effective`].
    pub async fn locks(&self) -> Result<BTreeMap<String, String>, ConfigurationError> {
        let tenant = TenantContext::current()?.tenant();
        let of = |source| StoreError::of("read the tenant's locks", source);
        let mut tx = self.store.begin().await?;
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT key, reason FROM public.configuration_locks WHERE tenant_id = $1")
                .bind(tenant.uuid())
                .fetch_all(&mut *tx)
                .await
                .map_err(of)?;
        tx.commit().await?;
        Ok(rows.into_iter().collect())
    }

    /// What was changed, the latest first; of one key or of all.
    ///
    /// # Errors
    ///
    /// As [`Configurations::effective`].
    pub async fn history(&self, key: Option<&str>, limit: u32) -> Result<Vec<HistoryEntry>, ConfigurationError> {
        let tenant = TenantContext::current()?.tenant();
        let of = |source| StoreError::of("read the history of the tenant's configuration", source);
        let mut tx = self.store.begin().await?;
        let rows = sqlx::query(
            r#"SELECT key, command, old_value, new_value, changed_by,
                 pg_catalog.to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS changed_at
               FROM public.configuration_history
               WHERE tenant_id = $1 AND ($2::text IS NULL OR key = $2) ORDER BY configuration_history.changed_at DESC, id LIMIT $3"#,
        )
        .bind(tenant.uuid())
        .bind(key)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(of)?;
        tx.commit().await?;
        let read = |row: &PgRow| {
            Ok(HistoryEntry {
                key: row.try_get("key")?,
                command: row.try_get("command")?,
                old_value: row.try_get("old_value")?,
                new_value: row.try_get("new_value")?,
                changed_by: row.try_get::<Option<Uuid>, _>("changed_by")?.map(UserId::from),
                changed_at: row.try_get("changed_at")?,
            })
        };
        let entries: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        Ok(entries.map_err(of)?)
    }
}

/// What holds, asked in a transaction that is there.
pub(super) async fn effective(
    tx: &mut TenantTransaction,
    tenant: TenantId,
    key: Option<&str>,
) -> Result<BTreeMap<String, Effective>, StoreError> {
    let of = |source| StoreError::of("read the tenant's configuration", source);
    let rows = sqlx::query(include_str!("configuration/effective.sql"))
        .bind(tenant.uuid())
        .bind(key)
        .fetch_all(&mut **tx)
        .await
        .map_err(of)?;
    let read = |row: &PgRow| {
        let origin = match (
            row.try_get::<Option<i32>, _>("depth")?,
            row.try_get::<Option<Uuid>, _>("origin_tenant_id")?,
        ) {
            (Some(0), _) => Origin::Own,
            (Some(depth), Some(tenant)) => Origin::Inherited {
                tenant: tenant.into(),
                depth,
            },
            _ => Origin::Default {
                version: row.try_get("schema_version")?,
            },
        };
        let effective = Effective {
            value: row.try_get("value")?,
            origin,
            locked: row.try_get("locked")?,
            version: row.try_get("version")?,
            secret: row.try_get("secret")?,
            known: row.try_get::<Option<i32>, _>("schema_version")?.is_some(),
        };
        Ok((row.try_get("key")?, effective))
    };
    rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(of)
}

async fn before_changes(tx: &mut TenantTransaction, tenant: TenantId, keys: &[&str]) -> Result<Vec<PgRow>, StoreError> {
    sqlx::query(include_str!("configuration/before_changes.sql"))
        .bind(tenant.uuid())
        .bind(keys)
        .fetch_all(&mut **tx)
        .await
        .map_err(|source| StoreError::of("read the configuration schema", source))
}

fn schema_of(rows: &[PgRow]) -> Result<Schema, ConfigurationError> {
    let value = rows.first().map(|row| row.try_get::<Option<Value>, _>("schema"));
    match value.transpose().map_err(StoreError::from)?.flatten() {
        Some(value) => read_schema(value),
        None => Ok(Schema::default()),
    }
}

fn read_schema(value: Value) -> Result<Schema, ConfigurationError> {
    let version = value["version"]
        .as_i64()
        .and_then(|v| i32::try_from(v).ok())
        .unwrap_or_default();
    serde_json::from_value(value).map_err(|error| ConfigurationError::Schema {
        version,
        reason: error.to_string(),
    })
}
