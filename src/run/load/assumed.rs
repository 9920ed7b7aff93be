//! What a schema leans on without making it: roles, extensions, the name of its database. A dump holds none of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{EXTENSIONS, LoadError, LoadOptions, SUPABASE_ROLES, guarded};
use crate::pg::conn::{Conn, DbError};
use crate::sql::quote;
use crate::sql::script::{self, Class, Step};

/// What was made up, or passed over, so that the rest could be loaded.
#[derive(Debug, Default)]
pub(super) struct Assumed {
    roles: BTreeSet<String>,
    /// Extensions that the server does not have.
    extensions: BTreeSet<String>,
    /// Extensions that the server has, and that were made because the schema does not make them.
    supplied: BTreeSet<&'static str>,
    /// Names that the schema has for its database.
    databases: BTreeSet<String>,
    /// Schemas of the preset that gave way to the schema's own.
    replaced: BTreeSet<String>,
    /// Routines whose bodies were not checked, by place.
    relaxed: BTreeSet<usize>,
    /// Steps that are not run, by place.
    passed_over: BTreeSet<usize>,
    /// Statements run in place of a step, by place.
    instead: BTreeMap<usize, String>,
    /// Whether words like `:DATABASE_OWNER` stand for names that a migration tool fills in.
    has_placeholders: bool,
    /// For the reader.
    pub(super) notes: Vec<String>,
}

impl Assumed {
    /// What to run for a step; nothing for one that is passed over.
    pub(super) fn text(&mut self, at: usize, step: &Step) -> Option<String> {
        if self.passed_over.contains(&at) {
            return None;
        }
        if let Some(instead) = self.instead.get(&at) {
            return Some(instead.clone());
        }
        let words: Vec<String> = step.text.split_whitespace().take(2).map(str::to_lowercase).collect();
        if matches!(words.as_slice(), [verb, what] if (verb == "create" || verb == "drop") && what == "database") {
            self.pass_over(at, step, "everything is loaded into one scratch database");
            return None;
        }
        let mut text = step.text.clone();
        if self.has_placeholders {
            text = with_names(&text);
        }
        Some(match self.databases.is_empty() {
            true => text,
            false => self.with_own_database(&text),
        })
    }

    fn pass_over(&mut self, at: usize, step: &Step, why: &str) {
        self.passed_over.insert(at);
        let line = step.text.lines().next().unwrap_or_default();
        self.notes
            .push(format!("{}: `{line}` was passed over: {why}", step.origin));
    }

    /// Makes up what a step misses; whether it is worth another try. Nothing is open when this is called.
    pub(super) async fn make_up(
        &mut self,
        conn: &mut Conn,
        steps: &[Step],
        at: usize,
        error: &DbError,
        options: LoadOptions<'_>,
    ) -> Result<bool, LoadError> {
        let step = &steps[at];
        let message = error.message.as_str();
        if let Some(role) = between(message, "role \"", "\" does not exist") {
            return self.role(conn, &steps[at..], role, options).await;
        }
        if let Class::CreateExtension { name, schema } = script::classify(step)
            && (matches!(error.code.as_str(), "0A000" | "58P01") || message.contains("shared_preload_libraries"))
        {
            return self.extension(conn, at, &name, schema.as_deref()).await;
        }
        if let Some(name) = between(message, "extension \"", "\" does not exist")
            && self.extensions.contains(name)
        {
            match script::extension_moved(step) {
                Some(schema) => {
                    let call = call("move_extension", name, Some(&schema));
                    self.instead.insert(at, call);
                }
                None => self.pass_over(at, step, "the extension is a stub here"),
            }
            return Ok(true);
        }
        if let Some(extension) = homeless(message)
            && self.supplied.insert(extension)
        {
            let made = conn
                .run(&format!("CREATE EXTENSION IF NOT EXISTS {}", quote::ident(extension)))
                .await?;
            if made.error.is_none() {
                self.notes.push(format!(
                    "extension `{extension}` is used and not made by the schema: it was made in schema public"
                ));
                return Ok(true);
            }
        }
        // An index says how rows are found, not who finds them.
        let words: Vec<String> = step.text.split_whitespace().take(2).map(str::to_lowercase).collect();
        let is_index = matches!(words.as_slice(), [verb, what] if verb == "create" && what == "index");
        if is_index && error.code == "42704" && !self.extensions.is_empty() {
            self.pass_over(at, step, "the index is of an extension that is a stub here");
            return Ok(true);
        }
        // A dump of a newer server sets what this one does not know.
        if error.code == "42704" && message.starts_with("unrecognized configuration parameter") {
            self.pass_over(at, step, "this server has no such setting");
            return Ok(true);
        }
        // What an extension would do with a table is not judged.
        let is_call = words.first().is_some_and(|w| w == "select" || w == "call");
        if is_call && !self.extensions.is_empty() && matches!(error.code.as_str(), "42883" | "3F000") {
            self.pass_over(at, step, "it calls what an extension has that is not here");
            return Ok(true);
        }
        if error.code == "42601" && message.ends_with("at or near \":\"") && !self.has_placeholders {
            self.has_placeholders = true;
            self.notes.push(
                "placeholders such as `:DATABASE_OWNER` are read as names: what the migration tool would fill in is not known"
                    .to_owned(),
            );
            return Ok(true);
        }
        // A body that this server cannot read fails when it is called, as a dump restores it.
        let is_routine = words.first().is_some_and(|w| w == "create")
            && step.text.split_whitespace().take(5).any(|w| {
                let word = w.to_lowercase();
                word == "function" || word == "procedure"
            });
        if is_routine && !self.relaxed.contains(&at) && error.code.starts_with("42") {
            self.relaxed.insert(at);
            self.instead
                .insert(at, format!("SET LOCAL check_function_bodies = off; {}", step.text));
            self.notes.push(format!(
                "{}: the body was not checked, for it cannot be run as it is: {message}",
                step.origin
            ));
            return Ok(true);
        }
        // Rights on what is not there are rights on nothing.
        let is_grant = words
            .first()
            .is_some_and(|w| matches!(w.as_str(), "grant" | "revoke" | "comment"));
        if is_grant && matches!(error.code.as_str(), "42P01" | "42883" | "3F000" | "42704") {
            self.pass_over(at, step, &error.message);
            return Ok(true);
        }
        if let Some(name) = between(message, "database \"", "\" does not exist") {
            return Ok(self.databases.insert(name.to_owned()));
        }
        if let Some(name) = between(message, "schema \"", "\" already exists") {
            if name == "public" {
                self.passed_over.insert(at);
                return Ok(true);
            }
            if options.platform && self.replaced.insert(name.to_owned()) {
                conn.query(&format!("DROP SCHEMA {} CASCADE", quote::ident(name)))
                    .await?;
                return Ok(true);
            }
        }
        if let Some(name) = between(message, "publication \"", "\" already exists")
            && options.platform
            && self.replaced.insert(name.to_owned())
        {
            conn.query(&format!("DROP PUBLICATION {}", quote::ident(name))).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// A role that the schema names and does not make. One that it makes later is a fault of its order, and stays one.
    async fn role(
        &mut self,
        conn: &mut Conn,
        rest: &[Step],
        role: &str,
        options: LoadOptions<'_>,
    ) -> Result<bool, LoadError> {
        let makes_it = |step: &Step| match script::classify(step) {
            Class::CreateRole { name } => name == role,
            Class::Ordinary => script::hides_role_commands(step) && step.text.contains(role),
            _ => false,
        };
        if !self.roles.insert(role.to_owned()) || rest.iter().skip(1).any(makes_it) {
            return Ok(false);
        }
        let known = format!("('{role}',");
        let (sql, how) = if SUPABASE_ROLES.contains(&known) {
            (SUPABASE_ROLES.to_owned(), "as Supabase has it")
        } else {
            (format!("CREATE ROLE {}", quote::ident(role)), "without any attribute")
        };
        for step in script::read_text("roles that the schema names", &sql).map_err(LoadError::Preset)? {
            let refused = match options.guard {
                Some(scratch) => guarded(conn, &step, &step.text, scratch).await?,
                None => conn.run(&step.text).await?.error,
            };
            if refused.is_some() {
                return Ok(false);
            }
        }
        self.notes.push(format!(
            "role `{role}` is named and not made by the schema: it was made {how}"
        ));
        Ok(true)
    }

    /// An extension that the server does not have: a stub where we have one, else nothing.
    async fn extension(
        &mut self,
        conn: &mut Conn,
        at: usize,
        name: &str,
        schema: Option<&str>,
    ) -> Result<bool, LoadError> {
        if !self.extensions.insert(name.to_owned()) {
            return Ok(false);
        }
        for step in script::read_text("extensions", EXTENSIONS).map_err(LoadError::Preset)? {
            conn.query(&step.text).await?;
        }
        self.instead.insert(at, call("extension", name, schema));
        self.notes.push(format!(
            "extension `{name}` is not on this server: what it does is not judged, and its objects are stubs at best"
        ));
        Ok(true)
    }

    /// `DATABASE name` with the scratch database's name, where the schema means its own database.
    fn with_own_database(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for name in &self.databases {
            let pattern = format!(r#"(?i)\bDATABASE\s+"?{}"?"#, regex::escape(name));
            let Ok(pattern) = regex::Regex::new(&pattern) else {
                continue;
            };
            if pattern.is_match(&text) {
                let plain = pattern
                    .replace_all(&text, "DATABASE %I")
                    .replace('%', "%%")
                    .replace("%%I", "%I");
                text = format!(
                    "DO $tenantproof$ BEGIN EXECUTE pg_catalog.format({}, pg_catalog.current_database()); END $tenantproof$",
                    quote::literal(plain.trim_end().trim_end_matches(';'))
                );
            }
        }
        text
    }

    /// What to say beside an error that has to do with what was passed over.
    pub(super) fn hint(&self) -> Option<String> {
        let names: Vec<&str> = self.extensions.iter().map(String::as_str).collect();
        (!names.is_empty()).then(|| {
            format!(
                "the schema uses what this server does not have: {}; install the extension, or choose another --server",
                names.join(", ")
            )
        })
    }
}

/// The extension whose type or function an error misses, where it is one that schemas expect to be there.
fn homeless(message: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &[&str]); 8] = [
        ("citext", &["type \"citext\"", "type \"public.citext\""]),
        ("hstore", &["type \"hstore\"", "function hstore("]),
        ("ltree", &["type \"ltree\""]),
        ("vector", &["type \"vector\"", "type \"public.vector\""]),
        (
            "uuid-ossp",
            &["function uuid_generate_v", "function public.uuid_generate_v"],
        ),
        (
            "pgcrypto",
            &[
                "function gen_random_bytes(",
                "function crypt(",
                "function gen_salt(",
                "function digest(",
                "function hmac(",
            ],
        ),
        (
            "pg_trgm",
            &[
                "operator class \"gin_trgm_ops\"",
                "operator class \"gist_trgm_ops\"",
                "function similarity(",
            ],
        ),
        ("unaccent", &["function unaccent("]),
    ];
    KNOWN
        .iter()
        .find(|(_, said)| said.iter().any(|s| message.starts_with(s)))
        .map(|(extension, _)| *extension)
}

/// `:NAME` as `name`; `value::TYPE` stays what it is.
fn with_names(text: &str) -> String {
    let Ok(placeholder) = regex::Regex::new(r"(^|[^:\w]):([A-Z][A-Z0-9_]+)\b") else {
        return text.to_owned();
    };
    placeholder
        .replace_all(text, |found: &regex::Captures<'_>| {
            format!("{}{}", &found[1], found[2].to_lowercase())
        })
        .into_owned()
}

fn call(function: &str, extension: &str, schema: Option<&str>) -> String {
    format!(
        "SELECT tenantproof_load.{function}({}, {})",
        quote::literal(extension),
        schema.map_or("NULL".to_owned(), quote::literal)
    )
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(name, _)| name)
}
