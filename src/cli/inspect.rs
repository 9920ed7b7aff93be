//! `inspect`: what was found out, as a target file with the reason of each guess and how sure it is.

use std::fmt::Write as _;

use super::options::TargetOptions;
use super::{Exit, Failure, scratch};
use crate::introspect;
use crate::model::{Catalog, Session, Tenancy};
use crate::run::infer::{self, Guess};
use crate::world::{Class, Classes};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetOptions,
}

pub async fn run(args: Args) -> Result<Exit, Failure> {
    let resolved = args.target.resolve()?;
    let file = &resolved.file;
    scratch::with_schema(&resolved, |mut loaded| async move {
        let catalog = introspect::read_catalog(&mut loaded.conn)
            .await
            .map_err(Failure::not_run)?;
        let (sessions, guesses) = if file.session.is_empty() {
            infer::sessions(&catalog, &loaded.roles_before)
        } else {
            (file.session.clone(), Vec::new())
        };
        loaded.conn.close().await;
        anstream::print!("{}", render(&catalog, &sessions, &guesses, &file.tenancy));
        if sessions.is_empty() {
            return Ok(Exit::Inconclusive);
        }
        Ok(Exit::Isolated)
    })
    .await
}

/// The target file. What is only told is in comments; what was left out of a target file is inferred again.
fn render(catalog: &Catalog, sessions: &[Session], guesses: &[Guess], given: &Tenancy) -> String {
    let classes = Classes::infer(catalog, sessions, given);
    let mut text = format!(
        "# {} relations, {} policies, {} functions\n",
        catalog.relations.len(),
        catalog.policy_count(),
        catalog.functions.len()
    );
    if sessions.is_empty() {
        text += "# no role was found that requests run as: grant a role what it needs, or name it in [[session]]\n";
    }
    for guess in guesses.iter().filter(|g| g.subject.is_none()) {
        let _ = writeln!(text, "# {guess}");
    }
    text += &tenancy(catalog, &classes, given);
    for (at, session) in sessions.iter().enumerate() {
        text += "\n[[session]]\n";
        let _ = writeln!(text, "name = {}", quoted(&session.name));
        for guess in about(guesses, &session.role) {
            let _ = writeln!(text, "# {guess}");
        }
        let _ = writeln!(text, "role = {}", quoted(&session.role));
        let attacker = toml::Value::try_from(session.attacker).map_or_else(|_| quoted("api"), |v| v.to_string());
        let _ = writeln!(text, "attacker = {attacker}");
        if !session.setup.is_empty() {
            let items: Vec<String> = session.setup.iter().map(|s| format!("  {},\n", quoted(s))).collect();
            let _ = writeln!(text, "setup = [\n{}]", items.concat());
        }
        if !session.settings.is_empty() {
            text += "\n[session.settings]\n";
        }
        for (name, value) in &session.settings {
            // Told once: where the setting is met first.
            if !sessions[..at].iter().any(|s| s.settings.contains_key(name)) {
                for guess in about(guesses, name) {
                    let _ = writeln!(text, "# {guess}");
                }
            }
            let _ = writeln!(text, "{} = {}", quoted(name), quoted(value));
        }
    }
    text
}

fn about<'g>(guesses: &'g [Guess], subject: &str) -> impl Iterator<Item = &'g Guess> {
    guesses.iter().filter(move |g| g.subject.as_deref() == Some(subject))
}

fn tenancy(catalog: &Catalog, classes: &Classes, given: &Tenancy) -> String {
    let mut text = String::from("\n[tenancy]\n");
    let mut lines = 0;
    for (class, word) in [
        (Class::Tenant, "the tenant"),
        (Class::User, "the user"),
        (Class::Email, "the user's e-mail address"),
    ] {
        for table in catalog.tables().filter(|t| !t.is_partition) {
            let columns = classes.columns_of(table, class);
            if !columns.is_empty() {
                let _ = writeln!(text, "# {} is held by {}.{}", word, table.name, columns.join(", "));
                lines += 1;
            }
        }
    }
    if lines == 0 {
        text += "# no column was found that holds a tenant or a user\n";
    }
    if !given.columns.is_empty() {
        text += &list("columns", &given.columns);
    }
    match (&given.root, most_referred(catalog, classes, Class::Tenant)) {
        (Some(root), _) => {
            let _ = writeln!(text, "root = {}", quoted(root));
        }
        (None, Some((root, count))) => {
            let _ = writeln!(
                text,
                "# {}: its key is the tenant, and {count} foreign keys refer to it",
                if count > 0 { "likely" } else { "guess" }
            );
            let _ = writeln!(text, "root = {}", quoted(&root));
        }
        (None, None) => {}
    }
    match (&given.users, most_referred(catalog, classes, Class::User)) {
        (Some(users), _) => {
            let _ = writeln!(text, "users = {}", quoted(users));
        }
        (None, Some((users, count))) => {
            let _ = writeln!(
                text,
                "# {}: its key is the user, and {count} foreign keys refer to it",
                if count > 0 { "likely" } else { "guess" }
            );
            let _ = writeln!(text, "users = {}", quoted(&users));
        }
        (None, None) => {}
    }
    if !given.shared.is_empty() {
        text += &list("shared", &given.shared);
    }
    text
}

fn list(name: &str, items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|i| quoted(i)).collect();
    format!("{name} = [{}]\n", items.join(", "))
}

/// The table whose key is of the class and that most foreign keys refer to, with their number.
fn most_referred(catalog: &Catalog, classes: &Classes, class: Class) -> Option<(String, usize)> {
    let is_keyed = |table: &crate::model::Relation| {
        table.primary_key().is_some_and(|k| {
            matches!(k.columns.as_slice(), [only] if classes.class(table.oid, only).is_some_and(|(c, _)| c == class))
        })
    };
    catalog
        .tables()
        .filter(|t| !t.is_partition && is_keyed(t))
        .map(|t| {
            let refers = catalog
                .tables()
                .flat_map(|o| &o.foreign_keys)
                .filter(|k| k.references == t.oid)
                .count();
            (t, refers)
        })
        .max_by_key(|(t, n)| (*n, std::cmp::Reverse(t.name.clone())))
        .map(|(t, n)| (t.name.to_string(), n))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attacker;
    use crate::run::infer::Certainty;
    use crate::run::target::TargetFile;

    #[test]
    fn what_is_printed_is_a_target_file() {
        let session = |name: &str, settings: &[(&str, &str)], setup: &[&str]| Session {
            name: name.to_owned(),
            role: "app".to_owned(),
            attacker: Attacker::Sql,
            settings: settings
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            setup: setup.iter().map(|s| (*s).to_owned()).collect(),
        };
        let sessions = vec![
            session(
                "a",
                &[("app.t", "{tenant}"), ("my.doc", r#"{"a'b": "{user}"}"#)],
                &["SELECT '\"'"],
            ),
            session("b", &[], &[]),
        ];
        let tenancy = Tenancy {
            columns: vec!["tenant_id".to_owned()],
            root: Some("public.tenants".to_owned()),
            ..Tenancy::default()
        };
        let guess = |subject: Option<&str>| Guess {
            what: "something".to_owned(),
            reason: "because".to_owned(),
            certainty: Certainty::Likely,
            subject: subject.map(str::to_owned),
        };
        let guesses = [guess(None), guess(Some("app")), guess(Some("app.t"))];
        let text = render(&Catalog::default(), &sessions, &guesses, &tenancy);
        let read: TargetFile = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(read.session, sessions);
        assert_eq!(read.tenancy, tenancy);
        assert!(text.contains("# likely: something: because\n\"app.t\""), "{text}");
        assert!(!text.contains("[]"), "{text}");
    }
}
