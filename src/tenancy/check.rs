//! Whether what the database holds of tenants is right: configurations against their schema, inheritance, leftovers.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use sqlx::Row as _;
use uuid::Uuid;

use super::configuration::{ConfigurationError, Fault};
use super::id::TenantId;
use super::settings::{Settings, SettingsTable as _};
use super::store::{Store, StoreError, Tenant};

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Worth knowing.
    Note,
    /// Has no effect, or will need work.
    Warning,
    /// Wrong.
    Error,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Something that is not right with a tenant.
///
/// ```no_run
/// # use tenantproof::tenancy::{ConfigurationError, Store, Weight};
/// # async fn f(store: &Store) -> Result<(), ConfigurationError> {
/// let problems = store.check_tenants(None).await?;
/// assert!(problems.iter().all(|p| p.weight < Weight::Error), "{problems:#?}");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How much it matters.
    pub weight: Weight,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name in addresses.
    pub slug: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// What one tenant has, as the database holds it.
struct Facts {
    version: Option<i32>,
    newest: Option<i32>,
    pending_step: Option<String>,
    own_values: BTreeMap<String, Value>,
    own_locks: Vec<String>,
    inherited_locks: Vec<String>,
    lineage: Vec<Uuid>,
    consents: Vec<Uuid>,
    expired_cache_entries: i64,
}

impl Store {
    /// Checks one tenant or all: their configurations against their schema, the chain they inherit through, rows that refer to
    /// tenants that are gone, settings that no code knows. Values of secrets are left out.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn check_tenants(&self, only: Option<TenantId>) -> Result<Vec<Problem>, ConfigurationError> {
        let tenants = self.service().tenants().await?;
        let by_id: HashMap<TenantId, &Tenant> = tenants.iter().map(|t| (t.id, t)).collect();
        let mut problems = Vec::new();
        for tenant in tenants.iter().filter(|t| only.is_none_or(|only| only == t.id)) {
            let facts = self.facts(tenant.id).await?;
            let schema = self.schema_of(tenant.id).await?;
            let mut report = |weight, message: String| {
                problems.push(Problem {
                    weight,
                    tenant: tenant.id,
                    slug: tenant.slug.clone(),
                    message,
                });
            };
            match (facts.version, facts.newest) {
                (None, Some(newest)) => report(
                    Weight::Warning,
                    format!("no schema version is noted; migrate it to {newest}"),
                ),
                (Some(at), Some(newest)) if at < newest => {
                    report(
                        Weight::Warning,
                        format!("its configuration is of schema version {at}; migrate it to {newest}"),
                    );
                }
                _ => {}
            }
            if let Some(step) = &facts.pending_step {
                report(Weight::Error, format!("its last migration failed: {step}"));
            }
            for (key, value) in &facts.own_values {
                match schema.check(key, value) {
                    Ok(()) if !Settings::TABLE.iter().any(|s| s.key == key) => {
                        report(
                            Weight::Note,
                            format!(
                                "`{key}` is in the schema and no setting of this crate; the service has to know it"
                            ),
                        );
                    }
                    Ok(()) => {}
                    Err(Fault::UnknownKey) => report(
                        Weight::Error,
                        format!(
                            "`{key}` is set, and schema version {} does not know it; unset it",
                            schema.version
                        ),
                    ),
                    Err(fault) => report(Weight::Error, format!("`{key}` = {}: {fault}", schema.show(key, value))),
                }
                if facts.inherited_locks.contains(key) {
                    report(
                        Weight::Warning,
                        format!("`{key}` is set and locked by a base: it has no effect; unset it"),
                    );
                }
            }
            for key in facts.own_locks.iter().filter(|key| !schema.keys.contains_key(*key)) {
                report(
                    Weight::Error,
                    format!(
                        "`{key}` is locked, and schema version {} does not know it; unlock it",
                        schema.version
                    ),
                );
            }
            match lineage(tenant, &by_id) {
                Err(circle) => report(Weight::Error, circle),
                Ok(wanted) if wanted != facts.lineage.iter().copied().map(TenantId::from).collect::<Vec<_>>() => {
                    report(
                        Weight::Error,
                        "tenant_bases does not agree with its base; set the base again".into(),
                    );
                }
                Ok(_) => {}
            }
            for from in facts
                .consents
                .iter()
                .copied()
                .map(TenantId::from)
                .filter(|from| !by_id.contains_key(from))
            {
                report(
                    Weight::Note,
                    format!("it takes documents of {from}, and there is no such tenant"),
                );
            }
            if facts.expired_cache_entries > 0 {
                report(
                    Weight::Note,
                    format!(
                        "{} cache entries have expired and are still there",
                        facts.expired_cache_entries
                    ),
                );
            }
        }
        Ok(problems)
    }

    async fn facts(&self, tenant: TenantId) -> Result<Facts, StoreError> {
        let mut tx = self.service().begin(tenant).await?;
        let of = |source| StoreError::of("check the tenant", source);
        let row = sqlx::query(include_str!("check/facts.sql"))
            .bind(tenant.uuid())
            .fetch_one(&mut *tx)
            .await
            .map_err(of)?;
        tx.commit().await?;
        let read = || {
            Ok(Facts {
                version: row.try_get("version")?,
                newest: row.try_get("newest")?,
                pending_step: row.try_get("pending_step")?,
                own_values: row.try_get::<sqlx::types::Json<_>, _>("own_values")?.0,
                own_locks: row.try_get("own_locks")?,
                inherited_locks: row.try_get("inherited_locks")?,
                lineage: row.try_get("lineage")?,
                consents: row.try_get("consents")?,
                expired_cache_entries: row.try_get("expired_cache_entries")?,
            })
        };
        read().map_err(of)
    }
}

/// From the tenant to its farthest base, as the register has it.
fn lineage(tenant: &Tenant, by_id: &HashMap<TenantId, &Tenant>) -> Result<Vec<TenantId>, String> {
    let mut found = vec![tenant.id];
    let mut at = tenant.base;
    while let Some(base) = at {
        if found.contains(&base) {
            return Err(format!("it inherits from itself through {base}; set another base"));
        }
        found.push(base);
        at = match by_id.get(&base) {
            Some(row) => row.base,
            None => return Err(format!("it inherits from {base}, which is not there; set another base")),
        };
    }
    Ok(found)
}
