//! What a place for cached values has to do.
//!
//! Invalidation is by generations: a scope has a token, a value is stored with the tokens of its three scopes as they were
//! when it was looked for, and counts only where they still are the same. To invalidate is to give the scope another token:
//! nothing is searched, and a value that was being loaded meanwhile is dead on arrival.

use std::pin::Pin;
use std::time::Duration;

use super::CacheError;
use super::key::{Key, Scope};

/// A future of a back end.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, CacheError>> + Send + 'a>>;

/// The tokens of a value's scopes: its tenant, its kind, its kind within the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation(pub(super) [u64; 3]);

impl Generation {
    /// Of these tokens.
    pub fn new(tokens: [u64; 3]) -> Self {
        Self(tokens)
    }

    /// Its tokens.
    pub fn tokens(self) -> [u64; 3] {
        self.0
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The value's bytes, where they are there and count.
    pub value: Option<Vec<u8>>,
    /// To be handed to [`Backend::put`].
    pub generation: Generation,
}

/// A place for cached values.
///
/// ```
/// use std::time::Duration;
/// use tenantproof::tenancy::{Backend, CacheScope, Generation, Key, Lookup, Reply};
///
/// /// Keeps nothing.
/// struct Nothing;
///
/// impl Backend for Nothing {
///     fn get<'a>(&'a self, _: &'a Key) -> Reply<'a, Lookup> {
///         Box::pin(async { Ok(Lookup { value: None, generation: Generation::new([0; 3]) }) })
///     }
///     fn put<'a>(&'a self, _: &'a Key, _: Generation, _: Vec<u8>, _: Duration) -> Reply<'a, ()> {
///         Box::pin(async { Ok(()) })
///     }
///     fn remove<'a>(&'a self, _: &'a Key) -> Reply<'a, ()> {
///         Box::pin(async { Ok(()) })
///     }
///     fn invalidate<'a>(&'a self, _: &'a CacheScope) -> Reply<'a, ()> {
///         Box::pin(async { Ok(()) })
///     }
/// }
/// ```
pub trait Backend: Send + Sync + 'static {
    /// Looks for a value.
    fn get<'a>(&'a self, key: &'a Key) -> Reply<'a, Lookup>;

    /// Stores a value that was loaded after this generation was seen.
    fn put<'a>(&'a self, key: &'a Key, generation: Generation, value: Vec<u8>, ttl: Duration) -> Reply<'a, ()>;

    /// Makes a value not count any more.
    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, ()>;

    /// Makes everything of a scope not count any more.
    fn invalidate<'a>(&'a self, scope: &'a Scope) -> Reply<'a, ()>;
}

/// The scopes of a value, in the order of [`Generation`].
pub(super) fn scopes(key: &Key) -> [Scope; 3] {
    [
        Scope::Tenant(key.tenant),
        Scope::Kind(key.kind.clone()),
        Scope::TenantKind(key.tenant, key.kind.clone()),
    ]
}

/// A token that was never used.
pub(super) fn token() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
