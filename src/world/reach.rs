//! What reads what: relations through policies, views and rules, functions through their bodies. Told by the names that
//! occur in a text, so rather too much than too little; text that makes SQL at run time may read anything.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::model::{Catalog, Function, Relation, RelationKind};

/// A relation or a function, by object id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Node {
    Relation(u32),
    Function(u32),
}

/// What reads what in one catalog.
#[derive(Debug, Default)]
pub struct Reach {
    names: HashMap<String, Vec<Node>>,
    /// What a statement that names the key reads.
    reads: BTreeMap<Node, BTreeSet<Node>>,
    /// The same the other way round.
    read_by: BTreeMap<Node, Vec<Node>>,
    /// What rows of the key cannot be without, beyond what it reads.
    needs: BTreeMap<Node, BTreeSet<Node>>,
    /// What may read anything.
    unbounded: BTreeSet<Node>,
    /// Words of what decides which rows show: policies, views, and the functions that these call.
    deciding: HashSet<String>,
}

impl Reach {
    /// Reads it from a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        let mut reach = Self::default();
        for relation in &catalog.relations {
            let named = reach.names.entry(relation.name.name.clone()).or_default();
            named.push(Node::Relation(relation.oid));
        }
        for function in &catalog.functions {
            let named = reach.names.entry(function.name.name.clone()).or_default();
            named.push(Node::Function(function.oid));
        }
        for relation in &catalog.relations {
            reach.add_relation(catalog, relation);
        }
        for function in &catalog.functions {
            reach.add_function(function);
        }
        reach.deciding = deciding(catalog);
        for (node, read) in &reach.reads {
            for inner in read {
                reach.read_by.entry(*inner).or_default().push(*node);
            }
        }
        reach
    }

    fn add_relation(&mut self, catalog: &Catalog, relation: &Relation) {
        let node = Node::Relation(relation.oid);
        let policies = relation.policies.iter().flat_map(|p| [&p.using, &p.check]).flatten();
        let texts = policies.chain(relation.definition.as_ref()).chain(&relation.rules);
        let mut reads: BTreeSet<Node> = texts.flat_map(|text| self.named_in(text)).collect();
        reads.extend(relation.reads.iter().map(|oid| Node::Relation(*oid)));
        reads.extend(catalog.children(relation.oid).map(|c| Node::Relation(c.oid)));
        self.reads.insert(node, reads);
        let checks = relation.checks.iter().map(|c| &c.expression);
        let defaults = relation.columns.iter().filter_map(|c| c.default.as_ref());
        let texts = checks.chain(defaults).chain(&relation.triggers);
        let mut needs: BTreeSet<Node> = texts.flat_map(|text| self.named_in(text)).collect();
        needs.extend(relation.foreign_keys.iter().map(|k| Node::Relation(k.references)));
        needs.extend(relation.parents.iter().map(|oid| Node::Relation(*oid)));
        self.needs.insert(node, needs);
        if relation.kind == RelationKind::ForeignTable {
            self.unbounded.insert(node);
        }
    }

    fn add_function(&mut self, function: &Function) {
        let node = Node::Function(function.oid);
        let is_sql = matches!(function.language.as_str(), "sql" | "plpgsql");
        let makes_sql = words(&function.body).any(|w| {
            let w = w.to_lowercase();
            matches!(w.as_str(), "execute" | "query_to_xml" | "cursor_to_xml") || w.starts_with("dblink")
        });
        if !is_sql || makes_sql {
            self.unbounded.insert(node);
        }
        let reads = self.named_in(&function.body).collect();
        self.reads.insert(node, reads);
    }

    fn named_in<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Node> + use<'t> {
        words(text).flat_map(|word| {
            let folded = word.to_lowercase();
            let exact = self.names.get(word);
            let other = self.names.get(&folded).filter(|_| folded != word);
            exact.into_iter().chain(other).flatten().copied()
        })
    }

    /// Relations that may show something else once rows of these did, themselves included.
    pub fn readers_of(&self, changed: &[u32]) -> BTreeSet<u32> {
        let changed = changed.iter().map(|oid| Node::Relation(*oid));
        let mut found = BTreeSet::new();
        let mut waiting: Vec<Node> = changed.chain(self.unbounded.iter().copied()).collect();
        while let Some(node) = waiting.pop() {
            if found.insert(node) {
                waiting.extend(self.read_by.get(&node).into_iter().flatten());
            }
        }
        relations(found)
    }

    /// Whether anything that decides which rows show may look at a column of this name.
    pub fn decides_by(&self, column: &str) -> bool {
        self.deciding.contains(&column.to_lowercase()) || self.deciding.contains("*")
    }

    /// Tables whose rows a script that names these words cannot be without; none where that may be any.
    pub fn needed_by(&self, script: &str) -> Option<BTreeSet<u32>> {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<Node> = self.named_in(script).collect();
        while let Some(node) = waiting.pop() {
            if self.unbounded.contains(&node) {
                return None;
            }
            if found.insert(node) {
                let next = [&self.reads, &self.needs]
                    .into_iter()
                    .filter_map(|edges| edges.get(&node));
                waiting.extend(next.flatten());
            }
        }
        Some(relations(found))
    }
}

/// Words of policies, rules and views, and of the functions that they call; `*` where one of these makes SQL at run time or
/// reads whole rows.
fn deciding(catalog: &Catalog) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut waiting: Vec<&str> = Vec::new();
    for relation in &catalog.relations {
        let policies = relation.policies.iter().flat_map(|p| [&p.using, &p.check]).flatten();
        let texts = policies.chain(relation.definition.as_ref()).chain(&relation.rules);
        waiting.extend(texts.map(String::as_str));
    }
    while let Some(text) = waiting.pop() {
        for word in words(text) {
            if !found.insert(word.to_lowercase()) {
                continue;
            }
            for function in catalog.find_functions(None, word) {
                let is_sql = matches!(function.language.as_str(), "sql" | "plpgsql");
                if !is_sql || function.body.to_lowercase().contains("execute") || function.body.contains("to_json") {
                    found.insert("*".to_owned());
                }
                waiting.push(&function.body);
            }
        }
    }
    found
}

fn relations(nodes: BTreeSet<Node>) -> BTreeSet<u32> {
    let oid = |node| match node {
        Node::Relation(oid) => Some(oid),
        Node::Function(_) => None,
    };
    nodes.into_iter().filter_map(oid).collect()
}

/// Words of a text that may be names; what stands in double quotes is one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let plain = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
    let quoted = text.split('"').skip(1).step_by(2);
    plain.chain(quoted).filter(|w| !w.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_quoted_or_not() {
        let found: Vec<&str> = words(r#"SELECT "Odd name".x FROM app.member m"#).collect();
        for name in ["Odd name", "member", "app"] {
            assert!(found.contains(&name), "{name}: {found:?}");
        }
    }
}
