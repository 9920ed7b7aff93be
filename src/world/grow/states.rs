//! States that rows are grown in: what policies, views, checks and functions tell apart, and relationships that have ended.

use super::{Growth, Universe, Values, Variant, Wish};
use crate::model::{Catalog, Column, Relation};
use crate::world::classes::{Class, Classes};
use crate::world::keys::Keys;
use crate::world::values::condition::parse;
use crate::world::values::limits::Limit;

/// Most rows in distinguished states per table.
const MAX_STATES: usize = 12;
/// Most partitions that get a row of their own.
const MAX_PARTITIONS: usize = 24;

impl<'g> Growth<'g, '_> {
    /// Rows of this table in states that something distinguishes, and in each of its partitions.
    pub(super) fn states(&mut self, table: &'g Relation) -> Vec<Wish> {
        let Some(base) = self.universe.base(table.oid).map(|r| r.values.clone()) else {
            return Vec::new();
        };
        let mut states: Vec<(String, Option<String>)> = Vec::new();
        for column in table.columns.iter().filter(|c| c.is_insertable()) {
            for value in self.distinguished(table, column) {
                let same = |v: &Option<String>| {
                    *v == value
                        || (column.category == "B"
                            && v.as_deref().map(|v| &v[..1]) == value.as_deref().map(|v| &v[..1]))
                };
                if base.get(&column.name).is_some_and(same) {
                    continue;
                }
                let state = (column.name.clone(), value);
                if !states.contains(&state) {
                    states.push(state);
                }
            }
        }
        states.truncate(MAX_STATES);
        let mut wishes: Vec<Wish> = states
            .into_iter()
            .map(|(column, value)| {
                let fixed = Values::from([(column.clone(), value.clone())]);
                Wish::with(Variant::State { column, value }, fixed)
            })
            .collect();
        wishes.extend(self.of_partitions(table));
        wishes
    }

    /// A row for each partition but the one that the base row is in.
    fn of_partitions(&self, table: &Relation) -> Vec<Wish> {
        let leaves = self.leaves(table.oid);
        let Some(key) = table.partition_key.as_deref().filter(|_| leaves.len() > 1) else {
            return Vec::new();
        };
        let Some(column) = table.columns.iter().find(|c| key.contains(c.name.as_str())) else {
            return Vec::new();
        };
        let wish = |partition: u32| Wish {
            partition: Some(partition),
            ..Wish::of(Variant::State {
                column: column.name.clone(),
                value: None,
            })
        };
        // A key that is the tenant's decides itself where a row goes.
        if key.starts_with("LIST") && self.grower.classes.class(table.oid, &column.name).is_some() {
            return Vec::new();
        }
        leaves.into_iter().take(MAX_PARTITIONS).map(wish).collect()
    }

    /// Rows that would fit into each partition: what a request that names the partition could insert.
    pub(super) fn partition_candidates(&self, table: &Relation) -> Vec<Wish> {
        let candidate = |wish: Wish| Wish {
            variant: Variant::Candidate,
            ..wish
        };
        self.of_partitions(table).into_iter().map(candidate).collect()
    }

    /// Values of a column that a policy, view, check or function tells apart.
    fn distinguished(&self, table: &Relation, column: &Column) -> Vec<Option<String>> {
        let classes = self.grower.classes;
        let keys = &self.universe.keys;
        let is_common = self.grower.common.is_none();
        let mut wanted: Vec<Option<String>> = Vec::new();
        match classes.class(table.oid, &column.name) {
            Some((Class::Tenant, form)) => {
                if is_common {
                    wanted.extend(classes.literals(table.oid, &column.name).iter().cloned().map(Some));
                } else if !column.not_null {
                    wanted.push(None);
                }
                wanted.extend(form.others(&keys.tenant, column).into_iter().map(Some));
            }
            Some((Class::User | Class::Email, _)) => {
                if !column.not_null && !is_common {
                    wanted.push(None);
                }
            }
            None => {
                // A place in JSON may hold anything: also what no cast takes.
                for (path, _) in classes.json_places(table.oid, &column.name).take(2) {
                    let [key] = path else { continue };
                    wanted.push(Some(
                        serde_json::json!({ key: format!("{}-text", keys.canary) }).to_string(),
                    ));
                    wanted.push(Some("{}".to_owned()));
                }
                if column.category == "B" {
                    wanted.extend([Some("true".to_owned()), Some("false".to_owned())]);
                }
                wanted.extend(column.labels.iter().take(5).cloned().map(Some));
                wanted.extend(
                    classes
                        .literals(table.oid, &column.name)
                        .iter()
                        .take(6)
                        .cloned()
                        .map(Some),
                );
                // What columns that refer to this one are compared with: a lookup table has to have it.
                if self.unowned.contains(&table.oid) {
                    let referring = self.referring.get(&(table.oid, column.name.clone()));
                    for (oid, name) in referring.into_iter().flatten() {
                        wanted.extend(classes.literals(*oid, name).iter().take(6).cloned().map(Some));
                    }
                }
                if classes.is_null_tested(table.oid, &column.name) {
                    if !column.not_null {
                        wanted.push(None);
                    }
                    let n = self.universe.counter + 500;
                    let types = &self.grower.catalog.types;
                    wanted.extend(crate::world::values::generate_among(types, column, keys, n).map(Some));
                }
                if classes.is_compared_with_now(table.oid, &column.name) && column.category == "D" {
                    wanted.extend([
                        Some("2001-01-01 00:00:00+00".to_owned()),
                        Some("2999-01-01 00:00:00+00".to_owned()),
                    ]);
                }
            }
        }
        wanted
    }
}

/// Rows that name the other tenant, or its user, in a relationship that has ended or has not begun: revoked memberships,
/// expired shares, open requests. The column that says so, and the values.
pub(super) fn closed_relationships(
    catalog: &Catalog,
    classes: &Classes,
    table: &Relation,
    rival: &Keys,
) -> Vec<(String, Values)> {
    let of_class = |class: Class| classes.columns_of(table, class);
    let tenants = of_class(Class::Tenant);
    let mut named: Vec<Values> = Vec::new();
    // Where the user has to be a member first, the row would make one of it, and that one is in force.
    let users = of_class(Class::User);
    let wants_member = table.foreign_keys.iter().any(|k| {
        k.columns.iter().any(|c| users.contains(c))
            && catalog.relation(k.references).is_some_and(|parent| {
                let names_tenant = !classes.columns_of(parent, Class::Tenant).is_empty();
                parent.oid != table.oid && names_tenant && classes.is_membership(parent)
            })
    });
    if wants_member {
        return Vec::new();
    }
    if classes.is_membership(table) {
        named.push(users.into_iter().map(|c| (c, Some(rival.user.clone()))).collect());
    }
    if tenants.len() > 1 {
        named.extend(
            tenants
                .into_iter()
                .skip(1)
                .map(|c| Values::from([(c, Some(rival.tenant.clone()))])),
        );
    }
    let mut rows = Vec::new();
    for (column, value) in closings(classes, table) {
        for values in &named {
            let mut fixed = values.clone();
            fixed.insert(column.clone(), Some(value.clone()));
            rows.push((column.clone(), fixed));
        }
    }
    rows
}

/// The names that a row of the other tenant has within its tenant: what is found by such a name alone is found in both.
pub(super) fn namesake(classes: &Classes, table: &Relation, other: &Universe) -> Option<Values> {
    let theirs = other.base(table.oid)?;
    let is_name = |c: &String| {
        classes.class(table.oid, c).is_none()
            && table
                .column(c)
                .is_some_and(|c| c.is_insertable() && !c.is_serial() && c.base_type != "uuid" && c.labels.is_empty())
    };
    let within = |k: &&crate::model::UniqueKey| {
        !k.is_exclusion
            && !k.has_expressions
            && k.columns.iter().any(|c| {
                classes
                    .class(table.oid, c)
                    .is_some_and(|(class, _)| class == Class::Tenant)
            })
            && k.columns.iter().any(is_name)
            && k.columns
                .iter()
                .all(|c| is_name(c) || classes.class(table.oid, c).is_some())
    };
    let key = table.keys.iter().find(within)?;
    let names = key.columns.iter().filter(|c| is_name(c));
    let fixed: Values = names
        .filter_map(|c| Some((c.clone(), Some(theirs.values.get(c)?.clone()?))))
        .collect();
    // What names the other tenant or its user says something to them: no mere namesake.
    let keys = [&other.keys.tenant, &other.keys.user, &other.keys.email];
    // So does an address, which is one person's whoever writes it down.
    let names_somebody = |v: &String| v.contains('@') || keys.iter().any(|k| v.eq_ignore_ascii_case(k));
    if fixed.values().flatten().any(names_somebody) {
        return None;
    }
    (!fixed.is_empty()).then_some(fixed)
}

/// Whether a column says, by name, when or that a row came to its end.
pub(super) fn says_ended(column: &str) -> bool {
    [
        "revoked",
        "deleted",
        "removed",
        "ended",
        "left",
        "cancel",
        "expire",
        "valid_until",
        "valid_to",
        "ends_",
        "archived",
    ]
    .iter()
    .any(|word| column.contains(word))
}

/// Values of columns that say, by name, that a relationship is over or has not begun.
pub fn closings(classes: &Classes, table: &Relation) -> Vec<(String, String)> {
    const CLOSED: [&str; 16] = [
        "revoked",
        "pending",
        "requested",
        "invited",
        "inactive",
        "suspended",
        "removed",
        "banned",
        "declined",
        "expired",
        "rejected",
        "deleted",
        "disabled",
        "closed",
        "cancelled",
        "left",
    ];
    let mut found = Vec::new();
    let checks: Vec<_> = table.checks.iter().map(|c| parse(&c.expression)).collect();
    let limits = Limit::of_conditions(&checks);
    for column in table.columns.iter().filter(|c| c.is_insertable()) {
        let says_ended = says_ended(&column.name);
        let listed = limits.get(&column.name).map_or(&[][..], Limit::options);
        match column.category.as_str() {
            "D" if says_ended => found.push((column.name.clone(), "2001-01-01 00:00:00+00".to_owned())),
            "B" if says_ended => found.push((column.name.clone(), "true".to_owned())),
            "B" if ["active", "is_active", "accepted", "approved", "confirmed"].contains(&column.name.as_str()) => {
                found.push((column.name.clone(), "false".to_owned()));
            }
            _ => {
                let known = column.labels.iter().chain(listed);
                for value in known.chain(classes.literals(table.oid, &column.name)) {
                    let closing = (column.name.clone(), value.clone());
                    if CLOSED.contains(&value.to_lowercase().as_str()) && !found.contains(&closing) {
                        found.push(closing);
                    }
                }
            }
        }
    }
    found
}
