//! The page of roles: those that the schema's objects name, those that can become one of them, and those that any of these
//! can become. Other roles of the server, and its own superuser, are no part of the schema.

use std::collections::BTreeSet;

use crate::model::{Catalog, Role};
use crate::sql::quote;

use super::page::{Names, Page, setting, sorted};

/// The page.
pub fn text(catalog: &Catalog, names: &Names) -> String {
    let mut page = Page::new();
    for name in concerned(catalog, names) {
        let Some(role) = catalog.role(&name) else { continue };
        page.section(&format!("role {}", quote::ident(&role.name)));
        page.line(1, &format!("attributes: {}", attributes(role)));
        page.lines(
            1,
            sorted(role.memberships.iter().map(|m| {
                let mut effects = Vec::new();
                if m.inherits {
                    effects.push("has its privileges");
                }
                if m.may_set_role {
                    effects.push("may SET ROLE");
                }
                if m.is_admin {
                    effects.push("may grant it");
                }
                let effects = if effects.is_empty() {
                    "without effect".to_owned()
                } else {
                    effects.join(", ")
                };
                format!("member of {}: {effects}", names.role(&m.role))
            })),
        );
        let own = catalog
            .default_settings
            .iter()
            .filter(|s| s.role.as_ref() == Some(&role.name));
        page.lines(1, sorted(own.flat_map(|s| &s.settings).map(|s| setting(s))));
    }
    page.finish()
}

fn attributes(role: &Role) -> String {
    let words = [
        (role.superuser, "SUPERUSER"),
        (role.bypasses_row_security, "BYPASSRLS"),
        (role.replication, "REPLICATION"),
        (role.create_role, "CREATEROLE"),
        (role.create_database, "CREATEDB"),
        (role.login, "LOGIN"),
        (!role.login, "NOLOGIN"),
        (!role.inherit, "NOINHERIT"),
    ];
    let held: Vec<&str> = words
        .into_iter()
        .filter_map(|(holds, word)| holds.then_some(word))
        .collect();
    held.join(", ")
}

/// Roles that the schema names, all members of those, and all that these are members of in turn.
fn concerned(catalog: &Catalog, names: &Names) -> BTreeSet<String> {
    let mut roles = named(catalog);
    let is_ours = |name: &String| catalog.role(name).is_some() && !names.is_server_superuser(name);
    roles.retain(is_ours);
    grow(&mut roles, |name| {
        let members = catalog.roles.iter().filter(|r| r.member_of.iter().any(|m| m == name));
        members.map(|r| r.name.clone()).filter(is_ours).collect()
    });
    grow(&mut roles, |name| {
        let groups = catalog.role(name).map(|r| r.member_of.clone()).unwrap_or_default();
        groups.into_iter().filter(is_ours).collect()
    });
    roles
}

/// Adds what the roles lead to until there is nothing new.
fn grow(roles: &mut BTreeSet<String>, next: impl Fn(&str) -> Vec<String>) {
    let mut fresh: Vec<String> = roles.iter().cloned().collect();
    while let Some(role) = fresh.pop() {
        for name in next(&role) {
            if roles.insert(name.clone()) {
                fresh.push(name);
            }
        }
    }
}

/// Owners, grantees, the roles of policies and of default privileges.
fn named(catalog: &Catalog) -> BTreeSet<String> {
    let relations = catalog.relations.iter();
    let owners = relations
        .clone()
        .map(|r| &r.owner)
        .chain(catalog.functions.iter().map(|f| &f.owner))
        .chain(catalog.schemas.iter().map(|s| &s.owner))
        .chain(catalog.publications.iter().map(|p| &p.owner))
        .chain(catalog.default_privileges.iter().map(|d| &d.role));
    let grants = relations
        .clone()
        .map(|r| &r.grants)
        .chain(catalog.functions.iter().map(|f| &f.grants))
        .chain(catalog.schemas.iter().map(|s| &s.grants))
        .chain(catalog.default_privileges.iter().map(|d| &d.grants));
    owners
        .chain(grants.flatten().map(|g| &g.grantee))
        .chain(relations.flat_map(|r| &r.policies).flat_map(|p| &p.roles))
        .cloned()
        .collect()
}
