//! Mending a row that the server refused, from what it said.

use super::insert::{Attempt, is_raised};
use super::{Growth, Values, Variant, Wish};
use crate::model::{Column, Relation, UniqueKey};
use crate::pg::conn::{ConnError, DbError};

/// Values of columns that a trigger is offered, at most.
const MAX_VARIED: usize = 6;

impl<'g> Growth<'g, '_> {
    /// Changes the row by what the server said; whether another try makes sense.
    pub(super) async fn mend(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
        row: &mut Values,
        error: &DbError,
        attempt: &mut Attempt,
        depth: usize,
    ) -> Result<bool, ConnError> {
        // A row that waits to be made together with this one.
        if let Some(at) = self.waiting_at_fault(table, error) {
            return self.mend_waiting(at, error, attempt, depth).await;
        }
        // An error within a trigger's own statements is no fault of these columns.
        let is_nested = error
            .table
            .as_ref()
            .is_some_and(|t| *t != table.name.name && !self.is_partition_of(t, table));
        match error.code.as_str() {
            _ if is_nested && is_raised(error) => Ok(self.vary(table, wish, row, attempt)),
            // check_violation: of a constraint, a domain, or no partition for the row
            "23514" => {
                let check = error
                    .constraint
                    .as_ref()
                    .and_then(|name| table.checks.iter().find(|c| c.name == *name));
                if let Some(check) = check {
                    return self.solve(table, wish, row, &check.columns, None).await;
                }
                let partition = wish.partition.or_else(|| {
                    let leaves = if table.is_partition {
                        vec![table.oid]
                    } else {
                        self.leaves(table.oid)
                    };
                    let at = usize::try_from(self.universe.next()).unwrap_or(0);
                    leaves.get(at % leaves.len().max(1)).copied()
                });
                if error.constraint.is_none()
                    && let Some(partition) = partition
                {
                    return self.fit_partition(table, wish, row, partition).await;
                }
                self.solve_types(table, wish, row).await
            }
            // unique_violation, exclusion_violation
            "23505" | "23P01" => {
                let key = error
                    .constraint
                    .as_ref()
                    .and_then(|name| table.keys.iter().find(|k| k.name == *name));
                self.mend_key(table, wish, row, key, depth).await
            }
            // foreign_key_violation
            "23503" => self.mend_foreign_key(table, wish, row, error, depth).await,
            // not_null_violation: a default gave NULL
            "23502" => {
                let Some(column) = table.columns.iter().find(|c| {
                    error.message.contains(&format!("\"{}\"", c.name)) && !row.get(&c.name).is_some_and(Option::is_some)
                }) else {
                    return Ok(self.vary(table, wish, row, attempt));
                };
                if wish.fixed.contains_key(&column.name) || !column.is_insertable() {
                    return Ok(false);
                }
                let Some(Some(value)) = self.fresh_value(table, column) else {
                    return Ok(false);
                };
                row.insert(column.name.clone(), Some(value));
                Ok(true)
            }
            // A value that the type does not take, or a part of the row that a trigger does not.
            code if code.starts_with("22") || code == "42804" || code == "54000" => {
                if self.solve_types(table, wish, row).await? {
                    return Ok(true);
                }
                Ok(self.vary(table, wish, row, attempt) || self.drop_optional(table, wish, row, attempt))
            }
            _ => Ok(self.vary(table, wish, row, attempt) || self.drop_optional(table, wish, row, attempt)),
        }
    }

    fn is_partition_of(&self, name: &str, table: &Relation) -> bool {
        let below = |oid: &u32| self.table(*oid).is_some_and(|t| t.name.name == name);
        self.partitions.get(&table.oid).is_some_and(|p| p.iter().any(below)) || self.leaves(table.oid).iter().any(below)
    }

    fn waiting_at_fault(&self, table: &Relation, error: &DbError) -> Option<usize> {
        let named = error.table.as_deref().filter(|t| *t != table.name.name)?;
        self.waiting
            .iter()
            .position(|w| self.table(w.table).is_some_and(|t| t.name.name == named))
    }

    async fn mend_waiting(
        &mut self,
        at: usize,
        error: &DbError,
        attempt: &mut Attempt,
        depth: usize,
    ) -> Result<bool, ConnError> {
        let mut waiting = self.waiting.remove(at);
        let Some(table) = self.table(waiting.table) else {
            return Ok(false);
        };
        let mut wish = Wish::of(Variant::Base);
        // What others refer to already stays.
        for key in table.keys.iter().filter(|k| k.is_primary) {
            wish.fixed.extend(
                key.columns
                    .iter()
                    .filter_map(|c| Some((c.clone(), waiting.row.get(c)?.clone()))),
            );
        }
        let mended = Box::pin(self.mend(table, &wish, &mut waiting.row, error, attempt, depth)).await?;
        self.universe.rows[waiting.at].values = waiting.row.clone();
        self.waiting.insert(at.min(self.waiting.len()), waiting);
        Ok(mended)
    }

    /// Gives the row values that a partition takes.
    pub(super) async fn fit_partition(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
        row: &mut Values,
        partition: u32,
    ) -> Result<bool, ConnError> {
        let Some(constraint) = self.table(partition).and_then(|t| t.partition_constraint.clone()) else {
            return Ok(false);
        };
        let named = |c: &&Column| {
            crate::world::values::condition::parse(&constraint)
                .columns()
                .contains(&c.name.as_str())
        };
        let mut columns: Vec<String> = table.columns.iter().filter(named).map(|c| c.name.clone()).collect();
        if columns.is_empty() {
            let mentioned = table.columns.iter().filter(|c| constraint.contains(c.name.as_str()));
            columns = mentioned.map(|c| c.name.clone()).collect();
        }
        self.solve(table, wish, row, &columns, Some(&constraint)).await
    }

    /// Whether what a partition asks is asked of one column at a time, so that a row that was planned for it is of it.
    pub(super) fn is_plain_partition(&self, partition: u32) -> bool {
        use crate::world::values::condition::{Expr, parse};
        let Some(constraint) = self.table(partition).and_then(|t| t.partition_constraint.as_deref()) else {
            return true;
        };
        let is_plain = |e: &Expr| match e {
            Expr::IsNull(inner, _) => matches!(**inner, Expr::Column(_)),
            Expr::Binary(_, left, right) => {
                matches!(**left, Expr::Column(_)) && matches!(**right, Expr::Literal(_) | Expr::List(_))
            }
            _ => false,
        };
        parse(constraint).conjuncts().into_iter().all(is_plain)
    }

    async fn mend_key(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
        row: &mut Values,
        key: Option<&UniqueKey>,
        depth: usize,
    ) -> Result<bool, ConnError> {
        // A partial key is left by making its condition false.
        if let Some(key) = key.filter(|k| k.is_partial)
            && let Some((_, predicate)) = key.definition.rsplit_once(" WHERE ")
        {
            let parsed = crate::world::values::condition::parse(predicate);
            let outside = format!("(NOT coalesce({predicate}, false))");
            let columns: Vec<String> = parsed
                .columns()
                .into_iter()
                .filter(|c| table.column(c).is_some() && !key.columns.iter().any(|k| k == c))
                .map(str::to_owned)
                .collect();
            if !columns.is_empty() && self.solve(table, wish, row, &columns, Some(&outside)).await? {
                return Ok(true);
            }
        }
        match key {
            Some(key) if !key.has_expressions && !key.columns.is_empty() && !key.is_exclusion => {
                Ok(self.refresh(table, &key.columns, row, wish, depth).await?.is_ok())
            }
            key => {
                // Computed keys and exclusion: every plain column that takes part gets another value.
                let takes_part = |c: &Column| {
                    key.is_none_or(|k| k.columns.contains(&c.name) || mentions_word(&k.definition, &c.name))
                };
                let mut changed = false;
                for column in table
                    .columns
                    .iter()
                    .filter(|c| takes_part(c) && c.category != "B" && c.labels.is_empty())
                {
                    if !self.is_free(table, &column.name) || wish.fixed.contains_key(&column.name) {
                        continue;
                    }
                    if row.get(&column.name).is_none_or(Option::is_none) && column.not_null {
                        continue;
                    }
                    if let Some(Some(value)) = self.fresh_value(table, column) {
                        changed |= row.insert(column.name.clone(), Some(value.clone())) != Some(Some(value));
                    }
                }
                if changed {
                    let ordered = self.rules(table);
                    for (low, high) in &ordered.ordered {
                        if let (Some(Some(a)), Some(Some(b))) = (row.get(low).cloned(), row.get(high).cloned())
                            && a > b
                            && a.len() == b.len()
                        {
                            row.insert(low.clone(), Some(b));
                            row.insert(high.clone(), Some(a));
                        }
                    }
                    return Ok(true);
                }
                let columns: Vec<String> = table
                    .columns
                    .iter()
                    .filter(|c| takes_part(c))
                    .map(|c| c.name.clone())
                    .collect();
                Ok(self.refresh(table, &columns, row, wish, depth).await?.is_ok())
            }
        }
    }

    async fn mend_foreign_key(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
        row: &mut Values,
        error: &DbError,
        depth: usize,
    ) -> Result<bool, ConnError> {
        let Some(at) = table
            .foreign_keys
            .iter()
            .position(|k| error.constraint.as_deref().is_some_and(|name| name == k.name))
        else {
            return Ok(false);
        };
        let key = &table.foreign_keys[at];
        let Some(parent) = self.table(key.references) else {
            return Ok(false);
        };
        let is_others = self.grower.common.is_some() && self.grower.classes.is_shared(parent.oid);
        if self.making.iter().filter(|(oid, _)| *oid == parent.oid).count() > usize::from(parent.oid == table.oid) {
            return Ok(false);
        }
        // The parent that the values name, first; then any.
        let named: Values = key
            .columns
            .iter()
            .zip(&key.referenced_columns)
            .filter_map(|(here, there)| Some((there.clone(), row.get(here)?.clone())))
            .filter(|(_, v)| v.is_some())
            .collect();
        if parent.oid != table.oid && named.len() == key.columns.len() && !is_others {
            let parents = Wish::with(Variant::Parent, named);
            if Box::pin(self.insert(parent, &parents, depth + 1)).await?.is_ok() {
                return Ok(true);
            }
        }
        let is_fixed = key.columns.iter().any(|c| wish.fixed.contains_key(c));
        let nullable: Vec<&String> = key
            .columns
            .iter()
            .filter(|c| table.column(c).is_some_and(|c| !c.not_null) && row.get(*c).is_some_and(Option::is_some))
            .filter(|c| !wish.fixed.contains_key(*c))
            .collect();
        if is_fixed && nullable.is_empty() {
            return Ok(false);
        }
        let mut changed = false;
        if let Ok(pairs) = Box::pin(self.parent(table, at, wish, row, depth, false)).await? {
            for (column, value) in pairs {
                if value.is_some() && !wish.fixed.contains_key(&column) {
                    changed |= row.insert(column, value.clone()) != Some(value);
                }
            }
        }
        if !changed {
            for column in nullable {
                changed |= row.insert(column.clone(), None) != Some(None);
            }
        }
        Ok(changed)
    }

    /// Offers a trigger another of the values that something distinguishes; what it takes is kept for the next row.
    fn vary(&mut self, table: &'g Relation, wish: &Wish, row: &mut Values, attempt: &mut Attempt) -> bool {
        if attempt.varied >= MAX_VARIED || !wish.is_base() {
            return false;
        }
        let classes = self.grower.classes;
        let mut options: Vec<(String, String)> = Vec::new();
        for column in table
            .columns
            .iter()
            .filter(|c| self.is_free(table, &c.name) && !wish.fixed.contains_key(&c.name))
        {
            let known = column.labels.iter().chain(classes.literals(table.oid, &column.name));
            let used = row.get(&column.name).cloned().flatten();
            for value in known.take(4) {
                if used.as_deref() != Some(value) {
                    options.push((column.name.clone(), value.clone()));
                }
            }
        }
        let Some((column, value)) = options.get(attempt.varied).cloned() else {
            return false;
        };
        attempt.varied += 1;
        row.insert(column, Some(value));
        true
    }

    /// Leaves out what may be left out, once.
    fn drop_optional(&mut self, table: &'g Relation, wish: &Wish, row: &mut Values, attempt: &mut Attempt) -> bool {
        if attempt.dropped {
            return false;
        }
        attempt.dropped = true;
        let mut changed = false;
        for column in table
            .columns
            .iter()
            .filter(|c| !c.not_null && !wish.fixed.contains_key(&c.name))
        {
            if self.grower.classes.class(table.oid, &column.name).is_none()
                && row.get(&column.name).is_some_and(Option::is_some)
            {
                row.insert(column.name.clone(), None);
                changed = true;
            }
        }
        changed
    }
}

fn mentions_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|w| w == word)
}
