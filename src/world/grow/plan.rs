//! Choosing a value for every column of a row that has to be given.

use super::rules::domain_checks;
use super::{Growth, Made, Refusal, Values, Variant, Wish};
use crate::model::{Column, Relation};
use crate::world::values::condition::parse;
use crate::world::values::limits::{Limit, Target, put};
use crate::world::values::{self, candidates};

/// What a column is given.
enum Choice {
    Default,
    Value(Option<String>),
}

impl<'g> Growth<'g, '_> {
    /// Values of a row.
    pub(super) async fn plan(&mut self, table: &'g Relation, wish: &Wish, depth: usize) -> Made<Values> {
        let rules = self.rules(table);
        let fixed = &wish.fixed;
        let promised = self.promised.get(&table.oid).cloned().unwrap_or_default();
        let bounds = self.bounds(table, wish);
        let mut row = Values::new();
        for column in &table.columns {
            if let Some(value) = fixed.get(&column.name).or_else(|| promised.get(&column.name)) {
                row.insert(column.name.clone(), value.clone());
            } else if !column.is_insertable() {
                continue;
            } else if let Some((class, form)) = self.grower.classes.class(table.oid, &column.name) {
                let value = form.value(class.key(&self.universe.keys), column);
                row.insert(column.name.clone(), Some(value));
            } else if let Some(limit) = bounds.get(&column.name) {
                let n = self.universe.next();
                let target = Target::of(column, &self.grower.catalog.types);
                if let Some(value) = limit.value(&target, &self.universe.keys, n) {
                    row.insert(column.name.clone(), value);
                }
            }
        }
        let mut to_itself = Vec::new();
        for (at, key) in table.foreign_keys.iter().enumerate() {
            if key
                .columns
                .iter()
                .all(|c| fixed.contains_key(c) || promised.contains_key(c))
            {
                continue;
            }
            if key.references == table.oid && self.refers_to_itself(table, key, wish, &row) {
                to_itself.push(key);
                continue;
            }
            match Box::pin(self.parent(table, at, wish, &row, depth, false)).await? {
                Ok(parent) => {
                    for (column, value) in parent {
                        let given = row.get(&column);
                        if fixed.contains_key(&column) || given.is_some_and(|g| g.is_some() && value.is_none()) {
                            continue;
                        }
                        row.insert(column, value);
                    }
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        // Keys that parents, grown just now, refer to already.
        if let Some(promised) = self.promised.get(&table.oid).filter(|_| wish.is_base()) {
            row.extend(promised.clone());
        }
        for column in &table.columns {
            if row.contains_key(&column.name) || !column.is_insertable() {
                continue;
            }
            // A row that refers to itself has to know its key.
            let is_referred = to_itself.iter().any(|k| k.referenced_columns.contains(&column.name));
            match self.free_value(table, column, is_referred) {
                Some(Choice::Default) => {}
                Some(Choice::Value(value)) => {
                    row.insert(column.name.clone(), value);
                }
                None if column.not_null && column.default.is_none() => {
                    return Ok(Err(Refusal(format!(
                        "no value known for type {} of column {}",
                        column.type_name, column.name
                    ))));
                }
                None => {}
            }
        }
        for column in table
            .columns
            .iter()
            .filter(|c| !c.not_null && !fixed.contains_key(&c.name))
        {
            let is_null = self.learned(|m| m.ranks.get(&(table.oid, column.name.clone())) == Some(&None));
            if is_null || rules.limits.get(&column.name).is_some_and(Limit::wants_null) {
                row.insert(column.name.clone(), None);
            }
        }
        Box::pin(self.pair_polymorphic(table, &mut row, fixed, depth)).await?;
        for (low, high) in &rules.ordered {
            self.put_in_order(table, &mut row, fixed, low, high);
        }
        for (one, other) in &rules.same {
            if let Some(value) = row.get(one).cloned().filter(|_| !fixed.contains_key(other))
                && self.is_free(table, other)
            {
                row.insert(other.clone(), value);
            }
        }
        for key in &table.keys {
            if let Err(refusal) = Box::pin(self.make_unique(table, key, &mut row, wish, depth)).await? {
                return Ok(Err(refusal));
            }
        }
        for key in to_itself {
            for (here, there) in key.columns.iter().zip(&key.referenced_columns) {
                if here != there {
                    let value = row.get(there).cloned().flatten();
                    row.insert(here.clone(), value);
                }
            }
        }
        Ok(Ok(row))
    }

    /// Whether a column is neither identity nor a foreign key's.
    pub(super) fn is_free(&self, table: &Relation, column: &str) -> bool {
        table.column(column).is_some_and(Column::is_insertable)
            && self.grower.classes.class(table.oid, column).is_none()
            && !table.foreign_keys.iter().any(|k| k.columns.iter().any(|c| c == column))
    }

    /// What the partition that a row is for asks of its columns: that of the wish, else the first that takes it.
    fn bounds(&self, table: &'g Relation, wish: &Wish) -> std::collections::BTreeMap<String, Limit> {
        let of = |oid: u32| {
            let constraint = self.table(oid).and_then(|t| t.partition_constraint.as_deref());
            constraint
                .map(|c| Limit::of_conditions(&[parse(c)]))
                .unwrap_or_default()
        };
        if table.is_partition {
            return of(table.oid);
        }
        if let Some(partition) = wish.partition {
            return of(partition);
        }
        let leaves = self.leaves(table.oid);
        let fits = |oid: &&u32| {
            self.table(**oid)
                .is_some_and(|t| t.partition_bound.as_deref() != Some("DEFAULT"))
        };
        leaves.iter().find(fits).map(|oid| of(*oid)).unwrap_or_default()
    }

    /// Partitions without partitions of their own, in the order of their names.
    pub(super) fn leaves(&self, table: u32) -> Vec<u32> {
        let mut found = Vec::new();
        for child in self.partitions.get(&table).into_iter().flatten() {
            if self.partitions.contains_key(child) {
                found.extend(self.leaves(*child));
            } else {
                found.push(*child);
            }
        }
        found
    }

    /// A value for a column that is no key of identity and no foreign key.
    fn free_value(&mut self, table: &Relation, column: &Column, wants_key: bool) -> Option<Choice> {
        let classes = self.grower.classes;
        let place = (table.oid, column.name.clone());
        let in_key = wants_key || table.keys.iter().any(|k| k.columns.contains(&column.name));
        if let Some(value) = self.learned(|m| m.settled.get(&place).cloned()) {
            return Some(Choice::Value(value));
        }
        if let Some(document) = self.json_value(table, column) {
            return Some(Choice::Value(Some(document)));
        }
        let n = self.universe.counter;
        if let Some(path) = super::paths::somewhere(classes, table, &column.name, &self.universe, n) {
            return Some(Choice::Value(Some(path)));
        }
        if let Some(group) = classes.group(table.oid, &column.name) {
            if let Some(value) = self.universe.groups.get(&group) {
                return Some(Choice::Value(Some(value.clone())));
            }
            let value = self.fresh_value(table, column)?;
            if let Some(value) = &value {
                self.universe.groups.insert(group, value.clone());
            }
            return Some(Choice::Value(value));
        }
        if classes.is_null_preferred(table.oid, &column.name) && !column.not_null && !in_key {
            return Some(Choice::Value(None));
        }
        if classes.is_compared_with_now(table.oid, &column.name) && column.category == "D" {
            let year = if self.is_past(table, &column.name) {
                "2001"
            } else {
                "2999"
            };
            return Some(Choice::Value(Some(format!("{year}-01-01 00:00:00+00"))));
        }
        // What nothing asks about is still in force: a reader that is mended will ask.
        if column.category == "D" && !column.not_null && super::states::says_ended(&column.name) {
            return Some(Choice::Value(None));
        }
        if let Some(value) = classes.preferred_literal(table.oid, &column.name) {
            return Some(Choice::Value(Some(value.to_owned())));
        }
        if let Some(value) = self.opening_label(table, column) {
            return Some(Choice::Value(Some(value)));
        }
        if let Some(default) = &column.default
            && !in_key
            && !column.is_serial()
            && (!default.contains('(') || default.contains("now()") || default.contains("CURRENT_TIMESTAMP"))
            && !default.starts_with("NULL")
        {
            return Some(Choice::Default);
        }
        self.fresh_value(table, column).map(Choice::Value)
    }

    /// Of the values that a column of a table which decides access may have, the one that policies ask helpers for most often:
    /// `has_role('admin')`.
    fn opening_label(&self, table: &Relation, column: &Column) -> Option<String> {
        if !self.grower.classes.is_authority(table.oid) {
            return None;
        }
        let limit = self.rules.get(&table.oid).and_then(|r| r.limits.get(&column.name));
        let listed = limit.map_or(&[][..], Limit::options);
        let known = column
            .labels
            .iter()
            .chain(listed)
            .chain(self.grower.classes.literals(table.oid, &column.name));
        let mut best: Option<(usize, &String)> = None;
        for value in known {
            let count = self.named_in_calls(value);
            if count > best.map_or(0, |(most, _)| most) {
                best = Some((count, value));
            }
        }
        best.map(|(_, value)| value.clone())
    }

    /// A value that no row has yet, within what the column's conditions ask.
    pub(super) fn fresh_value(&mut self, table: &Relation, column: &Column) -> Option<Option<String>> {
        let types = &self.grower.catalog.types;
        let n = self.universe.next();
        let keys = &self.universe.keys;
        let rank = self.learned(|m| m.ranks.get(&(table.oid, column.name.clone())).copied());
        if let Some(Some(rank)) = rank {
            let conditions = conditions(types, table, column);
            let texts: Vec<&str> = conditions.iter().map(String::as_str).collect();
            if let Some(value) = candidates(types, column, &texts, keys, n).into_iter().nth(rank) {
                return Some(Some(value));
            }
        }
        let rules = self.rules.get(&table.oid);
        let limit = rules
            .and_then(|r| r.limits.get(&column.name))
            .filter(|l| !l.is_pattern());
        let limited = limit.and_then(|l| l.value(&Target::of(column, types), &self.universe.keys, n));
        if let Some(value) = limited {
            return Some(value);
        }
        values::generate_among(types, column, &self.universe.keys, n).map(Some)
    }

    /// A JSON document with the places that something reads and those that a condition asks for.
    fn json_value(&mut self, table: &Relation, column: &Column) -> Option<String> {
        if !column.base_type.starts_with("json") {
            return None;
        }
        let mut document = serde_json::json!({});
        let mut any = false;
        for (path, class) in self.grower.classes.json_places(table.oid, &column.name) {
            if let Some(class) = class {
                put(&mut document, path, class.key(&self.universe.keys).into());
                any = true;
            }
        }
        let n = self.universe.counter;
        let limit = self.rules.get(&table.oid).and_then(|r| r.limits.get(&column.name));
        if let Some(asked) = limit.and_then(|l| l.document(&self.universe.keys, n)) {
            if !asked.is_object() {
                return None;
            }
            merge(&mut document, asked);
            any = true;
        }
        for (path, class) in self.grower.classes.json_places(table.oid, &column.name) {
            if class.is_none() {
                let text = format!("{}-{}", self.universe.keys.canary, path.join("-"));
                put(&mut document, path, text.into());
                any = true;
            }
        }
        any.then(|| document.to_string())
    }

    /// Makes the first column's value lie below the second's.
    fn put_in_order(&mut self, table: &Relation, row: &mut Values, fixed: &Values, low: &str, high: &str) {
        let (Some(Some(a)), Some(Some(b))) = (row.get(low).cloned(), row.get(high).cloned()) else {
            return;
        };
        let below = match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(x), Ok(y)) => x < y,
            _ => a < b,
        };
        let free = |this: &Self, c: &str| this.is_free(table, c) && !fixed.contains_key(c);
        if !below && a != b && free(self, low) && free(self, high) {
            row.insert(low.to_owned(), Some(b));
            row.insert(high.to_owned(), Some(a));
        }
    }
}

/// Texts of the conditions that a column is under.
pub(super) fn conditions(types: &[crate::model::TypeFacts], table: &Relation, column: &Column) -> Vec<String> {
    let own = table.checks.iter().filter(|c| c.columns.contains(&column.name));
    let mut found: Vec<String> = own.map(|c| c.expression.clone()).collect();
    found.extend(domain_checks(types, column));
    found
}

/// Puts what a second document has and a first one has not into the first.
fn merge(document: &mut serde_json::Value, more: serde_json::Value) {
    let (Some(known), serde_json::Value::Object(more)) = (document.as_object_mut(), more) else {
        return;
    };
    for (key, value) in more {
        match known.get_mut(&key) {
            Some(inner) => merge(inner, value),
            None => {
                known.insert(key, value);
            }
        }
    }
}

impl Wish {
    /// Whether the row is one that others refer to.
    pub(super) fn is_base(&self) -> bool {
        matches!(self.variant, Variant::Base | Variant::Parent)
    }
}
