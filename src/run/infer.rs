//! Who runs requests, and how they say who they are, where the target file leaves it open: roles from grants, settings and
//! claims from the text of policies and functions. Each guess comes with its reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Attacker, Catalog, Role, Session};
use crate::sql::expr::{self, SettingRead};

/// A guess and why it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// What was guessed.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// Sessions that the catalog suggests, and the reasons.
pub fn sessions(catalog: &Catalog, roles_before: &BTreeSet<String>) -> (Vec<Session>, Vec<Guess>) {
    let mut guesses = Vec::new();
    let roles = request_roles(catalog, roles_before, &mut guesses);
    let reads = identity_reads(catalog);
    let mut sessions = Vec::new();
    let by_role = policies_ask_for_role(catalog);
    for role in &roles {
        let is_anonymous = ["anon", "anonymous", "guest", "web_anon"].contains(&role.as_str());
        let mut settings = BTreeMap::new();
        if is_anonymous {
            if reads.iter().any(|r| r.name == CLAIMS) {
                settings.insert(CLAIMS.to_owned(), format!(r#"{{"role": "{role}"}}"#));
            }
        } else {
            settings = settings_of(&reads, role, &mut guesses);
        }
        sessions.push(Session {
            name: role.clone(),
            role: role.clone(),
            attacker: Attacker::Api,
            settings,
            setup: Vec::new(),
        });
    }
    // One role a tenant: the policies ask for the role itself, and nothing else says who asks.
    if by_role && reads.is_empty() && roles.len() > 1 {
        guesses.push(Guess {
            what: "a role a tenant".to_owned(),
            reason: "policies compare with current_user and read no setting".to_owned(),
        });
        sessions = vec![Session {
            name: "tenant".to_owned(),
            role: "{tenant}".to_owned(),
            attacker: Attacker::Api,
            settings: BTreeMap::new(),
            setup: Vec::new(),
        }];
    }
    (sessions, guesses)
}

const CLAIMS: &str = "request.jwt.claims";

/// Roles that hold privileges without owning or bypassing: those that requests run as.
fn request_roles(catalog: &Catalog, roles_before: &BTreeSet<String>, guesses: &mut Vec<Guess>) -> Vec<String> {
    let owners: BTreeSet<&str> = catalog.tables().map(|r| r.owner.as_str()).collect();
    let mut granted: BTreeMap<&str, usize> = BTreeMap::new();
    for relation in &catalog.relations {
        for grant in &relation.grants {
            *granted.entry(grant.grantee.as_str()).or_default() += 1;
        }
        for role in relation.policies.iter().flat_map(|p| &p.roles) {
            granted.entry(role).or_default();
        }
    }
    for function in &catalog.functions {
        for grant in &function.grants {
            granted.entry(grant.grantee.as_str()).or_default();
        }
    }
    let is_request = |role: &Role| {
        !role.superuser
            && !role.bypasses_row_security
            && !owners.contains(role.name.as_str())
            && !is_server_side(&role.name)
    };
    let mut roles: Vec<String> = catalog
        .roles
        .iter()
        .filter(|r| is_request(r) && granted.get(r.name.as_str()).is_some_and(|n| *n > 0))
        .map(|r| r.name.clone())
        .collect();
    // A role that only inherits what another was granted asks as well.
    for role in catalog
        .roles
        .iter()
        .filter(|r| is_request(r) && r.inherit && !roles_before.contains(&r.name))
    {
        let gets = role
            .member_of
            .iter()
            .any(|g| roles.contains(g) || owners.contains(g.as_str()) || g.starts_with("pg_"));
        if gets && !roles.contains(&role.name) {
            roles.push(role.name.clone());
        }
    }
    if roles.is_empty() && granted.contains_key("PUBLIC") {
        roles.extend(
            catalog
                .roles
                .iter()
                .filter(|r| is_request(r) && !roles_before.contains(&r.name))
                .map(|r| r.name.clone())
                .take(2),
        );
    }
    roles.sort_by_key(|name| {
        (
            std::cmp::Reverse(granted.get(name.as_str()).copied().unwrap_or(0)),
            name.clone(),
        )
    });
    for role in &roles {
        guesses.push(Guess {
            what: format!("requests run as role {role}"),
            reason: format!(
                "it holds privileges on {} relations, owns none and does not bypass row security",
                granted.get(role.as_str()).copied().unwrap_or(0)
            ),
        });
    }
    roles
}

fn is_server_side(name: &str) -> bool {
    [
        "service",
        "admin_api",
        "supabase",
        "dashboard",
        "replication",
        "migrat",
        "backup",
    ]
    .iter()
    .any(|w| name.contains(w))
        && name != "authenticated"
}

/// Settings that policies, views and functions read, beyond the server's own.
fn identity_reads(catalog: &Catalog) -> Vec<SettingRead> {
    let mut texts: Vec<String> = Vec::new();
    for relation in &catalog.relations {
        texts.extend(
            relation
                .policies
                .iter()
                .flat_map(|p| [p.using.clone(), p.check.clone()])
                .flatten(),
        );
        texts.extend(relation.columns.iter().filter_map(|c| c.default.clone()));
        texts.extend(relation.checks.iter().map(|c| c.expression.clone()));
    }
    let mut reads: Vec<SettingRead> = texts.iter().flat_map(|t| expr::of_expression(t).settings).collect();
    reads.extend(
        catalog
            .relations
            .iter()
            .filter_map(|r| r.definition.as_deref())
            .flat_map(|d| expr::of_query(d).settings),
    );
    for function in &catalog.functions {
        let facts = if function.language == "sql" {
            expr::of_query(&function.body)
        } else {
            expr::of_plpgsql(&function.body)
        };
        reads.extend(facts.settings);
    }
    reads.retain(|r| r.name.contains('.') || r.name == "role" || r.name == "search_path");
    let mut unique: Vec<SettingRead> = Vec::new();
    for read in reads {
        if !unique.contains(&read) {
            unique.push(read);
        }
    }
    unique
}

fn policies_ask_for_role(catalog: &Catalog) -> bool {
    let asks = |text: &str| {
        let text = text.to_uppercase();
        text.contains("CURRENT_USER") || text.contains("SESSION_USER") || text.contains("CURRENT_ROLE")
    };
    catalog.relations.iter().any(|r| {
        r.policies
            .iter()
            .any(|p| p.using.as_deref().is_some_and(asks) || p.check.as_deref().is_some_and(asks))
            || r.definition.as_deref().is_some_and(asks)
    })
}

/// Values for the settings that are read: by their names, tenant, user or e-mail.
fn settings_of(reads: &[SettingRead], role: &str, guesses: &mut Vec<Guess>) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    let mut documents: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    for read in reads {
        if read.path.is_empty() {
            if read.name.starts_with("request.jwt.claim.") {
                let token = token_of(read.name.trim_start_matches("request.jwt.claim."), role);
                settings.insert(read.name.clone(), token);
            } else if read.name.contains('.')
                && !reads.iter().any(|r| r.name == read.name && !r.path.is_empty())
                && read.name != CLAIMS
                && !is_flag(&read.name)
            {
                settings.insert(read.name.clone(), token_of(&read.name, role));
            }
            continue;
        }
        let document = documents
            .entry(read.name.clone())
            .or_insert_with(|| serde_json::json!({}));
        let last = read.path.last().map_or("", String::as_str);
        if is_flag(last) {
            continue;
        }
        put(document, &read.path, serde_json::Value::String(token_of(last, role)));
    }
    for (name, mut document) in documents {
        if name == CLAIMS {
            put(
                &mut document,
                &["role".to_owned()],
                serde_json::Value::String(role.to_owned()),
            );
        }
        settings.insert(name, document.to_string());
    }
    for (name, value) in &settings {
        let guess = Guess {
            what: format!("setting {name} = {value}"),
            reason: "policies or functions read it; which key it holds is told by its name".to_owned(),
        };
        if !guesses.contains(&guess) {
            guesses.push(guess);
        }
    }
    settings
}

fn put(document: &mut serde_json::Value, path: &[String], value: serde_json::Value) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    if !document.is_object() {
        *document = serde_json::json!({});
    }
    let slot = &mut document[first.as_str()];
    if rest.is_empty() {
        if slot.is_null() {
            *slot = value;
        }
    } else {
        put(slot, rest, value);
    }
}

/// Which key a setting or claim of this name holds.
fn token_of(name: &str, role: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name).to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| last.contains(w));
    if last == "role" || last.ends_with("_role") {
        role.to_owned()
    } else if has(&["email"]) {
        "{email}".to_owned()
    } else if last == "sub" || last == "uid" || has(&["user", "person", "actor", "employee"]) {
        "{user}".to_owned()
    } else {
        "{tenant}".to_owned()
    }
}

/// A setting that switches something on rather than says who asks: it stays unset for a tenant's request.
fn is_flag(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name).to_lowercase();
    [
        "is_",
        "bypass",
        "admin",
        "superuser",
        "enabled",
        "disable",
        "skip",
        "debug",
        "exp",
        "aal",
        "amr",
    ]
    .iter()
    .any(|w| last.starts_with(w) || last.contains(&format!("_{w}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_which_key_a_setting_holds() {
        for (name, token) in [
            ("app.tenant_id", "{tenant}"),
            ("app.current_user_id", "{user}"),
            ("sub", "{user}"),
            ("org_id", "{tenant}"),
            ("email", "{email}"),
        ] {
            assert_eq!(token_of(name, "r"), token);
        }
    }

    #[test]
    fn claims_are_put_together_from_their_paths() {
        let read = |path: &[&str]| SettingRead {
            name: CLAIMS.to_owned(),
            path: path.iter().map(|p| (*p).to_owned()).collect(),
            cast: None,
        };
        let settings = settings_of(
            &[read(&["sub"]), read(&["app_metadata", "tenant_id"])],
            "authenticated",
            &mut Vec::new(),
        );
        let json: serde_json::Value = serde_json::from_str(&settings[CLAIMS]).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"sub": "{user}", "app_metadata": {"tenant_id": "{tenant}"}, "role": "authenticated"})
        );
    }
}
