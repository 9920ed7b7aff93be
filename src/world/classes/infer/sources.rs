//! Where the sessions' settings hold which key.

use super::super::{Class, Source};
use crate::model::Session;

/// Which setting, or place in a JSON setting, holds which key.
pub(super) fn session_sources(sessions: &[Session]) -> Vec<(Source, Class)> {
    let mut sources = Vec::new();
    for (name, template) in sessions.iter().flat_map(|s| &s.settings) {
        match serde_json::from_str::<serde_json::Value>(template) {
            Ok(json @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
                json_sources(name, &json, &mut Vec::new(), &mut sources)
            }
            _ => {
                if let Some(class) = Class::of_token(template) {
                    sources.push(((name.clone(), Vec::new()), class));
                }
            }
        }
    }
    sources
}

fn json_sources(name: &str, json: &serde_json::Value, path: &mut Vec<String>, sources: &mut Vec<(Source, Class)>) {
    match json {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                path.push(key.clone());
                json_sources(name, value, path, sources);
                path.pop();
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| json_sources(name, item, path, sources)),
        serde_json::Value::String(text) => {
            if let Some(class) = Class::of_token(text) {
                sources.push(((name.to_owned(), path.clone()), class));
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}
