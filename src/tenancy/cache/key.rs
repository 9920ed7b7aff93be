//! Names of cached values: no two of them collide, whatever characters their parts hold.

use super::super::id::TenantId;

/// `{prefix}:{tenant}:{identifier}`, each part escaped.
///
/// Injective: `escape` replaces `%` by `%25`, `:` by `%3A` and `/` by `%2F` and nothing else. It can be undone (every `%`
/// in its result begins one of the three), so two different parts have different escapes; and its result holds no `:`, so the
/// two colons of a key are the ones put here, and a key falls into its three parts in one way only. Hence two keys that are
/// equal have equal parts.
///
/// ```
/// use tenantproof::tenancy::cache_key;
/// assert_eq!(cache_key("app", "acme", "user/7"), "app:acme:user%2F7");
/// assert_ne!(cache_key("app", "a:b", "c"), cache_key("app", "a", "b:c"));
/// assert_ne!(cache_key("app", "a%3Ab", "c"), cache_key("app", "a:b", "c"));
/// ```
pub fn cache_key(prefix: &str, tenant: &str, identifier: &str) -> String {
    let mut key = String::with_capacity(prefix.len() + tenant.len() + identifier.len() + 2);
    escape(prefix, &mut key);
    key.push(':');
    escape(tenant, &mut key);
    key.push(':');
    escape(identifier, &mut key);
    key
}

fn escape(part: &str, out: &mut String) {
    for character in part.chars() {
        match character {
            '%' => out.push_str("%25"),
            ':' => out.push_str("%3A"),
            '/' => out.push_str("%2F"),
            other => out.push(other),
        }
    }
}

/// A cached value: whose, of which kind, and which one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose.
    pub tenant: TenantId,
    /// Kinds are what is invalidated together, such as `document`.
    pub kind: String,
    /// Which one of its kind.
    pub identifier: String,
}

impl Key {
    /// The identifier of [`cache_key`]: kind and identifier, escaped and joined by `/`, so injective by the same argument.
    pub(super) fn joined(&self) -> String {
        let mut joined = String::with_capacity(self.kind.len() + self.identifier.len() + 1);
        escape(&self.kind, &mut joined);
        joined.push('/');
        escape(&self.identifier, &mut joined);
        joined
    }
}

/// What is invalidated at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everything of a tenant, its settings included.
    Tenant(TenantId),
    /// A kind, of all tenants.
    Kind(String),
    /// A kind of one tenant.
    TenantKind(TenantId, String),
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Any Unicode, and often few of the pieces that could be mistaken for one another.
    fn part() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![":", "%", "/", "%3A", "%25", "%2F", "a"]);
        prop_oneof![
            1 => any::<String>(),
            3 => prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat()),
        ]
    }

    proptest! {
        #[test]
        fn no_two_triples_share_a_key(triples in prop::collection::vec((part(), part(), part()), 2..40)) {
            let mut seen: HashMap<String, &(String, String, String)> = HashMap::new();
            for triple in &triples {
                let key = cache_key(&triple.0, &triple.1, &triple.2);
                if let Some(other) = seen.insert(key.clone(), triple) {
                    prop_assert_eq!(other, triple, "{}", key);
                }
            }
        }

        #[test]
        fn no_two_values_share_a_key(pairs in prop::collection::vec((part(), part()), 2..40)) {
            let tenant = TenantId::random();
            let mut seen: HashMap<String, &(String, String)> = HashMap::new();
            for pair in &pairs {
                let (kind, identifier) = pair.clone();
                let joined = Key { tenant, kind, identifier }.joined();
                if let Some(other) = seen.insert(joined.clone(), pair) {
                    prop_assert_eq!(other, pair, "{}", joined);
                }
            }
        }
    }
}
