//! Rows of tables with a path: one for each way in which a policy may find whose it is.

use super::{Growth, Refusal, Universe, Values, Variant, Wish};
use crate::model::Relation;
use crate::pg::conn::ConnError;
use crate::world::classes::{Classes, PathShape};

/// Most rows of a table that differ by their path.
const MAX_PATHS: usize = 16;

impl PathShape {
    /// Paths of a universe: each part that may say whose it is, alone and beside the others.
    fn paths(&self, universe: &Universe, n: u64) -> Vec<String> {
        let keys = &universe.keys;
        let file = match self.by_filename {
            true => format!("{}.png", keys.tenant),
            false => format!("{}-{n}.png", keys.canary),
        };
        let parts: Vec<String> = self
            .tables
            .iter()
            .filter_map(|(oid, key)| universe.base(*oid)?.values.get(key)?.clone())
            .collect();
        let mut found = Vec::new();
        if self.by_filename {
            let names = [&keys.tenant, &keys.user].into_iter().chain(&parts);
            found.extend(names.map(|name| format!("{name}.png")));
        }
        for first in [&keys.tenant, &keys.user] {
            found.push(format!("{first}/{file}"));
            found.extend(self.literals.iter().map(|l| format!("{first}/{l}/{file}")));
            found.extend(self.literals.iter().map(|l| format!("{l}/{first}/{file}")));
        }
        found.push(format!("{}/{}/{file}", keys.tenant, keys.user));
        for part in &parts {
            found.push(format!("{part}/{file}"));
            found.push(format!("{}/{part}/{file}", keys.tenant));
            found.extend(
                self.literals
                    .iter()
                    .map(|l| format!("{}/{part}/{l}/{file}", keys.tenant)),
            );
            found.extend(
                self.literals
                    .iter()
                    .map(|l| format!("{}/{l}/{part}/{file}", keys.tenant)),
            );
        }
        found
    }
}

/// Where a row stands that is there for another reason: at a place of the universe, too.
pub(super) fn somewhere(
    classes: &Classes,
    table: &Relation,
    column: &str,
    universe: &Universe,
    n: u64,
) -> Option<String> {
    let shape = classes.paths(table.oid, column).first()?;
    let path = shape.paths(universe, n).into_iter().next()?;
    // A number of its own keeps the key of the file what it is.
    Some(match path.rsplit_once('.') {
        Some((path, _)) => format!("{path}.{n}"),
        None => path,
    })
}

/// Values of a table's path, with those that a policy asks for beside it.
pub fn paths(classes: &Classes, table: &Relation, universe: &Universe) -> Vec<(String, Values)> {
    let mut found: Vec<(String, Values)> = Vec::new();
    for column in &table.columns {
        for (n, shape) in classes.paths(table.oid, &column.name).iter().enumerate() {
            for path in shape.paths(universe, n as u64) {
                let mut values = Values::from([(column.name.clone(), Some(path))]);
                for (beside, value) in &shape.beside {
                    values.entry(beside.clone()).or_insert_with(|| Some(value.clone()));
                }
                if !found.iter().any(|(_, known)| *known == values) {
                    found.push((column.name.clone(), values));
                }
            }
        }
    }
    found.truncate(MAX_PATHS);
    found
}

impl<'g> Growth<'g, '_> {
    /// Rows at the paths that policies look for, once the tables are filled that they look into.
    pub(super) async fn at_paths(&mut self, tables: &[&'g Relation]) -> Result<(), ConnError> {
        for table in tables {
            for (column, values) in paths(self.grower.classes, table, &self.universe) {
                let variant = Variant::State {
                    value: values.get(&column).cloned().flatten(),
                    column,
                };
                let made: Result<_, Refusal> = self.insert(table, &Wish::with(variant, values), 0).await?;
                // One that does not fit is one way less to look.
                drop(made);
            }
        }
        Ok(())
    }
}
