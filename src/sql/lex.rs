//! PostgreSQL's lexical structure: where tokens begin and end, and what names and strings mean.
//!
//! Follows `scan.l` and `psqlscan.l`. It owns no grammar: statements are found in [`super::script`], expressions in
//! [`super::expr`]. Every byte of a text belongs to exactly one token, and no text makes it panic.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Blanks and line ends.
    Space,
    /// `-- ...` up to the end of its line.
    LineComment,
    /// `/* ... */`, which nests.
    BlockComment,
    /// A keyword or a name without quotes.
    Word,
    /// `"name"`.
    QuotedName,
    /// `U&"name"`.
    UnicodeName,
    /// `'text'`, also `N'text'`.
    String,
    /// `E'text'`: backslashes escape.
    EscapeString,
    /// `U&'text'`.
    UnicodeString,
    /// `B'0101'` or `X'1f'`.
    BitString,
    /// `$tag$text$tag$`.
    DollarString,
    /// A numeric constant.
    Number,
    /// `$1`.
    Param,
    /// An operator, `::` and `:=` among them.
    Operator,
    /// One of `( ) [ ] , ; . :`, or a character that has no meaning in SQL (a backslash for one).
    Punct,
}

impl TokenKind {
    /// Blanks and comments.
    pub fn is_trivia(self) -> bool {
        matches!(self, Self::Space | Self::LineComment | Self::BlockComment)
    }

    /// String constants of every notation, bit strings left out.
    pub fn is_string(self) -> bool {
        matches!(
            self,
            Self::String | Self::EscapeString | Self::UnicodeString | Self::DollarString
        )
    }

    /// Names of every notation; a bare word may turn out to be a keyword.
    pub fn is_name(self) -> bool {
        matches!(self, Self::Word | Self::QuotedName | Self::UnicodeName)
    }
}

/// A token: its kind and the bytes it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes in the text.
    pub range: Range<usize>,
}

/// A quote, comment or dollar body that never ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unterminated {
    /// What was opened, in words: "a quoted string".
    pub what: &'static str,
    /// What would have closed it.
    pub closer: String,
    /// The byte at which it was opened.
    pub start: usize,
}

/// Reads the token that begins at byte `at`.
///
/// `standard_strings` is the setting `standard_conforming_strings`: when it is off, backslashes escape in plain strings too.
///
/// # Errors
///
/// When what begins at `at` has no end.
///
/// # Panics
///
/// Never for `at < text.len()` on a character boundary.
pub fn token(text: &str, at: usize, standard_strings: bool) -> Result<Token, Unterminated> {
    let bytes = text.as_bytes();
    let first = bytes[at];
    let next = bytes.get(at + 1).copied();
    let run = |kind, end| Ok(Token { kind, range: at..end });
    match first {
        b if is_space(b) => run(TokenKind::Space, skip(bytes, at, is_space)),
        b'-' if next == Some(b'-') => run(TokenKind::LineComment, line_comment_end(bytes, at)),
        b'/' if next == Some(b'*') => run(TokenKind::BlockComment, block_comment_end(bytes, at)?),
        b'\'' if standard_strings => run(TokenKind::String, string_end(bytes, at, at, false)?),
        b'\'' => run(TokenKind::EscapeString, string_end(bytes, at, at, true)?),
        b'"' => run(TokenKind::QuotedName, name_end(bytes, at, at)?),
        b'$' => dollar(text, at),
        b'0'..=b'9' => run(TokenKind::Number, number_end(bytes, at)),
        b'.' if next.is_some_and(|b| b.is_ascii_digit()) => run(TokenKind::Number, number_end(bytes, at)),
        b':' if matches!(next, Some(b':' | b'=')) => run(TokenKind::Operator, at + 2),
        b if is_word_start(b) => match (first.to_ascii_lowercase(), next) {
            (b'e', Some(b'\'')) => run(TokenKind::EscapeString, string_end(bytes, at, at + 1, true)?),
            (b'n', Some(b'\'')) if standard_strings => run(TokenKind::String, string_end(bytes, at, at + 1, false)?),
            (b'n', Some(b'\'')) => run(TokenKind::EscapeString, string_end(bytes, at, at + 1, true)?),
            (b'b' | b'x', Some(b'\'')) => run(TokenKind::BitString, string_end(bytes, at, at + 1, false)?),
            (b'u', Some(b'&')) if bytes.get(at + 2) == Some(&b'\'') => {
                run(TokenKind::UnicodeString, string_end(bytes, at, at + 2, false)?)
            }
            (b'u', Some(b'&')) if bytes.get(at + 2) == Some(&b'"') => {
                run(TokenKind::UnicodeName, name_end(bytes, at, at + 2)?)
            }
            _ => run(TokenKind::Word, skip(bytes, at, is_word_part)),
        },
        b if is_operator(b) => run(TokenKind::Operator, operator_end(bytes, at)),
        _ => run(TokenKind::Punct, at + 1),
    }
}

/// All tokens of a text that are neither blanks nor comments; stops without complaint at something that never ends.
pub fn significant(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let Ok(token) = token(text, at, true) else {
            break;
        };
        at = token.range.end;
        if !token.kind.is_trivia() {
            tokens.push(token);
        }
    }
    tokens
}

/// The name that a token stands for: bare words in lower case (ASCII only, as the server folds in UTF-8), quotes removed.
pub fn name(text: &str, token: &Token) -> Option<String> {
    let raw = &text[token.range.clone()];
    match token.kind {
        TokenKind::Word => Some(raw.to_ascii_lowercase()),
        TokenKind::QuotedName => Some(raw[1..raw.len() - 1].replace("\"\"", "\"")),
        TokenKind::UnicodeName => Some(unicode_escapes(&raw[3..raw.len() - 1].replace("\"\"", "\""))),
        _ => None,
    }
}

/// The text that a string token stands for; `None` for any other token.
pub fn string(text: &str, token: &Token) -> Option<String> {
    let raw = &text[token.range.clone()];
    match token.kind {
        TokenKind::String => Some(unquote(&raw[raw.find('\'')?..], false)),
        TokenKind::EscapeString => Some(unquote(&raw[raw.find('\'')?..], true)),
        TokenKind::UnicodeString => Some(unicode_escapes(&unquote(&raw[2..], false))),
        TokenKind::DollarString => {
            let tag = raw[1..].find('$')? + 2;
            Some(raw[tag..raw.len() - tag].to_owned())
        }
        _ => None,
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Letters, `_` and everything beyond ASCII may begin a name.
pub(crate) fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn is_word_part(b: u8) -> bool {
    is_word_start(b) || b.is_ascii_digit() || b == b'$'
}

fn is_operator(b: u8) -> bool {
    matches!(
        b,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

fn skip(bytes: &[u8], at: usize, part: impl Fn(u8) -> bool) -> usize {
    at + bytes[at..].iter().take_while(|&&b| part(b)).count()
}

fn line_comment_end(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, |b| b != b'\n' && b != b'\r')
}

fn block_comment_end(bytes: &[u8], start: usize) -> Result<usize, Unterminated> {
    let mut depth = 0usize;
    let mut at = start;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => at += 1,
        }
    }
    Err(Unterminated {
        what: "a comment",
        closer: "*/".to_owned(),
        start,
    })
}

/// The end of the string whose opening quote is at `quote`, with what continues it on later lines.
fn string_end(bytes: &[u8], start: usize, quote: usize, escapes: bool) -> Result<usize, Unterminated> {
    let mut at = quote + 1;
    loop {
        match bytes.get(at) {
            None => {
                return Err(Unterminated {
                    what: "a quoted string",
                    closer: "'".to_owned(),
                    start,
                });
            }
            Some(b'\\') if escapes => at += 2,
            Some(b'\'') if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            Some(b'\'') => match continuation(bytes, at + 1) {
                Some(reopened) => at = reopened + 1,
                None => return Ok(at + 1),
            },
            Some(_) => at += 1,
        }
    }
}

/// "Two string constants that are only separated by whitespace with at least one newline are concatenated" (manual,
/// 4.1.2.1); line comments count as white space there. Gives the quote that opens the next part.
fn continuation(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut newline = false;
    loop {
        match *bytes.get(at)? {
            b'\'' => return newline.then_some(at),
            b if is_space(b) => {
                newline |= b == b'\n' || b == b'\r';
                at += 1;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => at = line_comment_end(bytes, at),
            _ => return None,
        }
    }
}

fn name_end(bytes: &[u8], start: usize, quote: usize) -> Result<usize, Unterminated> {
    let mut at = quote + 1;
    loop {
        match bytes.get(at) {
            None => {
                return Err(Unterminated {
                    what: "a quoted name",
                    closer: "\"".to_owned(),
                    start,
                });
            }
            Some(b'"') if bytes.get(at + 1) == Some(&b'"') => at += 2,
            Some(b'"') => return Ok(at + 1),
            Some(_) => at += 1,
        }
    }
}

fn dollar(text: &str, at: usize) -> Result<Token, Unterminated> {
    let bytes = text.as_bytes();
    let after = at + 1;
    let digits = skip(bytes, after, |b| b.is_ascii_digit());
    if digits > after {
        return Ok(Token {
            kind: TokenKind::Param,
            range: at..digits,
        });
    }
    let tag = skip(bytes, after, |b| is_word_start(b) || b.is_ascii_digit());
    if bytes.get(tag) != Some(&b'$') {
        return Ok(Token {
            kind: TokenKind::Punct,
            range: at..after,
        });
    }
    let delimiter = &text[at..=tag];
    match text[tag + 1..].find(delimiter) {
        Some(body) => Ok(Token {
            kind: TokenKind::DollarString,
            range: at..tag + 1 + body + delimiter.len(),
        }),
        None => Err(Unterminated {
            what: "a dollar-quoted body",
            closer: delimiter.to_owned(),
            start: at,
        }),
    }
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let digit = |b: u8| b.is_ascii_digit() || b == b'_';
    if bytes[start] == b'0'
        && bytes
            .get(start + 1)
            .is_some_and(|b| matches!(b.to_ascii_lowercase(), b'x' | b'o' | b'b'))
    {
        let end = skip(bytes, start + 2, |b| b.is_ascii_hexdigit() || b == b'_');
        if end > start + 2 {
            return end;
        }
    }
    let mut at = skip(bytes, start, digit);
    // `1..10` is a range of plpgsql, not the number `1.`.
    if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
        at = skip(bytes, at + 1, digit);
    }
    if bytes.get(at).is_some_and(|b| b.eq_ignore_ascii_case(&b'e')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = at + 1 + sign;
        if bytes.get(exponent).is_some_and(u8::is_ascii_digit) {
            at = skip(bytes, exponent, digit);
        }
    }
    at
}

fn operator_end(bytes: &[u8], start: usize) -> usize {
    let mut end = skip(bytes, start, is_operator);
    for at in start + 1..end {
        if matches!((bytes[at], bytes.get(at + 1)), (b'-', Some(b'-')) | (b'/', Some(b'*'))) {
            end = at;
            break;
        }
    }
    // "A multiple-character operator name cannot end in + or -, unless the name also contains at least one of
    // ~ ! @ # % ^ & | ` ?" (manual, 4.1.3): so that `=-1` is `=` and `-1`.
    let special = |b: &u8| matches!(b, b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?');
    if !bytes[start..end].iter().any(special) {
        while end > start + 1 && matches!(bytes[end - 1], b'+' | b'-') {
            end -= 1;
        }
    }
    end
}

/// Undoes the quotes of a string constant that begins with its opening quote, continuations included.
fn unquote(raw: &str, escapes: bool) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.get(1..).unwrap_or_default();
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\'' if after.starts_with('\'') => {
                out.push('\'');
                rest = &after[1..];
            }
            '\'' => match continuation(after.as_bytes(), 0) {
                Some(quote) => rest = &after[quote + 1..],
                None => break,
            },
            '\\' if escapes => rest = escape(after, &mut out),
            _ => {
                out.push(c);
                rest = after;
            }
        }
    }
    out
}

/// Decodes one backslash escape of an `E''` string; `rest` begins after the backslash.
fn escape<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let Some(c) = rest.chars().next() else {
        return rest;
    };
    let after = &rest[c.len_utf8()..];
    let mut code = |digits: &'a str, radix, max: usize, otherwise: char| {
        let len = digits.chars().take(max).take_while(|d| d.is_digit(radix)).count();
        match u32::from_str_radix(&digits[..len], radix).ok().and_then(char::from_u32) {
            Some(decoded) => {
                out.push(decoded);
                &digits[len..]
            }
            None => {
                out.push(otherwise);
                after
            }
        }
    };
    match c {
        'x' => code(after, 16, 2, 'x'),
        'u' => code(after, 16, 4, 'u'),
        'U' => code(after, 16, 8, 'U'),
        '0'..='7' => code(rest, 8, 3, c),
        _ => {
            out.push(match c {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            });
            after
        }
    }
}

/// Decodes `\0041` and `\+000041` of `U&` notations with the standard escape character.
fn unicode_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (digits, len) = after.strip_prefix('+').map_or((after, 4), |long| (long, 6));
        let decoded = digits
            .get(..len)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .and_then(char::from_u32);
        match decoded {
            Some(c) => {
                out.push(c);
                rest = &digits[len..];
            }
            None => {
                out.push('\\');
                rest = after.strip_prefix('\\').unwrap_or(after);
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn texts(sql: &str) -> Vec<&str> {
        significant(sql).iter().map(|t| &sql[t.range.clone()]).collect()
    }

    #[rstest]
    #[case::operators_stop_before_comments("a+--b\nc", &["a", "+", "c"])]
    #[case::a_sign_after_an_operator_belongs_to_the_number("a=-1", &["a", "=", "-", "1"])]
    #[case::special_characters_keep_the_sign("a@-1", &["a", "@-", "1"])]
    #[case::dollars_inside_a_name_do_not_quote("a$b$c$b$", &["a$b$c$b$"])]
    #[case::parameters_are_no_dollar_quotes("$1$x$;$x$", &["$1", "$x$;$x$"])]
    #[case::tags_may_hold_digits_but_not_begin_with_one("$a1$;$a1$", &["$a1$;$a1$"])]
    #[case::ranges_are_two_numbers("1..10", &["1", ".", ".10"])]
    #[case::casts_and_assignments("a::b := c", &["a", "::", "b", ":=", "c"])]
    #[case::nested_comments_are_one("/* a /* b */ c */ d", &["d"])]
    #[case::names_beyond_ascii("größe \"Ü\"", &["größe", "\"Ü\""])]
    #[case::strings_continue_on_the_next_line("E'a' -- note\n '\\';' x", &["E'a' -- note\n '\\';'", "x"])]
    #[case::strings_on_one_line_stay_apart("'a' 'b'", &["'a'", "'b'"])]
    fn splits(#[case] sql: &str, #[case] expected: &[&str]) {
        assert_eq!(texts(sql), expected);
    }

    #[rstest]
    #[case::doubled_quotes("'it''s'", "it's")]
    #[case::backslashes_are_text("'a\\n'", "a\\n")]
    #[case::escapes("E'a\\n\\x41\\u0042\\103\\''", "a\nABC'")]
    #[case::unicode("U&'\\0041\\+000042\\\\'", "AB\\")]
    #[case::dollar_body("$x$a'b$x$", "a'b")]
    #[case::continued("'a'\n'b'", "ab")]
    fn strings_mean(#[case] sql: &str, #[case] expected: &str) {
        let token = token(sql, 0, true).expect("a whole string");
        assert_eq!(token.range, 0..sql.len());
        assert_eq!(string(sql, &token).as_deref(), Some(expected));
    }

    #[rstest]
    #[case::string("a 'b", "a quoted string", 2)]
    #[case::comment("a /* /* */", "a comment", 2)]
    #[case::body("a $x$ $y$", "a dollar-quoted body", 2)]
    #[case::name("\"a", "a quoted name", 0)]
    fn says_what_never_ends(#[case] sql: &str, #[case] what: &str, #[case] start: usize) {
        let mut at = 0;
        let error = loop {
            match token(sql, at, true) {
                Ok(token) => at = token.range.end,
                Err(error) => break error,
            }
        };
        assert_eq!((error.what, error.start), (what, start));
    }

    proptest! {
        #[test]
        fn every_byte_belongs_to_one_token(sql in "[-a'\"$/*\\\\ \n;E&Uü:0.]{0,40}", standard: bool) {
            let mut at = 0;
            while at < sql.len() {
                match token(&sql, at, standard) {
                    Ok(token) => {
                        prop_assert_eq!(token.range.start, at);
                        prop_assert!(token.range.end > at);
                        name(&sql, &token);
                        string(&sql, &token);
                        at = token.range.end;
                    }
                    Err(open) => {
                        prop_assert_eq!(open.start, at);
                        break;
                    }
                }
            }
        }
    }
}
