//! Columns that hold a path: text that policies take apart at slashes, `(storage.foldername(name))[1]`, `split_part(key, '/', 2)`,
//! themselves or in functions that they hand it to. Whose a row is stands in one of the parts.

use std::collections::{BTreeMap, BTreeSet};

use super::{Classes, ColumnKey};
use crate::model::{Catalog, Relation};

/// What one policy asks of a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathShape {
    /// Values of other columns that the policy asks for beside it: the bucket.
    pub beside: Vec<(String, String)>,
    /// Literals that parts are compared with.
    pub literals: Vec<String>,
    /// Whether the last part, without its extension, is a key, too.
    pub by_filename: bool,
    /// Tables that are looked up by a part, with their keys.
    pub tables: Vec<(u32, String)>,
}

const SPLITTERS: [&str; 5] = ["foldername", "filename", "split_part", "string_to_array", "path_tokens"];

/// Most tables that a part may be the key of.
const MAX_TABLES: usize = 4;

/// The paths among the columns of a catalog, with what each policy asks of them.
pub(super) fn find(catalog: &Catalog, classes: &Classes) -> BTreeMap<ColumnKey, Vec<PathShape>> {
    let mut found: BTreeMap<ColumnKey, Vec<PathShape>> = BTreeMap::new();
    for relation in catalog.tables() {
        for column in relation.columns.iter().filter(|c| c.category == "S") {
            for policy in &relation.policies {
                let texts = [policy.using.as_deref(), policy.check.as_deref()];
                for text in texts.into_iter().flatten() {
                    if let Some(shape) = shape(catalog, classes, relation, &column.name, text) {
                        let shapes = found.entry((relation.oid, column.name.clone())).or_default();
                        if !shapes.contains(&shape) {
                            shapes.push(shape);
                        }
                    }
                }
            }
        }
    }
    found
}

fn shape(catalog: &Catalog, classes: &Classes, relation: &Relation, column: &str, text: &str) -> Option<PathShape> {
    let callers = callers(text, column);
    if callers.is_empty() {
        return None;
    }
    let (bodies, splitters) = reached(catalog, &callers);
    if splitters.is_empty() {
        return None;
    }
    let mut shape = PathShape {
        by_filename: splitters.contains("filename"),
        ..PathShape::default()
    };
    for other in relation.columns.iter().filter(|c| c.name != column) {
        let asked = classes.literals(relation.oid, &other.name).iter();
        let asked = asked.filter(|v| text.contains(&format!("'{v}'")));
        shape.beside.extend(asked.map(|v| (other.name.clone(), v.clone())));
    }
    for text in std::iter::once(text).chain(bodies.iter().map(String::as_str)) {
        for literal in compared_parts(text) {
            if !shape.literals.contains(&literal) {
                shape.literals.push(literal);
            }
        }
    }
    for table in catalog.tables() {
        let Some([key]) = table.primary_key().map(|k| k.columns.as_slice()) else {
            continue;
        };
        let is_known = classes.is_root(table.oid) || table.oid == relation.oid;
        let is_read = std::iter::once(text)
            .chain(bodies.iter().map(String::as_str))
            .any(|t| words(t).any(|w| w == table.name.name));
        if !is_known && is_read && !classes.is_membership(table) && shape.tables.len() < MAX_TABLES {
            shape.tables.push((table.oid, key.clone()));
        }
    }
    Some(shape)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|w| !w.is_empty())
}

/// Functions that a column is handed to in an expression, at any depth.
fn callers(text: &str, column: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Option<String>> = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if word == column {
            found.extend(open.iter().flatten().cloned());
        }
        match c {
            '(' => open.push((!word.is_empty()).then(|| std::mem::take(&mut word))),
            ')' => {
                open.pop();
            }
            _ => {}
        }
        word.clear();
    }
    found
}

/// Bodies of these functions and of what they call, and what among them takes text apart.
fn reached(catalog: &Catalog, from: &BTreeSet<String>) -> (Vec<String>, BTreeSet<&'static str>) {
    let mut waiting: Vec<String> = from.iter().cloned().collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut bodies = Vec::new();
    let mut splitters = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        splitters.extend(SPLITTERS.iter().find(|s| **s == name));
        if !seen.insert(name.clone()) {
            continue;
        }
        for function in catalog.find_functions(None, &name) {
            // A platform's own splitter says all by its name.
            if !SPLITTERS.contains(&name.as_str()) {
                waiting.extend(words(&function.body).map(str::to_owned));
                bodies.push(function.body.clone());
            }
        }
    }
    (bodies, splitters)
}

/// Literals that something with a subscript, or a part of a text, is compared with.
fn compared_parts(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('\'') {
        let before = text[..at].trim_end();
        let Some(left) = before
            .strip_suffix('=')
            .map(|l| l.trim_end().trim_end_matches(')').trim_end())
        else {
            continue;
        };
        let literal = text[at + 1..].split('\'').next().unwrap_or_default();
        let is_part = left.ends_with(']') || left.rsplit('(').next().is_some_and(|call| call.contains("'/'"));
        if is_part && !literal.is_empty() && literal != "/" {
            found.push(literal.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_is_handed_to_something_that_splits() {
        let policy =
            "((bucket_id = 'a'::text) AND private.can_read(name) AND ((storage.foldername(name))[2] = 'thumbs'::text))";
        assert_eq!(
            callers(policy, "name").into_iter().collect::<Vec<_>>(),
            ["can_read", "foldername"]
        );
        assert_eq!(callers(policy, "bucket_id"), BTreeSet::new());
        assert_eq!(compared_parts(policy), ["thumbs"]);
        assert_eq!(compared_parts("(split_part(key, '/'::text, 2) = 'x'::text)"), ["x"]);
    }
}
