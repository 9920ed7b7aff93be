//! Pairs of columns that refer to a row of any table: `x_type` names the table, `x_id` its row.

use super::{Growth, Values, Variant, Wish};
use crate::model::{Column, Relation};
use crate::pg::conn::ConnError;

/// Endings of the column that names the table.
const TYPES: [&str; 5] = ["_type", "_kind", "_table", "_class", "_entity"];
/// Endings of the column that names the row.
const IDS: [&str; 3] = ["_id", "_uuid", "_key"];

impl<'g> Growth<'g, '_> {
    /// Makes the pairs of a row consistent: the id is of a row of the table that the type names.
    pub(super) async fn pair_polymorphic(
        &mut self,
        table: &'g Relation,
        row: &mut Values,
        fixed: &Values,
        depth: usize,
    ) -> Result<(), ConnError> {
        for (kind, id) in self.pairs(table) {
            let named = row.get(&kind.name).cloned().flatten();
            let mut options: Vec<String> = named.into_iter().collect();
            if !fixed.contains_key(&kind.name) {
                options.extend(kind.labels.iter().cloned());
                options.extend(self.grower.classes.literals(table.oid, &kind.name).iter().cloned());
            }
            for option in options {
                let Some(target) = self.named_table(&option).filter(|t| t.oid != table.oid) else {
                    continue;
                };
                let Some([key]) = target.primary_key().map(|k| k.columns.as_slice()) else {
                    continue;
                };
                let type_fits = target
                    .column(key)
                    .is_some_and(|k| k.base_type == id.base_type || id.category == "S");
                let is_being_made = self.making.iter().any(|(oid, _)| *oid == target.oid);
                if !type_fits || is_being_made {
                    continue;
                }
                if self.universe.base(target.oid).is_none() && depth < 8 {
                    let _ = Box::pin(self.insert(target, &Wish::of(Variant::Base), depth + 1)).await?;
                }
                let value = self
                    .universe
                    .base(target.oid)
                    .and_then(|r| r.values.get(key).cloned().flatten());
                if let Some(value) = value {
                    row.insert(kind.name.clone(), Some(option));
                    row.insert(id.name.clone(), Some(value));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Columns of a table that form such pairs.
    pub(super) fn pairs(&self, table: &'g Relation) -> Vec<(&'g Column, &'g Column)> {
        let free = |c: &&Column| self.is_free(table, &c.name);
        let mut found = Vec::new();
        for kind in table
            .columns
            .iter()
            .filter(free)
            .filter(|c| c.category == "S" || !c.labels.is_empty() || c.base_type == "citext")
        {
            for stem in TYPES.iter().filter_map(|t| kind.name.strip_suffix(t)) {
                let id = table
                    .columns
                    .iter()
                    .filter(free)
                    .find(|c| IDS.iter().any(|i| c.name.strip_suffix(i) == Some(stem)));
                found.extend(id.map(|id| (kind, id)));
            }
        }
        found
    }

    /// The table that a text names, in the singular or plural, in snake or camel case, with or without a schema.
    fn named_table(&self, text: &str) -> Option<&'g Relation> {
        let wanted = normal(text);
        if wanted.is_empty() {
            return None;
        }
        let mut tables: Vec<&&Relation> = self
            .tables
            .values()
            .filter(|t| !t.is_partition && normal(&t.name.name) == wanted)
            .collect();
        tables.sort_by_key(|t| (t.name.to_string() != text, t.name.to_string()));
        tables.first().map(|t| **t)
    }
}

/// A name without schema, case, separators and plural.
fn normal(name: &str) -> String {
    let last = name.rsplit(['.', ':', '/', '\\']).next().unwrap_or(name);
    let plain: String = last
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    match plain.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => plain
            .strip_suffix("es")
            .filter(|s| s.ends_with(['s', 'x', 'h']))
            .or(plain.strip_suffix('s').filter(|s| !s.ends_with('s')))
            .unwrap_or(&plain)
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn names_of_tables_are_told_in_any_shape() {
        for (text, table) in [
            ("Invoice", "invoices"),
            ("public.work_order", "work_orders"),
            ("App\\Models\\Category", "categories"),
            ("address", "addresses"),
            ("WorkOrder", "work_order"),
            ("box", "boxes"),
        ] {
            assert_eq!(normal(text), normal(table), "{text}");
        }
    }
}
