//! Reading what columns mean from the text of policies, views, checks and functions, from keys and from names.

mod claims;
mod groups;
mod membership;
mod sources;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::super::reach::Reach;
use groups::UnionFind;
use sources::session_sources;

use super::{Class, Classes, ColumnKey, Form, Source, is_named};
use crate::model::{Catalog, Column, Relation, Session, Tenancy};
use crate::sql::expr::{self, ColumnRef, Comparison, Facts, Library, Operand, SettingRead};

pub(super) struct Inference<'a> {
    catalog: &'a Catalog,
    tenancy: &'a Tenancy,
    sources: Vec<(Source, Class)>,
    library: Library<'a>,
    role_class: Option<Class>,
    /// The role of the first session, where it is the same for all tenants.
    role: Option<String>,
    /// Names of columns that could not be resolved and are compared with identity.
    unresolved: BTreeMap<String, Class>,
    /// Tables that a trigger function's NEW and OLD stand for, while its body is read.
    row_of: Vec<u32>,
    found: Classes,
    equal: UnionFind,
}

impl<'a> Inference<'a> {
    pub(super) fn new(catalog: &'a Catalog, sessions: &[Session], tenancy: &'a Tenancy) -> Self {
        Self {
            catalog,
            tenancy,
            sources: session_sources(sessions),
            library: Library::new(catalog),
            role_class: sessions.iter().find_map(|s| Class::of_token(&s.role)),
            role: sessions.first().map(|s| s.role.clone()).filter(|r| !r.contains('{')),
            unresolved: BTreeMap::new(),
            row_of: Vec::new(),
            found: Classes::default(),
            equal: UnionFind::default(),
        }
    }

    pub(super) fn run(mut self) -> Classes {
        self.read_declared();
        self.read_foreign_keys();
        let catalog = self.catalog;
        for relation in &catalog.relations {
            for policy in &relation.policies {
                for text in [policy.using.as_deref(), policy.check.as_deref()].into_iter().flatten() {
                    let facts = self.library.of_expression(text, Some(relation));
                    let asks = !facts.settings.is_empty()
                        || text.to_uppercase().contains("_USER")
                        || !facts.relations.is_empty();
                    // A condition that looks at no column tells no rows apart: it asks for a tenant, whichever it is.
                    let tells_apart = facts.comparisons.iter().any(|c| {
                        [&c.left, &c.right].into_iter().any(|side| {
                            self.column_of(side, Some(relation))
                                .is_some_and(|(oid, _)| oid == relation.oid)
                        })
                    });
                    if asks && (tells_apart || is_written_by_functions(catalog, relation)) {
                        self.found.guarded.insert(relation.oid);
                    }
                    self.read(&facts, Some(relation));
                }
            }
            for check in &relation.checks {
                self.read_check(&self.library.of_expression(&check.expression, Some(relation)), relation);
            }
            if let Some(definition) = &relation.definition {
                self.read(&self.library.of_query(definition), None);
            }
        }
        for function in &catalog.functions {
            let facts = self.library.of_function(function);
            self.row_of = triggered_tables(catalog, function);
            self.read(&facts, None);
            self.row_of.clear();
        }
        self.find_authorities();
        self.spread_classes();
        self.read_setting_names();
        self.adopt_memberships();
        self.spread_names();
        self.spread_classes();
        self.free_counterparties();
        self.inherit();
        self.number_groups();
        self.find_roots();
        self.found.find_paths(catalog);
        self.found.reach = Arc::new(Reach::of(catalog));
        self.found
    }

    fn class_of_setting(&self, read: &SettingRead) -> Option<Class> {
        self.sources
            .iter()
            .find(|((name, path), _)| *name == read.name && *path == read.path)
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
        self.read_claims(facts);
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
            if let expr::OperandKind::Column(place) = side.kind()
                && !place.path.is_empty()
            {
                // A place in a document: what it is compared with says whose key it holds, not the column.
                let class = self.class_of_operand(other);
                let places = self.found.json.entry(column).or_default();
                let known = places.entry(place.path.clone()).or_default();
                *known = known.or(class);
                continue;
            }
            if comparison.op.starts_with("IS") && !comparison.op.contains("DISTINCT") {
                self.found.null_tested.insert(column.clone());
                if comparison.op == "IS NULL" && comparison.positive {
                    self.found.null_preferred.insert(column);
                }
                continue;
            }
            if let Some(class) = self.class_of_operand(other) {
                if let expr::OperandKind::Setting(read) = other.kind()
                    && let Some(cast) = &read.cast
                {
                    self.found.casts.entry(class).or_insert_with(|| cast.clone());
                }
                let form = self.form_of(comparison, side, other, &column);
                self.classify(column, class, form);
            } else if let Some(mut values) = literals_of(other) {
                self.part_staff(&column, &mut values);
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
            } else if let (expr::OperandKind::CurrentUser, Some(role)) = (other.kind(), &self.role) {
                // All tenants share the role: the column can only hold its name.
                self.found
                    .preferred
                    .entry(column.clone())
                    .or_insert_with(|| role.clone());
            } else if is_clock(other) {
                self.found.with_now.insert(column);
            } else if !is_partial(side)
                && !is_partial(other)
                && let Some(other) = self.column_of(other, relation)
                && is_equality(&comparison.op)
                && other != column
            {
                self.equal.join(column, other);
            }
        }
    }

    /// How a column holds a key that it is compared with in this way.
    fn form_of(&self, comparison: &Comparison, side: &Operand, other: &Operand, column: &ColumnKey) -> Form {
        let is_text = self
            .catalog
            .relation(column.0)
            .and_then(|r| r.column(&column.1))
            .is_some_and(|c| c.category == "S" || matches!(c.base_type.as_str(), "citext" | "ltree"));
        let computed = |o: &Operand| o.wrapped_in().iter().any(|w| matches!(w.as_str(), "*" | "/" | "%"));
        if !is_text {
            return if computed(side) || computed(other) {
                Form::Scaled
            } else {
                Form::Whole
            };
        }
        if is_equality(&comparison.op) && !is_partial(side) {
            Form::Whole
        } else {
            Form::Embedded
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
            expr::OperandKind::CurrentUser => self.role_class,
            expr::OperandKind::Column(_)
            | expr::OperandKind::Call(_)
            | expr::OperandKind::Literal(_)
            | expr::OperandKind::Literals(_)
            | expr::OperandKind::Other(_) => None,
        }
    }

    fn column_of(&self, operand: &Operand, relation: Option<&Relation>) -> Option<ColumnKey> {
        let expr::OperandKind::Column(column) = operand.kind() else {
            return None;
        };
        self.resolve(column, relation)
    }

    fn resolve(&self, column: &ColumnRef, relation: Option<&Relation>) -> Option<ColumnKey> {
        if matches!(column.qualifier.as_deref(), Some("new" | "old")) {
            let table = self
                .row_of
                .iter()
                .filter_map(|oid| self.catalog.relation(*oid))
                .find(|r| r.column(&column.name).is_some())?;
            return Some((table.oid, column.name.clone()));
        }
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

    /// Relations that policies, and views with the rights of their owner, read, themselves or through functions.
    fn find_authorities(&mut self) {
        let catalog = self.catalog;
        for relation in &catalog.relations {
            let conditions = relation
                .policies
                .iter()
                .flat_map(|p| [p.using.as_deref(), p.check.as_deref()])
                .flatten();
            let mut named: Vec<expr::Named> = conditions
                .flat_map(|c| self.library.of_expression(c, Some(relation)).relations.clone())
                .collect();
            if let Some(definition) = relation
                .definition
                .as_deref()
                .filter(|_| !relation.is_security_invoker())
            {
                named.extend(self.library.of_query(definition).relations);
            }
            let read = named
                .iter()
                .filter_map(|r| catalog.find_relation(r.schema.as_deref(), &r.name));
            self.found.authorities.extend(read.map(|r| r.oid));
        }
    }

    /// A column of the same name as a setting or claim holds what that holds.
    fn read_setting_names(&mut self) {
        for ((name, path), class) in self.sources.clone() {
            let last = path
                .last()
                .map_or_else(|| name.rsplit('.').next().unwrap_or(&name), String::as_str);
            let word = last.trim_start_matches("current_");
            if is_plain_word(word) || word == "sub" {
                continue;
            }
            for table in self.catalog.tables() {
                // A column that is compared with the role holds the role.
                let is_settled = self.found.preferred.contains_key(&(table.oid, word.to_owned()));
                if table.column(word).is_some() && !is_settled {
                    self.found
                        .classes
                        .entry((table.oid, word.to_owned()))
                        .or_insert((class, Form::Whole));
                }
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
                if let Some(class) = self.unresolved.get(&column.name) {
                    self.found
                        .classes
                        .entry((relation.oid, column.name.clone()))
                        .or_insert((*class, Form::Whole));
                }
                if let Some(class) = names.get(&(column.name.clone(), column.base_type.clone())) {
                    self.found
                        .classes
                        .entry((relation.oid, column.name.clone()))
                        .or_insert((*class, Form::Whole));
                }
            }
        }
    }

    /// A table whose key is nothing but tenants relates them to one another: one is the row's own, and the others are left
    /// free where no foreign key binds them, or a tenant could have one row only.
    fn free_counterparties(&mut self) {
        for table in self.catalog.tables() {
            let Some(key) = table.primary_key() else { continue };
            let is_tenant = |c: &String| matches!(self.found.class(table.oid, c), Some((Class::Tenant, Form::Whole)));
            if key.columns.len() < 2 || !key.columns.iter().all(is_tenant) {
                continue;
            }
            let is_bound = |c: &String| table.foreign_keys.iter().any(|k| k.columns.contains(c));
            let own = key.columns.iter().find(|c| is_bound(c)).unwrap_or(&key.columns[0]);
            for column in key.columns.iter().filter(|c| *c != own && !is_bound(c)) {
                self.found.classes.remove(&(table.oid, column.clone()));
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

/// Whether a function puts rows into a table: they may be of whoever called it.
fn is_written_by_functions(catalog: &Catalog, relation: &Relation) -> bool {
    let name = &relation.name.name;
    let full = format!("{}.{name}", relation.name.schema);
    catalog.functions.iter().any(|f| {
        let words: Vec<String> = f
            .body
            .split(|c: char| c.is_whitespace() || matches!(c, '(' | ';' | '"'))
            .filter(|w| !w.is_empty())
            .map(str::to_lowercase)
            .collect();
        words
            .windows(2)
            .any(|w| matches!(w[0].as_str(), "into" | "update" | "copy") && (w[1] == *name || w[1] == full))
    })
}

/// Tables whose triggers run a function.
fn triggered_tables(catalog: &Catalog, function: &crate::model::Function) -> Vec<u32> {
    if !function.is_trigger() {
        return Vec::new();
    }
    let call = format!("{}(", function.name.name);
    let runs = |r: &&Relation| {
        r.triggers
            .iter()
            .any(|t| t.rsplit("EXECUTE FUNCTION ").next().is_some_and(|f| f.contains(&call)))
    };
    catalog.tables().filter(runs).map(|r| r.oid).collect()
}

/// Column names that say nothing about belonging.
fn is_plain_word(name: &str) -> bool {
    [
        "id",
        "name",
        "role",
        "status",
        "state",
        "kind",
        "type",
        "title",
        "body",
        "note",
        "email",
        "display_name",
        "n",
    ]
    .contains(&name)
        || name.ends_with("_at")
        || name.starts_with("is_")
}

fn is_equality(op: &str) -> bool {
    matches!(op, "=" | "IN" | "= ANY" | "IS NOT DISTINCT FROM" | ":=")
}

/// Whether only a part of the column is compared.
fn is_partial(operand: &Operand) -> bool {
    operand.wrapped_in().iter().any(|w| {
        !matches!(
            w.as_str(),
            "coalesce" | "nullif" | "cast" | "lower" | "upper" | "array" | "unnest" | "array_agg" | "min" | "max"
        )
    })
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
