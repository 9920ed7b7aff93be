//! What conditions say of one column, and values within it.

mod make;

use std::collections::BTreeMap;

use super::condition::{Expr, parse};
use crate::model::{Column, TypeFacts};

/// What is asked of a place in a JSON column.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// It is there.
    Present,
    /// It has this text.
    Text(String),
    /// It is a number between these.
    Number(Option<f64>, Option<f64>),
    /// `jsonb_typeof` of it.
    Type(String),
}

/// What a column has to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Limit {
    one_of: Vec<String>,
    none_of: Vec<String>,
    /// Lowest and highest value as printed, and whether the limit itself is in.
    low: Option<(String, bool)>,
    high: Option<(String, bool)>,
    shortest: Option<usize>,
    longest: Option<usize>,
    patterns: Vec<String>,
    likes: Vec<String>,
    lower_case: bool,
    upper_case: bool,
    /// Elements an array may have, and how many.
    elements: Vec<String>,
    count: Option<usize>,
    places: BTreeMap<Vec<String>, Place>,
    json_type: Option<String>,
    /// Whether it has to be NULL (true) or something (false).
    null: Option<bool>,
}

/// What is filled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The column's name.
    pub(crate) name: &'a str,
    /// Its type below domains, with modifiers.
    pub(crate) type_name: &'a str,
    /// Its longest text.
    pub(crate) max_length: Option<u32>,
}

impl<'a> Target<'a> {
    /// A value of a type without a column.
    pub(crate) fn bare(type_name: &'a str) -> Self {
        Self {
            name: "value",
            type_name,
            max_length: None,
        }
    }

    /// A column.
    pub(crate) fn of(column: &'a Column, types: &'a [TypeFacts]) -> Self {
        let below = super::below_domains(types, &column.type_name);
        let type_name =
            if below == column.type_name && column.type_name != column.base_type && !column.domain_checks.is_empty() {
                &column.base_type
            } else {
                below
            };
        Self {
            name: &column.name,
            type_name,
            max_length: column.max_length,
        }
    }
}

impl Limit {
    /// What the checks of a domain ask of its values.
    pub(crate) fn of_domain(facts: &TypeFacts) -> Self {
        let mut limit = Self::default();
        for check in &facts.checks {
            for conjunct in parse(check).conjuncts() {
                limit.narrow(conjunct, "value");
            }
        }
        limit
    }

    /// What conditions ask of each column, as far as each condition is about one column; a NULL is no way out.
    pub(crate) fn of_conditions(conditions: &[Expr]) -> BTreeMap<String, Self> {
        let mut found: BTreeMap<String, Self> = BTreeMap::new();
        for conjunct in conditions.iter().flat_map(Expr::conjuncts) {
            if let [column] = conjunct.columns().as_slice() {
                found.entry((*column).to_owned()).or_default().narrow(conjunct, column);
            }
        }
        found
    }

    /// Every part of a condition that is about this column alone, each by itself: for values worth trying.
    pub(crate) fn of_parts(condition: &Expr, column: &str) -> Vec<Self> {
        let mut parts = Vec::new();
        condition.visit(&mut |part| {
            if matches!(part, Expr::Binary(..) | Expr::And(_) | Expr::IsNull(..)) && part.columns() == [column] {
                let mut limit = Self::default();
                limit.narrow(part, column);
                if limit != Self::default() && !parts.contains(&limit) {
                    parts.push(limit);
                }
            }
        });
        parts
    }

    /// What conditions, each about the column of the given name, ask together.
    pub(crate) fn of_named(conditions: &[(Expr, &str)]) -> Self {
        let mut limit = Self::default();
        for (condition, column) in conditions {
            for conjunct in condition.conjuncts() {
                limit.narrow(conjunct, column);
            }
        }
        limit
    }

    /// Values that it allows, where it lists them.
    pub(crate) fn options(&self) -> &[String] {
        &self.one_of
    }

    /// Whether nothing is asked.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a text is within it, as far as can be told without the server.
    pub(crate) fn takes(&self, text: &str) -> bool {
        let count = text.chars().count();
        let number = text.parse::<f64>().ok();
        let bound = |limit: &Option<(String, bool)>| {
            limit
                .as_ref()
                .and_then(|(v, within)| Some((v.parse::<f64>().ok()?, *within)))
        };
        let above = |n: f64| bound(&self.low).is_none_or(|(v, within)| n > v || (within && n >= v));
        let below = |n: f64| bound(&self.high).is_none_or(|(v, within)| n < v || (within && n <= v));
        (self.one_of.is_empty() || self.one_of.iter().any(|v| v == text))
            && !self.none_of.iter().any(|v| v == text)
            && self.shortest.is_none_or(|s| count >= s)
            && self.longest.is_none_or(|l| count <= l)
            && !(self.lower_case && text.to_lowercase() != text)
            && !(self.upper_case && text.to_uppercase() != text)
            && self
                .patterns
                .iter()
                .all(|p| regex::Regex::new(p).ok().is_none_or(|r| r.is_match(text)))
            && number.is_none_or(|n| above(n) && below(n))
    }

    /// Whether it asks for NULL.
    pub(crate) fn wants_null(&self) -> bool {
        self.null == Some(true)
    }

    /// Whether the column has to be a text of some pattern: then a plain value may do as well as a made one.
    pub(crate) fn is_pattern(&self) -> bool {
        !self.patterns.is_empty()
    }

    fn narrow(&mut self, condition: &Expr, column: &str) {
        match condition {
            Expr::And(parts) => parts.iter().for_each(|p| self.narrow(p, column)),
            Expr::Or(arms) => {
                // A column that may be NULL is filled all the same; of several arms the first is as good as any.
                let values = arms.iter().find(|a| !matches!(a, Expr::IsNull(_, true)));
                match equal_literals(arms, column) {
                    Some(all) => self.one_of.extend(all),
                    None => {
                        if let Some(arm) = values {
                            self.narrow(arm, column);
                        }
                    }
                }
            }
            Expr::IsNull(inner, is_null) if is_column(inner, column) => self.null = Some(*is_null),
            Expr::IsNull(inner, false) => {
                if let Some(path) = place_of(inner, column) {
                    self.places.entry(path).or_insert(Place::Present);
                }
            }
            Expr::Not(inner) => match &**inner {
                Expr::IsNull(inner, is_null) if is_column(inner, column) => self.null = Some(!is_null),
                inner if is_column(inner, column) => self.one_of.push("false".to_owned()),
                Expr::Binary(op, left, right) => {
                    if let Some(op) = opposite(op) {
                        self.compare(op, left, right, column);
                    }
                }
                _ => {}
            },
            inner if is_column(inner, column) => self.one_of.push("true".to_owned()),
            Expr::Binary(op, left, right) => {
                if mentions(left, column) {
                    self.compare(op, left, right, column);
                } else if let Some(op) = mirrored(op) {
                    self.compare(op, right, left, column);
                }
            }
            Expr::Call(name, parts) if name.ends_with("_exists") || name == "jsonb_exists_all" => {
                if let [_, Expr::Literal(key)] = parts.as_slice() {
                    self.places.entry(vec![key.clone()]).or_insert(Place::Present);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, op: &str, subject: &Expr, other: &Expr, column: &str) {
        let literal = match other {
            Expr::Literal(value) => Some(value.clone()),
            _ => None,
        };
        let list: Vec<String> = match other {
            Expr::List(items) => items
                .iter()
                .filter_map(|i| {
                    if let Expr::Literal(v) = i {
                        Some(v.clone())
                    } else {
                        None
                    }
                })
                .collect(),
            Expr::Literal(array) if array.starts_with('{') => split_array(array),
            _ => Vec::new(),
        };
        match subject {
            Expr::Column(name) if name == column => match (op, literal) {
                ("=", Some(value)) => self.one_of.push(value),
                ("<>", Some(value)) => self.none_of.push(value),
                ("= ANY", _) => self.one_of.extend(list),
                ("<> ALL", _) => self.none_of.extend(list),
                (">" | ">=", Some(value)) => self.low = Some((value, op == ">=")),
                ("<" | "<=", Some(value)) => self.high = Some((value, op == "<=")),
                ("~" | "~*", Some(value)) => self.patterns.push(value),
                ("~~" | "~~*", Some(value)) => self.likes.push(value),
                ("<@", _) if !list.is_empty() => self.elements.extend(list),
                ("?", Some(key)) => {
                    self.places.entry(vec![key]).or_insert(Place::Present);
                }
                ("?&", _) => list.into_iter().for_each(|key| {
                    self.places.entry(vec![key]).or_insert(Place::Present);
                }),
                ("=", None) => match other {
                    Expr::Call(name, _) if name == "lower" => self.lower_case = true,
                    Expr::Call(name, _) if name == "upper" => self.upper_case = true,
                    _ => {}
                },
                _ => {}
            },
            // Trimming and changing case leave a made text as it is, or nearly.
            Expr::Call(name, parts)
                if matches!(
                    name.as_str(),
                    "btrim" | "trim" | "ltrim" | "rtrim" | "lower" | "upper" | "coalesce" | "abs" | "round"
                ) =>
            {
                if let Some(inner) = parts.first() {
                    if name == "upper" {
                        self.upper_case = true;
                    }
                    self.compare(op, inner, other, column);
                }
            }
            Expr::Call(name, _)
                if matches!(
                    name.as_str(),
                    "length" | "char_length" | "character_length" | "octet_length"
                ) =>
            {
                let Some(n) = literal.and_then(|v| v.parse::<usize>().ok()) else {
                    return;
                };
                match op {
                    "=" => (self.shortest, self.longest) = (Some(n), Some(n)),
                    ">" => self.shortest = Some(n + 1),
                    ">=" => self.shortest = Some(n),
                    "<" => self.longest = Some(n.saturating_sub(1)),
                    "<=" => self.longest = Some(n),
                    "<>" if n == 0 => self.shortest = Some(1),
                    _ => {}
                }
            }
            Expr::Call(name, _)
                if matches!(
                    name.as_str(),
                    "array_length" | "cardinality" | "jsonb_array_length" | "json_array_length"
                ) =>
            {
                let Some(n) = literal.and_then(|v| v.parse::<usize>().ok()) else {
                    return;
                };
                if name.starts_with("json") {
                    self.json_type = Some("array".to_owned());
                }
                match op {
                    "=" | ">=" => self.count = Some(n),
                    ">" => self.count = Some(n + 1),
                    "<" if n <= 1 => self.count = Some(0),
                    "<=" if n == 0 => self.count = Some(0),
                    _ => {}
                }
            }
            Expr::Call(name, parts) if name == "jsonb_typeof" || name == "json_typeof" => {
                let kind = literal.or_else(|| list.first().cloned());
                if let (Some(kind), Some(inner), "=" | "= ANY") = (kind, parts.first(), op) {
                    match place_of(inner, column) {
                        Some(path) if path.is_empty() => self.json_type = Some(kind),
                        Some(path) => {
                            self.places.entry(path).or_insert(Place::Type(kind));
                        }
                        None => {}
                    }
                }
            }
            inner => {
                let Some(path) = place_of(inner, column).filter(|p| !p.is_empty()) else {
                    return;
                };
                if op == "?" {
                    if let Some(key) = literal {
                        let path = [path, vec![key]].concat();
                        self.places.entry(path).or_insert(Place::Present);
                    }
                    return;
                }
                let as_number = literal.as_deref().and_then(|v| v.parse::<f64>().ok());
                let place = self.places.entry(path).or_insert(Place::Present);
                match (op, literal, as_number) {
                    ("=", Some(text), _) => *place = Place::Text(text),
                    ("= ANY", _, _) => {
                        if let Some(first) = list.first() {
                            *place = Place::Text(first.clone());
                        }
                    }
                    (">" | ">=", _, Some(low)) => {
                        let low = if op == ">" { low + 1.0 } else { low };
                        *place = match place {
                            Place::Number(_, high) => Place::Number(Some(low), *high),
                            _ => Place::Number(Some(low), None),
                        };
                    }
                    ("<" | "<=", _, Some(high)) => {
                        let high = if op == "<" { high - 1.0 } else { high };
                        *place = match place {
                            Place::Number(low, _) => Place::Number(*low, Some(high)),
                            _ => Place::Number(None, Some(high)),
                        };
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Puts a value into a document, where nothing is yet.
pub(crate) fn put(document: &mut serde_json::Value, path: &[String], value: serde_json::Value) {
    let mut slot = document;
    for key in path {
        if !slot.is_object() {
            *slot = serde_json::json!({});
        }
        slot = &mut slot[key.as_str()];
    }
    if slot.is_null() || value.is_object() && !slot.is_object() {
        *slot = value;
    }
}

fn is_column(expr: &Expr, column: &str) -> bool {
    matches!(expr, Expr::Column(name) if name == column)
}

fn mentions(expr: &Expr, column: &str) -> bool {
    expr.columns().contains(&column)
}

/// The path that an expression goes down a JSON column by.
fn place_of(expr: &Expr, column: &str) -> Option<Vec<String>> {
    match expr {
        Expr::Column(name) if name == column => Some(Vec::new()),
        Expr::Binary(op, left, right) if matches!(op.as_str(), "->" | "->>" | "#>" | "#>>") => {
            let Expr::Literal(key) = &**right else { return None };
            let mut path = place_of(left, column)?;
            if op.starts_with('#') {
                path.extend(split_array(key));
            } else {
                path.push(key.clone());
            }
            Some(path)
        }
        Expr::Call(name, parts)
            if matches!(
                name.as_str(),
                "coalesce" | "nullif" | "lower" | "btrim" | "length" | "char_length"
            ) =>
        {
            place_of(parts.first()?, column)
        }
        _ => None,
    }
}

/// The literals of `col = 'a' OR col = 'b'`.
fn equal_literals(arms: &[Expr], column: &str) -> Option<Vec<String>> {
    arms.iter()
        .filter(|a| !matches!(a, Expr::IsNull(_, true)))
        .map(|arm| match arm {
            Expr::Binary(op, left, right) if op == "=" && is_column(left, column) => match &**right {
                Expr::Literal(value) => Some(value.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn opposite(op: &str) -> Option<&'static str> {
    Some(match op {
        "=" => "<>",
        "<>" => "=",
        "<" => ">=",
        "<=" => ">",
        ">" => "<=",
        ">=" => "<",
        "= ANY" => "<> ALL",
        _ => return None,
    })
}

fn mirrored(op: &str) -> Option<&'static str> {
    Some(match op {
        "=" => "=",
        "<>" => "<>",
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        "@>" => "<@",
        _ => return None,
    })
}

/// Elements of an array as printed, plain ones.
pub(crate) fn split_array(text: &str) -> Vec<String> {
    text.trim_matches(['{', '}'])
        .split(',')
        .map(|p| p.trim().trim_matches('"').to_owned())
        .filter(|p| !p.is_empty())
        .collect()
}

#[cfg(test)]
mod tests;
