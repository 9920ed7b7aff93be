//! What is verified: how requests identify themselves, and what the user said of tenants.

use serde::{Deserialize, Serialize};

/// Ability of whoever controls a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attacker {
    /// CRUD on what was granted, and function calls.
    #[default]
    Api,
    /// Any statement, but the identity stays as set.
    Sql,
    /// May also change its own settings.
    Context,
}

/// A role plus settings that a tenant's request runs with. Tokens `{tenant}`, `{user}`, `{email}` are a universe's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Name used in reports.
    pub name: String,
    /// Role, tokens allowed.
    pub role: String,
    /// Attacker level.
    #[serde(default)]
    pub attacker: Attacker,
    /// Settings by name; values may hold tokens.
    #[serde(default)]
    pub settings: std::collections::BTreeMap<String, String>,
    /// Statements run as superuser once a universe, after it is grown.
    #[serde(default)]
    pub setup: Vec<String>,
}

impl Session {
    /// Whether requests come through a server that makes the statements itself (PostgREST, PostGraphile, Hasura), as the names
    /// of its settings tell. Elsewhere an application does, and what it can be made to send counts.
    pub fn is_behind_an_api(&self) -> bool {
        const NAMES: [&str; 3] = ["request.", "jwt.claims.", "hasura."];
        let is_api = |name: &String| NAMES.iter().any(|prefix| name.starts_with(prefix));
        self.settings.keys().any(is_api)
    }

    /// Whether a request can be made to send TRUNCATE: none of these servers ever does.
    pub fn can_truncate(&self) -> bool {
        self.attacker != Attacker::Api || !self.is_behind_an_api()
    }
}

/// What the user said about tenants; all of it can be inferred.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenancy {
    /// Names of tenant columns that are no foreign keys.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Table with one row a tenant.
    pub root: Option<String>,
    /// Table with one row a user.
    pub users: Option<String>,
    /// Tables that every tenant may read and nobody may write.
    #[serde(default)]
    pub shared: Vec<String>,
}

/// A finding that the user accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Rule or oracle id.
    pub rule: String,
    /// Object as the finding names it.
    pub object: String,
    /// Why it is right.
    pub reason: String,
    /// Last day it counts, `YYYY-MM-DD`.
    pub expires: Option<toml::value::Datetime>,
}
