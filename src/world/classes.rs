//! What columns mean: which carry the tenant, the user or the e-mail address, which are compared with one another, which
//! values are distinguished. Read from the target, foreign keys and the text of policies, views, checks and functions.

mod infer;
mod paths;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use paths::PathShape;

use super::keys::{KeyType, Keys};
use super::reach::Reach;
use crate::model::{Catalog, Relation, Session, Tenancy};

/// Whose key a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The tenant.
    Tenant,
    /// The user.
    User,
    /// The user's e-mail address.
    Email,
}

impl Class {
    /// The key of a universe.
    pub fn key(self, keys: &Keys) -> &str {
        match self {
            Self::Tenant => &keys.tenant,
            Self::User => &keys.user,
            Self::Email => &keys.email,
        }
    }

    fn of_token(template: &str) -> Option<Self> {
        [
            ("{tenant}", Self::Tenant),
            ("{user}", Self::User),
            ("{email}", Self::Email),
        ]
        .into_iter()
        .find(|(token, _)| template.contains(token))
        .map(|(_, class)| class)
    }
}

/// How the key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The column is the key.
    Whole,
    /// The key is compared with a part of the column, or with a pattern.
    Embedded,
    /// The column is a number computed from the key: a range of ids a tenant.
    Scaled,
}

type ColumnKey = (u32, String);

/// Where identity comes from: a setting, or a place in a JSON setting.
type Source = (String, Vec<String>);

/// What is known of the columns of a catalog.
#[derive(Debug, Clone, Default)]
pub struct Classes {
    classes: BTreeMap<ColumnKey, (Class, Form)>,
    groups: HashMap<ColumnKey, usize>,
    literals: BTreeMap<ColumnKey, Vec<String>>,
    staff: BTreeMap<ColumnKey, Vec<String>>,
    preferred: BTreeMap<ColumnKey, String>,
    null_tested: BTreeSet<ColumnKey>,
    null_preferred: BTreeSet<ColumnKey>,
    with_now: BTreeSet<ColumnKey>,
    json: BTreeMap<ColumnKey, BTreeMap<Vec<String>, Option<Class>>>,
    casts: BTreeMap<Class, String>,
    guarded: BTreeSet<u32>,
    roots: BTreeSet<u32>,
    shared: BTreeSet<u32>,
    authorities: BTreeSet<u32>,
    claims: BTreeMap<Source, Vec<String>>,
    paths: BTreeMap<ColumnKey, Vec<PathShape>>,
    reach: Arc<Reach>,
}

impl Classes {
    /// What policies ask of a column that holds a path; nothing for any other.
    pub fn paths(&self, relation: u32, column: &str) -> &[PathShape] {
        self.paths
            .get(&(relation, column.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    /// Whose a row with a path is stands in a part of it: the column as a whole is nobody's key.
    fn find_paths(&mut self, catalog: &Catalog) {
        self.paths = paths::find(catalog, self);
        for place in self.paths.keys() {
            self.classes.remove(place);
        }
    }

    /// Whose key the column holds, and how.
    pub fn class(&self, relation: u32, column: &str) -> Option<(Class, Form)> {
        self.classes.get(&(relation, column.to_owned())).copied()
    }

    /// Columns of a relation that hold a key of this class.
    pub fn columns_of(&self, relation: &Relation, class: Class) -> Vec<String> {
        relation
            .columns
            .iter()
            .filter(|c| {
                self.class(relation.oid, &c.name)
                    .is_some_and(|(found, _)| found == class)
            })
            .map(|c| c.name.clone())
            .collect()
    }

    /// Columns with the same number are compared with one another and hold one value a universe.
    pub fn group(&self, relation: u32, column: &str) -> Option<usize> {
        self.groups.get(&(relation, column.to_owned())).copied()
    }

    /// Literals that the column is compared with.
    pub fn literals(&self, relation: u32, column: &str) -> &[String] {
        self.literals
            .get(&(relation, column.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    /// Literals that the column is compared with and that make somebody staff of the platform: no tenant's user is grown so.
    pub fn staff_literals(&self, relation: u32, column: &str) -> &[String] {
        self.staff
            .get(&(relation, column.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    /// The literal that opens access: the first one compared by equality.
    pub fn preferred_literal(&self, relation: u32, column: &str) -> Option<&str> {
        self.preferred.get(&(relation, column.to_owned())).map(String::as_str)
    }

    /// Whether something asks if it is NULL.
    pub fn is_null_tested(&self, relation: u32, column: &str) -> bool {
        self.null_tested.contains(&(relation, column.to_owned()))
    }

    /// Whether being NULL opens access.
    pub fn is_null_preferred(&self, relation: u32, column: &str) -> bool {
        self.null_preferred.contains(&(relation, column.to_owned()))
    }

    /// Whether it is compared with the clock.
    pub fn is_compared_with_now(&self, relation: u32, column: &str) -> bool {
        self.with_now.contains(&(relation, column.to_owned()))
    }

    /// Tables with a column of a tenant or user, or with a way to one by foreign keys or parents.
    pub fn owned(&self, catalog: &Catalog) -> BTreeSet<u32> {
        let is_classed = |t: &&Relation| t.columns.iter().any(|c| self.class(t.oid, &c.name).is_some());
        let mut owned: BTreeSet<u32> = catalog.tables().filter(is_classed).map(|t| t.oid).collect();
        loop {
            let leads = |t: &&Relation| {
                t.foreign_keys.iter().any(|k| owned.contains(&k.references))
                    || t.parents.iter().any(|p| owned.contains(p))
            };
            let rest = catalog.tables().filter(|t| !owned.contains(&t.oid));
            let more: Vec<u32> = rest.filter(leads).map(|t| t.oid).collect();
            if more.is_empty() {
                return owned;
            }
            owned.extend(more);
        }
    }

    /// Whether the table has one row a tenant.
    pub fn is_root(&self, relation: u32) -> bool {
        self.roots.contains(&relation)
    }

    /// Whether its rows belong to no tenant.
    pub fn is_shared(&self, relation: u32) -> bool {
        self.shared.contains(&relation)
    }

    /// Places in a JSON column that something reads, and whose key they are compared with.
    pub fn json_places(&self, relation: u32, column: &str) -> impl Iterator<Item = (&[String], Option<Class>)> {
        self.json
            .get(&(relation, column.to_owned()))
            .into_iter()
            .flatten()
            .map(|(path, class)| (path.as_slice(), *class))
    }

    /// Settings, or places in JSON settings, that say something else than who asks, and the constants they are compared with.
    pub fn claims(&self) -> impl Iterator<Item = (&str, &[String], &[String])> {
        self.claims
            .iter()
            .map(|((name, path), values)| (name.as_str(), path.as_slice(), values.as_slice()))
    }

    /// Whether a policy of the table asks who the session is: its rows are somebody's.
    pub fn is_guarded(&self, relation: u32) -> bool {
        self.guarded.contains(&relation)
    }

    /// Declares tables as shared.
    pub fn set_shared(&mut self, shared: BTreeSet<u32>) {
        self.shared = shared;
    }

    /// Base type of the columns of a class: the strictest, for its keys fit the others; then the commonest.
    pub fn key_type(&self, catalog: &Catalog, class: Class) -> Option<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for ((oid, name), (found, form)) in &self.classes {
            if *found == class
                && *form == Form::Whole
                && let Some(column) = catalog.relation(*oid).and_then(|r| r.column(name))
            {
                let base = column.element_type.as_deref().unwrap_or(&column.base_type);
                *counts.entry(base).or_default() += 1;
            }
        }
        counts.retain(|base, _| !base.starts_with("json"));
        let strictness = |base: &str| match KeyType::of(base) {
            KeyType::Uuid => 3,
            KeyType::Integer => 2,
            KeyType::Bigint => 1,
            KeyType::Text => 0,
        };
        let commonest = counts
            .into_iter()
            .max_by_key(|(base, n)| (strictness(base), *n))
            .map(|(t, _)| t.to_owned());
        // Where no column is compared, a cast of the setting tells its type.
        commonest.or_else(|| self.casts.get(&class).cloned())
    }

    /// Tenant keys that the schema itself lists: bounds of list partitions, labels of an enum. The flag says that there can
    /// be no others.
    pub fn given_keys(&self, catalog: &Catalog) -> (Vec<String>, bool) {
        let mut keys: Vec<String> = Vec::new();
        let mut only = false;
        for table in catalog.tables() {
            for name in self.columns_of(table, Class::Tenant) {
                let Some(column) = table.column(&name) else { continue };
                if column.labels.len() > 1 {
                    keys.extend(column.labels.iter().cloned());
                    only = true;
                }
                let is_list = table.partition_key.as_deref() == Some(&format!("LIST ({name})"));
                if is_list {
                    let partitions = catalog
                        .tables()
                        .filter(|t| t.is_partition && t.parents.contains(&table.oid));
                    let bounds: Vec<&str> = partitions.filter_map(|t| t.partition_bound.as_deref()).collect();
                    only |= !bounds.contains(&"DEFAULT");
                    keys.extend(bounds.iter().flat_map(|b| super::values::literals(b)));
                }
            }
        }
        let mut seen = BTreeSet::new();
        keys.retain(|k| seen.insert(k.clone()));
        (keys, only)
    }

    /// Whether the table says who belongs to which tenant: a user and a tenant are its key.
    pub fn is_membership(&self, table: &Relation) -> bool {
        let class = |c: &String| self.class(table.oid, c).map(|(class, _)| class);
        table.keys.iter().any(|k| {
            !k.columns.is_empty()
                && k.columns.iter().all(|c| class(c).is_some())
                && k.columns.iter().any(|c| class(c) == Some(Class::User))
        })
    }

    /// Whether any column carries the tenant or user.
    pub fn any(&self) -> bool {
        !self.classes.is_empty()
    }

    /// Whether a policy or function reads the relation: its rows may decide what others show.
    pub fn is_authority(&self, relation: u32) -> bool {
        self.authorities.contains(&relation)
    }

    /// What reads what.
    pub fn reach(&self) -> &Arc<Reach> {
        &self.reach
    }

    /// Reads them from a catalog, the sessions and what the user said.
    pub fn infer(catalog: &Catalog, sessions: &[Session], tenancy: &Tenancy) -> Self {
        infer::Inference::new(catalog, sessions, tenancy).run()
    }
}

/// Whether a name from the target file means this relation; `public` may be left out.
pub fn is_named(relation: &Relation, name: &str) -> bool {
    relation.name.to_string() == name || (relation.name.schema == "public" && relation.name.name == name)
}
