//! Cached values in this process. Each tenant has a cache of its own with a bound of its own, so that none can push out
//! another's values.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::CacheError;
use super::backend::{Backend, Generation, Lookup, Reply, scopes, token};
use super::key::{Key, Scope};
use crate::tenancy::id::TenantId;

/// Tenants with cached values; those that were idle longest go first.
const MAX_TENANTS: u64 = 10_000;

/// A tenant that asks for nothing for so long gives its memory back.
const IDLE: Duration = Duration::from_secs(3_600);

type Values = Cache<(String, String), Stored>;

#[derive(Clone)]
struct Stored {
    generation: Generation,
    value: Arc<[u8]>,
    ttl: Duration,
}

struct ByValue;

impl Expiry<(String, String), Stored> for ByValue {
    fn expire_after_create(&self, _: &(String, String), stored: &Stored, _: Instant) -> Option<Duration> {
        Some(stored.ttl)
    }

    fn expire_after_update(
        &self,
        _: &(String, String),
        stored: &Stored,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(stored.ttl)
    }
}

/// Values in memory, bounded in bytes a tenant.
pub(super) struct InProcess {
    tenants: Cache<TenantId, Values>,
    max_bytes: u64,
    tokens: RwLock<HashMap<Scope, u64>>,
}

impl InProcess {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            tenants: Cache::builder().max_capacity(MAX_TENANTS).time_to_idle(IDLE).build(),
            max_bytes,
            tokens: RwLock::default(),
        }
    }

    fn values(&self, tenant: TenantId) -> Values {
        self.tenants.get_with(tenant, || {
            Cache::builder()
                .max_capacity(self.max_bytes)
                .weigher(|key: &(String, String), stored: &Stored| {
                    u32::try_from(key.0.len() + key.1.len() + stored.value.len() + 64).unwrap_or(u32::MAX)
                })
                .expire_after(ByValue)
                .build()
        })
    }

    /// A scope that was never invalidated has token 0.
    fn generation(&self, key: &Key) -> Generation {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        if tokens.is_empty() {
            return Generation([0; 3]);
        }
        Generation(scopes(key).map(|scope| tokens.get(&scope).copied().unwrap_or_default()))
    }

    fn lookup(&self, key: &Key) -> Lookup {
        let generation = self.generation(key);
        let stored = self.values(key.tenant).get(&(key.kind.clone(), key.identifier.clone()));
        let value = stored.filter(|s| s.generation == generation).map(|s| s.value.to_vec());
        Lookup { value, generation }
    }
}

impl Backend for InProcess {
    fn get<'a>(&'a self, key: &'a Key) -> Reply<'a, Lookup> {
        Box::pin(std::future::ready(Ok(self.lookup(key))))
    }

    fn put<'a>(&'a self, key: &'a Key, generation: Generation, value: Vec<u8>, ttl: Duration) -> Reply<'a, ()> {
        let stored = Stored {
            generation,
            value: value.into(),
            ttl,
        };
        self.values(key.tenant)
            .insert((key.kind.clone(), key.identifier.clone()), stored);
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, ()> {
        self.values(key.tenant)
            .invalidate(&(key.kind.clone(), key.identifier.clone()));
        Box::pin(std::future::ready(Ok(())))
    }

    fn invalidate<'a>(&'a self, scope: &'a Scope) -> Reply<'a, ()> {
        self.tokens
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(scope.clone(), token());
        if let Scope::Tenant(tenant) = scope {
            self.tenants.invalidate(tenant);
        }
        Box::pin(std::future::ready(Ok::<(), CacheError>(())))
    }
}
