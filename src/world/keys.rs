//! Tenant keys: what a universe is called, in adversarial pairs.
//!
//! A pair is chosen so that a comparison that is not equality (case folding, prefix, pattern, cast, substring) confuses
//! its two sides. The first of a pair is the attacker.

mod fit;

use crate::model::Session;

pub use fit::fit;

/// Identity of one universe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Tenant key, as text.
    pub tenant: String,
    /// User key, as text.
    pub user: String,
    /// E-mail address of the user.
    pub email: String,
    /// The role of the tenant, where that is called otherwise than the tenant's key.
    pub role: Option<String>,
    /// Distinctive text in every generated text value of the universe.
    pub canary: String,
    /// Distinguishes generated numbers: no two universes share one.
    pub ordinal: u64,
}

impl Keys {
    /// Replaces `{tenant}`, `{user}`, `{email}`; `escape` is applied to each key first.
    pub fn fill(&self, template: &str, escape: impl Fn(&str) -> String) -> String {
        template
            .replace("{tenant}", &escape(&self.tenant))
            .replace("{user}", &escape(&self.user))
            .replace("{email}", &escape(&self.email))
    }

    /// The value of a setting: JSON-escaped where the template is JSON, raw elsewhere.
    pub fn setting(&self, template: &str) -> String {
        if template.trim_start().starts_with(['{', '[']) && template.trim_start().len() > 1 && !is_bare_token(template)
        {
            self.fill(template, |key| {
                let quoted = serde_json::Value::from(key).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            })
        } else {
            self.fill(template, str::to_owned)
        }
    }

    /// The role a session runs as.
    pub fn role(&self, session: &Session) -> String {
        match &self.role {
            Some(role) if session.role.contains("{tenant}") => session.role.replace("{tenant}", role),
            _ => self.fill(&session.role, str::to_owned),
        }
    }
}

fn is_bare_token(template: &str) -> bool {
    ["{tenant}", "{user}", "{email}"]
        .iter()
        .any(|token| template.trim_start().starts_with(token))
}

/// Keys of the attacker and the victim, and what the pair is there to confuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// What a wrong comparison would be.
    pub purpose: &'static str,
    /// The attacker.
    pub a: Keys,
    /// The victim.
    pub b: Keys,
}

/// What the tenant and user columns hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `uuid`.
    Uuid,
    /// `smallint`, `integer`.
    Integer,
    /// `bigint`, `numeric`.
    Bigint,
    /// Text, citext, varchar.
    Text,
}

impl KeyType {
    /// By the name of a base type.
    pub fn of(base_type: &str) -> Self {
        match base_type {
            "uuid" => Self::Uuid,
            "smallint" | "integer" | "int" | "int2" | "int4" => Self::Integer,
            "bigint" | "numeric" | "int8" | "double precision" | "real" | "float8" | "float4" => Self::Bigint,
            _ => Self::Text,
        }
    }
}

/// Pairs to try: the first is the plain one that all probes run with, the others only observe.
pub fn pairs(tenant: KeyType, user: KeyType, fixed: &[(String, String)]) -> Vec<KeyPair> {
    let text: &[(&str, &str, &str)] = match tenant {
        KeyType::Uuid => &[
            (
                "plain",
                "a1a1a1a1-0000-4000-8000-00000000000a",
                "b2b2b2b2-0000-4000-8000-00000000000b",
            ),
            (
                "common prefix",
                "c3c3c3c3-0000-4000-8000-00000000000a",
                "c3c3c3c3-0000-4000-8000-00000000000b",
            ),
        ],
        KeyType::Integer => &[
            ("plain", "4101", "4202"),
            ("prefix", "1", "10"),
            ("substring", "10", "1"),
            ("neighbour", "7", "8"),
        ],
        KeyType::Bigint => &[
            ("plain", "4101", "4202"),
            ("float precision", "9007199254740992", "9007199254740993"),
            ("prefix", "1", "10"),
            ("substring", "10", "1"),
            ("neighbour", "7", "8"),
        ],
        KeyType::Text => &[
            ("plain", "acme", "bravo"),
            ("letter case", "kilo", "Kilo"),
            ("pattern", "a_c", "abc"),
            ("any pattern", "%", "zulu"),
            ("prefix", "t1", "t10"),
            ("substring", "t10", "t1"),
            ("numeric cast", "7", "07"),
            ("float precision", "9007199254740992", "9007199254740993"),
            ("trailing space", "lima", "lima "),
        ],
    };
    let make = |purpose: &'static str, a: &str, b: &str| KeyPair {
        purpose,
        a: keys(a, user, "axq7", 1),
        b: keys(b, user, "bzk4", 2),
    };
    if fixed.is_empty() {
        text.iter().map(|(purpose, a, b)| make(purpose, a, b)).collect()
    } else {
        fixed.iter().map(|(a, b)| make("given by the schema", a, b)).collect()
    }
}

/// Keys of the universe that belongs to neither: shared rows and, where tenants have a parent, the base tenant.
pub fn common(tenant: KeyType, user: KeyType) -> Keys {
    let tenant = match tenant {
        KeyType::Uuid => "00000000-0000-4000-8000-0000000000ba",
        KeyType::Integer | KeyType::Bigint => "3900",
        KeyType::Text => "zz-base",
    };
    keys(tenant, user, "cwm0", 3)
}

fn keys(tenant: &str, user: KeyType, canary: &str, ordinal: u64) -> Keys {
    let user = match user {
        KeyType::Uuid => format!(
            "{0}{0}{0}{0}-1111-4000-8000-00000000000{ordinal}",
            ["e5", "f6", "d4"][ordinal as usize % 3]
        ),
        KeyType::Integer | KeyType::Bigint => (51_000 + ordinal).to_string(),
        KeyType::Text => format!("user-{canary}"),
    };
    Keys {
        tenant: tenant.to_owned(),
        role: None,
        user,
        email: format!("{canary}@example.test"),
        canary: canary.to_owned(),
        ordinal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_settings_are_escaped_and_plain_ones_are_not() {
        let keys = keys("a\"b", KeyType::Text, "axq7", 1);
        assert_eq!(keys.setting("{tenant}"), "a\"b");
        assert_eq!(keys.setting(r#"{"tenant": "{tenant}"}"#), r#"{"tenant": "a\"b"}"#);
    }

    #[test]
    fn other_braces_are_literal() {
        let keys = keys("x", KeyType::Text, "axq7", 1);
        assert_eq!(keys.setting("{other}-{tenant}"), "{other}-x");
    }

    #[test]
    fn every_pair_has_two_different_tenants() {
        for kind in [KeyType::Uuid, KeyType::Integer, KeyType::Bigint, KeyType::Text] {
            for pair in pairs(kind, kind, &[]) {
                assert_ne!(pair.a.tenant, pair.b.tenant, "{}", pair.purpose);
                assert_ne!(pair.a.user, pair.b.user, "{}", pair.purpose);
            }
        }
    }
}
