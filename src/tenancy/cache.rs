//! Cached values of tenants: in the process or in Redis, behind one interface.
//!
//! The tenant is the running task's, always; there is no way to name another one's value. What one tenant shares with another is
//! granted in the database, see [`Shares`](super::Shares). A back end that fails is a miss: the database answers, and
//! [`CacheStats`] counts it.

mod backend;
mod in_process;
mod key;
mod redis;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{NoTenant, TenantContext};
use super::id::TenantId;
use super::settings::{Forget, SettingsSource, SettingsTable};
use super::usage::{Metric, Usage};
pub use backend::{Backend, Generation, Lookup, Reply};
pub use key::{Key, Scope as CacheScope, cache_key};

/// What is wrong with a cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// No tenant is set for the running task.
    #[error(transparent)]
    NoTenant(#[from] NoTenant),
    /// The address is none.
    #[error("read the address of Redis: it has to look like redis://host:6379 or redis+unix:///path/to/socket")]
    Url(#[source] ::redis::RedisError),
    /// Redis refused or does not answer.
    #[error("ask Redis")]
    Redis(#[source] ::redis::RedisError),
    /// Redis has just failed and is left alone for a moment.
    #[error("ask Redis: it failed a moment ago")]
    Resting,
    /// A value cannot be written as JSON.
    #[error("write a value of kind `{kind}` for the cache")]
    Encode {
        /// Its kind.
        kind: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// How values are kept.
///
/// ```
/// use std::time::Duration;
/// use tenantproof::tenancy::CacheOptions;
/// let options = CacheOptions { ttl: Duration::from_secs(60), ..CacheOptions::default() };
/// assert_eq!(options.prefix, "tenantproof");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// What keys begin with.
    pub prefix: String,
    /// How long a value stays valid, where the caller does not say; 300 s.
    pub ttl: Duration,
    /// How long it is remembered that something is not there; 30 s, zero for never.
    pub negative_ttl: Duration,
    /// Most bytes of one tenant; 16 MiB. A value that is larger is not kept.
    pub max_bytes: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            prefix: "tenantproof".into(),
            ttl: Duration::from_secs(300),
            negative_ttl: Duration::from_secs(30),
            max_bytes: 16 << 20,
        }
    }
}

/// What a cache has seen since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Lookups that found something, also that something is not there.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Values that could not be read; each is a miss too.
    pub corrupted: u64,
    /// Times the back end failed; a lookup that did is a miss too.
    pub degraded: u64,
    /// Loads: what single-flight left of the misses.
    pub loads: u64,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    corrupted: AtomicU64,
    degraded: AtomicU64,
    loads: AtomicU64,
}

/// Cached values of tenants. Cheap to clone.
///
/// ```
/// use tenantproof::tenancy::{Cache, CacheError, CacheOptions, TenantContext, TenantId, UserId, with_tenant};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), CacheError> {
/// let cache = Cache::in_process(CacheOptions::default());
/// let acme = TenantContext::member(TenantId::random(), UserId::random());
/// let title: Option<String> = with_tenant(acme.clone(), cache.get_or_load("title", "7", || async {
///     Ok::<_, CacheError>(Some("Plan".to_owned())) // asked once, then cached
/// })).await?;
/// assert_eq!(title.as_deref(), Some("Plan"));
/// assert_eq!(with_tenant(acme, cache.get::<String>("title", "7")).await?, Some(Some("Plan".to_owned())));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Box<dyn Backend>,
    options: CacheOptions,
    counters: Counters,
    usage: RwLock<Option<Usage>>,
    settings: RwLock<Vec<Arc<dyn Forget>>>,
    /// What is being loaded, and its bytes for those who wait.
    flights: moka::future::Cache<(Key, Option<Generation>), Arc<Vec<u8>>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("options", &self.inner.options)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Cache {
    /// In this process.
    pub fn in_process(options: CacheOptions) -> Self {
        Self::with_backend(in_process::InProcess::new(options.max_bytes), options)
    }

    /// In Redis (`redis://host:6379`, `redis+unix:///path`), shared by processes. Starts also while Redis is down.
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub async fn redis(url: &str, options: CacheOptions) -> Result<Self, CacheError> {
        let backend = redis::RedisBackend::connect(url, &options.prefix, options.max_bytes).await?;
        Ok(Self::with_backend(backend, options))
    }

    /// In a place of one's own.
    pub fn with_backend(backend: impl Backend, options: CacheOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                backend: Box::new(backend),
                options,
                counters: Counters::default(),
                usage: RwLock::default(),
                settings: RwLock::default(),
                // An entry is there while it is being loaded, and taken away when it is.
                flights: moka::future::Cache::builder()
                    .max_capacity(1 << 20)
                    .time_to_live(Duration::from_secs(60))
                    .build(),
            }),
        }
    }

    /// Counts hits, misses and bytes of tenants there.
    pub fn count_in(&self, usage: &Usage) {
        *self.inner.usage.write().unwrap_or_else(PoisonError::into_inner) = Some(usage.clone());
    }

    /// Lets invalidations of a tenant drop its settings from this source too.
    pub fn drop_settings_of<S: SettingsTable>(&self, source: &SettingsSource<S>) {
        let mut settings = self.inner.settings.write().unwrap_or_else(PoisonError::into_inner);
        settings.push(Arc::new(source.clone()));
    }

    /// What it has seen.
    pub fn stats(&self) -> CacheStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.inner.counters;
        CacheStats {
            hits: read(&counters.hits),
            misses: read(&counters.misses),
            corrupted: read(&counters.corrupted),
            degraded: read(&counters.degraded),
            loads: read(&counters.loads),
        }
    }

    /// Looks for a value of the current tenant. `Some(None)`: it is known that there is none.
    ///
    /// # Errors
    ///
    /// Without a context.
    pub async fn get<T: DeserializeOwned>(
        &self,
        kind: &str,
        identifier: &str,
    ) -> Result<Option<Option<T>>, CacheError> {
        let key = key(kind, identifier)?;
        Ok(self.look(&key).await.0)
    }

    /// Stores a value of the current tenant, for [`CacheOptions::ttl`].
    ///
    /// # Errors
    ///
    /// Without a context; when it cannot be written as JSON. A back end that fails only counts.
    pub async fn put<T: Serialize>(&self, kind: &str, identifier: &str, value: &T) -> Result<(), CacheError> {
        let key = key(kind, identifier)?;
        let bytes = encode(kind, Some(value))?;
        match self.inner.backend.get(&key).await {
            Ok(lookup) => self.store(&key, lookup.generation, bytes, self.inner.options.ttl).await,
            Err(error) => self.degraded(&error),
        }
        Ok(())
    }

    /// The value, loaded where it is not cached. Many who ask for the same at once wait for one load. What `load` finds must not
    /// depend on the user, only on the tenant; that there is nothing (`None`) is remembered too, for a shorter time.
    ///
    /// # Errors
    ///
    /// Without a context; what `load` fails with, which is not cached and which nobody else sees.
    pub async fn get_or_load<T, F, E>(&self, kind: &str, identifier: &str, load: impl Fn() -> F) -> Result<Option<T>, E>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<Option<T>, E>>,
        E: From<CacheError>,
    {
        let key = key(kind, identifier).map_err(CacheError::from)?;
        loop {
            let (found, generation) = self.look::<T>(&key).await;
            if let Some(found) = found {
                return Ok(found);
            }
            let mut own = None;
            let flight = async {
                let loaded = self.load(&key, generation, &load).await;
                let bytes = loaded.as_ref().map(|(_, bytes)| bytes.clone()).map_err(drop);
                own = Some(loaded);
                bytes
            };
            // With the generation, so that who asks after an invalidation does not join a load that began before it.
            let id = (key.clone(), generation);
            let shared = self.inner.flights.try_get_with_by_ref(&id, flight).await;
            self.inner.flights.invalidate(&id).await;
            if let Some(own) = own {
                return own.map(|(value, _)| value);
            }
            // Of another task's flight. Its error is its own, so this one asks again.
            if let Ok(bytes) = shared
                && let Some(value) = decode(&bytes)
            {
                return Ok(value);
            }
        }
    }

    async fn load<T, F, E>(
        &self,
        key: &Key,
        generation: Option<Generation>,
        load: impl Fn() -> F,
    ) -> Result<(Option<T>, Arc<Vec<u8>>), E>
    where
        T: Serialize,
        F: Future<Output = Result<Option<T>, E>>,
        E: From<CacheError>,
    {
        self.inner.counters.loads.fetch_add(1, Ordering::Relaxed);
        let value = load().await?;
        let bytes = encode(&key.kind, value.as_ref())?;
        let options = &self.inner.options;
        let ttl = if value.is_some() {
            options.ttl
        } else {
            options.negative_ttl
        };
        if let Some(generation) = generation
            && !ttl.is_zero()
        {
            self.store(key, generation, bytes.clone(), ttl).await;
        }
        Ok((value, Arc::new(bytes)))
    }

    /// Forgets one value of the current tenant.
    ///
    /// # Errors
    ///
    /// Without a context; when the back end fails, and then the value may be seen until it expires.
    pub async fn remove(&self, kind: &str, identifier: &str) -> Result<(), CacheError> {
        let key = key(kind, identifier)?;
        let removed = self.inner.backend.remove(&key).await;
        removed.inspect_err(|error| self.degraded(error))
    }

    /// Forgets everything of the current tenant, its settings in this process included.
    ///
    /// # Errors
    ///
    /// Without a context; when the back end fails: it is made good by this process before it uses the back end again.
    pub async fn invalidate_tenant(&self) -> Result<(), CacheError> {
        self.invalidate(CacheScope::Tenant(TenantContext::current()?.tenant()))
            .await
    }

    /// Forgets a kind of the current tenant.
    ///
    /// # Errors
    ///
    /// As [`Cache::invalidate_tenant`].
    pub async fn invalidate_kind(&self, kind: &str) -> Result<(), CacheError> {
        let tenant = TenantContext::current()?.tenant();
        self.invalidate(CacheScope::TenantKind(tenant, kind.to_owned())).await
    }

    /// Forgets a scope, also of other tenants or of all: for the server's own work.
    ///
    /// # Errors
    ///
    /// When the back end fails: it is made good by this process before it uses the back end again.
    pub async fn invalidate(&self, scope: CacheScope) -> Result<(), CacheError> {
        let done = self.inner.backend.invalidate(&scope).await;
        if let CacheScope::Tenant(tenant) = scope {
            let settings = self
                .inner
                .settings
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            for source in settings {
                source.forget(tenant).await;
            }
        }
        done.inspect_err(|error| self.degraded(error))
    }

    /// What is there, and the generation to store with; none where the back end failed.
    async fn look<T: DeserializeOwned>(&self, key: &Key) -> (Option<Option<T>>, Option<Generation>) {
        let (value, generation) = match self.inner.backend.get(key).await {
            Ok(lookup) => (lookup.value, Some(lookup.generation)),
            Err(error) => {
                self.degraded(&error);
                (None, None)
            }
        };
        let decoded = value.as_ref().and_then(|bytes| {
            let decoded = decode(bytes);
            if decoded.is_none() {
                self.inner.counters.corrupted.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(kind = key.kind, "a cached value could not be read; taken for a miss");
            }
            decoded
        });
        let (counter, metric) = match decoded {
            Some(_) => (&self.inner.counters.hits, Metric::CacheHits),
            None => (&self.inner.counters.misses, Metric::CacheMisses),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.count(key.tenant, metric, 1);
        (decoded, generation)
    }

    async fn store(&self, key: &Key, generation: Generation, bytes: Vec<u8>, ttl: Duration) {
        self.count(key.tenant, Metric::Bytes, bytes.len() as u64);
        if let Err(error) = self.inner.backend.put(key, generation, bytes, ttl).await {
            self.degraded(&error);
        }
    }

    fn count(&self, tenant: TenantId, metric: Metric, amount: u64) {
        if let Some(usage) = self.inner.usage.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            usage.add(tenant, metric, amount);
        }
    }

    fn degraded(&self, error: &CacheError) {
        self.inner.counters.degraded.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "the cache failed; the database answers");
    }
}

fn key(kind: &str, identifier: &str) -> Result<Key, NoTenant> {
    Ok(Key {
        tenant: TenantContext::current()?.tenant(),
        kind: kind.to_owned(),
        identifier: identifier.to_owned(),
    })
}

/// First a byte that says whether there is something, then JSON.
const THERE: u8 = b'+';
const NOT_THERE: u8 = b'-';

fn encode<T: Serialize>(kind: &str, value: Option<&T>) -> Result<Vec<u8>, CacheError> {
    let Some(value) = value else { return Ok(vec![NOT_THERE]) };
    let mut bytes = vec![THERE];
    serde_json::to_writer(&mut bytes, value).map_err(|source| CacheError::Encode {
        kind: kind.to_owned(),
        source,
    })?;
    Ok(bytes)
}

/// None where it is neither.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<Option<T>> {
    match bytes.split_first()? {
        (&THERE, json) => serde_json::from_slice(json).ok().map(Some),
        (&NOT_THERE, []) => Some(None),
        _ => None,
    }
}
