//! Cached values in Redis, over one multiplexed connection that comes back by itself.
//!
//! A look is one MGET of the value and the tokens of its scopes; a write is one script, which also keeps the tenant within
//! its bytes, the oldest going first. Tokens that are missing (new, expired, evicted) make a value not count, so losing
//! them costs misses and never shows what was invalidated. Redis Cluster is not supported: a script touches several keys.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands as _, Client, Script};

use super::CacheError;
use super::backend::{Backend, Generation, Lookup, Reply, scopes, token};
use super::key::{Key, Scope, cache_key};

/// Redis that does not answer for so long is down: the database answers instead.
const PATIENCE: Duration = Duration::from_millis(500);

/// After a failure, requests do not wait for Redis for so long.
const REST: Duration = Duration::from_millis(500);

/// Tokens outlive every value that was stored with them.
const MAX_TTL: Duration = Duration::from_secs(7 * 86_400);

/// Invalidations that are kept for when Redis is back; beyond that, every tenant is invalidated.
const MAX_MISSED: usize = 10_000;

/// KEYS: value, index, sizes, then tokens. ARGV: bytes, ttl in ms, limit, now. Keeps the tenant within its limit.
const PUT: &str = r"
local size = #ARGV[1] + #KEYS[1]
local limit = tonumber(ARGV[3])
if size > limit then return 0 end
local before = tonumber(redis.call('HGET', KEYS[3], KEYS[1]) or '0')
local total = tonumber(redis.call('HGET', KEYS[3], '') or '0') - before + size
redis.call('ZADD', KEYS[2], ARGV[4], KEYS[1])
redis.call('HSET', KEYS[3], KEYS[1], size)
while total > limit do
  local oldest = redis.call('ZPOPMIN', KEYS[2])[1]
  if not oldest then break end
  total = total - tonumber(redis.call('HGET', KEYS[3], oldest) or '0')
  redis.call('HDEL', KEYS[3], oldest)
  redis.call('UNLINK', oldest)
end
redis.call('HSET', KEYS[3], '', total)
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// Makes tokens that are missing, and returns all. KEYS: tokens. ARGV: a new token, ttl in ms.
const TOKENS: &str = r"
local found = {}
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2])
  redis.call('PEXPIRE', key, ARGV[2])
  found[i] = redis.call('GET', key)
end
return found
";

/// Redis.
pub(super) struct RedisBackend {
    connection: ConnectionManager,
    prefix: String,
    max_bytes: u64,
    put: Script,
    tokens: Script,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    rests_until: Option<Instant>,
    missed: BTreeSet<Scope>,
}

impl RedisBackend {
    pub(super) async fn connect(url: &str, prefix: &str, max_bytes: u64) -> Result<Self, CacheError> {
        let client = Client::open(url).map_err(CacheError::Url)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1)
            .set_max_delay(PATIENCE);
        // Without waiting: a service starts also while Redis is down.
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(CacheError::Url)?;
        Ok(Self {
            connection,
            prefix: prefix.to_owned(),
            max_bytes,
            put: Script::new(PUT),
            tokens: Script::new(TOKENS),
            health: Mutex::default(),
        })
    }

    fn value_key(&self, key: &Key) -> String {
        cache_key(&self.prefix, &key.tenant.to_string(), &key.joined())
    }

    /// Kinds and identifiers are joined by an escaped `/`; these begin with `~` and hold none, so they are no value's.
    fn token_key(&self, scope: &Scope) -> String {
        match scope {
            Scope::Tenant(tenant) => cache_key(&self.prefix, &tenant.to_string(), "~generation"),
            Scope::Kind(kind) => cache_key(&self.prefix, "", &format!("~generation/{kind}")),
            Scope::TenantKind(tenant, kind) => {
                cache_key(&self.prefix, &tenant.to_string(), &format!("~generation/{kind}"))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks Redis, unless it rests; first makes good the invalidations that it missed.
    async fn ask<T>(&self, work: impl AsyncRedis<T>) -> Result<T, CacheError> {
        let missed: Vec<Scope> = {
            let health = self.lock();
            if health.rests_until.is_some_and(|until| Instant::now() < until) {
                return Err(CacheError::Resting);
            }
            health.missed.iter().cloned().collect()
        };
        let mut connection = self.connection.clone();
        let asked = async {
            if !missed.is_empty() {
                self.renew(&mut connection, &missed).await?;
            }
            work.run(connection).await
        };
        match asked.await {
            Ok(answer) => {
                let mut health = self.lock();
                health.rests_until = None;
                for scope in &missed {
                    health.missed.remove(scope);
                }
                Ok(answer)
            }
            Err(error) => {
                if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
                    self.lock().rests_until = Some(Instant::now() + REST);
                }
                Err(CacheError::Redis(error))
            }
        }
    }

    async fn renew(&self, connection: &mut ConnectionManager, scopes: &[Scope]) -> redis::RedisResult<()> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for scope in scopes {
            let ttl = MAX_TTL.as_millis() as u64;
            pipe.cmd("SET")
                .arg(self.token_key(scope))
                .arg(token())
                .arg("PX")
                .arg(ttl)
                .ignore();
        }
        pipe.query_async(connection).await
    }
}

/// What is asked of a connection. A trait, because an asynchronous closure's future is not known to be `Send`.
trait AsyncRedis<T> {
    fn run(self, connection: ConnectionManager) -> impl Future<Output = redis::RedisResult<T>> + Send;
}

impl<T, F, R> AsyncRedis<T> for F
where
    F: FnOnce(ConnectionManager) -> R,
    R: Future<Output = redis::RedisResult<T>> + Send,
{
    fn run(self, connection: ConnectionManager) -> impl Future<Output = redis::RedisResult<T>> + Send {
        self(connection)
    }
}

impl Backend for RedisBackend {
    fn get<'a>(&'a self, key: &'a Key) -> Reply<'a, Lookup> {
        Box::pin(async move {
            let tokens = scopes(key).map(|scope| self.token_key(&scope));
            let value_key = self.value_key(key);
            let lookup = self.ask(|mut connection: ConnectionManager| async move {
                let (value, t0, t1, t2): (Option<Vec<u8>>, Option<u64>, Option<u64>, Option<u64>) = connection
                    .mget(&[&value_key, &tokens[0], &tokens[1], &tokens[2]])
                    .await?;
                let generation = match (t0, t1, t2) {
                    (Some(t0), Some(t1), Some(t2)) => Generation([t0, t1, t2]),
                    _ => {
                        let mut make = self.tokens.prepare_invoke();
                        for key in &tokens {
                            make.key(key);
                        }
                        make.arg(token()).arg(MAX_TTL.as_millis() as u64);
                        let [t0, t1, t2]: [u64; 3] = make.invoke_async(&mut connection).await?;
                        Generation([t0, t1, t2])
                    }
                };
                let value = value.and_then(|bytes| opened(&bytes, generation));
                Ok(Lookup { value, generation })
            });
            lookup.await
        })
    }

    fn put<'a>(&'a self, key: &'a Key, generation: Generation, value: Vec<u8>, ttl: Duration) -> Reply<'a, ()> {
        Box::pin(async move {
            let tenant = key.tenant.to_string();
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            let ttl = ttl.min(MAX_TTL);
            let mut call = self.put.prepare_invoke();
            call.key(self.value_key(key))
                .key(cache_key(&self.prefix, &tenant, "~index"))
                .key(cache_key(&self.prefix, &tenant, "~sizes"))
                .arg(sealed(generation, &value))
                .arg(ttl.as_millis().max(1) as u64)
                .arg(self.max_bytes)
                .arg(now.as_micros() as u64)
                .arg(MAX_TTL.as_millis() as u64);
            self.ask(|mut connection: ConnectionManager| async move { call.invoke_async::<()>(&mut connection).await })
                .await
        })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, ()> {
        Box::pin(async move {
            let value_key = self.value_key(key);
            self.ask(|mut connection: ConnectionManager| async move { connection.del::<_, ()>(value_key).await })
                .await
        })
    }

    fn invalidate<'a>(&'a self, scope: &'a Scope) -> Reply<'a, ()> {
        Box::pin(async move {
            // INVARIANT: noted before it is tried, so that whatever ends us in between, this process makes it good.
            {
                let mut health = self.lock();
                if health.missed.len() < MAX_MISSED {
                    health.missed.insert(scope.clone());
                }
            }
            self.ask(|_| async { Ok(()) }).await
        })
    }
}

/// The tokens before the value.
fn sealed(generation: Generation, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24 + value.len());
    for token in generation.0 {
        bytes.extend_from_slice(&token.to_be_bytes());
    }
    bytes.extend_from_slice(value);
    bytes
}

/// The value, where its tokens are these. Bytes that are too short are handed on, to be counted as corrupted.
fn opened(bytes: &[u8], generation: Generation) -> Option<Vec<u8>> {
    let Some((head, value)) = bytes.split_at_checked(24) else {
        return Some(Vec::new());
    };
    let is_current = head
        .chunks_exact(8)
        .zip(generation.0)
        .all(|(bytes, token)| bytes == token.to_be_bytes());
    is_current.then(|| value.to_vec())
}
