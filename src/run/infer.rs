//! Who runs requests, and how they say who they are, where the target file leaves it open: roles from grants and policies,
//! settings and claims from what policies, views and functions compare columns with. Each guess comes with its reason.

mod identity;
mod roles;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{Attacker, Catalog, Session};
use crate::sql::expr::Library;
use identity::{Asked, CLAIMS, Meaning, Place, Shape};

/// How sure a guess is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Only a name speaks for it, or nothing speaks against it.
    Guess,
    /// One thing in the schema says so.
    Likely,
    /// Several things in the schema say so.
    Certain,
}

impl fmt::Display for Certainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guess => "guess",
            Self::Likely => "likely",
            Self::Certain => "certain",
        })
    }
}

/// A guess and why it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// What was guessed.
    pub what: String,
    /// Why.
    pub reason: String,
    /// How sure it is.
    pub certainty: Certainty,
    /// What it is about: the role of a session, or the name of a setting.
    pub subject: Option<String>,
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.certainty, self.what, self.reason)
    }
}

/// A setting that nothing reads: it stands for what the application knows and the database does not ask for.
const UNASKED: &str = "tenantproof.unasked";

/// Sessions that the catalog suggests, and the reasons.
pub fn sessions(catalog: &Catalog, roles_before: &BTreeSet<String>) -> (Vec<Session>, Vec<Guess>) {
    let library = Library::new(catalog);
    let mut guesses = Vec::new();
    let roles = roles::request_roles(catalog, &library, roles_before, &mut guesses);
    let asked = identity::asked(catalog, &library, &roles);
    let says_tenant = asked.places.iter().any(|p| p.meaning != Meaning::Role);
    if !says_tenant && !asked.role_columns.is_empty() {
        return (by_role(catalog, &roles, &asked, &mut guesses), guesses);
    }
    let (plain, documents) = channels(&asked.places);
    let mut sessions = Vec::new();
    // Where all that run requests are visitors by name, they are users as well.
    let has_users = roles.iter().any(|role| !is_anonymous(role));
    for role in &roles {
        if has_users && is_anonymous(role) {
            let mut settings = BTreeMap::new();
            if asked.places.iter().any(|p| p.name == CLAIMS) {
                settings.insert(CLAIMS.to_owned(), serde_json::json!({ "role": role }).to_string());
            }
            sessions.push(session(role, role, settings));
            continue;
        }
        sessions.push(session(role, role, settings_of(&plain, role)));
        if !documents.is_empty() {
            sessions.push(session(&format!("{role}-claims"), role, settings_of(&documents, role)));
        }
    }
    for session in sessions
        .iter_mut()
        .filter(|s| !(is_anonymous(&s.role) || s.settings.is_empty() || s.is_behind_an_api()))
    {
        session.attacker = Attacker::Sql;
    }
    guesses.extend(plain.iter().chain(&documents).map(|p| explain(p)));
    if !documents.is_empty() {
        guesses.push(Guess {
            what: "two ways to say who asks".to_owned(),
            reason: "the same columns are compared with plain settings and with claims: each has sessions of its own"
                .to_owned(),
            certainty: Certainty::Likely,
            subject: None,
        });
    }
    (sessions, guesses)
}

fn session(name: &str, role: &str, settings: BTreeMap<String, String>) -> Session {
    Session {
        name: name.to_owned(),
        role: role.to_owned(),
        attacker: Attacker::Api,
        settings,
        setup: Vec::new(),
    }
}

/// Policies ask for the role itself: each tenant has one, or all share one.
fn by_role(catalog: &Catalog, roles: &[String], asked: &Asked, guesses: &mut Vec<Guess>) -> Vec<Session> {
    let columns: Vec<&str> = asked.role_columns.iter().map(String::as_str).take(3).collect();
    let compared = format!(
        "{} is compared with current_user, and no setting is read",
        columns.join(", ")
    );
    if roles.len() > 1 {
        guesses.push(Guess {
            what: "a role a tenant".to_owned(),
            reason: format!("{compared}; {} roles hold privileges", roles.len()),
            certainty: Certainty::Likely,
            subject: Some("{tenant}".to_owned()),
        });
        // Roles that log in by themselves send what statements they like; others are taken on by a server.
        let log_in = roles.iter().all(|r| catalog.role(r).is_some_and(|r| r.login));
        let mut tenant = session("tenant", "{tenant}", BTreeMap::new());
        if log_in {
            tenant.attacker = Attacker::Sql;
        }
        return vec![tenant];
    }
    let makes_roles = catalog.functions.iter().any(|f| {
        let body = f.body.to_lowercase();
        body.contains("create role") || body.contains("create user")
    });
    roles
        .iter()
        .map(|role| {
            let mut settings = BTreeMap::new();
            let has_members = catalog.roles.iter().any(|r| r.member_of.contains(role));
            if !makes_roles && !has_members {
                guesses.push(Guess {
                    what: format!("all tenants share role {role}"),
                    reason: format!("{compared}; no other role holds privileges, and nothing makes roles"),
                    certainty: Certainty::Guess,
                    subject: Some(UNASKED.to_owned()),
                });
                settings.insert(UNASKED.to_owned(), "{tenant}".to_owned());
            }
            session(role, role, settings)
        })
        .collect()
}

/// Places that one request says together; and, where plain settings and claims are read for the same columns, the claims.
fn channels(places: &[Place]) -> (Vec<&Place>, Vec<&Place>) {
    let (documents, plain): (Vec<&Place>, Vec<&Place>) = places.iter().partition(|p| !p.path.is_empty());
    let keys = |all: &[&Place]| -> BTreeSet<(Meaning, BTreeSet<String>)> {
        all.iter()
            .filter(|p| !p.columns.is_empty())
            .map(|p| (p.meaning, p.columns.clone()))
            .collect()
    };
    let (of_plain, of_documents) = (keys(&plain), keys(&documents));
    if !of_plain.is_empty() && of_plain == of_documents {
        (plain, documents)
    } else {
        (places.iter().collect(), Vec::new())
    }
}

/// Values for the places that are read.
fn settings_of(places: &[&Place], role: &str) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    let mut documents: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    for place in places {
        let token = token_of(place.meaning, role);
        if place.path.is_empty() {
            let value = match place.shape {
                Shape::Plain => token,
                Shape::Array => format!("{{{token}}}"),
                Shape::JsonArray => serde_json::json!([token]).to_string(),
            };
            settings.insert(place.name.clone(), value);
            continue;
        }
        let document = documents
            .entry(place.name.clone())
            .or_insert_with(|| serde_json::json!({}));
        let value = match place.shape {
            Shape::Plain => serde_json::Value::String(token),
            Shape::Array => serde_json::Value::String(format!("{{{token}}}")),
            Shape::JsonArray => serde_json::json!([token]),
        };
        put(document, &place.path, value);
    }
    for (name, mut document) in documents {
        if name == CLAIMS {
            let role = serde_json::Value::String(role.to_owned());
            put(&mut document, &["role".to_owned()], role);
        }
        settings.insert(name, document.to_string());
    }
    settings
}

fn token_of(meaning: Meaning, role: &str) -> String {
    match meaning {
        Meaning::Tenant => "{tenant}",
        Meaning::User => "{user}",
        Meaning::Email => "{email}",
        Meaning::Role | Meaning::Switch => role,
    }
    .to_owned()
}

fn explain(place: &Place) -> Guess {
    let mut place_name = place.name.clone();
    for key in &place.path {
        place_name += &format!(" -> {key}");
    }
    let held = match place.meaning {
        Meaning::Tenant => "the tenant",
        Meaning::User => "the user",
        Meaning::Email => "the user's e-mail address",
        Meaning::Role | Meaning::Switch => "the role",
    };
    let reader = place.readers.iter().next().map_or("a function", String::as_str);
    let reason = if place.columns.is_empty() {
        format!("read in {reader}; which key it holds is told by its name")
    } else {
        let some: Vec<&str> = place.columns.iter().map(String::as_str).take(3).collect();
        let more = if place.columns.len() > 3 { ", ..." } else { "" };
        format!("compared with {}{more}", some.join(", "))
    };
    let certainty = match (place.columns.is_empty(), place.is_told_by_columns, place.is_asked) {
        (false, true, true) => Certainty::Certain,
        (false, ..) => Certainty::Likely,
        (true, ..) => Certainty::Guess,
    };
    Guess {
        what: format!("{place_name} holds {held}"),
        reason,
        certainty,
        subject: Some(place.name.clone()),
    }
}

/// Whether a role is for requests that are nobody's.
fn is_anonymous(role: &str) -> bool {
    role.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .any(|w| matches!(w, "anon" | "anonymous" | "guest" | "visitor" | "unauthenticated"))
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

#[cfg(test)]
mod tests;
