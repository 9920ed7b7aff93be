//! The settings and claims that identity is read from, and whose key each holds: told first by the columns that it is
//! compared with, then by its name.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{self, Scores};
use crate::model::{Catalog, Relation};
use crate::sql::expr::{ColumnRef, Comparison, Facts, Library, Operand, OperandKind, SettingRead};

/// The setting in which PostgREST and its like put the claims of a token.
pub(super) const CLAIMS: &str = "request.jwt.claims";
/// How they did before.
const OLD_CLAIM: &str = "request.jwt.claim.";

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// The tenant's.
    Tenant,
    /// The user's.
    User,
    /// The user's e-mail address.
    Email,
    /// The name of the role.
    Role,
    /// Nobody's: a switch.
    Switch,
}

/// How the key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// By itself.
    Plain,
    /// As the only item of a PostgreSQL array.
    Array,
    /// As the only item of a JSON array.
    JsonArray,
}

/// A place that something reads.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Setting.
    pub(super) name: String,
    /// Path in it, where it is JSON.
    pub(super) path: Vec<String>,
    /// Columns that it is compared with, as `table.column`.
    pub(super) columns: BTreeSet<String>,
    /// Where it is read.
    pub(super) readers: BTreeSet<String>,
    /// Whether more than bodies of functions reads it: policies, views, defaults, checks.
    pub(super) is_asked: bool,
    /// What it means.
    pub(super) meaning: Meaning,
    /// How its name and columns speak for that.
    pub(super) is_told_by_columns: bool,
    /// How it is written.
    pub(super) shape: Shape,
    /// Whether a comparison, a default or a key says what it is, and not only a row that is written.
    is_decisive: bool,
    literals: BTreeSet<String>,
    is_null_tested: bool,
    scores: Scores,
}

/// What a schema asks of its sessions.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Places, by name and path.
    pub(super) places: Vec<Place>,
    /// Columns that are compared with the role itself.
    pub(super) role_columns: BTreeSet<String>,
}

/// Reads what the schema asks.
pub(super) fn asked(catalog: &Catalog, library: &Library<'_>, roles: &[String]) -> Asked {
    let mut reading = Reading {
        catalog,
        places: BTreeMap::new(),
        role_columns: BTreeSet::new(),
    };
    for relation in &catalog.relations {
        let name = relation.name.to_string();
        for policy in &relation.policies {
            for text in [policy.using.as_deref(), policy.check.as_deref()].into_iter().flatten() {
                let facts = library.of_expression(text, Some(relation));
                reading.read(&facts, Some(relation), &format!("policies of {name}"), true);
            }
        }
        for check in &relation.checks {
            let facts = library.of_expression(&check.expression, Some(relation));
            reading.read(&facts, Some(relation), &format!("a check of {name}"), true);
        }
        for column in &relation.columns {
            let calls = |d: &&String| d.contains('(') && !d.starts_with("nextval(") || super::roles::asks_for_role(d);
            if let Some(default) = column.default.as_ref().filter(calls) {
                let values = library.values_of(default, Some(relation));
                let facts = library.of_expression(default, Some(relation));
                reading.read(&facts, Some(relation), &format!("a default of {name}"), true);
                for value in values {
                    reading.meet(&value, relation, &column.name, ":=", true);
                }
            }
        }
        if let Some(definition) = &relation.definition {
            reading.read(&library.of_query(definition), None, &format!("view {name}"), true);
        }
    }
    for function in &catalog.functions {
        let facts = library.of_function(function);
        let row = function.is_trigger().then(|| triggered(catalog, function)).flatten();
        reading.read(&facts, row, &format!("function {}", function.name), false);
    }
    reading.finish(roles)
}

/// The (first) table whose trigger runs a function.
fn triggered<'c>(catalog: &'c Catalog, function: &crate::model::Function) -> Option<&'c Relation> {
    let call = format!("{}(", function.name.name);
    catalog.tables().find(|r| {
        r.triggers
            .iter()
            .any(|t| t.rsplit("EXECUTE FUNCTION ").next().is_some_and(|f| f.contains(&call)))
    })
}

struct Reading<'c> {
    catalog: &'c Catalog,
    places: BTreeMap<(String, Vec<String>), Place>,
    role_columns: BTreeSet<String>,
}

impl<'c> Reading<'c> {
    fn read(&mut self, facts: &Facts, home: Option<&Relation>, reader: &str, is_asked: bool) {
        for read in &facts.settings {
            if let Some(place) = self.place(read) {
                place.readers.insert(reader.to_owned());
                place.is_asked |= is_asked;
            }
        }
        for comparison in &facts.comparisons {
            self.compare(comparison, home);
        }
    }

    fn place(&mut self, read: &SettingRead) -> Option<&mut Place> {
        let is_custom = read.name.contains('.') && !read.path.iter().any(String::is_empty);
        is_custom.then(|| {
            self.places
                .entry((read.name.clone(), read.path.clone()))
                .or_insert_with(|| Place {
                    name: read.name.clone(),
                    path: read.path.clone(),
                    columns: BTreeSet::new(),
                    readers: BTreeSet::new(),
                    is_asked: false,
                    meaning: Meaning::Tenant,
                    is_told_by_columns: false,
                    shape: Shape::Plain,
                    is_decisive: false,
                    literals: BTreeSet::new(),
                    is_null_tested: false,
                    scores: Scores::default(),
                })
        })
    }

    fn compare(&mut self, comparison: &Comparison, home: Option<&Relation>) {
        for (one, other) in [
            (&comparison.left, &comparison.right),
            (&comparison.right, &comparison.left),
        ] {
            match (one.kind(), other.kind()) {
                (OperandKind::Setting(_) | OperandKind::CurrentUser, OperandKind::Column(column)) => {
                    if let Some((relation, name)) = self.resolve(column, home) {
                        self.meet(one, relation, &name, &comparison.op, false);
                    } else if let OperandKind::Setting(read) = one.kind()
                        && column.relation.is_none()
                        && let Some(place) = self.place(read)
                    {
                        place.scores.add_word(&column.name, 1);
                    }
                }
                (OperandKind::Setting(read), OperandKind::Literal(text)) => {
                    if let Some(place) = self.place(read) {
                        place.literals.insert(text.clone());
                    }
                }
                (OperandKind::Setting(read), OperandKind::Literals(texts)) => {
                    if let Some(place) = self.place(read) {
                        place.literals.extend(texts.iter().cloned());
                    }
                }
                (OperandKind::Setting(read), _) if comparison.op.starts_with("IS ") => {
                    if let Some(place) = self.place(read) {
                        place.is_null_tested = true;
                    }
                }
                _ => {}
            }
        }
    }

    /// An identity meets a column: what that column is says what the identity is.
    fn meet(&mut self, value: &Operand, relation: &Relation, column: &str, op: &str, is_default: bool) {
        let OperandKind::Setting(read) = value.kind() else {
            if matches!(value.kind(), OperandKind::CurrentUser) && op != ":=" {
                self.role_columns.insert(format!("{}.{column}", relation.name));
            }
            return;
        };
        let mut scores = words::of_column(self.catalog, relation, column);
        // What is only written down says less than what decides.
        scores.scale(if op == ":=" { 1 } else { 2 });
        let is_json = value.wrapped_in().iter().any(|w| w.contains("array_elements"))
            || (!read.path.is_empty() && matches!(op, "?" | "@>" | "<@" | "?|" | "?&"));
        let unpacked = value.wrapped_in().iter().any(|w| w.contains("_to_"));
        let is_array = read.cast.as_deref().is_some_and(|c| c.ends_with("[]")) && !unpacked;
        let name = format!("{}.{column}", relation.name);
        if let Some(place) = self.place(read) {
            place.columns.insert(name);
            let is_key = relation.keys.iter().any(|k| k.columns.iter().any(|c| c == column))
                || relation
                    .foreign_keys
                    .iter()
                    .any(|k| k.columns.iter().any(|c| c == column));
            place.is_decisive |= op != ":=" || is_default || is_key || scores.best().is_some();
            place.scores.add(&scores);
            if is_json {
                place.shape = Shape::JsonArray;
            } else if is_array {
                place.shape = Shape::Array;
            }
        }
    }

    fn resolve(&self, column: &ColumnRef, home: Option<&Relation>) -> Option<(&'c Relation, String)> {
        let relation = match &column.relation {
            Some(full) => match full.rsplit_once('.') {
                Some((schema, name)) => self.catalog.find_relation(Some(schema), name),
                None => self.catalog.find_relation(None, full),
            },
            // The row of a trigger, or the relation of the policy.
            None => home.and_then(|h| self.catalog.relation(h.oid)),
        }?;
        relation.column(&column.name).map(|c| (relation, c.name.clone()))
    }

    fn finish(self, roles: &[String]) -> Asked {
        let mut places: Vec<Place> = self.places.into_values().collect();
        // The whole of a document says nothing where parts of it are read.
        let documents: BTreeSet<String> = places
            .iter()
            .filter(|p| !p.path.is_empty())
            .map(|p| p.name.clone())
            .collect();
        let longer: Vec<(String, Vec<String>)> = places.iter().map(|p| (p.name.clone(), p.path.clone())).collect();
        places.retain(|p| {
            let is_prefix = longer
                .iter()
                .any(|(name, path)| *name == p.name && path.len() > p.path.len() && path.starts_with(&p.path));
            let is_whole = p.path.is_empty() && documents.contains(&p.name);
            !(is_whole || is_prefix && p.columns.is_empty())
        });
        places.retain(|p| p.name != CLAIMS || !p.path.is_empty());
        for place in &mut places {
            place.decide(roles);
        }
        // The old style of a claim that is read in the new one, too.
        let claims: BTreeSet<String> = places
            .iter()
            .filter(|p| p.name == CLAIMS && p.path.len() == 1)
            .map(|p| p.path[0].clone())
            .collect();
        places.retain(|p| p.name.strip_prefix(OLD_CLAIM).is_none_or(|c| !claims.contains(c)));
        places.retain(Place::says_who);
        Asked {
            places,
            role_columns: self.role_columns,
        }
    }
}

impl Place {
    /// The last part of its name.
    pub(super) fn word(&self) -> &str {
        self.path
            .last()
            .map_or_else(|| self.name.rsplit('.').next().unwrap_or(&self.name), String::as_str)
    }

    fn decide(&mut self, roles: &[String]) {
        let own = words::of_name(self.word());
        self.is_told_by_columns = self.scores.best().is_some();
        let mut scores = self.scores;
        scores.add(&own);
        scores.add(&own);
        let word = self.word().to_lowercase();
        let is_top = self.path.len() <= 1;
        let names_roles = self.literals.iter().any(|l| roles.contains(l));
        self.meaning = if self.columns.is_empty() && is_top && (word == "role" || names_roles) {
            Meaning::Role
        } else if self.columns.is_empty()
            && (words::is_switch(&word) || !self.literals.is_empty() && own.best().is_none())
        {
            Meaning::Switch
        } else {
            scores.best().or(own.best()).unwrap_or(Meaning::Tenant)
        };
    }

    /// Whether a request says it to say who it is. What is only read in bodies of functions, compared with no column, and
    /// has no name that tells, is something that a platform says to itself.
    fn says_who(&self) -> bool {
        let is_claim = self.name == CLAIMS || self.name.starts_with(OLD_CLAIM);
        let tells = words::of_name(self.word()).best().is_some();
        match self.meaning {
            Meaning::Switch => false,
            Meaning::Role => is_claim,
            _ => self.is_decisive || (self.is_asked && !self.is_a_switch_by_use()) || tells,
        }
    }

    fn is_a_switch_by_use(&self) -> bool {
        self.columns.is_empty() && !self.literals.is_empty() && !self.is_null_tested
    }
}
