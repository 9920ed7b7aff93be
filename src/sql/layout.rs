//! Expressions and queries as PostgreSQL prints them, laid out for review: one condition, one column, one clause a line.
//!
//! Knows tokens and parentheses and nothing of grammar: the server writes its keywords in capitals, puts every AND, OR and
//! NOT in parentheses, and quotes names that look like keywords. Nothing is dropped but blanks and parentheses that hold
//! the same as the pair around them. Text that a person wrote (function bodies) is not for here.

use super::lex::{self, TokenKind};

/// An expression (`pg_get_expr`), one condition a line.
///
/// ```
/// use tenantproof::sql::layout::expression;
/// assert_eq!(
///     expression("((tenant_id = f()) AND ((NOT locked) OR shared))"),
///     ["tenant_id = f()", "AND (", "  NOT locked", "  OR shared", ")"],
/// );
/// ```
pub fn expression(text: &str) -> Vec<String> {
    let pieces = pieces(text);
    let mut lines = Lines::default();
    lines.any(&pieces, 0);
    lines.0
}

/// A view's query (`pg_get_viewdef`), one clause, column and condition a line.
///
/// Up to PostgreSQL 15 columns of a query over a single relation are printed with its name, from 16 on without: they are
/// left without here.
pub fn query(text: &str) -> Vec<String> {
    let mut pieces = pieces(text);
    if pieces.last().is_some_and(|p| p.is(";")) {
        pieces.pop();
    }
    drop_lone_qualifier(&mut pieces);
    let mut lines = Lines::default();
    lines.query(&pieces, 0);
    lines.0
}

/// The text on one line, blanks run together.
pub fn one_line(text: &str) -> String {
    join(&pieces(text))
}

/// What follows the first `USING` of an index definition, the usual access method left out: `(a, b) WHERE (a > 0)`.
pub fn index_parts(definition: &str) -> String {
    let pieces = pieces(definition);
    let start = pieces.iter().position(|p| p.is("USING")).map_or(0, |at| at + 1);
    let parts = &pieces[start..];
    join(match parts {
        [method, rest @ ..] if method.is("btree") => rest,
        _ => parts,
    })
}

/// Characters that would break a line or hide what is on it (controls, direction marks, zero widths) as escapes.
pub fn visible(text: &str) -> String {
    if !text.chars().any(hides) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hides(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A token, and whether blanks stood before it.
#[derive(Debug, Clone)]
struct Piece {
    text: String,
    kind: TokenKind,
    spaced: bool,
}

impl Piece {
    fn is(&self, text: &str) -> bool {
        self.text == text
    }

    fn is_any(&self, words: &[&str]) -> bool {
        words.contains(&self.text.as_str())
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut at, mut spaced) = (0, false);
    while at < text.len() {
        let (kind, end) = match lex::token(text, at, true) {
            Ok(token) => (token.kind, token.range.end),
            // The server prints whole tokens only; whatever this is stays as it is.
            Err(_) => (TokenKind::Punct, text.len()),
        };
        if kind == TokenKind::Space {
            spaced = true;
        } else {
            pieces.push(Piece {
                text: visible(&text[at..end]),
                kind,
                spaced,
            });
            spaced = false;
        }
        at = end;
    }
    without_double_parentheses(pieces)
}

/// `((x))` as `(x)`, but not `f((SELECT 1))`, where both pairs are needed.
fn without_double_parentheses(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut keep = vec![true; pieces.len()];
    for open in 0..pieces.len() {
        let (Some(close), Some(inner_close)) = (closing(&pieces, open), closing(&pieces, open + 1)) else {
            continue;
        };
        if inner_close + 1 == close && !is_query(&pieces[open + 2..inner_close]) {
            keep[open + 1] = false;
            keep[inner_close] = false;
        }
    }
    let mut keep = keep.into_iter();
    pieces.into_iter().filter(|_| keep.next() == Some(true)).collect()
}

/// The index of the parenthesis that closes the one at `open`; none where there is none at `open`.
fn closing(pieces: &[Piece], open: usize) -> Option<usize> {
    if !pieces.get(open)?.is("(") {
        return None;
    }
    let mut depth = 0usize;
    for (at, piece) in pieces.iter().enumerate().skip(open) {
        if piece.is("(") {
            depth += 1;
        } else if piece.is(")") {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// Indexes of pieces outside of parentheses, brackets and CASE.
fn top_level(pieces: &[Piece]) -> impl Iterator<Item = (usize, &Piece)> {
    let mut depth = 0i32;
    pieces.iter().enumerate().filter(move |(_, piece)| {
        if piece.is_any(&["(", "[", "CASE"]) {
            depth += 1;
            depth == 1
        } else if piece.is_any(&[")", "]", "END"]) {
            depth -= 1;
            depth == 0
        } else {
            depth == 0
        }
    })
}

/// Without the parentheses around the whole, a query's excepted.
fn unwrapped(pieces: &[Piece]) -> &[Piece] {
    match closing(pieces, 0) {
        Some(close) if close + 1 == pieces.len() && close > 1 && !is_query(&pieces[1..close]) => {
            unwrapped(&pieces[1..close])
        }
        _ => pieces,
    }
}

fn is_query(pieces: &[Piece]) -> bool {
    pieces
        .first()
        .is_some_and(|p| p.kind == TokenKind::Word && p.is_any(&["SELECT", "WITH", "VALUES"]))
}

/// The conditions that OR, or else AND, combines.
fn conditions(pieces: &[Piece]) -> Option<(&'static str, Vec<&[Piece]>)> {
    ["OR", "AND"].into_iter().find_map(|word| {
        let parts = split(pieces, |p, _| p.is(word));
        (parts.len() > 1).then_some((word, parts))
    })
}

/// The stretches between separators, which are left out.
fn split(pieces: &[Piece], is_separator: impl Fn(&Piece, usize) -> bool) -> Vec<&[Piece]> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, piece) in top_level(pieces) {
        if is_separator(piece, at) {
            parts.push(&pieces[start..at]);
            start = at + 1;
        }
    }
    parts.push(&pieces[start..]);
    parts
}

/// The stretches that begin at the given indexes, and the one before the first.
fn split_before(pieces: &[Piece], mut starts: Vec<usize>) -> Vec<&[Piece]> {
    starts.push(pieces.len());
    let mut from = 0;
    starts
        .into_iter()
        .filter_map(|to| {
            let part = &pieces[from..to];
            from = to;
            (!part.is_empty()).then_some(part)
        })
        .collect()
}

/// Whether the inside of a pair of parentheses is worth lines of its own.
fn is_long(inside: &[Piece]) -> bool {
    let inside = unwrapped(inside);
    if is_query(inside) && inside.iter().any(|p| p.is("FROM")) {
        return true;
    }
    conditions(inside).is_some()
        || (0..inside.len()).any(|open| closing(inside, open).is_some_and(|close| is_long(&inside[open + 1..close])))
}

fn join(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 && piece.spaced && !pieces[at - 1].is("(") && !piece.is(")") {
            out.push(' ');
        }
        out.push_str(&piece.text);
    }
    out
}

const CLAUSES: &[&str] = &[
    "WITH",
    "SELECT",
    "VALUES",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "FOR",
    "UNION",
    "INTERSECT",
    "EXCEPT",
];

/// Indexes at which clauses of a query begin.
fn clause_starts(pieces: &[Piece]) -> Vec<usize> {
    top_level(pieces)
        .filter(|(at, piece)| {
            let before = at.checked_sub(1).map_or("", |b| pieces[b].text.as_str());
            match piece.text.as_str() {
                "FROM" => before != "DISTINCT",
                "GROUP" => before != "WITHIN",
                "WITH" => *at == 0,
                word => CLAUSES.contains(&word),
            }
        })
        .map(|(at, _)| at)
        .collect()
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn push(&mut self, indent: usize, text: &str) {
        self.0.push(format!("{:1$}{text}", "", indent * 2));
    }

    fn any(&mut self, pieces: &[Piece], indent: usize) {
        let pieces = unwrapped(pieces);
        if is_query(pieces) {
            return self.query(pieces, indent);
        }
        match conditions(pieces) {
            Some((word, parts)) => {
                for (at, part) in parts.into_iter().enumerate() {
                    let prefix = if at == 0 { String::new() } else { format!("{word} ") };
                    self.condition(&prefix, part, indent);
                }
            }
            None => self.leaf("", pieces, indent),
        }
    }

    fn condition(&mut self, prefix: &str, pieces: &[Piece], indent: usize) {
        let pieces = unwrapped(pieces);
        if conditions(pieces).is_some() {
            self.push(indent, &format!("{prefix}("));
            self.any(pieces, indent + 1);
            self.push(indent, ")");
        } else {
            self.leaf(prefix, pieces, indent);
        }
    }

    /// A line; what is long in parentheses gets lines of its own.
    fn leaf(&mut self, prefix: &str, pieces: &[Piece], indent: usize) {
        let long = top_level(pieces).find_map(|(open, _)| {
            let close = closing(pieces, open)?;
            is_long(&pieces[open + 1..close]).then_some((open, close))
        });
        match long {
            Some((open, close)) => {
                self.push(indent, &format!("{prefix}{}", join(&pieces[..=open])));
                self.any(&pieces[open + 1..close], indent + 1);
                self.leaf("", &pieces[close..], indent);
            }
            None => self.push(indent, &format!("{prefix}{}", join(pieces))),
        }
    }

    fn query(&mut self, pieces: &[Piece], indent: usize) {
        for clause in split_before(pieces, clause_starts(pieces)) {
            match clause[0].text.as_str() {
                "SELECT" => self.select(clause, indent),
                "FROM" => self.from(clause, indent),
                "WHERE" | "HAVING" if conditions(unwrapped(&clause[1..])).is_some() => {
                    self.push(indent, &clause[0].text);
                    self.any(&clause[1..], indent + 1);
                }
                "WHERE" | "HAVING" => self.leaf(&format!("{} ", clause[0].text), unwrapped(&clause[1..]), indent),
                "GROUP" | "ORDER" if clause.len() > 2 => self.list(&clause[..2], &clause[2..], indent),
                _ => self.leaf("", clause, indent),
            }
        }
    }

    fn select(&mut self, clause: &[Piece], indent: usize) {
        let mut head = 1;
        if clause.get(1).is_some_and(|p| p.is("DISTINCT")) {
            head = 2;
            if clause.get(2).is_some_and(|p| p.is("ON")) {
                head = closing(clause, 3).map_or(head, |close| close + 1);
            }
        }
        self.list(&clause[..head], &clause[head..], indent);
    }

    /// Items separated by commas: on the line of what introduces them, or each on its own.
    fn list(&mut self, head: &[Piece], items: &[Piece], indent: usize) {
        let items = split(items, |p, _| p.is(","));
        if let [item] = items.as_slice() {
            return self.leaf("", &[head, item].concat(), indent);
        }
        self.push(indent, &join(head));
        let last = items.len() - 1;
        for (at, item) in items.into_iter().enumerate() {
            self.leaf("", item, indent + 1);
            if at < last {
                self.comma();
            }
        }
    }

    fn from(&mut self, clause: &[Piece], indent: usize) {
        let mut lists = Vec::new();
        for item in split(&clause[1..], |p, _| p.is(",")) {
            let mut joined = Vec::new();
            flatten_joins(item, &mut joined);
            lists.push(joined);
        }
        if let [joined] = lists.as_slice()
            && let [_] = joined.as_slice()
        {
            return self.leaf("", clause, indent);
        }
        self.push(indent, "FROM");
        let last = lists.len() - 1;
        for (at, joined) in lists.into_iter().enumerate() {
            for part in joined {
                self.leaf("", part, indent + 1);
            }
            if at < last {
                self.comma();
            }
        }
    }

    /// A comma at the end of the last line.
    fn comma(&mut self) {
        if let Some(line) = self.0.last_mut() {
            line.push(',');
        }
    }
}

/// The relations of `((a JOIN b ON ..) LEFT JOIN c ON ..)` in order, each with the words that join it. Joins bind from the
/// left, so the parentheses around what is on the left say nothing.
fn flatten_joins<'a>(pieces: &'a [Piece], parts: &mut Vec<&'a [Piece]>) {
    const KINDS: &[&str] = &["LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL", "JOIN"];
    let pieces = unwrapped(pieces);
    let mut starts = Vec::new();
    for (at, piece) in top_level(pieces) {
        if at > 0 && piece.is_any(KINDS) && !pieces[at - 1].is_any(KINDS) {
            starts.push(at);
        }
    }
    if starts.is_empty() {
        parts.push(pieces);
        return;
    }
    for (at, part) in split_before(pieces, starts).into_iter().enumerate() {
        if at == 0 {
            flatten_joins(part, parts);
        } else {
            parts.push(part);
        }
    }
}

/// Drops the name of the only relation before its columns, outside of subqueries (where every version prints it).
fn drop_lone_qualifier(pieces: &mut Vec<Piece>) {
    let Some(name) = lone_relation(pieces) else { return };
    let mut keep = vec![true; pieces.len()];
    let mut at = 0;
    while at < pieces.len() {
        match closing(pieces, at) {
            Some(close) if is_query(&pieces[at + 1..close]) => at = close,
            _ => {
                let starts = at == 0 || !pieces[at - 1].is(".");
                if starts && pieces[at].text == name && pieces.get(at + 1).is_some_and(|p| p.is(".")) {
                    keep[at] = false;
                    keep[at + 1] = false;
                    if let Some(column) = pieces.get(at + 2) {
                        let spaced = pieces[at].spaced;
                        debug_assert!(!column.spaced);
                        pieces[at + 2].spaced = spaced;
                    }
                }
            }
        }
        at += 1;
    }
    let mut keep = keep.into_iter();
    pieces.retain(|_| keep.next() == Some(true));
}

/// The name by which a query calls its only relation; none where there is more than one, or a set operation.
fn lone_relation(pieces: &[Piece]) -> Option<String> {
    if top_level(pieces).any(|(_, p)| p.is_any(&["UNION", "INTERSECT", "EXCEPT"])) {
        return None;
    }
    let clauses = split_before(pieces, clause_starts(pieces));
    let from = clauses.into_iter().find(|c| c[0].is("FROM"))?;
    let item = unwrapped(&from[1..]);
    let is_single = top_level(item).all(|(_, p)| !p.is_any(&[",", "JOIN", "TABLESAMPLE"]));
    // The alias, or else the last part of the name, is the last name outside of parentheses.
    let name = top_level(item).filter(|(_, p)| p.kind.is_name()).last()?.1;
    (is_single && !name.is("ORDINALITY")).then(|| name.text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::a_lone_condition_loses_its_parentheses("(a = 1)", &["a = 1"])]
    #[case::a_constant_stays("true", &["true"])]
    #[case::and_breaks("((a = 1) AND (b = 2) AND c)", &["a = 1", "AND b = 2", "AND c"])]
    #[case::or_holds_its_ands("(((a = 1) AND b) OR c)", &["(", "  a = 1", "  AND b", ")", "OR c"])]
    #[case::not_breaks_what_it_denies("(NOT (a AND b))", &["NOT (", "  a", "  AND b", ")"])]
    #[case::case_is_one_condition("CASE WHEN (a AND b) THEN c ELSE d END", &["CASE WHEN (a AND b) THEN c ELSE d END"])]
    #[case::strings_and_quoted_names_are_not_read("((a = ' AND (') OR (\" OR \" = 1))", &["a = ' AND ('", "OR \" OR \" = 1"])]
    #[case::a_small_subquery_stays_on_its_line(
        "(id = ( SELECT public.f() AS f))", &["id = (SELECT public.f() AS f)"])]
    #[case::a_subquery_with_tables_breaks(
        "((EXISTS ( SELECT 1\n   FROM public.m m\n  WHERE ((m.t = d.t) AND m.active))) OR shared)",
        &["EXISTS (", "  SELECT 1", "  FROM public.m m", "  WHERE", "    m.t = d.t", "    AND m.active", ")", "OR shared"])]
    #[case::line_ends_in_strings_are_made_visible("(a = 'x\ny')", &["a = 'x\\ny'"])]
    #[case::an_argument_that_is_a_query_keeps_both_parentheses("f(( SELECT 1))", &["f((SELECT 1))"])]
    #[case::nothing_is_no_line_to_trip_over("", &[""])]
    fn expressions(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(expression(text), expected);
    }

    #[rstest]
    #[case::columns_and_conditions(
        " SELECT m.tenant_id,\n    m.user_id\n   FROM public.memberships m\n  WHERE (m.status = 'active'::text);",
        &["SELECT", "  tenant_id,", "  user_id", "FROM public.memberships m", "WHERE status = 'active'::text"])]
    #[case::later_majors_print_no_qualifier(
        " SELECT tenant_id,\n    user_id\n   FROM public.memberships m\n  WHERE (status = 'active'::text);",
        &["SELECT", "  tenant_id,", "  user_id", "FROM public.memberships m", "WHERE status = 'active'::text"])]
    #[case::subqueries_keep_theirs(
        " SELECT t.a\n   FROM t\n  WHERE (EXISTS ( SELECT 1\n           FROM u\n          WHERE (u.a = t.a)));",
        &["SELECT a", "FROM t", "WHERE EXISTS (", "  SELECT 1", "  FROM u", "  WHERE u.a = t.a", ")"])]
    #[case::joins_are_a_list(
        " SELECT a.x,\n    b.y\n   FROM ((a\n     JOIN b ON ((a.x = b.x)))\n     LEFT JOIN c ON (((c.x = a.x) AND (c.y = b.y))))\n  ORDER BY a.x;",
        &["SELECT", "  a.x,", "  b.y", "FROM", "  a", "  JOIN b ON (a.x = b.x)", "  LEFT JOIN c ON (", "    c.x = a.x", "    AND c.y = b.y", "  )", "ORDER BY a.x"])]
    #[case::relations_are_a_list(
        " SELECT a.x\n   FROM a,\n    (b\n     JOIN c ON ((b.x = c.x)));",
        &["SELECT a.x", "FROM", "  a,", "  b", "  JOIN c ON (b.x = c.x)"])]
    #[case::set_operations_are_left_alone(
        " SELECT t.a\n   FROM t\nUNION ALL\n SELECT u.a\n   FROM u;",
        &["SELECT t.a", "FROM t", "UNION ALL", "SELECT u.a", "FROM u"])]
    fn queries(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(query(text), expected);
    }

    #[rstest]
    #[case::btree_is_usual(
        "CREATE UNIQUE INDEX k ON public.t USING btree (a, lower(b)) WHERE (c > 0)",
        "(a, lower(b)) WHERE (c > 0)"
    )]
    #[case::other_methods_are_named("CREATE INDEX k ON public.t USING gist (a WITH =)", "gist (a WITH =)")]
    #[case::names_are_no_keywords("CREATE UNIQUE INDEX \" USING x\" ON t USING btree (a)", "(a)")]
    fn index_definitions(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(index_parts(text), expected);
    }

    fn essence(text: &str) -> Vec<String> {
        lex::significant(text)
            .iter()
            .map(|t| text[t.range.clone()].to_owned())
            .filter(|t| t != "(" && t != ")")
            .collect()
    }

    fn any_expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("a".to_owned()),
            Just("(b = 'x (')".to_owned()),
            Just("f(( SELECT 1))".to_owned()),
            Just("(c = ANY (ARRAY[1, 2]))".to_owned()),
        ];
        leaf.prop_recursive(5, 40, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(|v| format!("({})", v.join(" AND "))),
                prop::collection::vec(inner.clone(), 2..4).prop_map(|v| format!("({})", v.join(" OR "))),
                inner.clone().prop_map(|e| format!("(NOT {e})")),
                inner
                    .clone()
                    .prop_map(|e| format!("(EXISTS ( SELECT 1\n   FROM t\n  WHERE {e}))")),
                inner.prop_map(|e| format!("COALESCE({e}, false)")),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_but_blanks_and_parentheses_is_lost(text in any_expression()) {
            prop_assert_eq!(essence(&expression(&text).join("\n")), essence(&text));
        }

        #[test]
        fn what_is_laid_out_stays_as_it_is(text in any_expression()) {
            let once = expression(&text);
            prop_assert_eq!(expression(&once.join("\n")), once);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", sql in "[()\\[\\]a.,' ]{0,30}(SELECT|FROM|JOIN|AND|OR|CASE|END|DISTINCT|ON)?[() a.,]{0,20}(FROM|JOIN|AND)?[() a.,]{0,10}") {
            for text in [text, sql] {
                let _ = (expression(&text), query(&text), one_line(&text), index_parts(&text));
            }
        }
    }
}
