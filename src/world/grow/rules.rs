//! What the conditions of a table ask of its columns, and what was learned of it by trying.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Growth;
use crate::model::{Column, Relation, TypeFacts};
use crate::sql::expr::{self, Comparison, OperandKind};
use crate::world::values::condition::{Expr, parse};
use crate::world::values::limits::Limit;

/// A column of a table.
pub(super) type Place = (u32, String);

/// What was learned of tables, kept from one universe to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The candidate that a column's conditions took, by its place in the list; nothing where it had to be NULL.
    pub(super) ranks: HashMap<Place, Option<usize>>,
    /// A value that a trigger took.
    pub(super) settled: HashMap<Place, Option<String>>,
    /// Tables whose triggers want to know who asks.
    pub(super) bound: BTreeSet<u32>,
    /// Tables whose triggers take no row.
    pub(super) forced: BTreeMap<u32, String>,
    /// Literals that policies hand to functions, `has_role('admin')`, with how often they do.
    named: Option<HashMap<String, usize>>,
    /// Columns that are compared with the clock and have to be past, by name and, where known, table.
    past: Option<BTreeSet<(Option<String>, String)>>,
}

/// What a table's conditions ask.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// By column, as far as one column is concerned.
    pub(super) limits: BTreeMap<String, Limit>,
    /// Columns of which the first is to be below the second.
    pub(super) ordered: Vec<(String, String)>,
    /// Columns that must have the same value.
    pub(super) same: Vec<(String, String)>,
}

impl Rules {
    fn of(table: &Relation) -> Self {
        let conditions: Vec<Expr> = table.checks.iter().map(|c| parse(&c.expression)).collect();
        let mut rules = Self {
            limits: Limit::of_conditions(&conditions),
            ..Self::default()
        };
        for conjunct in conditions.iter().flat_map(Expr::conjuncts) {
            rules.between(conjunct);
        }
        rules
    }

    fn between(&mut self, condition: &Expr) {
        match condition {
            // `b IS NULL OR a < b`
            Expr::Or(arms) => {
                let arms: Vec<&Expr> = arms.iter().filter(|a| !matches!(a, Expr::IsNull(_, true))).collect();
                if let [only] = arms.as_slice() {
                    self.between(only);
                }
            }
            Expr::Binary(op, left, right) => {
                if let (Expr::Column(left), Expr::Column(right)) = (&**left, &**right) {
                    match op.as_str() {
                        "<" | "<=" => self.ordered.push((left.clone(), right.clone())),
                        ">" | ">=" => self.ordered.push((right.clone(), left.clone())),
                        "=" => self.same.push((left.clone(), right.clone())),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

impl Growth<'_, '_> {
    pub(super) fn rules(&mut self, table: &Relation) -> Arc<Rules> {
        let rules = self
            .rules
            .entry(table.oid)
            .or_insert_with(|| Arc::new(Rules::of(table)));
        Arc::clone(rules)
    }

    pub(super) fn learned<T>(&self, what: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self
            .universe
            .memory
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        what(&mut memory)
    }

    /// Whether something opens when the column's time has passed: `starts_at <= now()`.
    pub(super) fn is_past(&self, table: &Relation, column: &str) -> bool {
        let known = self.learned(|m| m.past.is_some());
        if !known {
            let past = self.compared_as_past();
            self.learned(|m| m.past = Some(past));
        }
        self.learned(|m| {
            m.past.as_ref().is_some_and(|past| {
                past.contains(&(Some(table.name.name.clone()), column.to_owned()))
                    || past.contains(&(None, column.to_owned()))
            })
        })
    }

    /// How often policies hand a text to a function: what opens most is a good thing to be.
    pub(super) fn named_in_calls(&self, text: &str) -> usize {
        if self.learned(|m| m.named.is_none()) {
            let mut named: HashMap<String, usize> = HashMap::new();
            let relations = self.grower.catalog.relations.iter();
            let conditions = relations
                .flat_map(|r| &r.policies)
                .flat_map(|p| [p.using.as_deref(), p.check.as_deref()]);
            for condition in conditions.flatten() {
                for literal in arguments(condition) {
                    *named.entry(literal).or_default() += 1;
                }
            }
            self.learned(|m| m.named = Some(named));
        }
        self.learned(|m| m.named.as_ref().and_then(|n| n.get(text)).copied().unwrap_or(0))
    }

    fn compared_as_past(&self) -> BTreeSet<(Option<String>, String)> {
        let mut past = BTreeSet::new();
        let mut future = BTreeSet::new();
        let mut read = |comparisons: &[Comparison], table: Option<&str>| {
            for comparison in comparisons.iter().filter(|c| c.positive) {
                let (left, right) = (comparison.left.kind(), comparison.right.kind());
                let (column, is_left) = match (left, right) {
                    (OperandKind::Column(c), other) if is_clock(other) => (c, true),
                    (other, OperandKind::Column(c)) if is_clock(other) => (c, false),
                    _ => continue,
                };
                let named = column.relation.as_deref().map(|r| r.rsplit('.').next().unwrap_or(r));
                let place = (named.or(table).map(str::to_owned), column.name.clone());
                match (comparison.op.as_str(), is_left) {
                    ("<" | "<=", true) | (">" | ">=", false) => past.insert(place),
                    ("<" | "<=", false) | (">" | ">=", true) => future.insert(place),
                    _ => false,
                };
            }
        };
        let catalog = self.grower.catalog;
        let asks = |text: &str| {
            let text = text.to_lowercase();
            text.contains("now()")
                || text.contains("current_")
                || text.contains("clock_timestamp")
                || text.contains("statement_timestamp")
        };
        for relation in &catalog.relations {
            let conditions = relation
                .policies
                .iter()
                .flat_map(|p| [p.using.as_deref(), p.check.as_deref()]);
            for text in conditions.flatten().filter(|t| asks(t)) {
                read(&expr::of_expression(text).comparisons, Some(&relation.name.name));
            }
            if let Some(text) = relation.definition.as_deref().filter(|t| asks(t)) {
                read(&expr::of_query(text).comparisons, None);
            }
        }
        for function in catalog.functions.iter().filter(|f| asks(&f.body)) {
            let facts = expr::of_body(function);
            read(&facts.comparisons, None);
        }
        past.retain(|p| !future.contains(p));
        past
    }
}

/// Literals among the arguments of calls of an expression, as PostgreSQL prints it.
fn arguments(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Whether each open parenthesis is a call's.
    let mut open: Vec<bool> = Vec::new();
    let mut before = ' ';
    let mut chars = expression.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '(' => open.push(before.is_alphanumeric() || before == '_'),
            ')' => {
                open.pop();
            }
            '\'' => {
                let rest = &expression[at + 1..];
                let end = rest.find('\'').unwrap_or(rest.len());
                if open.last() == Some(&true) {
                    found.push(rest[..end].to_owned());
                }
                for _ in 0..rest[..end].chars().count() + 1 {
                    chars.next();
                }
            }
            _ => {}
        }
        before = c;
    }
    found
}

fn is_clock(operand: &OperandKind) -> bool {
    match operand {
        OperandKind::Call(call) => {
            matches!(
                call.name.as_str(),
                "now" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp"
            )
        }
        OperandKind::Other(text) => {
            let text = text.to_uppercase();
            ["CURRENT_TIMESTAMP", "CURRENT_DATE", "NOW()", "LOCALTIMESTAMP"]
                .iter()
                .any(|w| text.contains(w))
        }
        _ => false,
    }
}

/// Checks of the domains that a column is of, over `VALUE`.
pub(super) fn domain_checks(types: &[TypeFacts], column: &Column) -> Vec<String> {
    let mut found = Vec::new();
    let mut name = column.type_name.as_str();
    while let Some(facts) = types
        .iter()
        .find(|t| t.name == name && t.kind == "d")
        .filter(|_| found.len() < 20)
    {
        found.extend(facts.checks.iter().cloned());
        match facts.base.as_deref() {
            Some(base) => name = base,
            None => break,
        }
    }
    found
}
