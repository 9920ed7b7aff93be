//! Columns that are equal to one another, in groups.

use std::collections::BTreeMap;

use super::super::ColumnKey;

#[derive(Debug, Default)]
pub(super) struct UnionFind {
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

    pub(super) fn find(&mut self, column: ColumnKey) -> usize {
        let slot = self.slot(column);
        self.root(slot)
    }

    pub(super) fn join(&mut self, a: ColumnKey, b: ColumnKey) {
        let (a, b) = (self.slot(a), self.slot(b));
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a] = b;
    }

    pub(super) fn members(&self) -> Vec<ColumnKey> {
        self.index.keys().cloned().collect()
    }
}
