//! The roles that requests run as: from grants, memberships and the policies that name them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Certainty, Guess, is_anonymous};
use crate::model::catalog::{Policy, PolicyMode};
use crate::model::{Catalog, Relation, Role};
use crate::sql::expr::{Library, OperandKind};

/// What the catalog says of one role.
#[derive(Debug, Default)]
struct Standing {
    /// Relations it was granted something on.
    relations: usize,
    /// Relations that it was granted something on and does not own.
    foreign: usize,
    /// Tables that it owns.
    owned: usize,
    /// Policies that name it and ask who the session is.
    asking: usize,
    /// Policies that name it and do not ask.
    open: usize,
    /// Policies that show it all rows of a table where others are asked.
    wide: usize,
    /// Functions granted to it by name.
    functions: usize,
    /// SECURITY DEFINER functions that it owns.
    definers: usize,
    /// Policies with an arm that opens all rows to it.
    privileged: usize,
    /// Roles that are members of it.
    members: usize,
}

impl Standing {
    fn is_named(&self) -> bool {
        self.relations + self.asking + self.open + self.functions > 0
    }
}

/// Roles that requests run as, the best endowed first.
pub(super) fn request_roles(
    catalog: &Catalog,
    library: &Library<'_>,
    roles_before: &BTreeSet<String>,
    guesses: &mut Vec<Guess>,
) -> Vec<String> {
    let standings = standings(catalog, library);
    let none = Standing::default();
    let of = |role: &Role| standings.get(role.name.as_str()).unwrap_or(&none);
    let gateways = gateways(catalog, &standings);
    let mut roles: Vec<&Role> = catalog
        .roles
        .iter()
        .filter(|r| !r.is_server_superuser && of(r).is_named() && !gateways.contains(r.name.as_str()))
        .collect();
    // A role that only inherits what others were granted asks as well.
    let inherits = |r: &&Role| {
        r.inherit
            && !r.is_server_superuser
            && !roles_before.contains(&r.name)
            && !gateways.contains(r.name.as_str())
            && r.member_of
                .iter()
                .any(|g| g.starts_with("pg_") || standings.get(g.as_str()).is_some_and(|s| s.is_named() || s.owned > 0))
    };
    let heirs: Vec<&Role> = catalog
        .roles
        .iter()
        .filter(|r| inherits(r) && !roles.iter().any(|known| known.name == r.name))
        .collect();
    roles.extend(heirs);
    let reachable: BTreeSet<&str> = gateways
        .iter()
        .filter_map(|g| catalog.role(g))
        .flat_map(|g| g.member_of.iter().map(String::as_str))
        .collect();
    let somebody_asks = |roles: &[&Role]| roles.iter().any(|r| of(r).asking > 0);
    // Each of these is taken off only where somebody is left to ask: a request has to run as some role.
    type Test<'t> = Box<dyn Fn(&Role, bool) -> bool + 't>;
    let server_side: Vec<(&str, Test<'_>)> = vec![
        (
            "is exempt from row security",
            Box::new(|r, _| r.superuser || r.bypasses_row_security),
        ),
        (
            "owns the tables",
            Box::new(|r, _| of(r).owned > 0 && (of(r).foreign == 0 || of(r).foreign < of(r).owned)),
        ),
        (
            "owns SECURITY DEFINER functions and cannot log in",
            Box::new(|r, _| of(r).definers > 0 && !r.login && of(r).members == 0 && of(r).relations == 0),
        ),
        (
            "may see all rows by the policies that name it",
            Box::new(|r, others_ask| {
                let s = of(r);
                others_ask && s.open > 0 && s.asking == 0 && !is_anonymous(&r.name)
            }),
        ),
        (
            "is named by a policy that opens all rows to it",
            Box::new(|r, _| of(r).privileged > 0),
        ),
        (
            "is granted to no role that logs in, where others are",
            Box::new(|r, _| !reachable.is_empty() && !reachable.contains(r.name.as_str()) && !r.login),
        ),
        (
            "may only call functions, and no policy names it",
            Box::new(|r, others_ask| {
                let s = of(r);
                others_ask && s.relations + s.asking + s.open == 0 && s.functions > 0 && !is_anonymous(&r.name)
            }),
        ),
        (
            "has the name of a server-side role, and sees more than what policies ask of others",
            Box::new(|r, _| (of(r).asking == 0 || of(r).wide > 0) && is_server_name(&r.name)),
        ),
    ];
    for (reason, test) in &server_side {
        let others_ask = somebody_asks(&roles);
        let (out, kept): (Vec<&Role>, Vec<&Role>) = roles.iter().partition(|r| test(r, others_ask));
        if kept.is_empty() || (others_ask && !somebody_asks(&kept)) {
            continue;
        }
        for role in out {
            guesses.push(Guess {
                what: format!("role {} is no tenant's", role.name),
                reason: format!("it {reason}"),
                certainty: Certainty::Likely,
                subject: None,
            });
        }
        roles = kept;
    }
    if roles.is_empty() {
        roles = visitors(catalog, roles_before, &gateways, &standings);
    }
    roles.sort_by_key(|r| (std::cmp::Reverse((of(r).relations, of(r).asking)), r.name.clone()));
    for role in &roles {
        guesses.push(explain(role, of(role), reachable.contains(role.name.as_str())));
    }
    roles.into_iter().map(|r| r.name.clone()).collect()
}

fn explain(role: &Role, standing: &Standing, is_reached: bool) -> Guess {
    let mut reasons = Vec::new();
    if standing.asking > 0 {
        reasons.push(format!(
            "{} policies that ask who the session is name it",
            standing.asking
        ));
    }
    if standing.relations > 0 {
        reasons.push(format!("it holds privileges on {} relations", standing.relations));
    }
    if is_reached {
        reasons.push("a role that logs in may become it".to_owned());
    }
    let certainty = match reasons.len() {
        0 => Certainty::Guess,
        1 => Certainty::Likely,
        _ => Certainty::Certain,
    };
    if reasons.is_empty() {
        reasons.push("it may use a schema, and no other role could be meant".to_owned());
    }
    Guess {
        what: format!("requests run as role {}", role.name),
        reason: reasons.join("; "),
        certainty,
        subject: Some(role.name.clone()),
    }
}

/// Where nothing was granted to a role by name: roles that may use a schema, and have what PUBLIC has.
fn visitors<'c>(
    catalog: &'c Catalog,
    roles_before: &BTreeSet<String>,
    gateways: &BTreeSet<&str>,
    standings: &BTreeMap<&str, Standing>,
) -> Vec<&'c Role> {
    let uses = |r: &Role| {
        catalog.schemas.iter().any(|s| {
            s.owner != r.name
                && s.grants
                    .iter()
                    .any(|g| g.grantee == r.name && !g.privileges.iter().any(|p| p.starts_with("CREATE")))
        })
    };
    let fits = |r: &&Role| {
        !r.superuser
            && !r.bypasses_row_security
            && !r.is_server_superuser
            && !gateways.contains(r.name.as_str())
            && standings.get(r.name.as_str()).is_none_or(|s| s.owned == 0)
            && !is_server_name(&r.name)
    };
    let by_schema: Vec<&Role> = catalog.roles.iter().filter(fits).filter(|r| uses(r)).collect();
    if !by_schema.is_empty() {
        return by_schema;
    }
    let is_open = catalog
        .relations
        .iter()
        .flat_map(|r| &r.grants)
        .chain(catalog.functions.iter().flat_map(|f| &f.grants))
        .any(|g| g.grantee == "PUBLIC");
    catalog
        .roles
        .iter()
        .filter(fits)
        .filter(|r| is_open && !roles_before.contains(&r.name))
        .take(2)
        .collect()
}

/// Roles that only log in, and become others: NOINHERIT members without privileges of their own.
fn gateways<'c>(catalog: &'c Catalog, standings: &BTreeMap<&str, Standing>) -> BTreeSet<&'c str> {
    let named = |name: &str| standings.get(name).is_some_and(Standing::is_named);
    catalog
        .roles
        .iter()
        .filter(|r| {
            let inherits = if r.memberships.is_empty() {
                r.inherit
            } else {
                r.memberships.iter().any(|m| m.inherits)
            };
            // Nobody is a user and a visitor at once: such a login takes the one role or the other.
            let takes_turns = r.login
                && r.member_of.iter().any(|g| is_anonymous(g))
                && r.member_of.iter().any(|g| !is_anonymous(g) && named(g));
            !r.superuser
                && !r.bypasses_row_security
                && (!inherits || takes_turns)
                && standings
                    .get(r.name.as_str())
                    .is_none_or(|s| s.relations == 0 && s.asking == 0)
                && r.member_of.iter().any(|g| named(g))
        })
        .map(|r| r.name.as_str())
        .collect()
}

fn standings<'c>(catalog: &'c Catalog, library: &Library<'_>) -> BTreeMap<&'c str, Standing> {
    let mut all: BTreeMap<&str, Standing> = BTreeMap::new();
    for relation in &catalog.relations {
        if relation.kind.holds_rows() {
            all.entry(&relation.owner).or_default().owned += 1;
        }
        for grant in &relation.grants {
            let standing = all.entry(&grant.grantee).or_default();
            standing.relations += 1;
            standing.foreign += usize::from(relation.owner != grant.grantee);
        }
        let is_asked = |policy: &Policy| {
            [policy.using.as_deref(), policy.check.as_deref()]
                .into_iter()
                .flatten()
                .any(|t| asks(library, t, relation))
        };
        let asked: Vec<&Policy> = relation.policies.iter().filter(|p| is_asked(p)).collect();
        for policy in &relation.policies {
            let texts: Vec<&str> = [policy.using.as_deref(), policy.check.as_deref()]
                .into_iter()
                .flatten()
                .collect();
            let asks = texts.iter().any(|t| asks(library, t, relation));
            let is_wide = policy.mode == PolicyMode::Permissive && policy.using.as_deref() == Some("true");
            for role in &policy.roles {
                let standing = all.entry(role).or_default();
                if asks {
                    standing.asking += 1;
                    standing.foreign += usize::from(relation.owner != *role);
                } else {
                    standing.open += 1;
                    let others_asked = asked.iter().any(|p| !p.roles.contains(role));
                    standing.wide += usize::from(is_wide && others_asked);
                }
            }
            for role in privileged(policy, &catalog.roles, library) {
                all.entry(role).or_default().privileged += 1;
            }
        }
    }
    for function in &catalog.functions {
        for grant in &function.grants {
            all.entry(&grant.grantee).or_default().functions += 1;
        }
        if function.is_definer {
            all.entry(&function.owner).or_default().definers += 1;
        }
    }
    for role in &catalog.roles {
        for group in &role.member_of {
            all.entry(group).or_default().members += 1;
        }
    }
    all.remove("PUBLIC");
    all
}

/// Whether a condition asks who the session is.
fn asks(library: &Library<'_>, text: &str, relation: &Relation) -> bool {
    let facts = library.of_expression(text, Some(relation));
    !facts.settings.is_empty() || !facts.relations.is_empty() || asks_for_role(text)
}

pub(super) fn asks_for_role(text: &str) -> bool {
    let text = text.to_uppercase();
    ["CURRENT_USER", "SESSION_USER", "CURRENT_ROLE"]
        .iter()
        .any(|w| text.contains(w))
}

/// Roles to which an arm of the policy opens rows without asking for anything else of the session.
fn privileged<'c>(policy: &Policy, roles: &'c [Role], library: &Library<'_>) -> Vec<&'c str> {
    let mut found = Vec::new();
    for text in [policy.using.as_deref(), policy.check.as_deref()].into_iter().flatten() {
        for arm in arms(text) {
            let asks_membership = arm.contains("pg_has_role") || asks_for_role(arm);
            if !asks_membership || arm.contains("NOT ") {
                continue;
            }
            let facts = library.of_expression(arm, None);
            let is_bound = !facts.settings.is_empty()
                || facts.comparisons.iter().any(|c| {
                    let sides = [c.left.kind(), c.right.kind()];
                    sides.iter().any(|s| matches!(s, OperandKind::CurrentUser))
                        && sides.iter().any(|s| matches!(s, OperandKind::Column(_)))
                });
            if !is_bound {
                found.extend(
                    roles
                        .iter()
                        .map(|r| r.name.as_str())
                        .filter(|r| arm.contains(&format!("'{r}'"))),
                );
            }
        }
    }
    found
}

/// Arms of an OR, as the server prints it.
fn arms(text: &str) -> Vec<&str> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'))
        && is_balanced(inner)
    {
        return arms(inner);
    }
    let mut depth = 0_i32;
    let mut start = 0;
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ' ' if depth == 0 && text[at..].starts_with(" OR ") => {
                found.push(&text[start..at]);
                start = at + 4;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    match found.as_slice() {
        [only] => vec![*only],
        several => several.iter().flat_map(|arm| arms(arm)).collect(),
    }
}

fn is_balanced(text: &str) -> bool {
    let mut depth = 0_i32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}

fn is_server_name(name: &str) -> bool {
    let name = name.to_lowercase();
    [
        "service",
        "supabase",
        "dashboard",
        "replicat",
        "migrat",
        "backup",
        "worker",
        "monitor",
        "support",
        "superadmin",
        "pgbouncer",
    ]
    .iter()
    .any(|w| name.contains(w))
}

#[cfg(test)]
mod tests {
    use super::arms;

    #[test]
    fn arms_of_an_or_are_told_apart() {
        assert_eq!(
            arms("((a = 1) OR (pg_has_role(CURRENT_USER, 'x'::name, 'MEMBER'::text) OR (b OR c)))"),
            [
                "a = 1",
                "pg_has_role(CURRENT_USER, 'x'::name, 'MEMBER'::text)",
                "b",
                "c"
            ]
        );
        assert_eq!(arms("(a) AND (b)"), ["(a) AND (b)"]);
    }
}
