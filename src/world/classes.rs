//! What columns mean: which carry the tenant, the user or the e-mail address, which are compared with one another, which
//! values are distinguished. Read from the target, foreign keys and the text of policies, views, checks and functions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::keys::Keys;
use crate::model::{Catalog, Column, Relation, Session, Tenancy};
use crate::sql::expr::{self, ColumnRef, Comparison, Facts, Operand, SettingRead};

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
    preferred: BTreeMap<ColumnKey, String>,
    null_tested: BTreeSet<ColumnKey>,
    null_preferred: BTreeSet<ColumnKey>,
    with_now: BTreeSet<ColumnKey>,
    roots: BTreeSet<u32>,
    shared: BTreeSet<u32>,
    authorities: BTreeSet<u32>,
}

impl Classes {
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

    /// Whether the table has one row a tenant.
    pub fn is_root(&self, relation: u32) -> bool {
        self.roots.contains(&relation)
    }

    /// Whether its rows belong to no tenant.
    pub fn is_shared(&self, relation: u32) -> bool {
        self.shared.contains(&relation)
    }

    /// Declares tables as shared.
    pub fn set_shared(&mut self, shared: BTreeSet<u32>) {
        self.shared = shared;
    }

    /// Base type of the columns of a class: the commonest.
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
        counts.into_iter().max_by_key(|(_, n)| *n).map(|(t, _)| t.to_owned())
    }

    /// Whether any column carries the tenant or user.
    pub fn any(&self) -> bool {
        !self.classes.is_empty()
    }

    /// Whether a policy or function reads the relation: its rows may decide what others show.
    pub fn is_authority(&self, relation: u32) -> bool {
        self.authorities.contains(&relation)
    }

    /// Reads them from a catalog, the sessions and what the user said.
    pub fn infer(catalog: &Catalog, sessions: &[Session], tenancy: &Tenancy) -> Self {
        Inference::new(catalog, sessions, tenancy).run()
    }
}

struct Inference<'a> {
    catalog: &'a Catalog,
    tenancy: &'a Tenancy,
    sources: Vec<(Source, Class)>,
    /// Class of what a function returns, by name: it reads an identity source, itself or through others.
    helpers: HashMap<String, Class>,
    role_class: Option<Class>,
    found: Classes,
    equal: UnionFind,
}

impl<'a> Inference<'a> {
    fn new(catalog: &'a Catalog, sessions: &[Session], tenancy: &'a Tenancy) -> Self {
        Self {
            catalog,
            tenancy,
            sources: session_sources(sessions),
            helpers: HashMap::new(),
            role_class: sessions.iter().find_map(|s| Class::of_token(&s.role)),
            found: Classes::default(),
            equal: UnionFind::default(),
        }
    }

    fn run(mut self) -> Classes {
        self.helpers = self.find_helpers();
        self.read_declared();
        self.read_foreign_keys();
        let catalog = self.catalog;
        for relation in &catalog.relations {
            for policy in &relation.policies {
                for text in [policy.using.as_deref(), policy.check.as_deref()].into_iter().flatten() {
                    self.read(&expr::of_expression(text), Some(relation));
                }
            }
            for check in &relation.checks {
                self.read_check(&expr::of_expression(&check.expression), relation);
            }
            if let Some(definition) = &relation.definition {
                self.read(&expr::of_query(definition), None);
            }
        }
        for function in &catalog.functions {
            let facts = if function.language == "sql" {
                expr::of_query(&function.body)
            } else {
                expr::of_plpgsql(&function.body)
            };
            self.read(&facts, None);
        }
        self.spread_classes();
        self.spread_names();
        self.spread_classes();
        self.inherit();
        self.number_groups();
        self.find_roots();
        self.found
    }

    /// Functions that return an identity, to any depth.
    fn find_helpers(&self) -> HashMap<String, Class> {
        let mut helpers: HashMap<String, Class> = HashMap::new();
        let texts: Vec<(&str, Facts)> = self
            .catalog
            .functions
            .iter()
            .filter(|f| !f.is_trigger())
            .map(|f| {
                let facts = if f.language == "sql" {
                    expr::of_query(&f.body)
                } else {
                    expr::of_plpgsql(&f.body)
                };
                (f.name.name.as_str(), facts)
            })
            .collect();
        loop {
            let before = helpers.len();
            for (name, facts) in &texts {
                if helpers.contains_key(*name) {
                    continue;
                }
                let direct = facts.settings.iter().find_map(|s| self.class_of_setting(s));
                let through = || facts.calls.iter().find_map(|c| helpers.get(&c.name).copied());
                // A function that compares columns with identity returns something else than identity.
                let compares = facts.comparisons.iter().any(|c| {
                    [&c.left, &c.right]
                        .into_iter()
                        .any(|o| matches!(o.kind(), expr::OperandKind::Column(_)))
                });
                if !compares && let Some(class) = direct.or_else(through) {
                    helpers.insert((*name).to_owned(), class);
                }
            }
            if helpers.len() == before {
                return helpers;
            }
        }
    }

    fn class_of_setting(&self, read: &SettingRead) -> Option<Class> {
        self.sources
            .iter()
            .filter(|((name, path), _)| {
                *name == read.name && (*path == read.path || path.is_empty() || read.path.is_empty() && path.len() == 1)
            })
            .max_by_key(|((_, path), _)| usize::from(*path == read.path))
            .map(|(_, class)| *class)
    }

    fn read_declared(&mut self) {
        for relation in self.catalog.tables() {
            for column in &relation.columns {
                if self.tenancy.columns.contains(&column.name) {
                    self.classify((relation.oid, column.name.clone()), Class::Tenant, Form::Whole);
                }
            }
            for (declared, class) in [(&self.tenancy.root, Class::Tenant), (&self.tenancy.users, Class::User)] {
                if declared.as_deref().is_some_and(|name| is_named(relation, name))
                    && let Some([key]) = relation.primary_key().map(|k| k.columns.as_slice())
                {
                    self.classify((relation.oid, key.clone()), class, Form::Whole);
                }
            }
        }
    }

    fn read_foreign_keys(&mut self) {
        for relation in self.catalog.tables() {
            for key in &relation.foreign_keys {
                for (here, there) in key.columns.iter().zip(&key.referenced_columns) {
                    self.equal
                        .join((relation.oid, here.clone()), (key.references, there.clone()));
                }
            }
        }
    }

    /// Comparisons of a policy (`relation` given), view or function.
    fn read(&mut self, facts: &Facts, relation: Option<&Relation>) {
        for comparison in &facts.comparisons {
            self.read_comparison(comparison, relation);
        }
        let read = facts
            .relations
            .iter()
            .filter_map(|name| self.catalog.find_relation(name.schema.as_deref(), &name.name))
            .map(|r| r.oid);
        self.found.authorities.extend(read);
    }

    fn read_check(&mut self, facts: &Facts, relation: &Relation) {
        for comparison in &facts.comparisons {
            if let (Some(column), Some(values)) = (
                self.column_of(&comparison.left, Some(relation)),
                literals_of(&comparison.right),
            ) && is_equality(&comparison.op)
            {
                self.add_literals(column, values);
            }
        }
    }

    fn read_comparison(&mut self, comparison: &Comparison, relation: Option<&Relation>) {
        let sides = [
            (&comparison.left, &comparison.right),
            (&comparison.right, &comparison.left),
        ];
        for (side, other) in sides {
            let Some(column) = self.column_of(side, relation) else {
                continue;
            };
            if comparison.op.starts_with("IS") && !comparison.op.contains("DISTINCT") {
                self.found.null_tested.insert(column.clone());
                if comparison.op == "IS NULL" && comparison.positive {
                    self.found.null_preferred.insert(column);
                }
                continue;
            }
            if let Some(class) = self.class_of_operand(other) {
                let plain = is_equality(&comparison.op) && !is_partial(side);
                self.classify(column, class, if plain { Form::Whole } else { Form::Embedded });
            } else if let Some(values) = literals_of(other) {
                if is_equality(&comparison.op)
                    && comparison.positive
                    && let Some(first) = values.first()
                {
                    self.found
                        .preferred
                        .entry(column.clone())
                        .or_insert_with(|| first.clone());
                }
                self.add_literals(column, values);
            } else if is_clock(other) {
                self.found.with_now.insert(column);
            } else if let Some(other) = self.column_of(other, relation)
                && is_equality(&comparison.op)
                && other != column
            {
                self.equal.join(column, other);
            }
        }
    }

    fn add_literals(&mut self, column: ColumnKey, values: Vec<String>) {
        let known = self.found.literals.entry(column).or_default();
        for value in values {
            if !known.contains(&value) {
                known.push(value);
            }
        }
    }

    fn class_of_operand(&self, operand: &Operand) -> Option<Class> {
        match operand.kind() {
            expr::OperandKind::Setting(read) => self.class_of_setting(read),
            expr::OperandKind::Call(call) => self.helpers.get(&call.name).copied(),
            expr::OperandKind::CurrentUser => self.role_class,
            _ => None,
        }
    }

    fn column_of(&self, operand: &Operand, relation: Option<&Relation>) -> Option<ColumnKey> {
        let expr::OperandKind::Column(column) = operand.kind() else {
            return None;
        };
        self.resolve(column, relation)
    }

    fn resolve(&self, column: &ColumnRef, relation: Option<&Relation>) -> Option<ColumnKey> {
        let named = column
            .relation
            .as_ref()
            .or(column.qualifier.as_ref())
            .and_then(|name| {
                let (schema, name) = match name.rsplit_once('.') {
                    Some((schema, name)) => (Some(schema), name),
                    None => (None, name.as_str()),
                };
                self.catalog.find_relation(schema, name)
            })
            .or(relation.filter(|r| r.column(&column.name).is_some()))?;
        named.column(&column.name).map(|c| (named.oid, c.name.clone()))
    }

    fn classify(&mut self, column: ColumnKey, class: Class, form: Form) {
        let entry = self.found.classes.entry(column).or_insert((class, form));
        if entry.0 == class && form == Form::Whole {
            entry.1 = Form::Whole;
        }
    }

    /// A column that is compared for equality with a column of a class is of that class.
    fn spread_classes(&mut self) {
        let mut by_group: HashMap<usize, Class> = HashMap::new();
        for (column, (class, form)) in &self.found.classes {
            if *form == Form::Whole {
                let group = self.equal.find(column.clone());
                let entry = by_group.entry(group).or_insert(*class);
                // Where a group has both, the tenant decides: it is the boundary.
                if *class == Class::Tenant {
                    *entry = Class::Tenant;
                }
            }
        }
        for column in self.equal.members() {
            let group = self.equal.find(column.clone());
            if let Some(class) = by_group.get(&group) {
                self.found.classes.entry(column).or_insert((*class, Form::Whole));
            }
        }
    }

    /// A column of the same name and type as one that is known to carry the tenant carries it, too.
    fn spread_names(&mut self) {
        let mut names: BTreeMap<(String, String), Class> = BTreeMap::new();
        for ((oid, name), (class, form)) in &self.found.classes {
            if *form == Form::Whole
                && name != "id"
                && let Some(column) = self.catalog.relation(*oid).and_then(|r| r.column(name))
            {
                names.entry((name.clone(), column.base_type.clone())).or_insert(*class);
            }
        }
        for relation in self.catalog.tables() {
            for column in &relation.columns {
                if let Some(class) = names.get(&(column.name.clone(), column.base_type.clone())) {
                    self.found
                        .classes
                        .entry((relation.oid, column.name.clone()))
                        .or_insert((*class, Form::Whole));
                }
            }
        }
    }

    /// Partitions and children have the columns of their parents.
    fn inherit(&mut self) {
        for _ in 0..4 {
            for relation in self.catalog.tables() {
                for parent in &relation.parents {
                    for column in &relation.columns {
                        if let Some(found) = self.found.class(*parent, &column.name) {
                            self.found
                                .classes
                                .entry((relation.oid, column.name.clone()))
                                .or_insert(found);
                        }
                    }
                }
            }
        }
    }

    fn number_groups(&mut self) {
        let foreign: HashSet<ColumnKey> = self
            .catalog
            .tables()
            .flat_map(|r| {
                r.foreign_keys
                    .iter()
                    .flat_map(|k| k.columns.iter().map(|c| (r.oid, c.clone())))
            })
            .collect();
        let mut sizes: HashMap<usize, usize> = HashMap::new();
        let members = self.equal.members();
        for column in &members {
            if !foreign.contains(column) {
                *sizes.entry(self.equal.find(column.clone())).or_default() += 1;
            }
        }
        for column in members {
            let group = self.equal.find(column.clone());
            let type_fits = |c: &Column| c.category != "B" && c.labels.is_empty();
            let fits = self
                .catalog
                .relation(column.0)
                .and_then(|r| r.column(&column.1))
                .is_some_and(type_fits);
            if sizes.get(&group).is_some_and(|n| *n > 1)
                && fits
                && !foreign.contains(&column)
                && !self.found.classes.contains_key(&column)
            {
                self.found.groups.insert(column, group);
            }
        }
    }

    fn find_roots(&mut self) {
        for relation in self.catalog.tables() {
            let declared = self
                .tenancy
                .root
                .as_deref()
                .is_some_and(|name| is_named(relation, name));
            let keyed = relation.primary_key().is_some_and(|k| {
                matches!(k.columns.as_slice(), [only] if self.found.class(relation.oid, only) == Some((Class::Tenant, Form::Whole)))
            });
            if declared || (keyed && self.tenancy.root.is_none()) {
                self.found.roots.insert(relation.oid);
            }
        }
    }
}

/// Whether a name from the target file means this relation; `public` may be left out.
pub fn is_named(relation: &Relation, name: &str) -> bool {
    relation.name.to_string() == name || (relation.name.schema == "public" && relation.name.name == name)
}

fn is_equality(op: &str) -> bool {
    matches!(op, "=" | "IN" | "= ANY" | "IS NOT DISTINCT FROM")
}

/// Whether only a part of the column is compared.
fn is_partial(operand: &Operand) -> bool {
    operand
        .wrapped_in()
        .iter()
        .any(|w| !matches!(w.as_str(), "coalesce" | "nullif" | "cast" | "lower" | "upper"))
}

fn is_clock(operand: &Operand) -> bool {
    match operand.kind() {
        expr::OperandKind::Call(call) => matches!(
            call.name.as_str(),
            "now" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp"
        ),
        expr::OperandKind::Other(text) => {
            let text = text.to_uppercase();
            text.contains("CURRENT_TIMESTAMP")
                || text.contains("CURRENT_DATE")
                || text.contains("NOW()")
                || text.contains("LOCALTIMESTAMP")
        }
        _ => false,
    }
}

fn literals_of(operand: &Operand) -> Option<Vec<String>> {
    match operand.kind() {
        expr::OperandKind::Literal(value) => Some(vec![value.clone()]),
        expr::OperandKind::Literals(values) => Some(values.clone()),
        _ => None,
    }
}

/// Which setting, or place in a JSON setting, holds which key.
fn session_sources(sessions: &[Session]) -> Vec<(Source, Class)> {
    let mut sources = Vec::new();
    for (name, template) in sessions.iter().flat_map(|s| &s.settings) {
        match serde_json::from_str::<serde_json::Value>(template) {
            Ok(json @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
                json_sources(name, &json, &mut Vec::new(), &mut sources)
            }
            _ => {
                if let Some(class) = Class::of_token(template) {
                    sources.push(((name.clone(), Vec::new()), class));
                }
            }
        }
    }
    sources
}

fn json_sources(name: &str, json: &serde_json::Value, path: &mut Vec<String>, sources: &mut Vec<(Source, Class)>) {
    match json {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                path.push(key.clone());
                json_sources(name, value, path, sources);
                path.pop();
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| json_sources(name, item, path, sources)),
        serde_json::Value::String(text) => {
            if let Some(class) = Class::of_token(text) {
                sources.push(((name.to_owned(), path.clone()), class));
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

#[derive(Debug, Default)]
struct UnionFind {
    index: BTreeMap<ColumnKey, usize>,
    parent: Vec<usize>,
}

impl UnionFind {
    fn slot(&mut self, column: ColumnKey) -> usize {
        let next = self.parent.len();
        let slot = *self.index.entry(column).or_insert(next);
        if slot == next {
            self.parent.push(next);
        }
        slot
    }

    fn root(&self, mut slot: usize) -> usize {
        while self.parent[slot] != slot {
            slot = self.parent[slot];
        }
        slot
    }

    fn find(&mut self, column: ColumnKey) -> usize {
        let slot = self.slot(column);
        self.root(slot)
    }

    fn join(&mut self, a: ColumnKey, b: ColumnKey) {
        let (a, b) = (self.slot(a), self.slot(b));
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a] = b;
    }

    fn members(&self) -> Vec<ColumnKey> {
        self.index.keys().cloned().collect()
    }
}
