//! Calling functions as a session: arguments drawn from A's keys, B's keys and the rows of both.

use std::collections::BTreeSet;

use super::trial::Trial;
use crate::model::{Argument, Column, Function, FunctionKind, Generated, Identity, Relation};
use crate::sql::quote;
use crate::world::{Class, GrownRow, Universe, values};

/// Most calls a function gets.
const MAX_CALLS: usize = 28;
/// Most texts of B's that a function is asked for.
const MAX_TEXTS: usize = 4;

/// Whose values the arguments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taste {
    /// A's.
    Own,
    /// B's, at least one of them.
    Foreign,
    /// Neither: NULL, wildcards, crafted text.
    Neutral,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The statement.
    pub sql: String,
    /// Whose values it passes.
    pub taste: Taste,
}

/// Calls to try.
pub fn calls(trial: &Trial<'_>, function: &Function) -> Vec<Call> {
    let crafted = crafted(trial, function);
    let options: Vec<Vec<(Taste, String)>> = function
        .arguments
        .iter()
        .map(|a| {
            let mut list = arguments(trial, a, &function.body);
            if a.category == "S" {
                // Ahead of the other neutral values: there is a limit to the number of calls.
                let at = list
                    .iter()
                    .position(|(t, _)| *t == Taste::Neutral)
                    .unwrap_or(list.len());
                let texts = crafted
                    .iter()
                    .map(|text| (Taste::Neutral, format!("{}::{}", quote::literal(text), a.type_name)));
                list.splice(at..at, texts);
            }
            list
        })
        .collect();
    let mut calls: Vec<Call> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut push = |chosen: Vec<&(Taste, String)>| {
        let taste = if chosen.iter().any(|(t, _)| *t == Taste::Foreign) {
            Taste::Foreign
        } else if chosen.is_empty() || chosen.iter().any(|(t, _)| *t == Taste::Own) {
            Taste::Own
        } else {
            Taste::Neutral
        };
        let list: Vec<&str> = chosen.iter().map(|(_, v)| v.as_str()).collect();
        let sql = statement(function, &list);
        if seen.insert(sql.clone()) && calls.len() < MAX_CALLS {
            calls.push(Call { sql, taste });
        }
    };
    if options.iter().any(Vec::is_empty) {
        return calls;
    }
    // All of one kind first; then one argument varies while the rest stays.
    let nth = |list: &'_ Vec<(Taste, String)>, taste: Taste, n: usize| {
        list.iter()
            .filter(|(t, _)| *t == taste)
            .nth(n)
            .or_else(|| list.iter().find(|(t, _)| *t == taste))
            .cloned()
    };
    let pick = |taste: Taste, n: usize| -> Vec<(Taste, String)> {
        options
            .iter()
            .map(|l| {
                nth(l, taste, n)
                    .or_else(|| nth(l, Taste::Own, n))
                    .unwrap_or_else(|| l[0].clone())
            })
            .collect()
    };
    for n in 0..3 {
        for taste in [Taste::Own, Taste::Foreign, Taste::Neutral] {
            push(pick(taste, n).iter().collect());
        }
    }
    // Text for a statement that is put together, with no other condition on what it finds.
    for (at, list) in options.iter().enumerate() {
        let is_crafted = |o: &&(Taste, String)| crafted.iter().any(|c| o.1.starts_with(&quote::literal(c)));
        for option in list.iter().filter(is_crafted) {
            let mut chosen: Vec<&(Taste, String)> = options.iter().filter_map(|l| l.last()).collect();
            chosen[at] = option;
            push(chosen);
        }
    }
    // Text of B's that is searched for, in its tenant and in none.
    let with_rest: [Vec<(Taste, String)>; 2] = [
        pick(Taste::Foreign, 0),
        options.iter().filter_map(|l| l.last().cloned()).collect(),
    ];
    for (at, list) in options.iter().enumerate().filter(|_| options.len() > 1) {
        let is_text = function.arguments[at].category == "S";
        let foreign = list.iter().filter(|(taste, _)| is_text && *taste == Taste::Foreign);
        for option in foreign.take(MAX_TEXTS) {
            for rest in &with_rest {
                let mut chosen: Vec<&(Taste, String)> = rest.iter().collect();
                chosen[at] = option;
                push(chosen);
            }
        }
    }
    for base in [Taste::Own, Taste::Foreign] {
        let start = pick(base, 0);
        for (at, list) in options.iter().enumerate() {
            for option in list {
                let mut chosen: Vec<&(Taste, String)> = start.iter().collect();
                chosen[at] = option;
                push(chosen);
            }
        }
    }
    calls
}

/// A call that hands over the key of a row of a table, where a function takes one; everything else is A's.
pub fn with_key(trial: &Trial<'_>, function: &Function, table: &Relation, row: &GrownRow) -> Option<String> {
    let [column] = table.primary_key()?.columns.as_slice() else {
        return None;
    };
    let (key, shape) = (row.values.get(column)?.as_ref()?, table.column(column)?);
    let takes = |a: &Argument| {
        a.type_name == shape.type_name && (function.arguments.len() == 1 || refers_to(&plain_name(a), &table.name.name))
    };
    if !function.arguments.iter().any(takes) {
        return None;
    }
    let list: Option<Vec<String>> = function
        .arguments
        .iter()
        .map(|a| match takes(a) {
            true => Some(format!("{}::{}", quote::literal(key), a.type_name)),
            false => arguments(trial, a, &function.body).into_iter().next().map(|(_, v)| v),
        })
        .collect();
    let list = list?;
    Some(statement(
        function,
        &list.iter().map(String::as_str).collect::<Vec<_>>(),
    ))
}

/// Text for statements that a function puts together: an expression that reads a relation which the body names.
fn crafted(trial: &Trial<'_>, function: &Function) -> Vec<String> {
    if !function.body.to_uppercase().contains("EXECUTE") {
        return Vec::new();
    }
    // By its full name first: short names are words of other texts, too.
    let place = |r: &crate::model::Relation| {
        if r.kind == crate::model::RelationKind::Sequence {
            None
        } else if function.body.contains(&r.name.to_string()) {
            Some(0)
        } else {
            function.body.contains(r.name.name.as_str()).then_some(1)
        }
    };
    let mut named: Vec<(u8, &crate::model::Relation)> = trial
        .catalog
        .relations
        .iter()
        .filter_map(|r| Some((place(r)?, r)))
        .collect();
    named.sort_by_key(|(place, r)| (*place, std::cmp::Reverse(r.name.name.len())));
    let mut texts = Vec::new();
    for (_, relation) in named.into_iter().take(2) {
        let read = format!(
            "(SELECT pg_catalog.string_agg(x::text, ' ') FROM {} AS x)",
            relation.name
        );
        texts.push(read.clone());
        texts.push(format!("' || {read} || '"));
    }
    texts
}

fn statement(function: &Function, arguments: &[&str]) -> String {
    let mut list: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    if function.is_variadic
        && let Some(last) = list.last_mut()
    {
        *last = format!("VARIADIC {last}");
    }
    let call = format!("{}({})", function.name, list.join(", "));
    if function.kind == FunctionKind::Procedure {
        format!("CALL {call}")
    } else {
        format!("SELECT f::text FROM {call} AS f")
    }
}

/// Values for one argument: keys by name and type, then rows' values of the type.
fn arguments(trial: &Trial<'_>, argument: &Argument, body: &str) -> Vec<(Taste, String)> {
    let mut found: Vec<(Taste, String)> = Vec::new();
    let mut push = |taste: Taste, value: &str| {
        let text = format!("{}::{}", quote::literal(value), argument.type_name);
        if !found.iter().any(|(_, v)| *v == text) {
            found.push((taste, text));
        }
    };
    let is_text = argument.category == "S" || argument.type_name == "citext";
    if argument.type_name == "regclass" {
        for relation in trial
            .catalog
            .tables()
            .filter(|r| trial.privileges.relations.contains_key(&r.oid))
            .take(6)
        {
            push(Taste::Own, &relation.name.to_string());
        }
        return found;
    }
    if argument.type_name == "name" {
        let mut names: Vec<String> = trial
            .catalog
            .tables()
            .flat_map(|t| t.columns.iter().map(|c| c.name.clone()))
            .collect();
        names.sort();
        names.dedup();
        names.iter().take(8).for_each(|n| push(Taste::Own, n));
        // Roles and schemas of tenants are names.
        push(Taste::Own, &trial.a.keys.tenant);
        push(Taste::Foreign, &trial.b.keys.tenant);
        return found;
    }
    for (taste, universe) in [(Taste::Own, trial.a), (Taste::Foreign, trial.b)] {
        for value in fitting(trial, universe, argument, body) {
            push(taste, &value);
        }
    }
    if is_text {
        push(Taste::Neutral, "%");
        push(Taste::Neutral, "");
        push(Taste::Neutral, "' OR true --");
        push(Taste::Neutral, "true");
        push(Taste::Neutral, "%' OR true --");
    }
    if argument.type_name.starts_with("json") {
        push(Taste::Neutral, "{}");
    }
    for label in &argument.labels {
        push(Taste::Neutral, label);
    }
    if argument.category == "B" {
        push(Taste::Neutral, "true");
        push(Taste::Neutral, "false");
    }
    if argument.category == "N" {
        push(Taste::Neutral, "10");
        push(Taste::Neutral, "0");
    }
    if let Some(value) = values::generate(&column_of(argument), &trial.a.keys, 7) {
        push(Taste::Neutral, &value);
    }
    found.push((Taste::Neutral, format!("NULL::{}", argument.type_name)));
    found
}

/// Values of a universe that fit: by the argument's name, its key; by its type, keys and row values.
fn fitting(trial: &Trial<'_>, universe: &Universe, argument: &Argument, body: &str) -> Vec<String> {
    let mut ranked: Vec<(u8, String)> = Vec::new();
    let name = plain_name(argument);
    for table in trial.catalog.tables() {
        for column in &table.columns {
            let same_type = column.type_name == argument.type_name
                || column.base_type == argument.type_name
                || (column.category == "S" && argument.category == "S");
            if !same_type {
                continue;
            }
            let class = trial.classes.class(table.oid, &column.name).map(|(c, _)| c);
            let is_key = table.keys.iter().any(|k| k.columns.contains(&column.name));
            let alike = name.len() > 2 && column.name.contains(&name)
                || column.name.len() > 2 && name.contains(&column.name)
                || name.contains(&table.name.name);
            let says = |text: &str| {
                body.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .any(|word| word == text)
            };
            let rank = match class {
                _ if !name.is_empty() && column.name == name => 0,
                // `account_id` for the key of `accounts`.
                _ if is_key && refers_to(&name, &table.name.name) => 1,
                _ if !name.is_empty() && alike => 2,
                Some(Class::Tenant) => 3,
                // Text that is searched for stands in what the body reads.
                None if argument.category == "S" && says(&column.name) && says(&table.name.name) => 3,
                Some(Class::User | Class::Email) => 4,
                None if is_key => 5,
                None => 6,
            };
            // What cannot be guessed is a capability: who holds it was given it.
            if universe.keys != trial.a.keys && is_secret(&column.name) {
                continue;
            }
            for row in universe.rows_of(table.oid).take(2) {
                if let Some(Some(value)) = row.values.get(&column.name) {
                    ranked.push((rank, value.clone()));
                }
            }
        }
    }
    if argument.category == "S" || argument.type_name == "uuid" {
        let root = trial.catalog.tables().find(|t| trial.classes.is_root(t.oid));
        let is_tenants = root.is_some_and(|t| refers_to(&name, &t.name.name));
        ranked.push((if is_tenants { 0 } else { 3 }, universe.keys.tenant.clone()));
        ranked.push((4, universe.keys.user.clone()));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut values: Vec<String> = Vec::new();
    for (_, value) in ranked {
        let fits = argument.type_name != "uuid" || value.len() == 36;
        if fits && !values.contains(&value) {
            values.push(value);
        }
    }
    values.truncate(6);
    values
}

/// An argument's name without what marks it as one: `p_account_id`, `_account_id`.
fn plain_name(argument: &Argument) -> String {
    argument
        .name
        .as_deref()
        .unwrap_or("")
        .trim_start_matches("p_")
        .trim_start_matches('_')
        .to_lowercase()
}

/// Whether a name such as `account_id` is that of a key of the table `accounts`.
fn refers_to(name: &str, table: &str) -> bool {
    let stem = name
        .trim_end_matches("_id")
        .trim_end_matches("id")
        .trim_end_matches('_');
    let table = table.to_lowercase();
    stem.len() > 2
        && (table == stem || table == format!("{stem}s") || table == format!("{}ies", stem.trim_end_matches('y')))
}

/// Whether a column, by its name, holds what only those know who were told.
pub fn is_secret(column: &str) -> bool {
    ["token", "secret", "password", "hash", "otp", "nonce", "api_key"]
        .iter()
        .any(|w| column.contains(w))
}

fn column_of(argument: &Argument) -> Column {
    Column {
        name: argument.name.clone().unwrap_or_default(),
        type_name: argument.type_name.clone(),
        base_type: argument.type_name.clone(),
        category: argument.category.clone(),
        labels: argument.labels.clone(),
        domain_checks: Vec::new(),
        element_type: argument.type_name.strip_suffix("[]").map(str::to_owned),
        not_null: false,
        default: None,
        generated: Generated::No,
        identity: Identity::No,
        max_length: None,
    }
}
