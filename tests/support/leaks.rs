//! The leak cases: what they say of themselves, and the target that follows from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tenantproof::model::{Attacker, Finding, Session};

/// `case.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Name of the folder.
    pub id: String,
    /// Class of flaw.
    pub class: String,
    /// `read`, `write`, ...
    pub kind: String,
    /// Severity.
    pub severity: String,
    /// How a request says who it is.
    pub context: String,
    /// The same for the twin, where it differs.
    pub context_safe: Option<String>,
    /// Ability.
    pub attacker: String,
    /// Roles under test.
    pub roles: Vec<String>,
    /// Leaking relations.
    pub tables: Vec<String>,
    /// Other objects responsible.
    pub objects: Vec<String>,
    /// Folder.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Case {
    /// All cases, by name.
    pub fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/leaks");
        let mut cases: Vec<Self> = std::fs::read_dir(&root)
            .expect("tests/leaks is part of the project")
            .filter_map(|entry| {
                let folder = entry.expect("a readable folder").path();
                let text = std::fs::read_to_string(folder.join("case.toml")).ok()?;
                let case: Self = toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
                Some(Self { folder, ..case })
            })
            .collect();
        cases.sort_by(|a, b| a.id.cmp(&b.id));
        assert!(cases.len() > 100, "the leak cases are there: {}", cases.len());
        cases
    }

    /// The schema file of a variant, where there is one.
    pub fn schema(&self, variant: &str) -> Option<PathBuf> {
        let path = self.folder.join(format!("{variant}.sql"));
        path.exists().then_some(path)
    }

    /// Sessions as a user would write them into a target file from the case's description.
    pub fn sessions(&self, variant: &str) -> Vec<Session> {
        let context = match (&self.context_safe, variant) {
            (Some(safe), "safe") => safe,
            _ => &self.context,
        };
        let attacker = match self.attacker.as_str() {
            "sql" => Attacker::Sql,
            "context" => Attacker::Context,
            _ => Attacker::Api,
        };
        if context == "role" {
            return vec![Session {
                name: "tenant".to_owned(),
                role: "{tenant}".to_owned(),
                attacker,
                settings: BTreeMap::new(),
                setup: Vec::new(),
            }];
        }
        self.roles
            .iter()
            .filter(|r| !r.contains(' '))
            .map(|role| Session {
                name: role.clone(),
                role: role.clone(),
                attacker,
                settings: settings(context, role),
                setup: Vec::new(),
            })
            .collect()
    }

    /// Whether a finding names what the case holds responsible.
    pub fn names(&self, finding: &Finding) -> bool {
        let wanted: Vec<&str> = self.tables.iter().chain(&self.objects).map(String::as_str).collect();
        let is_wanted = |object: &str| {
            wanted.iter().any(|w| {
                let column = w.rsplit_once('.').map_or("", |(table, _)| table);
                object == *w
                    || object == format!("public.{w}")
                    || (!column.is_empty() && object == format!("public.{column}"))
            })
        };
        is_wanted(&finding.object)
    }
}

fn settings(context: &str, role: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let token = |name: &str| {
        if name.contains("user") || name == "sub" {
            "{user}"
        } else {
            "{tenant}"
        }
    };
    for part in context.split(" and ") {
        if let Some(rest) = part.strip_prefix("guc:") {
            let name = rest.split([',', ' ']).next().unwrap_or(rest);
            settings.insert(name.to_owned(), token(name).to_owned());
        } else if let Some(rest) = part.strip_prefix("jwt:request.claims ") {
            settings.insert("request.claims".to_owned(), format!(r#"{{"{rest}": "{{tenant}}"}}"#));
        } else if let Some(rest) = part.strip_prefix("jwt:") {
            let path = rest.split([',', ' ']).next().unwrap_or(rest);
            let claims = match path.split_once('.') {
                Some((outer, inner)) => {
                    format!(r#"{{"sub": "{{user}}", "role": "{role}", "{outer}": {{"{inner}": "{{tenant}}"}}}}"#)
                }
                None => format!(r#"{{"{path}": "{}", "role": "{role}"}}"#, token(path)),
            };
            settings.insert("request.jwt.claims".to_owned(), claims);
        } else if let Some(rest) = part.strip_prefix("headers:") {
            settings.insert("request.headers".to_owned(), format!(r#"{{"{rest}": "{{tenant}}"}}"#));
        }
    }
    settings
}
