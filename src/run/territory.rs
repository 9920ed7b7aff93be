//! A schema for each tenant: the same tables in several schemas, and a search path that says who asks.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Catalog, Session};
use crate::probe::binding::has_identity;
use crate::world::values::literals;

/// Schemas that hold the same tables, and who is who.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Territories {
    /// All of them; empty where tenants do not have schemas of their own.
    pub schemas: BTreeSet<String>,
    /// The attacker's and the victim's.
    pub pair: Option<(String, String)>,
}

/// Finds schemas of tenants, where nothing else says who asks, and gives the sessions the search path as identity.
pub fn settle(catalog: &Catalog, sessions: &mut [Session]) -> Territories {
    if sessions.is_empty() || sessions.iter().any(has_identity) {
        return Territories::default();
    }
    let mut alike: BTreeMap<Vec<(&str, Vec<&str>)>, Vec<&str>> = BTreeMap::new();
    let schemas: BTreeSet<&str> = catalog.tables().map(|t| t.name.schema.as_str()).collect();
    for schema in schemas {
        let mut tables: Vec<(&str, Vec<&str>)> = catalog
            .tables()
            .filter(|t| t.name.schema == schema)
            .map(|t| {
                (
                    t.name.name.as_str(),
                    t.columns.iter().map(|c| c.name.as_str()).collect(),
                )
            })
            .collect();
        tables.sort();
        alike.entry(tables).or_default().push(schema);
    }
    let Some(group) = alike.into_values().filter(|g| g.len() > 1).max_by_key(Vec::len) else {
        return Territories::default();
    };
    // The schema that is called like the role is the role's own.
    let role = sessions[0].role.as_str();
    let likeness = |schema: &&str| common_suffix(schema, role);
    let own = group.iter().copied().max_by_key(likeness).unwrap_or(group[0]);
    let other = group.iter().copied().find(|s| *s != own).unwrap_or(own);
    for session in sessions {
        session.settings.insert("search_path".to_owned(), "{tenant}".to_owned());
    }
    Territories {
        pair: Some((own.to_owned(), other.to_owned())),
        schemas: group.into_iter().map(str::to_owned).collect(),
    }
}

/// Partitions that roles have to themselves, where each tenant has a role and nothing but grants keeps tenants apart: the
/// column that partitions are listed by, and which key is whose.
pub fn partitions_of_roles(catalog: &Catalog) -> Option<(String, BTreeMap<String, String>)> {
    for table in catalog.tables().filter(|t| t.policies.is_empty()) {
        let Some(column) = table
            .partition_key
            .as_deref()
            .and_then(|k| k.strip_prefix("LIST (")?.strip_suffix(')'))
        else {
            continue;
        };
        let mut keys = BTreeMap::new();
        for part in catalog
            .tables()
            .filter(|t| t.is_partition && t.parents.contains(&table.oid))
        {
            let bounds = part.partition_bound.as_deref().map(literals).unwrap_or_default();
            if let ([key], [grant]) = (bounds.as_slice(), part.grants.as_slice()) {
                keys.insert(grant.grantee.clone(), key.clone());
            }
        }
        if !keys.is_empty() {
            return Some((column.to_owned(), keys));
        }
    }
    None
}

fn common_suffix(a: &str, b: &str) -> usize {
    a.chars().rev().zip(b.chars().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_paired_with_the_schema_that_ends_alike() {
        assert!(common_suffix("t_a", "tenant_a") > common_suffix("t_b", "tenant_a"));
    }
}
