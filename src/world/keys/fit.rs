//! Keys that a schema takes: where a domain, a CHECK or a length asks something of the columns that hold them.

use super::{KeyPair, Keys};
use crate::model::{Catalog, Column, Relation};
use crate::world::classes::{Class, Classes, Form};
use crate::world::values::condition::{Expr, parse};
use crate::world::values::limits::{Limit, Target};

/// What one column asks of a key.
struct Asked<'a> {
    column: &'a Column,
    limit: Limit,
}

/// Changes keys that the schema would refuse, and leaves out pairs that cannot be had; the first pair stays.
pub fn fit(catalog: &Catalog, classes: &Classes, pairs: &mut Vec<KeyPair>, common: &mut Keys) {
    for class in [Class::Tenant, Class::User, Class::Email] {
        let asked = asked_of(catalog, classes, class);
        if asked.is_empty() {
            continue;
        }
        let takes = |key: &str| asked.iter().all(|a| takes(a, key));
        let mut used: Vec<String> = Vec::new();
        let Some(first) = pairs.first_mut() else { return };
        for keys in [&mut first.a, &mut first.b, &mut *common] {
            let key = key_of(keys, class).clone();
            let mut options = variants(&key, keys);
            for one in &asked {
                let target = Target::of(one.column, &catalog.types);
                options.extend(one.limit.options().iter().cloned());
                options.extend((1..40).filter_map(|n| one.limit.value(&target, keys, n).flatten()));
            }
            if let Some(fitting) = options.into_iter().find(|k| takes(k) && !used.contains(k)) {
                used.push(fitting.clone());
                *key_of(keys, class) = fitting;
            }
        }
        let mut at = 0;
        pairs.retain_mut(|pair| {
            at += 1;
            if at == 1 {
                return true;
            }
            let upper = |key: &str| key.to_uppercase();
            let (a, b) = (key_of(&mut pair.a, class).clone(), key_of(&mut pair.b, class).clone());
            if takes(&a) && takes(&b) {
                return true;
            }
            let (a, b) = (upper(&a), upper(&b));
            let fits = takes(&a) && takes(&b) && a != b;
            if fits {
                *key_of(&mut pair.a, class) = a;
                *key_of(&mut pair.b, class) = b;
            }
            fits
        });
    }
}

fn key_of(keys: &mut Keys, class: Class) -> &mut String {
    match class {
        Class::Tenant => &mut keys.tenant,
        Class::User => &mut keys.user,
        Class::Email => &mut keys.email,
    }
}

/// Keys much like the one that there is, and with the universe's canary.
fn variants(key: &str, keys: &Keys) -> Vec<String> {
    let canary = &keys.canary;
    vec![
        key.to_owned(),
        key.to_uppercase(),
        canary.clone(),
        canary.to_uppercase(),
        format!("{canary}{key}"),
        format!("{key}-{canary}"),
        format!("{key}_{canary}"),
        format!("{key}.example.test"),
    ]
}

/// What columns that hold a key of a class ask of it, each demand once.
fn asked_of<'a>(catalog: &'a Catalog, classes: &Classes, class: Class) -> Vec<Asked<'a>> {
    let mut found: Vec<Asked<'a>> = Vec::new();
    for table in catalog.tables() {
        for column in &table.columns {
            if classes.class(table.oid, &column.name) != Some((class, Form::Whole)) || column.category == "A" {
                continue;
            }
            let limit = limit_of(catalog, table, column);
            let is_new = !found
                .iter()
                .any(|a| a.limit == limit && a.column.max_length == column.max_length);
            if is_new && (!limit.is_empty() || column.max_length.is_some()) {
                found.push(Asked { column, limit });
            }
        }
    }
    found
}

fn limit_of(catalog: &Catalog, table: &Relation, column: &Column) -> Limit {
    let own = table.checks.iter().filter(|c| c.columns == [column.name.clone()]);
    let mut conditions: Vec<(Expr, &str)> = own.map(|c| (parse(&c.expression), column.name.as_str())).collect();
    let mut name = column.type_name.as_str();
    for _ in 0..8 {
        let Some(facts) = catalog.types.iter().find(|t| t.name == name && t.kind == "d") else {
            break;
        };
        conditions.extend(facts.checks.iter().map(|c| (parse(c), "value")));
        name = facts.base.as_deref().unwrap_or_default();
    }
    Limit::of_named(&conditions)
}

fn takes(asked: &Asked<'_>, key: &str) -> bool {
    let fits = |max: u32| key.chars().count() <= max as usize;
    asked.column.max_length.is_none_or(fits) && asked.limit.takes(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::keys::{KeyType, common, pairs};

    fn fitted(checks: &[&str]) -> (Vec<KeyPair>, Keys) {
        let mut pairs = pairs(KeyType::Text, KeyType::Uuid, &[]);
        let mut nobody = common(KeyType::Text, KeyType::Uuid);
        let checks: Vec<serde_json::Value> = checks
            .iter()
            .enumerate()
            .map(|(at, c)| serde_json::json!({"name": at.to_string(), "columns": ["code"], "expression": c}))
            .collect();
        let table = serde_json::json!({
            "oid": 1, "schema": "public", "name": "company", "kind": "r", "owner": "o", "row_security": "disabled",
            "columns": [{"name": "code", "type_name": "text", "base_type": "text", "category": "S", "labels": [], "domain_checks": [],
                "element_type": null, "not_null": true, "default": null, "generated": "no", "identity": "no", "max_length": null}],
            "keys": [{"name": "k", "is_primary": true, "is_exclusion": false, "columns": ["code"], "has_expressions": false,
                "is_partial": false, "definition": ""}],
            "foreign_keys": [], "checks": checks, "policies": [], "options": [], "grants": [], "definition": null, "parents": [],
            "is_partition": false, "partition_bound": null, "partition_key": null, "reads": [], "triggers": []
        });
        let catalog = Catalog {
            relations: vec![serde_json::from_value(table).expect("a table")],
            ..Catalog::default()
        };
        let tenancy = crate::model::Tenancy {
            root: Some("company".to_owned()),
            ..Default::default()
        };
        let classes = Classes::infer(&catalog, &[], &tenancy);
        fit(&catalog, &classes, &mut pairs, &mut nobody);
        (pairs, nobody)
    }

    #[test]
    fn keys_are_what_the_schema_takes() {
        let (pairs, nobody) = fitted(&["(code ~ '^[A-Z][A-Z0-9]{3,7}$'::text)"]);
        assert_eq!(
            (pairs[0].a.tenant.as_str(), pairs[0].b.tenant.as_str()),
            ("ACME", "BRAVO")
        );
        assert_eq!(nobody.tenant, "CWM0");
        assert!(pairs.iter().all(|p| p.a.tenant.len() >= 4), "{pairs:?}");
        let (pairs, nobody) = fitted(&["(code = ANY (ARRAY['eu'::text, 'us'::text, 'xx'::text]))"]);
        assert_eq!(
            (
                pairs[0].a.tenant.as_str(),
                pairs[0].b.tenant.as_str(),
                nobody.tenant.as_str()
            ),
            ("eu", "us", "xx")
        );
        assert_eq!(pairs.len(), 1);
    }

    #[test]
    fn keys_of_which_nothing_is_asked_stay() {
        let (pairs, _) = fitted(&[]);
        assert_eq!(pairs, super::super::pairs(KeyType::Text, KeyType::Uuid, &[]));
    }
}
