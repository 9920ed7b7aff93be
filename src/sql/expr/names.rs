//! Small questions to the tree: names, literals, operators, which functions only pass something on.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::Named;

/// Built-in functions that return a part or form of their argument.
pub(super) fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "nullif"
            | "coalesce"
            | "lower"
            | "upper"
            | "trim"
            | "btrim"
            | "ltrim"
            | "rtrim"
            | "split_part"
            | "left"
            | "right"
            | "substr"
            | "substring"
            | "string_to_array"
            | "string_to_table"
            | "regexp_replace"
            | "regexp_split_to_array"
            | "regexp_split_to_table"
            | "replace"
            | "concat"
            | "format"
            | "position"
            | "strpos"
            | "starts_with"
            | "text"
            | "uuid"
            | "int4"
            | "int8"
            | "array_position"
            | "array_to_string"
            | "array_agg"
            | "min"
            | "max"
            | "to_number"
            | "md5"
            | "encode"
            | "decode"
            | "unnest"
            | "json_array_elements_text"
            | "jsonb_array_elements_text"
            | "json_array_elements"
            | "jsonb_array_elements"
            | "to_json"
            | "to_jsonb"
            | "jsonb_build_array"
            | "translate"
            | "foldername"
            | "subpath"
            | "subltree"
            | "text2ltree"
            | "ltree2text"
    )
}

pub(super) fn is_clock(name: &str) -> bool {
    matches!(
        name,
        "now" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp"
    )
}

/// Whether the operator goes down into JSON.
pub(super) fn is_json_step(op: &str) -> bool {
    matches!(op, "->" | "->>" | "#>" | "#>>")
}

/// Whether the operator makes a value rather than a truth.
pub(super) fn is_arithmetic(op: &str) -> bool {
    matches!(op, "||" | "+" | "-" | "*" | "/" | "%" | "^") || is_json_step(op)
}

/// Keys of a path written as an array literal: `{a,b}`.
pub(super) fn path_keys(text: &str) -> Vec<String> {
    text.trim_matches(['{', '}'])
        .split(',')
        .map(|p| p.trim().trim_matches('"').to_owned())
        .filter(|p| !p.is_empty())
        .collect()
}

/// Name of the function that a call names.
pub(super) fn call_name(node: &SyntaxNode) -> Option<Named> {
    let head = node
        .children()
        .find(|n| matches!(n.kind(), SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR))?;
    let mut parts: Vec<String> = head
        .descendants_with_tokens()
        .filter_map(|t| t.into_token())
        .filter(|t| t.kind() != SyntaxKind::DOT && !t.text().trim().is_empty())
        .map(|t| fold(t.text()))
        .collect();
    let name = parts.pop()?;
    Some(Named {
        schema: parts.pop(),
        name,
        path: Vec::new(),
    })
}

/// Names below a node, as the server stores them, keywords for identity and time left out.
pub(super) fn identifiers(node: &SyntaxNode) -> Vec<String> {
    node.descendants_with_tokens()
        .filter_map(|t| t.into_token())
        .filter(|t| {
            !matches!(t.kind(), SyntaxKind::DOT | SyntaxKind::AS_KW | SyntaxKind::ONLY_KW)
                && !is_reserved_name(t.kind())
        })
        .filter(|t| {
            t.text()
                .starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"')
        })
        .map(|t| fold(t.text()))
        .collect()
}

fn is_reserved_name(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::CURRENT_USER_KW
            | SyntaxKind::SESSION_USER_KW
            | SyntaxKind::USER_KW
            | SyntaxKind::CURRENT_ROLE_KW
            | SyntaxKind::CURRENT_TIMESTAMP_KW
            | SyntaxKind::CURRENT_DATE_KW
            | SyntaxKind::LOCALTIMESTAMP_KW
    )
}

pub(super) fn is_current_user(node: &SyntaxNode) -> bool {
    [
        SyntaxKind::CURRENT_USER_KW,
        SyntaxKind::SESSION_USER_KW,
        SyntaxKind::USER_KW,
        SyntaxKind::CURRENT_ROLE_KW,
    ]
    .into_iter()
    .any(|kind| node.descendants_with_tokens().any(|t| t.kind() == kind))
}

/// An identifier as the server stores it.
pub(super) fn fold(text: &str) -> String {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}

pub(super) fn literal(node: &SyntaxNode) -> Option<String> {
    if node.kind() != SyntaxKind::LITERAL {
        return None;
    }
    let token = node.children_with_tokens().find_map(|t| t.into_token())?;
    match token.kind() {
        SyntaxKind::STRING => Some(unquote(token.text())),
        SyntaxKind::INT_NUMBER | SyntaxKind::NUMERIC_NUMBER => Some(token.text().to_owned()),
        SyntaxKind::TRUE_KW => Some("true".to_owned()),
        SyntaxKind::FALSE_KW => Some("false".to_owned()),
        _ => None,
    }
}

fn unquote(text: &str) -> String {
    text.trim_start_matches(['E', 'e'])
        .trim_matches('\'')
        .replace("''", "'")
}

pub(super) fn has_token(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.children_with_tokens().any(|t| t.kind() == kind)
}

/// Nodes within a binary expression that are the operator itself.
pub(super) fn is_operator(kind: SyntaxKind) -> bool {
    if kind == SyntaxKind::CUSTOM_OP {
        return true;
    }
    let name = format!("{kind:?}");
    name.starts_with("IS_")
        || name.starts_with("NOT_")
        || name.ends_with("_OP")
        || matches!(
            name.as_str(),
            "LTEQ" | "GTEQ" | "NEQ" | "NEQB" | "SIMILAR_TO" | "AT_TIME_ZONE" | "OPERATOR_CALL"
        )
}

/// The operator of a binary expression: the tokens between its operands.
pub(super) fn operator(node: &SyntaxNode) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut operands = 0;
    for element in node.children_with_tokens() {
        match element {
            squawk_syntax::SyntaxElement::Node(inner) if !is_operator(inner.kind()) => operands += 1,
            squawk_syntax::SyntaxElement::Node(inner) if operands == 1 => words.push(inner.text().to_string()),
            squawk_syntax::SyntaxElement::Token(token)
                if operands == 1 && !token.text().trim().is_empty() && token.kind() != SyntaxKind::COMMENT =>
            {
                words.push(token.text().to_owned());
            }
            _ => {}
        }
    }
    let op = words
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_uppercase();
    // `OPERATOR(pg_catalog.=)` is what the server prints for an operator off the search path.
    match op
        .strip_prefix("OPERATOR")
        .map(|rest| rest.trim().trim_matches(['(', ')']))
    {
        Some(inner) => inner.rsplit('.').next().unwrap_or(inner).trim().to_owned(),
        None => op,
    }
}

/// Operands of a binary expression.
pub(super) fn sides(node: &SyntaxNode) -> Option<[SyntaxNode; 2]> {
    let sides: Vec<SyntaxNode> = node.children().filter(|n| !is_operator(n.kind())).collect();
    sides.try_into().ok()
}

/// A chain of operators of one rank, from left to right: the parser nests `a -> 'b' ->> 'c'` to the right, the server to
/// the left.
pub(super) fn chain(node: &SyntaxNode) -> Option<(SyntaxNode, Vec<(String, SyntaxNode)>)> {
    let [first, mut rest] = sides(node)?;
    let mut op = operator(node);
    let mut steps = Vec::new();
    let is_own = |n: &SyntaxNode| n.children().any(|c| c.kind() == SyntaxKind::CUSTOM_OP);
    if is_own(node) {
        while rest.kind() == SyntaxKind::BIN_EXPR && is_own(&rest) {
            let Some([left, right]) = sides(&rest) else { break };
            let next = operator(&rest);
            steps.push((std::mem::replace(&mut op, next), left));
            rest = right;
        }
    }
    steps.push((op, rest));
    Some((first, steps))
}

/// Arguments of a call: their names, where given, and the expressions.
pub(super) fn arguments(call: &SyntaxNode) -> Vec<(Option<String>, SyntaxNode)> {
    let Some(list) = call.children().find(|n| n.kind() == SyntaxKind::ARG_LIST) else {
        return Vec::new();
    };
    list.children()
        .filter_map(|argument| {
            let inner = argument.children().next()?;
            if inner.kind() == SyntaxKind::NAMED_ARG {
                let name = identifiers(&inner.children().next()?).into_iter().next();
                Some((name, inner.children().last()?))
            } else {
                Some((None, inner))
            }
        })
        .collect()
}
