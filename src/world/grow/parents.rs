//! Rows that a row refers to: of this universe, of nobody's, seeded by the schema, or grown now. Circles are closed later,
//! or in one statement where a NULL is not allowed.

use super::{GrownRow, Growth, Made, Refusal, Values, Variant, Wish};
use crate::model::{Column, ForeignKey, Relation, UniqueKey};
use crate::pg::conn::ConnError;
use crate::sql::quote;
use crate::world::classes::Class;
use crate::world::values;

/// How deep parents are grown for the sake of a row.
const MAX_DEPTH: usize = 24;

type Pairs = Vec<(String, Option<String>)>;

impl<'g> Growth<'g, '_> {
    /// Whether a key of a table towards itself can only be satisfied by the row itself.
    pub(super) fn refers_to_itself(&self, table: &Relation, key: &ForeignKey, wish: &Wish, row: &Values) -> bool {
        let nullable = is_nullable(table, key, row);
        let has_other = self.universe.base(table.oid).is_some();
        !(nullable || has_other && wish.variant == Variant::Leaf)
    }

    /// Values for the columns of a foreign key.
    pub(super) async fn parent(
        &mut self,
        table: &'g Relation,
        at: usize,
        wish: &Wish,
        row: &Values,
        depth: usize,
        fresh: bool,
    ) -> Made<Pairs> {
        let key = &table.foreign_keys[at];
        let nullable = is_nullable(table, key, row);
        let nothing = || {
            let may = |c: &&String| table.column(c).is_some_and(|c| !c.not_null);
            key.columns
                .iter()
                .filter(may)
                .map(|c| (c.clone(), None))
                .collect::<Pairs>()
        };
        let take = |values: &Values| -> Pairs {
            let there = key.referenced_columns.iter().map(|c| values.get(c).cloned().flatten());
            key.columns.iter().cloned().zip(there).collect()
        };
        if key.references == table.oid && !fresh {
            // The base tenant is the parent of every tenant; a second row has the first as its parent.
            let common = self.grower.common.and_then(|c| c.base(table.oid));
            let above = match common.filter(|_| self.grower.classes.is_root(table.oid)) {
                Some(row) => Some(row),
                None if wish.variant == Variant::Leaf => self.universe.base(table.oid),
                None => None,
            };
            return Ok(Ok(above.map_or_else(nothing, |row| take(&row.values))));
        }
        // Where a literal opens access, the row with that literal is the one to refer to.
        let mut wanted = Values::new();
        for (here, there) in key.columns.iter().zip(&key.referenced_columns) {
            if let Some(value) = wish.fixed.get(here) {
                wanted.insert(there.clone(), value.clone());
            } else if let Some(value) = self.grower.classes.preferred_literal(table.oid, here) {
                wanted.insert(there.clone(), Some(value.to_owned()));
            }
        }
        let is_lookup = self.unowned.contains(&key.references);
        // Columns that other keys hold, too, have their value already: all parents of a row are of one kin.
        let mut kin = Values::new();
        for (here, there) in key
            .columns
            .iter()
            .zip(&key.referenced_columns)
            .filter(|_| key.columns.len() > 1)
        {
            let others = table.foreign_keys.iter().filter(|k| k.columns.contains(here)).count();
            if let Some(value) = row.get(here).filter(|v| v.is_some() && others > 1) {
                kin.insert(there.clone(), value.clone());
            }
        }
        if !fresh {
            let seeds = self.grower.common.map_or(&self.universe.seeds, |c| &c.seeds);
            if let Some(rows) = seeds.get(&key.references).filter(|_| is_lookup)
                && let Some(seed) = self.best(key.references, rows, &wanted)
            {
                return Ok(Ok(take(seed)));
            }
            let fits = |values: &Values| wanted.iter().chain(&kin).all(|(c, v)| values.get(c) == Some(v));
            let own = self.universe.rows_of(key.references);
            let mut known = own.filter(|r| !matches!(r.variant, Variant::Closed { .. }));
            let exact = known.find(|r| fits(&r.values));
            let shared = || self.grower.common.into_iter().flat_map(|c| c.rows_of(key.references));
            if let Some(row) = exact.or_else(|| shared().find(|r| is_lookup && fits(&r.values))) {
                return Ok(Ok(take(&row.values)));
            }
            let base = self.universe.base(key.references);
            let common = || {
                shared()
                    .next()
                    .filter(|_| self.grower.classes.is_shared(key.references))
            };
            let is_kin = |r: &&GrownRow| kin.iter().all(|(c, v)| r.values.get(c) == Some(v));
            if let Some(row) = base.filter(is_kin).or_else(common)
                && !(is_lookup && !wanted.is_empty() && base.is_some())
            {
                return Ok(Ok(take(&row.values)));
            }
        }
        let Some(parent) = self.table(key.references) else {
            return Ok(if nullable {
                Ok(nothing())
            } else {
                Err(Refusal(format!(
                    "the table that {} references is out of reach",
                    key.name
                )))
            });
        };
        // Rows of a shared table are nobody's: a tenant refers to them and makes none.
        if self.grower.common.is_some() && self.grower.classes.is_shared(parent.oid) {
            return Ok(if nullable {
                Ok(nothing())
            } else {
                Err(Refusal(format!("{} has no further row to refer to", parent.name)))
            });
        }
        if self.making.iter().any(|(oid, _)| *oid == parent.oid) {
            if nullable {
                self.cut.push((table.oid, at));
                return Ok(Ok(nothing()));
            }
            return Ok(Ok(take(&self.promise(parent, key))));
        }
        if depth >= MAX_DEPTH {
            return Ok(if nullable {
                Ok(nothing())
            } else {
                Err(Refusal(format!("foreign keys go too deep at {}", key.name)))
            });
        }
        let variant = if self.universe.base(parent.oid).is_none() {
            Variant::Base
        } else {
            Variant::Parent
        };
        let mut fixed = if is_lookup && !fresh { wanted } else { Values::new() };
        fixed.extend(kin);
        let wish = Wish::with(variant, fixed);
        match Box::pin(self.insert(parent, &wish, depth + 1)).await? {
            Ok(index) => Ok(Ok(take(&self.universe.rows[index].values))),
            Err(Refusal(reason)) => {
                // Not the row that was wanted, but one that is there.
                if let Some(row) = self.universe.base(parent.oid).filter(|_| !fresh) {
                    return Ok(Ok(take(&row.values)));
                }
                let seeds = self.grower.common.map_or(&self.universe.seeds, |c| &c.seeds);
                if let Some(seed) = seeds.get(&key.references).and_then(|s| s.first()).filter(|_| !fresh) {
                    return Ok(Ok(take(seed)));
                }
                Ok(if nullable {
                    Ok(nothing())
                } else {
                    Err(Refusal(format!("its parent {} has no row: {reason}", parent.name)))
                })
            }
        }
    }

    /// Of rows that the schema seeded, the one that opens most: it has the values that something compares with.
    fn best<'r>(&self, table: u32, rows: &'r [Values], wanted: &Values) -> Option<&'r Values> {
        let score = |values: &Values| {
            let asked = wanted.iter().filter(|(c, v)| values.get(*c) == Some(v)).count();
            let opening = values
                .iter()
                .filter(|(c, v)| {
                    v.as_deref()
                        .is_some_and(|v| self.grower.classes.preferred_literal(table, c) == Some(v))
                })
                .count();
            let named = values
                .values()
                .flatten()
                .map(|v| self.named_in_calls(v))
                .max()
                .unwrap_or(0);
            asked * 10_000 + opening * 100 + named.min(99)
        };
        let top = rows.iter().map(score).max()?;
        rows.iter().find(|r| score(r) == top)
    }

    /// Key values that a row which is being made will have.
    fn promise(&mut self, parent: &Relation, key: &ForeignKey) -> Values {
        let mut promised = self.promised.get(&parent.oid).cloned().unwrap_or_default();
        for name in &key.referenced_columns {
            let Some(column) = parent.column(name).filter(|_| !promised.contains_key(name)) else {
                continue;
            };
            let value = match self.grower.classes.class(parent.oid, name) {
                Some((class, form)) => Some(form.value(class.key(&self.universe.keys), column)),
                None => self.fresh_value(parent, column).flatten(),
            };
            promised.insert(name.clone(), value);
        }
        self.promised.insert(parent.oid, promised.clone());
        if let Some((_, needs)) = self.making.last_mut() {
            *needs = Some(parent.oid);
        }
        promised
    }

    /// Gives rows that were made with a NULL, because the key closes a circle, their parents.
    pub(super) async fn close_circles(&mut self) -> Result<(), ConnError> {
        let mut cut = std::mem::take(&mut self.cut);
        cut.sort_unstable();
        cut.dedup();
        for (oid, at) in cut {
            let Some(table) = self.table(oid) else { continue };
            let key = &table.foreign_keys[at];
            let Some(primary) = table
                .primary_key()
                .or(table.keys.iter().find(|k| !k.columns.is_empty() && !k.is_partial))
            else {
                continue;
            };
            let Some(parent) = self.universe.base(key.references).map(|r| r.values.clone()) else {
                continue;
            };
            let rows: Vec<usize> = self.universe.by_table.get(&oid).cloned().unwrap_or_default();
            for index in rows {
                let row = &self.universe.rows[index];
                let open: Vec<(&String, String)> = key
                    .columns
                    .iter()
                    .zip(&key.referenced_columns)
                    .filter(|(here, _)| row.values.get(*here).is_none_or(Option::is_none))
                    .filter_map(|(here, there)| Some((here, parent.get(there)?.clone()?)))
                    .collect();
                let chosen = matches!(&row.variant, Variant::State { column, .. } if key.columns.contains(column));
                if open.is_empty() || chosen {
                    continue;
                }
                let sets: Vec<String> = open
                    .iter()
                    .map(|(c, v)| format!("{} = {}", quote::ident(c), quote::literal(v)))
                    .collect();
                let condition: Option<Vec<String>> = primary
                    .columns
                    .iter()
                    .map(|c| {
                        Some(format!(
                            "{} = {}",
                            quote::ident(c),
                            quote::literal(row.values.get(c)?.as_deref()?)
                        ))
                    })
                    .collect();
                let Some(condition) = condition else { continue };
                let update = format!(
                    "UPDATE {} SET {} WHERE {}",
                    table.name,
                    sets.join(", "),
                    condition.join(" AND ")
                );
                let changed: Pairs = open.into_iter().map(|(c, v)| (c.clone(), Some(v))).collect();
                let outcome = self
                    .conn
                    .run(&format!(
                        "SAVEPOINT tp_grow; {update}; SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; RELEASE SAVEPOINT tp_grow"
                    ))
                    .await?;
                if outcome.error.is_some() {
                    self.conn
                        .query("ROLLBACK TO SAVEPOINT tp_grow; RELEASE SAVEPOINT tp_grow")
                        .await?;
                    continue;
                }
                self.universe.rows[index].values.extend(changed);
                self.universe.setup.push(update);
            }
        }
        Ok(())
    }

    /// Changes key columns until no row of this universe has the same key.
    pub(super) async fn make_unique(
        &mut self,
        table: &'g Relation,
        key: &UniqueKey,
        row: &mut Values,
        wish: &Wish,
        depth: usize,
    ) -> Made<()> {
        if key.columns.is_empty() || key.is_exclusion {
            return Ok(Ok(()));
        }
        let is_complete = key.columns.iter().all(|c| row.get(c).is_some_and(Option::is_some));
        // What a computed key takes is left to the server, and so is a partial one of which something is prescribed.
        let is_open = key.has_expressions || (key.is_partial && key.columns.iter().any(|c| wish.fixed.contains_key(c)));
        if is_open || !is_complete || !self.is_taken(table, &key.columns, row) {
            return Ok(Ok(()));
        }
        self.refresh(table, &key.columns, row, wish, depth).await
    }

    /// Whether a row has these values already.
    fn is_taken(&self, table: &Relation, columns: &[String], row: &Values) -> bool {
        let same = |r: &GrownRow| columns.iter().all(|c| row.get(c) == r.values.get(c));
        let values = || {
            columns
                .iter()
                .map(|c| row.get(c).cloned().flatten())
                .collect::<Vec<_>>()
        };
        self.universe.rows_of(table.oid).any(same)
            || (!self.taken.is_empty() && self.taken.contains(&(table.oid, columns.to_vec(), values())))
    }

    /// Gives one of the columns a new value: a plain one if there is, else a fresh parent, else another user.
    pub(super) async fn refresh(
        &mut self,
        table: &'g Relation,
        columns: &[String],
        row: &mut Values,
        wish: &Wish,
        depth: usize,
    ) -> Made<()> {
        let classes = self.grower.classes;
        let promised = self.promised.get(&table.oid).cloned().unwrap_or_default();
        let free = |c: &&String| {
            !wish.fixed.contains_key(*c)
                && !promised.contains_key(*c)
                && table.column(c).is_some_and(Column::is_insertable)
        };
        let class = |c: &str| classes.class(table.oid, c).map(|(class, _)| class);
        let is_foreign = |c: &String| table.foreign_keys.iter().any(|k| k.columns.contains(c));
        let plain = columns
            .iter()
            .filter(free)
            .filter(|c| class(c).is_none() && !is_foreign(c));
        for column in plain
            .filter_map(|c| table.column(c))
            .filter(|c| c.category != "B" && c.labels.is_empty())
        {
            let before = row.get(&column.name).cloned();
            if let Some(value) = self.fresh_value(table, column)
                && before.as_ref() != Some(&value)
            {
                row.insert(column.name.clone(), value);
                return Ok(Ok(()));
            }
        }
        for (at, key) in table.foreign_keys.iter().enumerate() {
            let moves = key
                .columns
                .iter()
                .any(|c| columns.contains(c) && free(&c) && class(c) != Some(Class::Tenant));
            if !moves || key.references == table.oid {
                continue;
            }
            // A lookup table has other rows already.
            if let Some(other) = self.other_seed(table, key, row, columns) {
                row.extend(other);
                return Ok(Ok(()));
            }
            if let Ok(parent) = Box::pin(self.parent(table, at, wish, row, depth + 1, true)).await? {
                for (column, value) in parent {
                    if !wish.fixed.contains_key(&column) {
                        row.insert(column, value);
                    }
                }
                return Ok(Ok(()));
            }
        }
        let user = columns
            .iter()
            .filter(free)
            .find(|c| matches!(class(c), Some(Class::User | Class::Email)) && !is_foreign(c));
        if let Some(column) = user.and_then(|c| table.column(c)) {
            let n = self.universe.next();
            if let Some(value) = values::generate_among(&self.grower.catalog.types, column, &self.universe.keys, n) {
                row.insert(column.name.clone(), Some(value));
                return Ok(Ok(()));
            }
        }
        // Labels and flags, last.
        for column in columns
            .iter()
            .filter(free)
            .filter_map(|c| table.column(c))
            .filter(|c| class(&c.name).is_none())
        {
            let flags = ["true".to_owned(), "false".to_owned()];
            let options: &[String] = if column.category == "B" { &flags } else { &column.labels };
            let used = |v: &String| {
                self.universe.rows_of(table.oid).any(|r| {
                    r.values
                        .get(&column.name)
                        .cloned()
                        .flatten()
                        .is_some_and(|u| u == *v || (column.category == "B" && u[..1] == v[..1]))
                })
            };
            if let Some(value) = options.iter().find(|v| !used(v)).cloned() {
                row.insert(column.name.clone(), Some(value));
                return Ok(Ok(()));
            }
        }
        Ok(Err(Refusal(format!("one row a tenant fits ({})", columns.join(", ")))))
    }

    /// Another row that the schema seeded, which no row of the table refers to yet by this key.
    fn other_seed(&self, table: &Relation, key: &ForeignKey, row: &Values, columns: &[String]) -> Option<Pairs> {
        let seeds = self
            .grower
            .common
            .map_or(&self.universe.seeds, |c| &c.seeds)
            .get(&key.references);
        let shared = self
            .grower
            .common
            .filter(|_| self.grower.classes.is_shared(key.references));
        let grown = shared
            .into_iter()
            .flat_map(|c| c.rows_of(key.references))
            .map(|r| &r.values);
        // Rows that were made to be referred to, rather than one more for every row that refers.
        let is_parent = |r: &&GrownRow| matches!(r.variant, Variant::Leaf | Variant::Parent) && !r.values.is_empty();
        let own = self
            .universe
            .rows_of(key.references)
            .filter(is_parent)
            .map(|r| &r.values);
        let known: Vec<&Values> = seeds.into_iter().flatten().chain(grown).chain(own).collect();
        let others = |c: &String| table.foreign_keys.iter().filter(|k| k.columns.contains(c)).count() > 1;
        let stays = |pairs: &Pairs| {
            key.columns.len() == 1
                || pairs
                    .iter()
                    .all(|(c, v)| !others(c) || row.get(c).is_none_or(|known| known == v))
        };
        let take = |values: &Values| -> Pairs {
            let there = key.referenced_columns.iter().map(|c| values.get(c).cloned().flatten());
            key.columns.iter().cloned().zip(there).collect()
        };
        known.into_iter().map(take).filter(stays).find(|pairs| {
            let mut moved = row.clone();
            moved.extend(pairs.iter().cloned());
            !self.is_taken(table, columns, &moved)
        })
    }
}

/// Whether a row may do without the parent. Under MATCH FULL all of its columns have to be NULL then.
fn is_nullable(table: &Relation, key: &ForeignKey, row: &Values) -> bool {
    let may = |c: &String| table.column(c).is_some_and(|c| !c.not_null);
    if key.match_full {
        key.columns
            .iter()
            .all(|c| may(c) && row.get(c).is_none_or(Option::is_none))
    } else {
        key.columns.iter().any(may)
    }
}
