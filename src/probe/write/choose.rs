//! The values that writes try: constants that every row takes, states that conditions tell apart, places, keys of other rows.

use super::source;
use crate::model::{ForeignKey, Relation, UniqueKey};
use crate::probe::trial::Trial;
use crate::world::grow::{Values, paths};
use crate::world::{Class, Form, Universe};

/// Most paths of a universe that are tried in a write.
const MAX_PATHS: usize = 12;

/// A's row at places that policies look for, in one universe's part of them.
pub(super) fn at_paths(
    trial: &Trial<'_>,
    table: &Relation,
    universe: &Universe,
    own: &Values,
    columns: &[String],
) -> Vec<Values> {
    let places = paths(trial.classes, table, universe).into_iter().take(MAX_PATHS);
    let usable = places.filter(|(_, values)| values.keys().all(|c| columns.contains(c)));
    usable
        .map(|(column, mut values)| {
            // Not where a row is already.
            if let Some(Some(path)) = values.get_mut(&column) {
                path.push('0');
            }
            let mut row = own.clone();
            row.extend(values);
            row
        })
        .collect()
}

/// States that conditions tell apart, of columns that the session may write.
pub(super) fn states(trial: &Trial<'_>, table: &Relation, columns: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in columns {
        if trial.classes.class(table.oid, name).is_some() {
            continue;
        }
        let staff = trial.classes.staff_literals(table.oid, name).iter();
        let literals = staff.chain(trial.classes.literals(table.oid, name)).take(4);
        found.extend(literals.map(|value| (name.clone(), value.clone())));
        let is_switch = table.column(name).is_some_and(|c| c.category == "B");
        if is_switch && trial.decides_access(table.oid) && !found.iter().any(|(c, _)| c == name) {
            found.push((name.clone(), "true".to_owned()));
        }
    }
    found
}

/// Columns with a constant that every row takes: neither keys nor identity, with A's own value.
pub(super) fn settable(trial: &Trial<'_>, relation: &Relation, columns: &[String]) -> Vec<(String, String)> {
    let Some(table) = source(trial, relation) else {
        return Vec::new();
    };
    let Some(base) = trial.a.base(table.oid) else {
        return Vec::new();
    };
    let mut found: Vec<(u8, String, String)> = columns
        .iter()
        .filter_map(|name| {
            let column = table.column(name)?;
            if !column.is_insertable() {
                return None;
            }
            let value = base.values.get(name).cloned().flatten()?;
            let in_key = table.keys.iter().any(|k| key_columns(table, k).contains(name));
            let foreign = table.foreign_keys.iter().any(|k| k.columns.contains(name));
            let class = trial.classes.class(table.oid, name).is_some();
            let checked = table.checks.iter().any(|c| c.columns.contains(name))
                || trial.classes.literals(table.oid, name).len() > 1;
            let rank = u8::from(checked) + 2 * u8::from(foreign) + 4 * u8::from(in_key) + 8 * u8::from(class);
            Some((rank, name.clone(), value))
        })
        .collect();
    found.sort_by_key(|(rank, _, _)| *rank);
    found.into_iter().map(|(_, name, value)| (name, value)).collect()
}

/// The columns of a foreign key that can point to B's row while the rest stays A's; none where the tenant is part of it.
pub(super) fn adopt(trial: &Trial<'_>, table: &Relation, key: &ForeignKey, columns: &[String]) -> Option<Values> {
    let is_tenant = |c: &String| matches!(trial.classes.class(table.oid, c), Some((Class::Tenant, Form::Whole)));
    if key.columns.iter().all(is_tenant) || trial.classes.is_shared(key.references) {
        return None;
    }
    let parent: &Universe = trial.b;
    let row = parent.base(key.references)?;
    let moved: Values = key
        .columns
        .iter()
        .zip(&key.referenced_columns)
        .filter(|(here, _)| columns.contains(here) && !is_tenant(here))
        .map(|(here, there)| (here.clone(), row.values.get(there).cloned().flatten()))
        .collect();
    (!moved.is_empty()).then_some(moved)
}

/// Values of B's row for the columns that a trigger of the table may compare with other rows: neither identity, nor a foreign
/// key, nor a key over all tenants, nor a state.
pub(super) fn echo(trial: &Trial<'_>, table: &Relation, columns: &[String]) -> Values {
    let Some(theirs) = trial.b.base(table.oid).filter(|_| !table.triggers.is_empty()) else {
        return Values::new();
    };
    let is_class = |c: &String| trial.classes.class(table.oid, c).is_some();
    let is_fixed = |c: &String| {
        table.foreign_keys.iter().any(|k| k.columns.contains(c))
            || table.keys.iter().any(|k| {
                let parts = key_columns(table, k);
                parts.contains(c) && !parts.iter().any(is_class)
            })
            || trial.classes.literals(table.oid, c).len() > 1
    };
    let echoes = |c: &&String| {
        !is_class(c)
            && !is_fixed(c)
            && table.column(c).is_some_and(|c| {
                c.is_insertable() && c.labels.is_empty() && matches!(c.category.as_str(), "S" | "N" | "U" | "D")
            })
    };
    columns
        .iter()
        .filter(echoes)
        .filter_map(|c| Some((c.clone(), Some(theirs.values.get(c)?.clone()?))))
        .collect()
}

/// Columns of a key, those in its expressions included.
pub(super) fn key_columns(table: &Relation, key: &UniqueKey) -> Vec<String> {
    if !key.has_expressions {
        return key.columns.clone();
    }
    let inside = key.definition.split_once('(').map_or("", |(_, rest)| rest);
    table
        .columns
        .iter()
        .map(|c| c.name.clone())
        .filter(|name| {
            inside
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .any(|word| word == name)
        })
        .collect()
}

pub(super) fn named(trial: &Trial<'_>, table: &Relation, class: Class, columns: &[String]) -> Vec<(String, Form)> {
    table
        .columns
        .iter()
        .filter(|c| columns.contains(&c.name))
        .filter_map(|c| {
            let (found, form) = trial.classes.class(table.oid, &c.name)?;
            (found == class).then(|| (c.name.clone(), form))
        })
        .collect()
}
