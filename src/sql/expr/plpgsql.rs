//! Taking a plpgsql body apart into SQL statements, without its procedural words.

/// Statements of a plpgsql body as SQL: conditions and returned expressions become SELECTs.
pub(super) fn split(body: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for statement in split_statements(body) {
        let mut rest = statement.trim();
        loop {
            let (word, after) = first_word(rest);
            match word.to_uppercase().as_str() {
                "BEGIN" | "DECLARE" | "ELSE" | "LOOP" | "THEN" | "EXCEPTION" => rest = after,
                "WHEN" | "IF" | "ELSIF" | "ELSEIF" | "WHILE" => {
                    let upper = after.to_uppercase();
                    let end = ["THEN", "LOOP"]
                        .iter()
                        .filter_map(|w| find_word(&upper, w).map(|at| (at, w.len())))
                        .min();
                    match end {
                        Some((at, len)) => {
                            pieces.push(format!("SELECT {}", &after[..at]));
                            rest = after[at + len..].trim();
                        }
                        None => break,
                    }
                }
                "FOR" | "FOREACH" => {
                    let upper = after.to_uppercase();
                    match (find_word(&upper, "IN"), find_word(&upper, "LOOP")) {
                        (Some(start), Some(end)) if start < end => {
                            pieces.push(after[start + 2..end].to_owned());
                            rest = after[end + 4..].trim();
                        }
                        _ => break,
                    }
                }
                "PERFORM" => {
                    pieces.push(format!("SELECT {after}"));
                    break;
                }
                "RETURN" => {
                    let (next, query) = first_word(after);
                    match next.to_uppercase().as_str() {
                        "QUERY" => pieces.push(query.to_owned()),
                        "NEXT" => pieces.push(format!("SELECT {query}")),
                        _ => pieces.push(format!("SELECT {after}")),
                    }
                    break;
                }
                "SELECT" | "WITH" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "CALL" => {
                    pieces.push(rest.to_owned());
                    break;
                }
                _ => {
                    if let Some((_, value)) = rest.split_once(":=") {
                        pieces.push(format!("SELECT {value}"));
                    }
                    break;
                }
            }
            if rest.is_empty() {
                break;
            }
        }
    }
    pieces
}

/// Splits at semicolons outside of quotes and comments.
fn split_statements(body: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        let current = statements.last_mut().expect("one is always there");
        match c {
            '\'' | '"' => {
                current.push(c);
                for inner in chars.by_ref() {
                    current.push(inner);
                    if inner == c {
                        break;
                    }
                }
            }
            '-' if chars.peek() == Some(&'-') => {
                for inner in chars.by_ref() {
                    if inner == '\n' {
                        break;
                    }
                }
                current.push('\n');
            }
            ';' => statements.push(String::new()),
            _ => current.push(c),
        }
    }
    statements
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn find_word(text: &str, word: &str) -> Option<usize> {
    let boundary = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
    text.match_indices(word)
        .find(|(at, _)| boundary(text[..*at].chars().next_back()) && boundary(text[at + word.len()..].chars().next()))
        .map(|(at, _)| at)
}
