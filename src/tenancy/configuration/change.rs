//! Changes of a tenant's own configuration: what they are, and doing a set of them in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use super::{ConfigurationError, ValueType, before_changes, schema_of};
use crate::tenancy::id::TenantId;
use crate::tenancy::store::{StoreError, TenantTransaction, code};
use sqlx::Row as _;

/// What a change was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Whatever is there.
    #[default]
    Any,
    /// The tenant has no value of its own.
    Absent,
    /// The tenant's own value with this version.
    Version(Uuid),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Absent => f.write_str("no value"),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

/// One change of a tenant's own configuration.
///
/// ```
/// use tenantproof::tenancy::{Change, Expected};
/// let first = Change::set("search.model", "large").expecting(Expected::Absent);
/// let locked = Change::lock("search.model", "paid for by us");
/// assert_eq!(first.key(), locked.key());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    key: String,
    act: Act,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq)]
enum Act {
    Set(Value),
    Unset,
    Lock(String),
    Unlock,
}

impl Change {
    /// Sets a value.
    pub fn set(key: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::of(key, Act::Set(value.into()))
    }

    /// Takes the tenant's own value away, so that the inherited one holds.
    pub fn unset(key: impl Into<String>) -> Self {
        Self::of(key, Act::Unset)
    }

    /// Keeps tenants that inherit from this one from overriding a key.
    pub fn lock(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::of(key, Act::Lock(reason.into()))
    }

    /// Lets them again.
    pub fn unlock(key: impl Into<String>) -> Self {
        Self::of(key, Act::Unlock)
    }

    fn of(key: impl Into<String>, act: Act) -> Self {
        Self {
            key: key.into(),
            act,
            expected: Expected::Any,
        }
    }

    /// Only where this is what the tenant has; for values.
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// The key it is about.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn is_of_value(&self) -> bool {
        matches!(self.act, Act::Set(_) | Act::Unset)
    }
}

/// Why a tenant's configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Values change; others may do so too.
    Changing,
    /// They are migrated; nobody else writes meanwhile.
    Migrating,
}

/// Waits until nobody migrates the tenant, until the end of the transaction. A statement of its own: what the next one sees
/// is as new as the moment in which the wait ended.
pub(super) async fn take_turn(tx: &mut TenantTransaction, tenant: TenantId, turn: Turn) -> Result<(), StoreError> {
    let statement = match turn {
        Turn::Changing => "SELECT pg_catalog.pg_advisory_xact_lock_shared(pg_catalog.hashtextextended($1, 0))",
        Turn::Migrating => "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))",
    };
    sqlx::query(statement)
        .bind(format!("tenantproof configuration {tenant}"))
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(|source| StoreError::of("wait for a migration of the tenant", source))
}

/// Whether locks of base tenants keep values from being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tenancy) enum Locks {
    /// They do.
    Hold,
    /// They do not: what is written was there before, and has no effect for as long as the lock is there.
    Restore,
}

/// Does all changes in a transaction that is there, each checked.
pub(in crate::tenancy) async fn write_configuration(
    tx: &mut TenantTransaction,
    tenant: TenantId,
    changes: &[Change],
    locks: Locks,
) -> Result<(), ConfigurationError> {
    let of = |source| StoreError::of("change the tenant's configuration", source);
    let mut seen = BTreeSet::new();
    if let Some(twice) = changes.iter().find(|c| !seen.insert((c.key(), c.is_of_value()))) {
        return Err(ConfigurationError::Twice {
            tenant,
            key: twice.key.clone(),
        });
    }
    let keys: Vec<&str> = changes.iter().map(Change::key).collect();
    take_turn(tx, tenant, Turn::Changing).await?;
    let rows = before_changes(tx, tenant, &keys).await?;
    let schema = schema_of(&rows)?;
    let mut locked = BTreeMap::new();
    for row in &rows {
        let by: Option<Uuid> = row.try_get("locked_by").map_err(of)?;
        locked.insert(row.try_get::<String, _>("key").map_err(of)?, by.map(TenantId::from));
    }
    // Locked until the end, so that what was compared is what is changed.
    let own: Vec<(String, Uuid)> =
        sqlx::query_as("SELECT key, version FROM public.tenant_configurations WHERE tenant_id = $1 AND key = ANY ($2) ORDER BY key FOR UPDATE")
            .bind(tenant.uuid())
            .bind(&keys)
            .fetch_all(&mut **tx)
            .await
            .map_err(of)?;
    let own: BTreeMap<&str, Uuid> = own.iter().map(|(key, version)| (key.as_str(), *version)).collect();
    let mut batch = Batch::default();
    for change in changes {
        let key = change.key.as_str();
        if change.is_of_value() {
            let found = own
                .get(key)
                .map_or(Expected::Absent, |version| Expected::Version(*version));
            if change.expected != Expected::Any && change.expected != found {
                return Err(ConfigurationError::Conflict {
                    tenant,
                    key: key.to_owned(),
                    expected: change.expected,
                    found,
                });
            }
        }
        match &change.act {
            Act::Set(value) => {
                if let Some(by) = locked.get(key).copied().flatten()
                    && locks == Locks::Hold
                {
                    return Err(ConfigurationError::Locked {
                        tenant,
                        key: key.to_owned(),
                        by,
                    });
                }
                schema.check(key, value).map_err(|fault| ConfigurationError::Invalid {
                    tenant,
                    key: key.to_owned(),
                    value: schema.show(key, value),
                    fault,
                })?;
                let value_type = schema.keys.get(key).map(|k| k.value_type).unwrap_or_default();
                let sets = if change.expected == Expected::Absent {
                    &mut batch.insert
                } else {
                    &mut batch.set
                };
                sets.push(key, value_type, value);
            }
            Act::Unset => batch.unset.push(key),
            Act::Lock(reason) => {
                batch.lock.0.push(key);
                batch.lock.1.push(reason);
            }
            Act::Unlock => batch.unlock.push(key),
        }
    }
    batch.write(tx, tenant).await
}

/// Columns of the values to be written.
#[derive(Default)]
struct Values<'a> {
    keys: Vec<&'a str>,
    types: Vec<&'static str>,
    values: Vec<Value>,
}

impl<'a> Values<'a> {
    fn push(&mut self, key: &'a str, value_type: ValueType, value: &Value) {
        self.keys.push(key);
        self.types.push(value_type.name());
        self.values.push(value.clone());
    }
}

/// Changes by the statement that does them.
#[derive(Default)]
struct Batch<'a> {
    insert: Values<'a>,
    set: Values<'a>,
    unset: Vec<&'a str>,
    lock: (Vec<&'a str>, Vec<&'a str>),
    unlock: Vec<&'a str>,
}

impl Batch<'_> {
    async fn write(&self, tx: &mut TenantTransaction, tenant: TenantId) -> Result<(), ConfigurationError> {
        let of = |source| StoreError::of("change the tenant's configuration", source);
        for (values, statement) in [
            (&self.insert, include_str!("insert.sql")),
            (&self.set, include_str!("set.sql")),
        ] {
            if values.keys.is_empty() {
                continue;
            }
            let written = sqlx::query(statement)
                .bind(tenant.uuid())
                .bind(&values.keys)
                .bind(&values.types)
                .bind(&values.values)
                .execute(&mut **tx)
                .await;
            written.map_err(|source| match (code(&source).as_deref(), values.keys.first()) {
                // Inserted by another transaction since it was looked for.
                (Some("23505"), Some(key)) => ConfigurationError::Conflict {
                    tenant,
                    key: (*key).to_owned(),
                    expected: Expected::Absent,
                    found: Expected::Any,
                },
                _ => of(source).into(),
            })?;
        }
        for (keys, statement) in [
            (
                &self.unset,
                "DELETE FROM public.tenant_configurations WHERE tenant_id = $1 AND key = ANY ($2)",
            ),
            (
                &self.unlock,
                "DELETE FROM public.configuration_locks WHERE tenant_id = $1 AND key = ANY ($2)",
            ),
        ] {
            if keys.is_empty() {
                continue;
            }
            sqlx::query(statement)
                .bind(tenant.uuid())
                .bind(keys)
                .execute(&mut **tx)
                .await
                .map_err(of)?;
        }
        if !self.lock.0.is_empty() {
            sqlx::query(
                "INSERT INTO public.configuration_locks (tenant_id, key, reason)
                 SELECT $1, key, reason FROM unnest($2::text[], $3::text[]) AS l (key, reason) ON CONFLICT DO NOTHING",
            )
            .bind(tenant.uuid())
            .bind(&self.lock.0)
            .bind(&self.lock.1)
            .execute(&mut **tx)
            .await
            .map_err(of)?;
        }
        Ok(())
    }
}
