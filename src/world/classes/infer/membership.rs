//! A tenant that no setting names: it is reached through memberships and profiles of the user.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Class, ColumnKey, Form};
use super::{Inference, is_plain_word};
use crate::model::Relation;

impl Inference<'_> {
    /// Where only the user is known: the tenant is what tables relate the user to, and what most other tables refer to.
    pub(super) fn adopt_memberships(&mut self) {
        if self.found.classes.values().any(|(class, _)| *class == Class::Tenant) {
            return;
        }
        self.part_accounts();
        if self.found.classes.values().any(|(class, _)| *class == Class::Tenant) {
            return;
        }
        let related = self.related_columns();
        if related.is_empty() || !self.adopt_group(&related) {
            self.adopt_names(&related);
        }
        if !self.found.classes.values().any(|(class, _)| *class == Class::Tenant) {
            self.adopt_plain_names();
        }
    }

    /// Accounts that are a person's own or a team's have keys that are compared with the user's. Where a table relates users to
    /// them in its key, `(user_id, account_id)`, the account is the tenant, whatever else it may be equal to.
    fn part_accounts(&mut self) {
        let is_user = |found: &super::super::Classes, table: &Relation, column: &String| {
            found
                .class(table.oid, column)
                .is_some_and(|(class, _)| class == Class::User)
        };
        let mut accounts: Option<(u32, String, String)> = None;
        for table in self.catalog.tables() {
            for key in table.keys.iter().filter(|k| k.columns.len() == 2) {
                if !key.columns.iter().all(|c| is_user(&self.found, table, c)) {
                    continue;
                }
                let target = |column: &String| {
                    let mut keys = table.foreign_keys.iter();
                    keys.find(|k| k.columns.len() == 1 && k.columns[0] == *column)
                        .map(|k| (k.references, k.referenced_columns[0].clone()))
                };
                let (Some(first), Some(second)) = (target(&key.columns[0]), target(&key.columns[1])) else {
                    continue;
                };
                let says_user =
                    |name: &String| name.contains("user") || name.contains("member") || name.contains("profile");
                let tenant = match (says_user(&key.columns[0]), says_user(&key.columns[1])) {
                    (true, false) => Some((second.clone(), key.columns[1].clone())),
                    (false, true) => Some((first.clone(), key.columns[0].clone())),
                    _ => None,
                };
                if let Some(((oid, column), name)) = tenant.filter(|_| first.0 != second.0) {
                    accounts.get_or_insert((oid, column, name));
                }
            }
        }
        let Some((root, key, name)) = accounts else { return };
        for table in self.catalog.tables() {
            for column in &table.columns {
                let refers = |k: &crate::model::ForeignKey| {
                    k.references == root && k.columns.len() == 1 && k.columns[0] == column.name
                };
                let is_bound = table.foreign_keys.iter().any(|k| k.columns.contains(&column.name));
                let is_root_key = table.oid == root && column.name == key;
                if is_root_key || table.foreign_keys.iter().any(refers) || (column.name == name && !is_bound) {
                    self.found
                        .classes
                        .insert((table.oid, column.name.clone()), (Class::Tenant, Form::Whole));
                }
            }
        }
    }

    /// Where nothing at all speaks of the tenant: columns that are called so.
    fn adopt_plain_names(&mut self) {
        for table in self.catalog.tables() {
            for column in &table.columns {
                let name = stem(&column.name);
                let is_tenant = ["tenant", "org", "organization", "organisation", "company", "workspace"]
                    .iter()
                    .any(|w| name == *w || name.ends_with(&format!("_{w}")));
                let fits = matches!(
                    column.base_type.as_str(),
                    "uuid" | "text" | "integer" | "bigint" | "citext"
                ) || column.base_type.starts_with("character varying");
                let key = (table.oid, column.name.clone());
                // A column that is compared with the role, or with a constant, holds that.
                let is_settled = self.found.classes.contains_key(&key) || self.found.preferred.contains_key(&key);
                if is_tenant && fits && !is_settled {
                    self.classify(key, Class::Tenant, Form::Whole);
                }
            }
        }
    }

    /// Columns of tables that say to whom a user belongs: they are in a key with the user, or in the user's own row.
    fn related_columns(&self) -> Vec<ColumnKey> {
        let mut related = Vec::new();
        for table in self.catalog.tables() {
            let users = self.found.columns_of(table, Class::User);
            if users.is_empty() {
                continue;
            }
            let own_row = table
                .keys
                .iter()
                .any(|k| !k.columns.is_empty() && k.columns.iter().all(|c| users.contains(c)));
            let in_key_with_user = |name: &String| {
                table
                    .keys
                    .iter()
                    .any(|k| k.columns.contains(name) && k.columns.iter().any(|c| users.contains(c)))
            };
            // A key of its own beside the two: `id PRIMARY KEY, user_id, org_id`.
            let refers = |name: &String| {
                users.len() == 1
                    && (table.foreign_keys.iter().any(|k| k.columns.contains(name)) || name.ends_with("_id"))
                    && self.found.authorities.contains(&table.oid)
            };
            for column in table.columns.iter().filter(|c| {
                !is_plain_word(&c.name) && !users.contains(&c.name) && c.category != "B" && c.category != "D"
            }) {
                if own_row || in_key_with_user(&column.name) || refers(&column.name) {
                    related.push((table.oid, column.name.clone()));
                }
            }
        }
        related
    }

    /// Of the groups of equal columns that hold a related one, the one that reaches most tables.
    fn adopt_group(&mut self, related: &[ColumnKey]) -> bool {
        let mut wanted: BTreeSet<usize> = BTreeSet::new();
        for column in related {
            wanted.insert(self.equal.find(column.clone()));
        }
        let mut groups: BTreeMap<usize, Vec<ColumnKey>> = BTreeMap::new();
        for column in self.equal.members() {
            let group = self.equal.find(column.clone());
            if wanted.contains(&group) {
                groups.entry(group).or_default().push(column);
            }
        }
        let is_users = |columns: &[ColumnKey]| columns.iter().any(|c| self.found.classes.contains_key(c));
        groups.retain(|_, columns| columns.len() > 1 && !is_users(columns));
        let reach = |columns: &[ColumnKey]| {
            let tables: BTreeSet<u32> = columns.iter().map(|(oid, _)| *oid).collect();
            let guarded = tables.iter().filter(|oid| self.found.guarded.contains(oid)).count();
            (guarded, tables.len())
        };
        let Some(best) = groups.into_values().max_by_key(|columns| reach(columns)) else {
            return false;
        };
        for column in best {
            self.classify(column, Class::Tenant, Form::Whole);
        }
        true
    }

    /// Without keys or comparisons that relate them: columns that other tables have under the same name and type.
    fn adopt_names(&mut self, related: &[ColumnKey]) {
        let mut stems: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (oid, name) in related {
            let Some(table) = self.catalog.relation(*oid) else {
                continue;
            };
            let Some(column) = table.column(name) else { continue };
            let key = (stem(name), column.base_type.clone());
            let elsewhere = self
                .catalog
                .tables()
                .filter(|t| t.oid != *oid && has_stem(t, &key))
                .count();
            if elsewhere > 0 {
                stems.insert(key, elsewhere);
            }
        }
        let Some((best, _)) = stems.into_iter().max_by_key(|(_, n)| *n) else {
            return;
        };
        for table in self.catalog.tables() {
            for column in &table.columns {
                if (stem(&column.name), column.base_type.clone()) == best {
                    self.classify((table.oid, column.name.clone()), Class::Tenant, Form::Whole);
                }
            }
        }
    }
}

fn has_stem(table: &Relation, key: &(String, String)) -> bool {
    table
        .columns
        .iter()
        .any(|c| stem(&c.name) == key.0 && c.base_type == key.1)
}

fn stem(name: &str) -> String {
    name.trim_end_matches("_id")
        .trim_end_matches("_key")
        .trim_end_matches("_slug")
        .to_owned()
}
