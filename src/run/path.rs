//! The search path of requests. A server in front of the database sets it (PostgREST, a connection string, the application):
//! functions that name tables without a schema tell which schemas it has to hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Catalog;
use crate::sql::expr::Library;
use crate::sql::quote;

/// Schemas that requests need beyond those of the default path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestPath {
    /// `SET search_path = ...`, where the default is not enough.
    pub statement: Option<String>,
    /// What the reader should know of it.
    pub note: Option<String>,
}

/// Schemas whose tables functions name without saying where they are, and which the default path (`SHOW search_path`) lacks.
pub fn of_requests(catalog: &Catalog, default: &str) -> RequestPath {
    let known: BTreeSet<String> = default
        .split(',')
        .map(|s| s.trim().trim_matches('"').to_owned())
        .collect();
    let library = Library::new(catalog);
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    let mut example = None;
    for function in &catalog.functions {
        if function.settings.iter().any(|s| s.starts_with("search_path=")) {
            continue;
        }
        for relation in library.of_function(function).relations {
            if relation.schema.is_some() {
                continue;
            }
            let homes: Vec<&str> = catalog
                .relations
                .iter()
                .filter(|r| r.name.name == relation.name)
                .map(|r| r.name.schema.as_str())
                .collect();
            if let [home] = homes.as_slice()
                && !known.contains(*home)
            {
                *named.entry(home).or_default() += 1;
                example.get_or_insert_with(|| (function.name.to_string(), relation.name.clone()));
            }
        }
    }
    let Some((function, table)) = example else {
        return RequestPath::default();
    };
    let mut schemas: Vec<(&str, usize)> = named.into_iter().collect();
    schemas.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let list: Vec<String> = schemas.iter().map(|(name, _)| quote::ident(name)).collect();
    let path = format!("{default}, {}", list.join(", "));
    RequestPath {
        note: Some(format!(
            "requests are taken to run with search_path {path}: function {function} names {table} without its schema"
        )),
        statement: Some(format!("SET search_path = {path}")),
    }
}

/// A script that runs with this path, on each of its connections.
pub fn in_script(statement: &str, script: &str) -> String {
    let mut text = String::with_capacity(script.len() + 2 * statement.len());
    let mut is_set = false;
    for line in script.split_inclusive('\n') {
        let is_comment = line.starts_with("--") || line.trim().is_empty();
        if !is_set && !is_comment {
            text += &format!("{statement};\n");
            is_set = true;
        }
        text += line;
        if line.starts_with("\\connect") {
            text += &format!("{statement};\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_sets_the_path_on_each_connection() {
        let script = "-- title\nBEGIN;\n\\connect -\nSELECT 1;\n";
        assert_eq!(
            in_script("SET search_path = a", script),
            "-- title\nSET search_path = a;\nBEGIN;\n\\connect -\nSET search_path = a;\nSELECT 1;\n"
        );
    }
}
