//! Taking a plpgsql body apart into SQL, without its procedural words.

use crate::sql::lex::{self, TokenKind};

/// A part of a body, as SQL text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A statement.
    Query(String),
    /// An expression that is only looked at: a condition.
    Value(String),
    /// `target := value`.
    Assign {
        /// Variable, or a field of one.
        target: String,
        /// Expression.
        value: String,
    },
    /// A statement whose row goes into variables: INTO, or the row of a loop.
    Into {
        /// Variables.
        targets: Vec<String>,
        /// Statement.
        query: String,
    },
    /// `RETURN value`.
    Return(String),
    /// `RETURN QUERY statement`.
    ReturnQuery(String),
    /// `EXECUTE text USING ...`.
    Execute {
        /// Expression of the statement's text.
        text: String,
        /// Expressions for its parameters.
        using: Option<String>,
        /// Whether the function returns the rows.
        is_returned: bool,
    },
}

/// Pieces of a body in their order.
pub(super) fn split(body: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for statement in statements(body) {
        read_statement(statement.trim(), &mut pieces);
    }
    pieces
}

fn read_statement(statement: &str, pieces: &mut Vec<Piece>) {
    let mut rest = statement;
    while !rest.is_empty() {
        if let Some((_, after)) = rest.strip_prefix("<<").and_then(|label| label.split_once(">>")) {
            rest = after.trim();
            continue;
        }
        let (word, after) = first_word(rest);
        match word.to_uppercase().as_str() {
            "BEGIN" | "DECLARE" | "ELSE" | "LOOP" | "THEN" | "EXCEPTION" | "ATOMIC" => rest = after,
            "WHEN" | "IF" | "ELSIF" | "ELSEIF" | "WHILE" | "CASE" => match first_of(after, &["THEN", "LOOP", "WHEN"]) {
                Some((at, len)) => {
                    let condition = after[..at].trim();
                    if !condition.is_empty() {
                        pieces.push(Piece::Value(condition.to_owned()));
                    }
                    let is_case = after[at..].to_uppercase().starts_with("WHEN");
                    rest = if is_case {
                        after[at..].trim()
                    } else {
                        after[at + len..].trim()
                    };
                }
                None => return,
            },
            "FOR" | "FOREACH" => match (find_word(after, "IN"), find_word(after, "LOOP")) {
                (Some(start), Some(end)) if start < end => {
                    let query = after[start + 2..end].trim();
                    let targets = names(after[..start].split_whitespace().next().unwrap_or_default());
                    let (verb, text) = first_word(query);
                    match verb.to_uppercase().as_str() {
                        "EXECUTE" => execute(text, false, pieces),
                        "SELECT" | "WITH" | "INSERT" | "UPDATE" | "DELETE" => pieces.push(Piece::Into {
                            targets,
                            query: query.to_owned(),
                        }),
                        "ARRAY" => pieces.push(Piece::Assign {
                            target: targets.into_iter().next().unwrap_or_default(),
                            value: text.to_owned(),
                        }),
                        _ => pieces.push(Piece::Value(query.to_owned())),
                    }
                    rest = after[end + 4..].trim();
                }
                _ => return,
            },
            "PERFORM" => {
                pieces.push(Piece::Query(format!("SELECT {after}")));
                return;
            }
            "RETURN" => {
                let (next, query) = first_word(after);
                match next.to_uppercase().as_str() {
                    "QUERY" => match first_word(query) {
                        (verb, text) if verb.eq_ignore_ascii_case("EXECUTE") => execute(text, true, pieces),
                        _ => pieces.push(Piece::ReturnQuery(query.to_owned())),
                    },
                    "NEXT" if !query.is_empty() => pieces.push(Piece::Return(query.to_owned())),
                    _ if !after.is_empty() => pieces.push(Piece::Return(after.to_owned())),
                    _ => {}
                }
                return;
            }
            "EXECUTE" => {
                execute(after, false, pieces);
                return;
            }
            "SELECT" | "WITH" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "CALL" => {
                pieces.push(match take_into(rest) {
                    Some((targets, query)) => Piece::Into { targets, query },
                    None => Piece::Query(rest.to_owned()),
                });
                return;
            }
            _ => {
                if let Some(piece) = assignment(rest) {
                    pieces.push(piece);
                }
                return;
            }
        }
    }
}

/// `name [CONSTANT] [type] := value`, `name.field = value`, `name type DEFAULT value`.
fn assignment(text: &str) -> Option<Piece> {
    if let Some(at) = text.to_uppercase().find("%ROWTYPE") {
        let (name, row) = text.get(..at)?.trim().split_once(char::is_whitespace)?;
        return Some(Piece::Into {
            targets: names(name),
            query: format!("SELECT * FROM {row}"),
        });
    }
    let (target, value) = match text.split_once(":=") {
        Some((target, value)) => (target, value),
        None => match find_word(text, "DEFAULT") {
            Some(at) => (&text[..at], &text[at + 7..]),
            None => {
                let (target, value) = text.split_once('=')?;
                if matches!(
                    first_word(target).0.to_uppercase().as_str(),
                    "RAISE" | "GET" | "OPEN" | "FETCH"
                ) {
                    return None;
                }
                (target, value)
            }
        },
    };
    let target = target.split_whitespace().next()?.trim_matches('"').to_lowercase();
    Some(Piece::Assign {
        target,
        value: value.trim().to_owned(),
    })
}

fn execute(text: &str, is_returned: bool, pieces: &mut Vec<Piece>) {
    let text = take_into(text).map_or_else(|| text.to_owned(), |(_, rest)| rest);
    let (sql, using) = match find_word(&text, "USING") {
        Some(at) => (text[..at].trim().to_owned(), Some(text[at + 5..].trim().to_owned())),
        None => (text.trim().to_owned(), None),
    };
    pieces.push(Piece::Execute {
        text: sql,
        using,
        is_returned,
    });
}

/// Variables of an INTO, and the statement without it.
fn take_into(text: &str) -> Option<(Vec<String>, String)> {
    let tokens = lex::significant(text);
    let word = |at: usize| {
        tokens
            .get(at)
            .filter(|t| t.kind == TokenKind::Word)
            .map(|t| text[t.range.clone()].to_uppercase())
    };
    let at = (1..tokens.len()).find(|at| {
        word(*at).as_deref() == Some("INTO") && !matches!(word(at - 1).as_deref(), Some("INSERT" | "MERGE"))
    })?;
    let mut end = at + 1;
    if word(end).as_deref() == Some("STRICT") {
        end += 1;
    }
    let first = tokens.get(end)?.range.start;
    let mut last = first;
    let mut wants_name = true;
    while let Some(token) = tokens.get(end) {
        let piece = &text[token.range.clone()];
        let fits = if wants_name {
            token.kind.is_name()
        } else {
            piece == "," || piece == "."
        };
        if !fits {
            break;
        }
        wants_name = !wants_name;
        last = token.range.end;
        end += 1;
    }
    let targets = names(&text[first..last]);
    let rest = format!("{} {}", &text[..tokens[at].range.start], &text[last..]);
    Some((targets, rest))
}

fn names(text: &str) -> Vec<String> {
    text.split(',')
        .map(|n| n.trim().trim_matches('"').to_lowercase())
        .filter(|n| !n.is_empty())
        .collect()
}

/// Statements of a body: what semicolons outside of quotes and comments divide.
fn statements(body: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut at = 0;
    while at < body.len() {
        let current = statements.last_mut().expect("one is always there");
        let Ok(token) = lex::token(body, at, true) else {
            current.push_str(&body[at..]);
            break;
        };
        let piece = &body[token.range.clone()];
        if token.kind.is_trivia() {
            current.push(' ');
        } else if piece == ";" {
            statements.push(String::new());
        } else {
            current.push_str(piece);
        }
        at = token.range.end.max(at + 1);
    }
    statements
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    // A name that something is assigned to is no keyword: `loop := 1`.
    (&text[..end], text[end..].trim_start())
}

/// The first of these words outside of quotes and parentheses: where it is, and its length.
fn first_of(text: &str, words: &[&str]) -> Option<(usize, usize)> {
    words
        .iter()
        .filter_map(|w| find_word(text, w).map(|at| (at, w.len())))
        .min()
}

fn find_word(text: &str, word: &str) -> Option<usize> {
    let mut depth = 0;
    for token in lex::significant(text) {
        let piece = &text[token.range.clone()];
        match piece {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            _ if depth == 0 && token.kind == TokenKind::Word && piece.eq_ignore_ascii_case(word) => {
                return Some(token.range.start);
            }
            _ => {}
        }
    }
    None
}
