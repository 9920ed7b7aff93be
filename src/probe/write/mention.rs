//! Text that a trigger takes apart: what its pattern captures is put together again with another tenant's names in it.

use regex::Regex;

use crate::model::{Function, Relation};
use crate::probe::trial::Trial;
use crate::world::grow::Values;

/// Most names that are mentioned for a column.
const MAX_NAMES: usize = 3;

/// For each column of a new row that a trigger looks for names in: a text that mentions B's.
pub(super) fn mentions(trial: &Trial<'_>, table: &Relation, columns: &[String]) -> Vec<Values> {
    let mut found = Vec::new();
    for function in triggers(trial, table) {
        for pattern in patterns(&function.body) {
            let Some(mention) = Mention::of(&pattern) else { continue };
            for name in names(trial, function, &mention).into_iter().take(MAX_NAMES) {
                let text = format!("see {}{name}{}", mention.before, mention.after);
                for column in columns.iter().filter(|c| reads_new(&function.body, c)) {
                    let is_text = table.column(column).is_some_and(|c| c.category == "S");
                    let values = Values::from([(column.clone(), Some(text.clone()))]);
                    if is_text && !found.contains(&values) {
                        found.push(values);
                    }
                }
            }
        }
    }
    found
}

/// Functions that triggers of a table run.
fn triggers<'t>(trial: &Trial<'t>, table: &Relation) -> Vec<&'t Function> {
    let mut found: Vec<&Function> = Vec::new();
    for definition in &table.triggers {
        let Some(call) = definition.rsplit("EXECUTE FUNCTION ").next() else {
            continue;
        };
        let name = call.split('(').next().unwrap_or_default();
        let (schema, name) = match name.rsplit_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, name),
        };
        found.extend(trial.catalog.find_functions(schema, name.trim_matches('"')));
    }
    found
}

fn reads_new(body: &str, column: &str) -> bool {
    let body = body.to_lowercase();
    body.match_indices("new.").any(|(at, new)| {
        let rest = &body[at + new.len()..];
        rest.strip_prefix(column)
            .is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// Literals of a body that are patterns with a group.
fn patterns(body: &str) -> Vec<String> {
    let literals = body.split('\'').skip(1).step_by(2);
    literals
        .filter(|text| text.contains('(') && text.contains(')') && text.contains(['[', '\\', '.']))
        .map(str::to_owned)
        .collect()
}

/// A pattern with one group that captures a name.
struct Mention {
    before: String,
    after: String,
    whole: Regex,
}

impl Mention {
    fn of(pattern: &str) -> Option<Self> {
        let whole = Regex::new(pattern).ok().filter(|r| r.captures_len() == 2)?;
        let (before, rest) = pattern.split_once('(')?;
        let (_, after) = rest.rsplit_once(')')?;
        let is_plain = |text: &str| !text.contains(|c: char| "[](){}*+?|.\\".contains(c));
        let plain = |text: &str| text.trim_start_matches('^').trim_end_matches('$').to_owned();
        (is_plain(before) && is_plain(after)).then(|| Self {
            before: plain(before),
            after: plain(after),
            whole,
        })
    }

    fn captures(&self, name: &str) -> bool {
        let text = format!("{}{name}{}", self.before, self.after);
        self.whole
            .captures(&text)
            .and_then(|c| c.get(1))
            .is_some_and(|c| c.as_str() == name)
    }
}

/// Values of B's rows in columns that the function reads and that the pattern captures whole.
fn names(trial: &Trial<'_>, function: &Function, mention: &Mention) -> Vec<String> {
    let says = |word: &str| {
        function
            .body
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|w| w == word)
    };
    let mut found: Vec<String> = Vec::new();
    for row in &trial.b.rows {
        let Some(table) = trial.catalog.relation(row.relation).filter(|t| says(&t.name.name)) else {
            continue;
        };
        for column in table.columns.iter().filter(|c| c.category == "S" && says(&c.name)) {
            if let Some(Some(value)) = row.values.get(&column.name)
                && mention.captures(value)
                && !found.contains(value)
            {
                found.push(value.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_put_together_from_its_pattern() {
        let body = "select lower(hit[1]) from regexp_matches(new.body, '@([a-z][a-z0-9_]{1,30})', 'g') as hit";
        let all = patterns(body);
        let mention = Mention::of(&all[0]).expect("a pattern with a group");
        assert!(mention.captures("bert_2"));
        assert!(!mention.captures("Bert"));
        assert!(reads_new(body, "body"));
        assert!(!reads_new(body, "bod"));
    }
}
