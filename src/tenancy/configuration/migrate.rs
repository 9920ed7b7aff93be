//! Migrations of tenants' configurations from one version of the schema to the next.
//!
//! A version of the schema holds the steps that lead to it (`configuration_schema_versions.steps`). Each tenant and version
//! is one transaction: a run that is killed leaves every tenant at a version, and the next run goes on from there. A tenant that
//! fails stays at its version, keeps the reason in `tenant_schema_states.pending_step`, and stops nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row as _;

use super::schema::shortened;
use super::{ConfigurationError, Schema, Turn, ValueType, read_schema, take_turn};
use crate::tenancy::id::TenantId;
use crate::tenancy::store::{Store, StoreError, Tenant, TenantTransaction};

/// One step from a version of the schema to the next, as the database holds it.
///
/// ```
/// use tenantproof::tenancy::Step;
/// let step: Step = serde_json::from_str(r#"{"rename": {"from": "ttl", "to": "cache.ttl_seconds"}}"#)?;
/// assert_eq!(step.to_string(), "rename ttl to cache.ttl_seconds");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A key has another name; its lock goes with it.
    Rename {
        /// Its old name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// A key is no more.
    Remove(String),
    /// A key gets a value where the tenant has none.
    Set {
        /// Key.
        key: String,
        /// Value.
        value: Value,
    },
    /// A value becomes one of another type, where that loses nothing.
    Convert {
        /// Key.
        key: String,
        /// Type.
        to: ValueType,
    },
    /// What [`Migrator::hook`] has under this name.
    Custom(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::Remove(key) => write!(f, "remove {key}"),
            Self::Set { key, .. } => write!(f, "set {key}"),
            Self::Convert { key, to } => write!(f, "convert {key} to {to}"),
            Self::Custom(name) => write!(f, "custom {name}"),
        }
    }
}

/// A tenant's own values.
type Values = BTreeMap<String, Value>;
type Hook = Arc<dyn Fn(&mut Values) -> Result<(), String> + Send + Sync>;

/// A tenant that could not be migrated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedTenant {
    /// Which.
    pub tenant: TenantId,
    /// Its name in addresses.
    pub slug: String,
    /// The version it could not become.
    pub version: i32,
    /// What failed, and why.
    pub reason: String,
}

/// What a run did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The version that tenants are brought to.
    pub target: i32,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Tenants that were brought there.
    pub migrated: usize,
    /// Tenants that were there.
    pub unchanged: usize,
    /// Values that were changed, added or removed.
    pub changed_values: usize,
    /// Tenants that stay where they are.
    pub failed: Vec<FailedTenant>,
}

/// Brings the configurations of all tenants to the newest version of the schema.
///
/// ```no_run
/// use tenantproof::tenancy::{ConfigurationError, Migrator, Store};
///
/// # async fn f(store: &Store) -> Result<(), ConfigurationError> {
/// let migrator = Migrator::new(store).parallelism(4).hook("lower-case-model", |values| {
///     if let Some(serde_json::Value::String(model)) = values.get_mut("search.model") {
///         *model = model.to_lowercase();
///     }
///     Ok(())
/// });
/// let planned = migrator.clone().dry_run(true).run(|_| ()).await?;
/// println!("{} tenants would change", planned.migrated);
/// let report = migrator.run(|done| eprintln!("{done} done")).await?;
/// assert!(report.failed.is_empty(), "{:?}", report.failed);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Migrator {
    store: Store,
    parallelism: usize,
    dry_run: bool,
    only: Option<TenantId>,
    hooks: BTreeMap<String, Hook>,
}

impl fmt::Debug for Migrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Migrator")
            .field("parallelism", &self.parallelism)
            .field("dry_run", &self.dry_run)
            .field("only", &self.only)
            .field("hooks", &self.hooks.keys())
            .finish_non_exhaustive()
    }
}

/// A version and how to get there.
struct Version {
    schema: Schema,
    steps: Vec<Step>,
}

impl Migrator {
    /// On this database, four tenants at a time.
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            parallelism: 4,
            dry_run: false,
            only: None,
            hooks: BTreeMap::new(),
        }
    }

    /// How many tenants at a time; not more than the pool has connections, less what requests need.
    pub fn parallelism(mut self, tenants: usize) -> Self {
        self.parallelism = tenants.max(1);
        self
    }

    /// Whether to try it all and change nothing.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// One tenant alone.
    pub fn only(mut self, tenant: TenantId) -> Self {
        self.only = Some(tenant);
        self
    }

    /// Code for the step `{"custom": name}`; what it returns as an error fails the tenant.
    pub fn hook(
        mut self,
        name: &str,
        run: impl Fn(&mut BTreeMap<String, Value>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.insert(name.to_owned(), Arc::new(run));
        self
    }

    /// Migrates. `progress` is told how many tenants are done.
    ///
    /// # Errors
    ///
    /// When the tenants or the versions cannot be read. A tenant that fails is in the report.
    pub async fn run(&self, progress: impl Fn(usize) + Send + Sync) -> Result<Report, ConfigurationError> {
        let mut tenants = self.store.service().tenants().await?;
        tenants.retain(|t| self.only.is_none_or(|only| only == t.id));
        let mut report = Report {
            dry_run: self.dry_run,
            ..Report::default()
        };
        let Some(first) = tenants.first() else {
            return Ok(report);
        };
        let versions = self.versions(first.id).await?;
        report.target = versions.last().map_or(0, |v| v.schema.version);
        let versions = &versions;
        let mut outcomes = stream::iter(tenants)
            .map(|tenant| async move {
                let outcome = self.tenant(&tenant, versions).await;
                (tenant, outcome)
            })
            .buffer_unordered(self.parallelism);
        let mut done = 0;
        while let Some((tenant, outcome)) = outcomes.next().await {
            match outcome {
                Ok(None) => report.unchanged += 1,
                Ok(Some(changed)) => {
                    report.migrated += 1;
                    report.changed_values += changed;
                }
                Err((version, reason)) => report.failed.push(FailedTenant {
                    tenant: tenant.id,
                    slug: tenant.slug,
                    version,
                    reason,
                }),
            }
            done += 1;
            progress(done);
        }
        report.failed.sort_by(|a, b| a.slug.cmp(&b.slug));
        Ok(report)
    }

    async fn versions(&self, tenant: TenantId) -> Result<Vec<Version>, ConfigurationError> {
        let of = |source| StoreError::of("read the versions of the configuration schema", source);
        let mut tx = self.store.service().begin(tenant).await?;
        let rows: Vec<(i32, Value, Value)> = sqlx::query_as(
            "SELECT version, definition, steps FROM public.configuration_schema_versions ORDER BY version",
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(of)?;
        tx.commit().await?;
        rows.into_iter()
            .map(|(version, definition, steps)| {
                let schema = read_schema(serde_json::json!({"version": version, "keys": definition}))?;
                let steps: Vec<Step> = serde_json::from_value(steps).map_err(|error| ConfigurationError::Schema {
                    version,
                    reason: format!("its steps: {error}"),
                })?;
                Ok(Version { schema, steps })
            })
            .collect()
    }

    /// How many values were changed; none where the tenant is at the target.
    async fn tenant(&self, tenant: &Tenant, versions: &[Version]) -> Result<Option<usize>, (i32, String)> {
        let target = versions.last().map_or(0, |v| v.schema.version);
        let moved = self.move_tenant(tenant.id, versions).await;
        let (version, failure) = match moved {
            Ok(moved) => return Ok(moved),
            Err((version, failure)) => (version.unwrap_or(target), failure),
        };
        let reason = format!("failed to {}", chain(&failure));
        if !self.dry_run
            && let Err(error) = self
                .keep_reason(tenant.id, versions, &format!("version {version}: {reason}"))
                .await
        {
            tracing::warn!(tenant = %tenant.id, %error, "the reason of a failed migration could not be kept");
        }
        Err((version, reason))
    }

    async fn move_tenant(
        &self,
        tenant: TenantId,
        versions: &[Version],
    ) -> Result<Option<usize>, (Option<i32>, MigrationError)> {
        let target = versions.last().map_or(0, |v| v.schema.version);
        let mut changed = None;
        // A dry run does all versions in one transaction, for none of them will be there.
        let mut open: Option<TenantTransaction> = None;
        loop {
            let mut tx = match open.take() {
                Some(tx) => tx,
                None => self.store.service().begin(tenant).await.map_err(|e| (None, e.into()))?,
            };
            let state = read_state(&mut tx, tenant).await.map_err(|e| (None, e.into()))?;
            let at = state
                .version
                .unwrap_or_else(|| versions.first().map_or(0, |v| v.schema.version));
            let Some(next) = versions.iter().find(|v| v.schema.version > at) else {
                if state.version.is_none() {
                    write_state(&mut tx, tenant, at, None)
                        .await
                        .map_err(|e| (None, e.into()))?;
                }
                let ended = if self.dry_run {
                    tx.rollback().await
                } else {
                    tx.commit().await
                };
                ended.map_err(|e| (None, e.into()))?;
                return Ok(changed);
            };
            let version = next.schema.version;
            let with_version = |e: MigrationError| (Some(version), e);
            let count = self.step(&mut tx, tenant, state, next).await.map_err(with_version)?;
            changed = Some(changed.unwrap_or_default() + count);
            if self.dry_run {
                open = Some(tx);
                continue;
            }
            tx.commit().await.map_err(|e| with_version(e.into()))?;
            if version == target {
                return Ok(changed);
            }
        }
    }

    /// One version further.
    async fn step(
        &self,
        tx: &mut TenantTransaction,
        tenant: TenantId,
        state: State,
        next: &Version,
    ) -> Result<usize, MigrationError> {
        let before = state.values;
        let mut values = before.clone();
        let mut locks = state.locks.clone();
        for step in &next.steps {
            let failed = |reason: String| MigrationError::Step {
                step: step.to_string(),
                reason,
            };
            match step {
                Step::Rename { from, to } => {
                    if let Some(value) = values.remove(from) {
                        if values.contains_key(to) {
                            return Err(failed(format!("`{to}` is there already")));
                        }
                        values.insert(to.clone(), value);
                    }
                    if locks.remove(from) {
                        locks.insert(to.clone());
                    }
                }
                Step::Remove(key) => {
                    values.remove(key);
                    locks.remove(key);
                }
                Step::Set { key, value } => {
                    values.entry(key.clone()).or_insert_with(|| value.clone());
                }
                Step::Convert { key, to } => {
                    if let Some(value) = values.get_mut(key) {
                        *value = convert(value, *to)
                            .ok_or_else(|| failed(format!("{} does not convert", next.schema.show(key, value))))?;
                    }
                }
                Step::Custom(name) => match self.hooks.get(name) {
                    Some(hook) => hook(&mut values).map_err(failed)?,
                    None => return Err(failed("no code is registered under this name".into())),
                },
            }
        }
        for (key, value) in &values {
            next.schema.check(key, value).map_err(|fault| MigrationError::Step {
                step: format!("check `{key}`"),
                reason: format!("{} is not right: {fault}", next.schema.show(key, value)),
            })?;
        }
        let gone: Vec<&String> = before.keys().filter(|key| !values.contains_key(*key)).collect();
        let set: Vec<(&String, &Value)> = values
            .iter()
            .filter(|(key, value)| before.get(*key) != Some(value))
            .collect();
        let count = gone.len() + set.len();
        write(tx, tenant, &next.schema, &gone, &set).await?;
        if locks != state.locks {
            move_locks(tx, tenant, &state.locks, &locks).await?;
        }
        write_state(tx, tenant, next.schema.version, None).await?;
        Ok(count)
    }

    async fn keep_reason(&self, tenant: TenantId, versions: &[Version], reason: &str) -> Result<(), StoreError> {
        let mut tx = self.store.service().begin(tenant).await?;
        let state = read_state(&mut tx, tenant).await?;
        let at = state
            .version
            .unwrap_or_else(|| versions.first().map_or(0, |v| v.schema.version));
        write_state(&mut tx, tenant, at, Some(reason)).await?;
        tx.commit().await
    }
}

/// What failed a tenant.
#[derive(Debug, thiserror::Error)]
enum MigrationError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{step}: {reason}")]
    Step { step: String, reason: String },
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// A tenant's values and locks, and the version they are of.
struct State {
    version: Option<i32>,
    values: Values,
    locks: BTreeSet<String>,
}

async fn read_state(tx: &mut TenantTransaction, tenant: TenantId) -> Result<State, StoreError> {
    let of = |source| StoreError::of("read how far the tenant has migrated", source);
    take_turn(tx, tenant, Turn::Migrating).await?;
    let row = sqlx::query(include_str!("state.sql"))
        .bind(tenant.uuid())
        .fetch_one(&mut **tx)
        .await
        .map_err(of)?;
    let values: sqlx::types::Json<Values> = row.try_get("own_values").map_err(of)?;
    let locks: Vec<String> = row.try_get("locks").map_err(of)?;
    Ok(State {
        version: row.try_get("version").map_err(of)?,
        values: values.0,
        locks: locks.into_iter().collect(),
    })
}

async fn write(
    tx: &mut TenantTransaction,
    tenant: TenantId,
    schema: &Schema,
    gone: &[&String],
    set: &[(&String, &Value)],
) -> Result<(), StoreError> {
    let of = |source| StoreError::of("write the migrated values", source);
    if !gone.is_empty() {
        sqlx::query("DELETE FROM public.tenant_configurations WHERE tenant_id = $1 AND key = ANY ($2)")
            .bind(tenant.uuid())
            .bind(gone.iter().map(|key| key.as_str()).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await
            .map_err(of)?;
    }
    if !set.is_empty() {
        let types = set
            .iter()
            .map(|(key, _)| schema.keys.get(*key).map(|k| k.value_type).unwrap_or_default().name());
        sqlx::query(include_str!("set.sql"))
            .bind(tenant.uuid())
            .bind(set.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>())
            .bind(types.collect::<Vec<_>>())
            .bind(set.iter().map(|(_, value)| *value).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await
            .map_err(of)?;
    }
    Ok(())
}

async fn move_locks(
    tx: &mut TenantTransaction,
    tenant: TenantId,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Result<(), StoreError> {
    let of = |source| StoreError::of("move the tenant's locks", source);
    sqlx::query("DELETE FROM public.configuration_locks WHERE tenant_id = $1 AND key = ANY ($2)")
        .bind(tenant.uuid())
        .bind(before.difference(after).map(String::as_str).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await
        .map_err(of)?;
    sqlx::query(
        "INSERT INTO public.configuration_locks (tenant_id, key, reason)
         SELECT $1, key, 'renamed by a migration' FROM pg_catalog.unnest($2::text[]) AS l (key)",
    )
    .bind(tenant.uuid())
    .bind(after.difference(before).map(String::as_str).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map_err(of)?;
    Ok(())
}

async fn write_state(
    tx: &mut TenantTransaction,
    tenant: TenantId,
    version: i32,
    pending: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO public.tenant_schema_states (tenant_id, version, pending_step) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id) DO UPDATE SET version = EXCLUDED.version, pending_step = EXCLUDED.pending_step",
    )
    .bind(tenant.uuid())
    .bind(version)
    .bind(pending)
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(|source| StoreError::of("write how far the tenant has migrated", source))
}

/// The same value as another type; none where something would be lost.
fn convert(value: &Value, to: ValueType) -> Option<Value> {
    if to == ValueType::Json || ValueType::of(value) == to {
        return Some(value.clone());
    }
    match (to, value) {
        (ValueType::String, Value::Bool(_) | Value::Number(_)) => Some(Value::String(shortened(value))),
        (ValueType::Number, Value::String(text)) => {
            serde_json::from_str::<Value>(text.trim()).ok().filter(Value::is_number)
        }
        (ValueType::Boolean, Value::String(text)) => match text.trim() {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            _ => None,
        },
        (ValueType::Array, other) => Some(Value::Array(vec![other.clone()])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_converts_or_stays() {
        for (value, to, wanted) in [
            (json!("300"), ValueType::Number, Some(json!(300))),
            (json!("3 days"), ValueType::Number, None),
            (json!(300), ValueType::String, Some(json!("300"))),
            (json!("true"), ValueType::Boolean, Some(json!(true))),
            (json!("yes"), ValueType::Boolean, None),
            (json!("a"), ValueType::Array, Some(json!(["a"]))),
            (json!({"a": 1}), ValueType::String, None),
            (json!(1), ValueType::Number, Some(json!(1))),
        ] {
            assert_eq!(convert(&value, to), wanted, "{value} to {to}");
        }
    }
}
