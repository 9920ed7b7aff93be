//! What the embedded server cannot judge, as a note of the outcome.

use crate::model::{Catalog, RelationKind};

/// Names what a schema has of it, and what no schema can have judged there.
pub fn not_judged(catalog: &Catalog) -> String {
    let mut parts: Vec<String> = Vec::new();
    let defaults = catalog.default_settings.len();
    if defaults > 0 {
        parts.push(format!(
            "settings that are attached to roles or databases ({defaults} here: ALTER ROLE or DATABASE ... SET is never applied)"
        ));
    }
    let uses = |words: &[&str]| -> Vec<String> {
        let mut names: Vec<String> = catalog
            .functions
            .iter()
            .filter(|f| words.iter().any(|w| f.body.to_lowercase().contains(w)))
            .map(|f| f.identity())
            .collect();
        names.truncate(5);
        names
    };
    let far = uses(&["dblink", "pg_stat_activity", "pg_advisory", "pg_notify"]);
    if !far.is_empty() {
        parts.push(format!("what functions do with other sessions ({})", far.join(", ")));
    }
    let programs = uses(&["program "]);
    if !programs.is_empty() {
        parts.push(format!("programs of the server's machine ({})", programs.join(", ")));
    }
    let foreign = catalog
        .relations
        .iter()
        .filter(|r| r.kind == RelationKind::ForeignTable);
    let foreign: Vec<String> = foreign.map(|r| r.name.to_string()).collect();
    if !foreign.is_empty() {
        parts.push(format!("foreign tables ({})", foreign.join(", ")));
    }
    parts.push("what needs a second connection or one with defaults of its own".to_owned());
    format!("not judged by the embedded server: {}", parts.join("; "))
}
