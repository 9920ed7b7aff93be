//! What kind of statement a step is, by its leading keywords.
//!
//! A loader asks this to leave `BEGIN` to itself, to run alone what refuses a transaction, to forgive a role that an earlier run
//! left behind, and to keep its hands off roles that were there before. It reads words, not grammar: a statement that
//! PostgreSQL would refuse gets some class all the same. What a DO block or a function does when it runs is not seen;
//! [`hides_role_commands`] tells where to look.

use super::{Step, StepKind};
use crate::sql::lex::{self, Token, TokenKind};

/// What a loader needs to know of a statement. Names are as the catalog holds them: folded, or without their quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// Begins, ends or marks a transaction, savepoints among them.
    TransactionControl,
    /// Refused inside a transaction, or (`ALTER TYPE ... ADD VALUE`) of no use before it is committed.
    NeedsNoTransaction,
    /// `CREATE ROLE | USER | GROUP name`.
    CreateRole {
        /// The role.
        name: String,
    },
    /// `ALTER ROLE | USER name` that changes attributes.
    AlterRole {
        /// The role, or `current_user`, `current_role`, `session_user`.
        name: String,
    },
    /// Changes what roles are, own or may do beyond this database: DROP ROLE, memberships, ALTER ROLE ... SET or RENAME, COMMENT and
    /// SECURITY LABEL ON ROLE, OWNED BY, privileges on parameters and tablespaces.
    TouchesRole {
        /// Every role named, in order, once.
        names: Vec<String>,
    },
    /// `ALTER ROLE ALL`: every role of the server.
    TouchesAllRoles,
    /// `CREATE EXTENSION name [WITH SCHEMA schema]`.
    CreateExtension {
        /// The extension.
        name: String,
        /// Where its objects are to be.
        schema: Option<String>,
    },
    /// Anything else.
    Ordinary,
}

/// Classifies a step. Pure, and total: every text has a class.
pub fn classify(step: &Step) -> Class {
    match step.kind {
        StepKind::Sql => class(&Words::of(&step.text)),
        StepKind::Copy { .. } | StepKind::Reconnect => Class::Ordinary,
    }
}

/// Whether a DO block or a routine's body speaks of roles: CREATE, ALTER or DROP of ROLE, USER or GROUP, or GRANT, REVOKE and
/// OWNED BY. What it does to which role only shows when it runs.
pub fn hides_role_commands(step: &Step) -> bool {
    lex::significant(&step.text)
        .iter()
        .filter(|token| token.kind.is_string())
        .any(|token| {
            let body = lex::string(&step.text, token).unwrap_or_default();
            let words: Vec<String> = body
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|word| !word.is_empty())
                .map(str::to_ascii_lowercase)
                .collect();
            words.windows(2).any(|pair| {
                let role = matches!(pair[1].as_str(), "role" | "user" | "group");
                (role && matches!(pair[0].as_str(), "create" | "alter" | "drop"))
                    || (pair[0] == "owned" && pair[1] == "by")
            }) || words.iter().any(|word| word == "grant" || word == "revoke")
        })
}

/// The schema that `ALTER EXTENSION name SET SCHEMA schema` names.
pub fn extension_moved(step: &Step) -> Option<String> {
    let words = Words::of(&step.text);
    let set = words.find("set", 3).filter(|_| words.begins(&["alter", "extension"]))?;
    (words.keyword(set + 1) == "schema")
        .then(|| words.name(set + 2))
        .flatten()
}

/// What a step does to the transaction that the script itself has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Opens one.
    Begins,
    /// Ends it.
    Ends,
    /// Neither.
    Stays,
}

/// Whether a step opens or ends a transaction of the script's own.
pub fn block(step: &Step) -> Block {
    if classify(step) != Class::TransactionControl {
        return Block::Stays;
    }
    let words = Words::of(&step.text);
    match words.keyword(0) {
        "begin" | "start" => Block::Begins,
        "rollback" if words.has("to") => Block::Stays,
        "savepoint" | "release" => Block::Stays,
        _ => Block::Ends,
    }
}

/// The tokens of a statement with what they say.
struct Words {
    items: Vec<Word>,
}

struct Word {
    /// A bare word in lower case or a punctuation mark; empty for anything in quotes.
    keyword: String,
    /// The name it may stand for.
    name: Option<String>,
    depth: usize,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut depth = 0usize;
        let word = |token: &Token| {
            let raw = &text[token.range.clone()];
            if raw == ")" {
                depth = depth.saturating_sub(1);
            }
            let keyword = match token.kind {
                TokenKind::Word => raw.to_ascii_lowercase(),
                TokenKind::Punct => raw.to_owned(),
                _ => String::new(),
            };
            let word = Word {
                keyword,
                name: lex::name(text, token),
                depth,
            };
            if raw == "(" {
                depth += 1;
            }
            word
        };
        Self {
            items: lex::significant(text).iter().map(word).collect(),
        }
    }

    fn keyword(&self, at: usize) -> &str {
        self.items.get(at).map_or("", |word| &word.keyword)
    }

    fn name(&self, at: usize) -> Option<String> {
        self.items.get(at).and_then(|word| word.name.clone())
    }

    fn begins(&self, keywords: &[&str]) -> bool {
        keywords
            .iter()
            .enumerate()
            .all(|(at, keyword)| self.keyword(at) == *keyword)
    }

    /// Where a keyword stands outside parentheses, at or after a position.
    fn find(&self, keyword: &str, from: usize) -> Option<usize> {
        (from..self.items.len()).find(|&at| self.items[at].depth == 0 && self.items[at].keyword == keyword)
    }

    fn has(&self, keyword: &str) -> bool {
        self.find(keyword, 0).is_some()
    }

    /// The position after `IF [NOT] EXISTS`, if it stands there.
    fn after_exists(&self, at: usize) -> usize {
        match (self.keyword(at), self.keyword(at + 1), self.keyword(at + 2)) {
            ("if", "not", "exists") => at + 3,
            ("if", "exists", _) => at + 2,
            _ => at,
        }
    }

    /// A list of role names that begins at a position. `GROUP` before a name is noise of old syntax.
    fn roles(&self, mut at: usize) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            if self.keyword(at) == "group" && self.name(at + 1).is_some() && self.keyword(at + 1) != "," {
                at += 1;
            }
            match self.name(at) {
                Some(name) if self.keyword(at) != "public" => names.push(name),
                Some(_) => {}
                None => return names,
            }
            if self.keyword(at + 1) != "," {
                return names;
            }
            at += 2;
        }
    }
}

fn class(words: &Words) -> Class {
    match words.keyword(0) {
        "begin" | "start" | "end" | "abort" | "savepoint" | "release" => Class::TransactionControl,
        "commit" | "rollback" if words.keyword(1) == "prepared" => Class::NeedsNoTransaction,
        "commit" | "rollback" => Class::TransactionControl,
        "prepare" if words.keyword(1) == "transaction" => Class::TransactionControl,
        "vacuum" => Class::NeedsNoTransaction,
        "discard" if words.keyword(1) == "all" => Class::NeedsNoTransaction,
        "reindex" if reindex_needs_no_transaction(words) => Class::NeedsNoTransaction,
        "cluster" if cluster_names_nothing(words) => Class::NeedsNoTransaction,
        "create" => create(words),
        "alter" => alter(words),
        "drop" => drop(words),
        "grant" => memberships(words, "to"),
        "revoke" => memberships(words, "from"),
        "reassign" if words.begins(&["reassign", "owned", "by"]) => {
            let mut names = words.roles(3);
            names.extend(words.find("to", 3).map(|to| words.roles(to + 1)).unwrap_or_default());
            touches(names)
        }
        "comment" if words.begins(&["comment", "on", "role"]) => touches(words.roles(3)),
        "security" if words.begins(&["security", "label"]) => match words.find("on", 2) {
            Some(on) if words.keyword(on + 1) == "role" => touches(words.roles(on + 2)),
            _ => Class::Ordinary,
        },
        _ => Class::Ordinary,
    }
}

fn create(words: &Words) -> Class {
    match words.keyword(1) {
        "user" if words.keyword(2) == "mapping" => Class::Ordinary,
        "role" | "user" | "group" => words.name(2).map_or(Class::Ordinary, |name| Class::CreateRole { name }),
        "extension" => words.name(words.after_exists(2)).map_or(Class::Ordinary, |name| {
            let schema = words.find("schema", 3).and_then(|at| words.name(at + 1));
            Class::CreateExtension { name, schema }
        }),
        "database" | "tablespace" | "subscription" => Class::NeedsNoTransaction,
        "index" if words.keyword(2) == "concurrently" => Class::NeedsNoTransaction,
        "unique" if words.keyword(3) == "concurrently" => Class::NeedsNoTransaction,
        _ => Class::Ordinary,
    }
}

fn alter(words: &Words) -> Class {
    match words.keyword(1) {
        "user" if words.keyword(2) == "mapping" => Class::Ordinary,
        "role" | "user" if words.keyword(2) == "all" => Class::TouchesAllRoles,
        "group" => {
            let mut names = words.roles(2);
            names.extend(
                words
                    .find("user", 3)
                    .map(|user| words.roles(user + 1))
                    .unwrap_or_default(),
            );
            names.extend(words.find("to", 3).map(|to| words.roles(to + 1)).unwrap_or_default());
            touches(names)
        }
        "role" | "user" => {
            let Some(name) = words.name(2) else {
                return Class::Ordinary;
            };
            match words.keyword(3) {
                "rename" => touches([name].into_iter().chain(words.name(5)).collect()),
                "set" | "reset" | "in" => touches(vec![name]),
                _ => Class::AlterRole { name },
            }
        }
        "system" => Class::NeedsNoTransaction,
        "database" if words.has("tablespace") => Class::NeedsNoTransaction,
        "subscription" if words.has("refresh") || words.has("publication") => Class::NeedsNoTransaction,
        "table" if words.has("detach") && words.has("concurrently") => Class::NeedsNoTransaction,
        "type"
            if words
                .find("add", 2)
                .is_some_and(|add| words.keyword(add + 1) == "value") =>
        {
            Class::NeedsNoTransaction
        }
        _ => Class::Ordinary,
    }
}

fn drop(words: &Words) -> Class {
    match words.keyword(1) {
        "user" if words.keyword(2) == "mapping" => Class::Ordinary,
        "role" | "user" | "group" => touches(words.roles(words.after_exists(2))),
        "owned" if words.keyword(2) == "by" => touches(words.roles(3)),
        "database" | "tablespace" | "subscription" => Class::NeedsNoTransaction,
        "index" if words.keyword(2) == "concurrently" => Class::NeedsNoTransaction,
        _ => Class::Ordinary,
    }
}

/// GRANT and REVOKE: a membership where no ON says what the privilege is for.
fn memberships(words: &Words, preposition: &str) -> Class {
    let Some(to) = words.find(preposition, 1) else {
        return Class::Ordinary;
    };
    let mut names = match words.find("on", 1) {
        Some(on) if matches!(words.keyword(on + 1), "parameter" | "tablespace") => Vec::new(),
        Some(on) if on < to => return Class::Ordinary,
        // REVOKE [ ADMIN | INHERIT | SET ] OPTION FOR role FROM role
        _ if words.keyword(2) == "option" && words.keyword(3) == "for" => words.roles(4),
        _ => words.roles(1),
    };
    names.extend(words.roles(to + 1));
    if let Some(granted) = words.find("granted", to) {
        names.extend(words.roles(granted + 2));
    }
    touches(names)
}

fn touches(names: Vec<String>) -> Class {
    let mut once: Vec<String> = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    Class::TouchesRole { names: once }
}

fn reindex_needs_no_transaction(words: &Words) -> bool {
    let concurrently = words.items.iter().any(|word| word.keyword == "concurrently");
    concurrently || ["database", "system", "schema"].iter().any(|all| words.has(all))
}

fn cluster_names_nothing(words: &Words) -> bool {
    words
        .items
        .iter()
        .skip(1)
        .all(|word| word.depth > 0 || matches!(word.keyword.as_str(), "verbose" | ";" | "(" | ")"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::sql::script::Origin;
    use rstest::rstest;

    fn step(sql: &str) -> Step {
        Step::sql(
            sql,
            Origin {
                file: Arc::from(Path::new("t.sql")),
                line: 1,
                column: 1,
            },
        )
    }

    fn role(name: &str) -> Class {
        Class::CreateRole { name: name.to_owned() }
    }

    fn touched(names: &[&str]) -> Class {
        Class::TouchesRole {
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[rstest]
    #[case::create_role("create /* x */ role App_User nologin", role("app_user"))]
    #[case::create_user_is_a_role("CREATE USER \"App User\" PASSWORD 'x'", role("App User"))]
    #[case::create_group_is_a_role("CREATE GROUP U&\"\\0061b\"", role("ab"))]
    #[case::a_user_mapping_is_no_role("CREATE USER MAPPING FOR a SERVER b", Class::Ordinary)]
    #[case::alter_role("ALTER ROLE a WITH LOGIN", Class::AlterRole { name: "a".to_owned() })]
    #[case::alter_role_set("ALTER ROLE a SET search_path = x", touched(&["a"]))]
    #[case::alter_role_in_database("ALTER ROLE a IN DATABASE d SET x = 1", touched(&["a"]))]
    #[case::alter_role_rename("ALTER USER a RENAME TO \"B\"", touched(&["a", "B"]))]
    #[case::alter_role_all("ALTER ROLE ALL SET x = 1", Class::TouchesAllRoles)]
    #[case::alter_group("ALTER GROUP g ADD USER a, b", touched(&["g", "a", "b"]))]
    #[case::drop_role("DROP ROLE IF EXISTS a, \"B\";", touched(&["a", "B"]))]
    #[case::grant_membership("GRANT a, b TO c WITH ADMIN OPTION", touched(&["a", "b", "c"]))]
    #[case::grant_membership_by("GRANT a TO b WITH INHERIT FALSE GRANTED BY c", touched(&["a", "b", "c"]))]
    #[case::revoke_membership("REVOKE ADMIN OPTION FOR a FROM b", touched(&["a", "b"]))]
    #[case::grant_privilege("GRANT SELECT (a, b), UPDATE ON t TO a", Class::Ordinary)]
    #[case::grant_on_all_tables("GRANT ALL ON ALL TABLES IN SCHEMA s TO a", Class::Ordinary)]
    #[case::grant_on_parameter("GRANT SET ON PARAMETER x TO a", touched(&["a"]))]
    #[case::comment_on_role("COMMENT ON ROLE a IS 'x'", touched(&["a"]))]
    #[case::security_label("SECURITY LABEL FOR p ON ROLE a IS 'x'", touched(&["a"]))]
    #[case::reassign_owned("REASSIGN OWNED BY a TO b", touched(&["a", "b"]))]
    #[case::drop_owned("DROP OWNED BY a CASCADE", touched(&["a"]))]
    #[case::extension("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA x",
        Class::CreateExtension { name: "uuid-ossp".to_owned(), schema: Some("x".to_owned()) })]
    #[case::extension_anywhere("CREATE EXTENSION x", Class::CreateExtension { name: "x".to_owned(), schema: None })]
    #[case::begin("BEGIN", Class::TransactionControl)]
    #[case::start("start transaction isolation level serializable;", Class::TransactionControl)]
    #[case::rollback_to("ROLLBACK TO SAVEPOINT x", Class::TransactionControl)]
    #[case::index_concurrently("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", Class::NeedsNoTransaction)]
    #[case::an_index_called_concurrently("CREATE INDEX \"concurrently\" ON t (a)", Class::Ordinary)]
    #[case::reindex_table("REINDEX TABLE t", Class::Ordinary)]
    #[case::reindex_option("REINDEX (CONCURRENTLY) TABLE t", Class::NeedsNoTransaction)]
    #[case::vacuum("VACUUM (ANALYZE) t", Class::NeedsNoTransaction)]
    #[case::create_database("CREATE DATABASE d", Class::NeedsNoTransaction)]
    #[case::alter_system("ALTER SYSTEM SET x = 1", Class::NeedsNoTransaction)]
    #[case::add_value("ALTER TYPE t ADD VALUE IF NOT EXISTS 'x'", Class::NeedsNoTransaction)]
    #[case::cluster_all("CLUSTER VERBOSE;", Class::NeedsNoTransaction)]
    #[case::cluster_one("CLUSTER t", Class::Ordinary)]
    #[case::table("CREATE TABLE role (a int)", Class::Ordinary)]
    #[case::set_role("SET ROLE a", Class::Ordinary)]
    #[case::nothing("", Class::Ordinary)]
    fn classes(#[case] sql: &str, #[case] expected: Class) {
        assert_eq!(classify(&step(sql)), expected);
    }

    #[rstest]
    #[case::created_in_a_block("DO $$ BEGIN EXECUTE format('CREATE ROLE %I', r); END $$", true)]
    #[case::granted_in_a_block("DO 'BEGIN grant a to b; END'", true)]
    #[case::nothing_of_the_kind("DO $$ BEGIN PERFORM 1; END $$", false)]
    #[case::outside_of_a_body("CREATE ROLE a", false)]
    fn hidden_role_commands(#[case] sql: &str, #[case] expected: bool) {
        assert_eq!(hides_role_commands(&step(sql)), expected);
    }
}
