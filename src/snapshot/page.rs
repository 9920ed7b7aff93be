//! A page of text, and the words that all pages share: roles, grants, owners.

use crate::model::Catalog;
use crate::model::catalog::Grant;
use crate::sql::layout::visible;
use crate::sql::quote;

use super::HEADER;

/// A page under construction. Indentation alone tells what belongs to what, so no value may bring a line end of its own.
pub struct Page(String);

impl Page {
    /// A page that holds the header.
    pub fn new() -> Self {
        Self(format!("{HEADER}\n"))
    }

    /// A line, two blanks a level in front.
    pub fn line(&mut self, level: usize, text: &str) {
        let text = visible(text);
        let text = text.trim_end();
        if !text.is_empty() {
            self.0.extend(std::iter::repeat_n(' ', level * 2));
        }
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// Lines at a level, their own indentation on top.
    pub fn lines(&mut self, level: usize, lines: impl IntoIterator<Item = impl AsRef<str>>) {
        for line in lines {
            self.line(level, line.as_ref());
        }
    }

    /// An empty line and a heading.
    pub fn section(&mut self, heading: &str) {
        self.0.push('\n');
        self.line(0, heading);
    }

    /// A heading and one line each, where there are any.
    pub fn list(&mut self, heading: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.section(heading);
            self.lines(1, lines);
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

/// How roles are called.
pub struct Names {
    superusers: Vec<String>,
}

impl Names {
    /// The names in a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        let superusers = catalog.roles.iter().filter(|r| r.is_server_superuser);
        Self {
            superusers: superusers.map(|r| r.name.clone()).collect(),
        }
    }

    /// Whether the role is the server's own and not the schema's.
    pub fn is_server_superuser(&self, role: &str) -> bool {
        self.superusers.iter().any(|s| s == role)
    }

    /// A role as SQL names it. The server's own superuser has another name on every server: no name can be taken for
    /// what stands for it.
    pub fn role(&self, role: &str) -> String {
        if role == "PUBLIC" {
            role.to_owned()
        } else if self.is_server_superuser(role) {
            "(superuser)".to_owned()
        } else {
            quote::ident(role)
        }
    }

    /// Roles, sorted.
    pub fn roles(&self, roles: &[String]) -> String {
        sorted(roles.iter().map(|r| self.role(r))).join(", ")
    }

    /// Grants, one line a grantee, and one more for each privilege that is limited to columns.
    pub fn grants(&self, grants: &[Grant]) -> Vec<String> {
        let mut lines: Vec<(String, Vec<String>)> = grants
            .iter()
            .map(|g| (self.role(&g.grantee), privileges(&g.privileges)))
            .collect();
        lines.sort();
        let mut lines: Vec<String> = lines
            .into_iter()
            .flat_map(|(role, parts)| parts.into_iter().map(move |p| format!("{role}: {p}")))
            .collect();
        lines.dedup();
        lines
    }
}

/// Sorted by bytes: no server's collation has a say.
pub fn sorted(values: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut values: Vec<String> = values.into_iter().collect();
    values.sort();
    values.dedup();
    values
}

/// The order in which people think of privileges.
const ORDER: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
    "MAINTAIN",
];

fn rank(privilege: &str) -> (usize, &str) {
    let word = privilege.split(' ').next().unwrap_or_default();
    (ORDER.iter().position(|o| *o == word).unwrap_or(ORDER.len()), privilege)
}

/// The privileges of the whole object as one line, those limited to columns one line each.
fn privileges(all: &[String]) -> Vec<String> {
    let (mut columns, mut whole): (Vec<&str>, Vec<&str>) =
        all.iter().map(String::as_str).partition(|p| p.contains('('));
    whole.sort_by_key(|p| rank(p));
    whole.dedup();
    columns.sort_by_key(|p| rank(p));
    // GRANT ALL means one privilege more from PostgreSQL 17 on, which says nothing that the others do not say already.
    let granted = |word: &&str| whole.iter().any(|p| rank(p).0 == rank(word).0);
    if ORDER[..7].iter().all(granted) {
        whole.retain(|p| !p.starts_with("MAINTAIN"));
    }
    let mut lines = Vec::new();
    if !whole.is_empty() {
        lines.push(whole.join(", "));
    }
    lines.extend(columns.into_iter().map(str::to_owned));
    lines
}

/// A setting, `name=value` in the catalog. What may be a secret is not for a file that is committed.
pub fn setting(entry: &str) -> String {
    const SECRETS: &[&str] = &[
        "secret",
        "password",
        "passwd",
        "token",
        "apikey",
        "api_key",
        "private_key",
        "credential",
    ];
    let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
    let lower = name.to_ascii_lowercase();
    if SECRETS.iter().any(|s| lower.contains(s)) {
        format!("set {name} = (not shown)")
    } else {
        format!("set {name} = {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::usual_order(&["DELETE", "SELECT", "INSERT"], &["SELECT, INSERT, DELETE"])]
    #[case::columns_have_lines_of_their_own(
        &["UPDATE (a, b)", "SELECT", "INSERT (a)"], &["SELECT", "INSERT (a)", "UPDATE (a, b)"])]
    #[case::all_is_the_same_before_and_after_maintain(
        &["DELETE", "INSERT", "MAINTAIN", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"],
        &["SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"])]
    #[case::maintain_alone_is_said(&["MAINTAIN"], &["MAINTAIN"])]
    #[case::grant_options_are_said(&["SELECT WITH GRANT OPTION"], &["SELECT WITH GRANT OPTION"])]
    #[case::other_objects_have_other_privileges(&["USAGE", "CREATE"], &["CREATE, USAGE"])]
    fn privilege_lines(#[case] all: &[&str], #[case] expected: &[&str]) {
        let all: Vec<String> = all.iter().map(|p| (*p).to_owned()).collect();
        assert_eq!(privileges(&all), expected);
    }

    #[rstest]
    #[case::plain("search_path=public, pg_temp", "set search_path = public, pg_temp")]
    #[case::values_may_hold_equals_signs("a.b=c=d", "set a.b = c=d")]
    #[case::secrets_stay_out("app.settings.jwt_secret=x", "set app.settings.jwt_secret = (not shown)")]
    fn settings(#[case] entry: &str, #[case] expected: &str) {
        assert_eq!(setting(entry), expected);
    }

    #[test]
    fn no_value_begins_a_line_of_its_own() {
        let mut page = Page::new();
        page.line(1, "a\ngrants\u{202e}");
        assert_eq!(page.finish(), format!("{HEADER}\n  a\\ngrants\\u{{202e}}\n"));
    }
}
