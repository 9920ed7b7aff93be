//! What names say: words for tenants, users and addresses. They decide only together with what is compared with what.

use super::identity::Meaning;
use crate::model::{Catalog, Relation};

/// How strongly something speaks for each meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scores {
    tenant: u32,
    user: u32,
    email: u32,
}

impl Scores {
    pub(super) fn add(&mut self, other: &Self) {
        self.tenant += other.tenant;
        self.user += other.user;
        self.email += other.email;
    }

    pub(super) fn scale(&mut self, by: u32) {
        self.tenant *= by;
        self.user *= by;
        self.email *= by;
    }

    pub(super) fn add_word(&mut self, name: &str, weight: u32) {
        let mut own = of_name(name);
        own.scale(weight);
        self.add(&own);
    }

    /// The meaning that is spoken for most, if any is.
    pub(super) fn best(self) -> Option<Meaning> {
        let all = [
            (self.tenant, Meaning::Tenant),
            (self.user, Meaning::User),
            (self.email, Meaning::Email),
        ];
        let most = all.iter().map(|(n, _)| *n).max().filter(|n| *n > 0)?;
        all.into_iter().find(|(n, _)| *n == most).map(|(_, m)| m)
    }
}

/// Words for who shares with nobody else.
const TENANT: &[&str] = &[
    "tenant",
    "org",
    "organization",
    "organisation",
    "company",
    "workspace",
    "team",
    "customer",
    "client",
    "account",
    "shop",
    "store",
    "site",
    "clinic",
    "school",
    "practice",
    "project",
    "community",
    "partner",
    "business",
    "firm",
    "agency",
    "brand",
    "merchant",
    "realm",
    "municipality",
    "hospital",
    "club",
    "franchise",
    "dealer",
    "household",
    "association",
    "institution",
    "subscriber",
    "vendor",
    "supplier",
    "building",
    "hotel",
    "restaurant",
];

/// Words for a person.
const USER: &[&str] = &[
    "user",
    "uid",
    "sub",
    "person",
    "people",
    "profile",
    "employee",
    "actor",
    "author",
    "creator",
    "created",
    "assignee",
    "login",
    "principal",
    "viewer",
    "subject",
    "me",
    "member",
    "reviewer",
    "recipient",
    "sender",
    "uploader",
    "updated",
    "invited",
    "worker",
    "session",
];

/// What a name says.
pub(super) fn of_name(name: &str) -> Scores {
    let mut scores = Scores::default();
    for word in parts(name) {
        if word.starts_with("email") || word == "mail" {
            scores.email += 4;
        } else if TENANT.contains(&word.as_str()) {
            scores.tenant += 1;
        } else if USER.contains(&word.as_str()) {
            scores.user += 1;
        }
    }
    // `user_tenant_id`, `owner_org`: the last word that says anything is what it is.
    if scores.tenant > 0 && scores.user > 0 {
        let last = parts(name)
            .into_iter()
            .rev()
            .find(|w| TENANT.contains(&w.as_str()) || USER.contains(&w.as_str()));
        if last.is_some_and(|w| TENANT.contains(&w.as_str())) {
            scores.user = 0;
        } else {
            scores.tenant = 0;
        }
    }
    scores
}

/// What a column says: its name, the table that it refers to or is the key of.
pub(super) fn of_column(catalog: &Catalog, relation: &Relation, column: &str) -> Scores {
    let mut scores = of_name(column);
    let is_key = relation.primary_key().is_some_and(|k| k.columns == [column]);
    if is_key && scores.best().is_none() {
        scores.add_word(&relation.name.name, 3);
    }
    let referred = relation
        .foreign_keys
        .iter()
        .filter(|k| k.columns == [column])
        .filter_map(|k| catalog.relation(k.references));
    for table in referred {
        scores.add_word(&table.name.name, 3);
    }
    scores
}

/// A setting that switches something on rather than says who asks.
pub(super) fn is_switch(word: &str) -> bool {
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
        "mode",
        "level",
        "plan",
        "locale",
        "lang",
        "timezone",
        "operation",
        "method",
        "path",
        "reason",
        "request_id",
        "trace",
        "ip",
        "user_agent",
        "agent",
        "role",
    ]
    .iter()
    .any(|w| word.starts_with(w) || word.contains(&format!("_{w}")))
}

fn parts(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
        before = c;
    }
    spaced.split_whitespace().map(|w| singular(&w.to_lowercase())).collect()
}

fn singular(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y");
    }
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with(['s', 'u']) && stem.len() > 2 => stem.to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_key_it_is() {
        for (name, meaning) in [
            ("tenant_id", Some(Meaning::Tenant)),
            ("current_user_id", Some(Meaning::User)),
            ("organizationId", Some(Meaning::Tenant)),
            ("companies", Some(Meaning::Tenant)),
            ("sub", Some(Meaning::User)),
            ("user_email", Some(Meaning::Email)),
            ("owner_org_id", Some(Meaning::Tenant)),
            ("scope", None),
        ] {
            assert_eq!(of_name(name).best(), meaning, "{name}");
        }
    }
}
