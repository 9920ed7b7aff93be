//! Settings of tenants, cached in the process and kept fresh across processes.
//!
//! An entry holds the revisions of the tenant and of all that it inherits from, read together with the values. A watch asks for
//! those revisions when the database notifies and every so often anyway, and drops entries whose revisions have moved. So a
//! change is seen within a moment where notifications arrive, within the poll interval where they do not (behind a
//! transaction pooler), and within `max_staleness` where the watch itself has stopped: entries live no longer than that.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::future::Cache;
use sqlx::Row as _;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::layers::{Layers, Resolved, SettingsError};
use super::table::SettingsTable;
use super::{Settings, layers};
use crate::tenancy::configuration::{self, Effective};
use crate::tenancy::context::TenantContext;
use crate::tenancy::id::TenantId;
use crate::tenancy::store::{Pooler, Store, StoreError};

/// The channel on which `record_revision` notifies.
const CHANNEL: &str = "tenantproof_revisions";

/// Tenants whose settings are kept.
const MAX_TENANTS: u64 = 100_000;

/// Where settings of tenants come from. Cheap to clone.
///
/// ```no_run
/// use tenantproof::tenancy::{Layers, Settings, SettingsError, SettingsSource, Store, TenantContext, with_tenant};
///
/// # async fn f(store: Store, acme: TenantContext) -> Result<(), SettingsError> {
/// let source = SettingsSource::<Settings>::new(store, Layers::new().process_environment())?;
/// let _watch = source.watch();
/// source.install(); // so that `Settings::for_current_tenant` finds it
/// let settings = with_tenant(acme, Settings::for_current_tenant()).await?;
/// println!("cached for {} s", settings.cache_ttl_seconds);
/// # Ok(()) }
/// ```
pub struct SettingsSource<S: SettingsTable = Settings> {
    inner: Arc<Inner<S>>,
}

impl<S: SettingsTable> Clone for SettingsSource<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

struct Inner<S: SettingsTable> {
    store: Store,
    deployment: Resolved,
    fixed: Option<Arc<S>>,
    cache: Cache<TenantId, Arc<Entry<S>>>,
    poll: Duration,
    max_staleness: Duration,
}

struct Entry<S> {
    settings: Arc<S>,
    /// Of the tenant and all that it inherits from.
    revisions: BTreeMap<Uuid, i64>,
}

impl<S: SettingsTable> fmt::Debug for SettingsSource<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettingsSource")
            .field("tenants_count", &self.inner.fixed.is_none())
            .field("poll", &self.inner.poll)
            .field("max_staleness", &self.inner.max_staleness)
            .finish_non_exhaustive()
    }
}

impl<S: SettingsTable> SettingsSource<S> {
    /// With the layers below tenants, polled every 5 s, stale for 30 s at most.
    ///
    /// # Errors
    ///
    /// When a layer has a key or value that is wrong, or the switch is neither `true` nor `false`.
    pub fn new(store: Store, layers: Layers) -> Result<Self, SettingsError> {
        Self::with_intervals(store, layers, Duration::from_secs(5), Duration::from_secs(30))
    }

    /// With intervals of one's own. `max_staleness` bounds the age of what is answered while the database cannot be asked.
    ///
    /// # Errors
    ///
    /// As [`SettingsSource::new`].
    pub fn with_intervals(
        store: Store,
        layers: Layers,
        poll: Duration,
        max_staleness: Duration,
    ) -> Result<Self, SettingsError> {
        let deployment = layers.values::<S>()?;
        let resolved = layers.resolve::<S>()?;
        let fixed = (!layers.tenants_count()?).then(|| Arc::new(resolved));
        let cache = Cache::builder()
            .max_capacity(MAX_TENANTS)
            .time_to_live(max_staleness)
            .build();
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                deployment,
                fixed,
                cache,
                poll,
                max_staleness,
            }),
        })
    }

    /// What holds for the tenant of the running task.
    ///
    /// # Errors
    ///
    /// Without a context; when the tenant's configuration cannot be read or does not fit. Failures are not cached.
    pub async fn for_current_tenant(&self) -> Result<Arc<S>, SettingsError> {
        let tenant = TenantContext::current().map_err(StoreError::from)?.tenant();
        self.for_tenant(tenant).await
    }

    async fn for_tenant(&self, tenant: TenantId) -> Result<Arc<S>, SettingsError> {
        if let Some(fixed) = &self.inner.fixed {
            return Ok(fixed.clone());
        }
        if let Some(entry) = self.inner.cache.get(&tenant).await {
            return Ok(entry.settings.clone());
        }
        // Many who ask at once wait for one load.
        let loaded = self.inner.cache.try_get_with(tenant, self.load(tenant)).await;
        loaded
            .map(|entry| entry.settings.clone())
            .map_err(|error| match Arc::try_unwrap(error) {
                Ok(error) => error,
                Err(shared) => SettingsError::Shared {
                    tenant,
                    reason: shared.to_string(),
                },
            })
    }

    async fn load(&self, tenant: TenantId) -> Result<Arc<Entry<S>>, SettingsError> {
        let store = &self.inner.store;
        let read = store.run(|| async {
            let mut tx = store.service().begin(tenant).await?;
            // Revisions first: what is read after them is at least as new.
            let revisions = revisions(&mut tx, tenant).await?;
            let effective = configuration::effective(&mut tx, tenant, None).await?;
            tx.commit().await?;
            Ok::<_, StoreError>((revisions, effective))
        });
        let (revisions, effective): (_, BTreeMap<String, Effective>) = read.await?;
        let known = |key: &str| effective.get(key).is_some_and(|e| e.known);
        let settings = Layers::with_tenant::<S>(self.inner.deployment.clone(), tenant, &effective, known)?;
        Ok(Arc::new(Entry {
            settings: Arc::new(settings),
            revisions,
        }))
    }

    /// Forgets what is cached of a tenant in this process.
    pub async fn invalidate(&self, tenant: TenantId) {
        self.inner.cache.invalidate(&tenant).await;
    }

    /// Keeps what is cached fresh for as long as the returned value lives.
    ///
    /// Behind a transaction pooler nothing can be listened to: only polling is left.
    pub fn watch(&self) -> Watch {
        let source = self.clone();
        Watch(tokio::spawn(async move { source.keep_fresh().await }))
    }

    async fn keep_fresh(&self) {
        let inner = &self.inner;
        let mut listener = None;
        loop {
            if listener.is_none() && inner.store.pooler() == Pooler::None {
                listener = self.listen().await;
            }
            if let Err(error) = self.drop_stale().await {
                tracing::warn!(error = %error, "revisions could not be read; cached settings age");
            }
            let notified = async {
                match listener.as_mut() {
                    Some(listener) => PgListener::try_recv(listener).await,
                    None => std::future::pending().await,
                }
            };
            match tokio::time::timeout(inner.poll, notified).await {
                // Many changes at once are one look.
                Ok(Ok(Some(_))) => while listener.as_mut().is_some_and(|l| l.next_buffered().is_some()) {},
                // The connection was lost, and with it perhaps a notification.
                Ok(Ok(None) | Err(_)) => {
                    listener = None;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(_) => {}
            }
        }
    }

    async fn listen(&self) -> Option<PgListener> {
        let options = self.inner.store.connect_options();
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.inner.poll)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await.ok()?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.ok()?;
        Some(listener)
    }

    /// Drops entries whose revisions have moved: one query for all tenants that are cached.
    async fn drop_stale(&self) -> Result<(), StoreError> {
        let entries: HashMap<TenantId, Arc<Entry<S>>> = self.inner.cache.iter().map(|(id, e)| (*id, e)).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let mut wanted: Vec<Uuid> = entries.values().flat_map(|e| e.revisions.keys().copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let of = |source| StoreError::of("read the revisions of tenants", source);
        let mut tx = self.inner.store.service().begin_register().await?;
        let now: HashMap<Uuid, i64> =
            sqlx::query_as("SELECT tenant_id, revision FROM public.tenant_revisions WHERE tenant_id = ANY ($1)")
                .bind(&wanted)
                .fetch_all(&mut *tx)
                .await
                .map_err(of)?
                .into_iter()
                .collect();
        tx.commit().await?;
        for (tenant, entry) in entries {
            let is_fresh = entry
                .revisions
                .iter()
                .all(|(id, seen)| now.get(id).copied().unwrap_or(0) == *seen);
            if !is_fresh {
                self.inner.cache.invalidate(&tenant).await;
            }
        }
        Ok(())
    }
}

impl SettingsSource<Settings> {
    /// Makes it the one that [`Settings::for_current_tenant`] asks. The first one stays.
    pub fn install(&self) {
        let _ = INSTALLED.set(self.clone());
    }
}

static INSTALLED: OnceLock<SettingsSource<Settings>> = OnceLock::new();

pub(super) fn installed() -> Result<&'static SettingsSource<Settings>, SettingsError> {
    INSTALLED.get().ok_or(layers::SettingsError::NotInstalled)
}

/// Keeps cached settings fresh until it is dropped.
#[derive(Debug)]
pub struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A cache that forgets a tenant's settings together with its values.
pub(in crate::tenancy) trait Forget: Any + Send + Sync {
    fn forget(&self, tenant: TenantId) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<S: SettingsTable> Forget for SettingsSource<S> {
    fn forget(&self, tenant: TenantId) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.invalidate(tenant))
    }
}

async fn revisions(tx: &mut sqlx::PgConnection, tenant: TenantId) -> Result<BTreeMap<Uuid, i64>, StoreError> {
    let of = |source| StoreError::of("read the tenant's revisions", source);
    let rows = sqlx::query(
        "SELECT b.ancestor_id, coalesce(r.revision, 0) AS revision
         FROM public.tenant_bases AS b LEFT JOIN public.tenant_revisions AS r ON r.tenant_id = b.ancestor_id
         WHERE b.tenant_id = $1",
    )
    .bind(tenant.uuid())
    .fetch_all(tx)
    .await
    .map_err(of)?;
    let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(of)
}
