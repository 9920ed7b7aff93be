//! Finding things of a catalog by object id or name without walking it.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::catalog::Catalog;

/// Places of relations and functions in a [`Catalog`]; made when first asked for.
///
/// A catalog whose lists change after that is walked instead: what is found is always right, only slower.
#[derive(Debug, Default)]
pub struct Lookup(OnceLock<Places>);

#[derive(Debug, Default)]
struct Places {
    counted: (usize, usize),
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<String, Vec<usize>>,
    functions: HashMap<String, Vec<usize>>,
    children: HashMap<u32, Vec<usize>>,
    referrers: HashMap<u32, Vec<usize>>,
}

/// A copy may be changed: it makes its own.
impl Clone for Lookup {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Places {
    fn of(catalog: &Catalog) -> Self {
        let mut places = Self {
            counted: (catalog.relations.len(), catalog.functions.len()),
            ..Self::default()
        };
        for (at, relation) in catalog.relations.iter().enumerate() {
            places.by_oid.entry(relation.oid).or_insert(at);
            places.by_name.entry(relation.name.name.clone()).or_default().push(at);
            for parent in &relation.parents {
                places.children.entry(*parent).or_default().push(at);
            }
            for key in &relation.foreign_keys {
                let referrers = places.referrers.entry(key.references).or_default();
                if referrers.last() != Some(&at) {
                    referrers.push(at);
                }
            }
        }
        for (at, function) in catalog.functions.iter().enumerate() {
            places.functions.entry(function.name.name.clone()).or_default().push(at);
        }
        places
    }
}

const NONE: &[usize] = &[];

impl Lookup {
    fn places(&self, catalog: &Catalog) -> Option<&Places> {
        let places = self.0.get_or_init(|| Places::of(catalog));
        (places.counted == (catalog.relations.len(), catalog.functions.len())).then_some(places)
    }

    /// Where the relation with this object id is.
    pub(super) fn relation(&self, catalog: &Catalog, oid: u32) -> Option<usize> {
        match self.places(catalog) {
            Some(places) => places.by_oid.get(&oid).copied(),
            None => catalog.relations.iter().position(|r| r.oid == oid),
        }
    }

    /// Where relations of this name are, in their order.
    pub(super) fn named(&self, catalog: &Catalog, name: &str) -> Vec<usize> {
        match self.places(catalog) {
            Some(places) => places.by_name.get(name).map_or(NONE, Vec::as_slice).to_vec(),
            None => matching(&catalog.relations, |r| r.name.name == name),
        }
    }

    /// Where functions of this name are, in their order.
    pub(super) fn functions(&self, catalog: &Catalog, name: &str) -> Vec<usize> {
        match self.places(catalog) {
            Some(places) => places.functions.get(name).map_or(NONE, Vec::as_slice).to_vec(),
            None => matching(&catalog.functions, |f| f.name.name == name),
        }
    }

    /// Where the direct children and partitions of a relation are.
    pub(super) fn children(&self, catalog: &Catalog, oid: u32) -> Vec<usize> {
        match self.places(catalog) {
            Some(places) => places.children.get(&oid).map_or(NONE, Vec::as_slice).to_vec(),
            None => matching(&catalog.relations, |r| r.parents.contains(&oid)),
        }
    }

    /// Where the relations with a foreign key to this one are.
    pub(super) fn referrers(&self, catalog: &Catalog, oid: u32) -> Vec<usize> {
        match self.places(catalog) {
            Some(places) => places.referrers.get(&oid).map_or(NONE, Vec::as_slice).to_vec(),
            None => matching(&catalog.relations, |r| {
                r.foreign_keys.iter().any(|k| k.references == oid)
            }),
        }
    }
}

fn matching<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> Vec<usize> {
    all.iter()
        .enumerate()
        .filter(|(_, x)| wanted(x))
        .map(|(at, _)| at)
        .collect()
}
