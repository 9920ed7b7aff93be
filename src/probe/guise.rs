//! Other forms that a tenant's request can take without being another tenant's: a role it may take by SET ROLE, a claim of an
//! administrator, a setting that it may change, what its user wrote into the token. None may open another tenant's rows.

use std::collections::BTreeSet;

use serde_json::Value;

use super::binding::Binding;
use super::oracle::{self, Oracle};
use super::trial::Trial;
use crate::model::{Attacker, Catalog, ContextState};

/// A request of A in another form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guise {
    /// The request.
    pub binding: Binding,
    /// What it does to come to that, after "session ...".
    pub how: String,
    /// The property that a foreign row would break.
    pub oracle: &'static Oracle,
}

/// The forms to try.
pub fn guises(trial: &Trial<'_>) -> Vec<Guise> {
    let mut guises = claims(trial);
    guises.extend(metadata(trial));
    if trial.session.attacker != Attacker::Api {
        guises.extend(roles(trial));
    }
    guises
}

/// Roles that SET ROLE reaches.
fn roles(trial: &Trial<'_>) -> Vec<Guise> {
    let bound = trial.as_a(ContextState::Bound);
    reachable(trial.catalog, &bound.role)
        .into_iter()
        .map(|role| Guise {
            how: format!("takes role {role} by SET ROLE and"),
            binding: Binding {
                set_role: Some(role),
                ..bound.clone()
            },
            oracle: &oracle::IDENTITY_GAINED,
        })
        .collect()
}

/// Roles that a role may become by SET ROLE, to any depth.
pub fn reachable(catalog: &Catalog, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![from.to_owned()];
    while let Some(name) = waiting.pop() {
        let memberships = catalog.role(&name).into_iter().flat_map(|r| &r.memberships);
        for membership in memberships.filter(|m| m.may_set_role) {
            if catalog.role(&membership.role).is_some() && reached.insert(membership.role.clone()) {
                waiting.push(membership.role.clone());
            }
        }
    }
    reached
}

/// Constants that policies and functions compare settings with. A claim is a fact about the user, and there are users of every
/// kind in a tenant; a plain setting is the server's to make, but for who may change settings.
fn claims(trial: &Trial<'_>) -> Vec<Guise> {
    let bound = trial.as_a(ContextState::Bound);
    let may_set = trial.session.attacker == Attacker::Context;
    let mut guises = Vec::new();
    for (name, path, values) in trial.classes.claims() {
        let is_claim = !path.is_empty() || name.starts_with("request.jwt.claim.");
        let known = bound.settings.iter().find(|(n, _)| n == name);
        if !may_set && (!is_claim || known.is_none()) {
            continue;
        }
        let is_role = path.last().map_or(name, String::as_str) == "role" && path.len() < 2 && is_claim;
        let is_users_own = path.first().is_some_and(|key| USER_WRITTEN.contains(&key.as_str()));
        for value in values {
            if !may_set
                && !is_users_own
                && (means_the_operator(value) || is_role && trial.catalog.role(value).is_some())
            {
                continue;
            }
            let document = known.map(|(_, v)| without_issued(v, path).unwrap_or_else(|| v.clone()));
            let Some(changed) = with_value(document.as_deref(), path, value) else {
                continue;
            };
            let mut binding = bound.clone();
            binding.settings.retain(|(n, _)| n != name);
            binding.settings.push((name.to_owned(), changed));
            if binding.settings == bound.settings {
                continue;
            }
            let place = [&[name.to_owned()], path].concat().join(" -> ");
            guises.push(Guise {
                how: format!("with `{value}` in `{place}`"),
                binding,
                oracle: if is_claim && !is_users_own {
                    &oracle::FOREIGN_ROWS_READABLE
                } else {
                    &oracle::IDENTITY_GAINED
                },
            });
        }
    }
    guises
}

/// Values of those who run the platform rather than work for a tenant.
fn means_the_operator(value: &str) -> bool {
    let value = value.to_lowercase();
    [
        "service", "super", "system", "platform", "staff", "internal", "support", "root", "operator", "global", "aal",
    ]
    .iter()
    .any(|word| value.contains(word))
}

fn with_value(document: Option<&str>, path: &[String], value: &str) -> Option<String> {
    if path.is_empty() {
        return Some(value.to_owned());
    }
    let mut document: Value = match document {
        Some(text) => serde_json::from_str(text).ok()?,
        None => Value::Object(serde_json::Map::new()),
    };
    let mut slot = &mut document;
    for key in path {
        if !slot.is_object() {
            *slot = Value::Object(serde_json::Map::new());
        }
        slot = &mut slot[key.as_str()];
    }
    *slot = Value::from(value);
    Some(document.to_string())
}

/// Parts of a token that its user writes, and those that the server issues.
const USER_WRITTEN: [&str; 2] = ["user_metadata", "raw_user_meta_data"];
const ISSUED: [&str; 2] = ["app_metadata", "raw_app_meta_data"];

/// The token of a user to whom the server issued nothing at this place: what the user wrote there counts instead.
fn without_issued(document: &str, path: &[String]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let [key] = rest else { return None };
    if !USER_WRITTEN.contains(&first.as_str()) {
        return None;
    }
    let mut document: Value = serde_json::from_str(document).ok()?;
    for issued in ISSUED {
        if let Some(Value::Object(map)) = document.get_mut(issued) {
            map.remove(key);
        }
    }
    Some(document.to_string())
}

/// The part of a token that its user writes, filled in by B's keys.
fn metadata(trial: &Trial<'_>) -> Vec<Guise> {
    let bound = trial.as_a(ContextState::Bound);
    let theirs = trial.as_b();
    let mut guises = Vec::new();
    for (at, (name, mine)) in bound.settings.iter().enumerate() {
        let other = theirs.settings.get(at).map(|(_, v)| v.as_str()).unwrap_or_default();
        let (Ok(mine), Ok(other)) = (
            serde_json::from_str::<Value>(mine),
            serde_json::from_str::<Value>(other),
        ) else {
            continue;
        };
        for key in USER_WRITTEN {
            if other.get(key).is_none() || mine.get(key) == other.get(key) {
                continue;
            }
            let mut written = mine.clone();
            written[key] = other[key].clone();
            let mut forms = vec![written.to_string()];
            for path in other[key].as_object().into_iter().flat_map(serde_json::Map::keys) {
                let path = [key.to_owned(), path.clone()];
                forms.extend(without_issued(&forms[0], &path).filter(|form| *form != forms[0]));
            }
            for form in forms {
                let mut binding = bound.clone();
                binding.settings[at].1 = form;
                guises.push(Guise {
                    how: format!("whose user wrote another tenant's key into `{name}` -> `{key}`"),
                    binding,
                    oracle: &oracle::IDENTITY_GAINED,
                });
            }
        }
    }
    guises
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_goes_where_its_path_says() {
        let path = ["app_metadata".to_owned(), "role".to_owned()];
        let text = with_value(
            Some(r#"{"sub": "u", "app_metadata": {"tenant_id": "a"}}"#),
            &path,
            "admin",
        )
        .unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"sub": "u", "app_metadata": {"tenant_id": "a", "role": "admin"}})
        );
    }

    #[test]
    fn the_operators_own_values_are_told_from_a_tenants() {
        for (value, operator) in [
            ("admin", false),
            ("owner", false),
            ("service_role", true),
            ("super_admin", true),
        ] {
            assert_eq!(means_the_operator(value), operator, "{value}");
        }
    }
}
