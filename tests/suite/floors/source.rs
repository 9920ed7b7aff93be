//! Reads Rust source as far as the floors need it: words and `::`, without comments, literals and test code, and the
//! paths that start at the crate root.
//!
//! No grammar: macros are read as they stand, so a path in a macro's arguments counts.

/// A word or a punctuation mark, and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// `::` is one token; every other mark is one character.
    pub text: &'a str,
    /// 1-based.
    pub line: usize,
}

impl Token<'_> {
    /// A word that can be part of a path.
    fn is_name(self) -> bool {
        const BEFORE_PATHS: &[&str] = &[
            "as", "const", "dyn", "else", "extern", "for", "if", "impl", "in", "match", "move", "mut", "return", "use",
            "where",
        ];
        self.text.starts_with(|c: char| c == '_' || c.is_alphabetic()) && !BEFORE_PATHS.contains(&self.text)
    }
}

/// Something that a file uses: a module of this crate, or another crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use<'a> {
    /// First name of the path after the crate root, or name of the other crate.
    pub name: &'a str,
    /// 1-based.
    pub line: usize,
}

/// What a file uses, and which files beside it are test code.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Uses<'a> {
    /// Top-level modules of this crate, by `crate::`, the crate's own name or `super::`.
    pub modules: Vec<Use<'a>>,
    /// Other crates that begin a path.
    pub crates: Vec<Use<'a>>,
    /// Modules that the file declares for tests alone, in files of their own.
    pub test_modules: Vec<&'a str>,
}

/// Reads the file of a module that is `depth` modules below the crate root (`0`: lib.rs and main.rs). `crate_name` is what
/// the binary calls the library.
pub fn uses<'a>(text: &'a str, depth: usize, crate_name: &str) -> Uses<'a> {
    let all = tokens(text);
    let mut found = Uses::default();
    let code = without_tests(&all, &mut found.test_modules);
    // Braces of inline modules, by nesting: `super` in them is one module less far up.
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let token = code[at];
        let text_at = |i: usize| code.get(i).map_or("", |t| t.text);
        match token.text {
            "{" => braces.push(at >= 2 && text_at(at - 2) == "mod"),
            "}" => {
                braces.pop();
            }
            _ => {}
        }
        // A name, `>` or `}` before `::` makes this the middle of a path; anything else, the name of another crate.
        let before = at.checked_sub(1).map_or("", text_at);
        let continues = before == "."
            || before == "::"
                && at
                    .checked_sub(2)
                    .is_some_and(|i| code[i].is_name() || matches!(code[i].text, ">" | "}"));
        if !token.is_name() || continues {
            at += 1;
            continue;
        }
        let followed = text_at(at + 1) == "::";
        let path = match token.text {
            "crate" if followed => Some(at + 2),
            name if name == crate_name && followed => Some(at + 2),
            "super" if followed => {
                let mut end = at + 2;
                let mut ups = 1;
                while text_at(end) == "super" && text_at(end + 1) == "::" {
                    ups += 1;
                    end += 2;
                }
                let here = depth + braces.iter().filter(|inline| **inline).count();
                // Past the further `super`s, which are no paths of their own.
                at = end - 2;
                (ups == here).then_some(end)
            }
            _ => {
                if followed || matches!(before, "use" | "crate") {
                    found.crates.push(Use {
                        name: token.text,
                        line: token.line,
                    });
                }
                None
            }
        };
        if let Some(start) = path {
            found.modules.extend(first_names(&code, start));
        }
        at += 1;
    }
    found
}

/// The first names after a path's root: one, or those of a group.
fn first_names<'a>(code: &[Token<'a>], start: usize) -> Vec<Use<'a>> {
    let as_use = |t: &Token<'a>| Use {
        name: t.text,
        line: t.line,
    };
    let Some(first) = code.get(start) else {
        return Vec::new();
    };
    if first.text != "{" {
        return vec![as_use(first)];
    }
    let mut names = Vec::new();
    let mut nesting = 0;
    let mut begins = false;
    for token in &code[start..] {
        match token.text {
            "{" => {
                nesting += 1;
                begins = nesting == 1;
            }
            "}" => {
                nesting -= 1;
                if nesting == 0 {
                    break;
                }
            }
            "," => begins = nesting == 1,
            _ => {
                if std::mem::take(&mut begins) {
                    names.push(as_use(token));
                }
            }
        }
    }
    names
}

/// Leaves out what `#[cfg(test)]` is written over, and all of a file that begins with `#![cfg(test)]`.
fn without_tests<'a>(all: &[Token<'a>], test_modules: &mut Vec<&'a str>) -> Vec<Token<'a>> {
    let texts: Vec<&str> = all.iter().map(|t| t.text).collect();
    let is_test = |rest: &[&str]| {
        rest.starts_with(&["[", "cfg", "(", "test", ")", "]"])
            || rest.starts_with(&["[", "cfg", "(", "all", "(", "test", ","])
    };
    let mut code = Vec::new();
    let mut at = 0;
    while at < all.len() {
        if texts[at] == "#" && texts.get(at + 1) == Some(&"!") && is_test(&texts[at + 2..]) {
            return Vec::new();
        }
        if texts[at] != "#" || !is_test(&texts[at + 1..]) {
            code.push(all[at]);
            at += 1;
            continue;
        }
        while texts.get(at) == Some(&"#") {
            at = past_group(&texts, at + 1);
        }
        let end = past_item(&texts, at);
        let item = &texts[at..end];
        if let Some(module) = item.iter().position(|t| *t == "mod")
            && item.get(module + 2) == Some(&";")
        {
            test_modules.push(item[module + 1]);
        }
        at = end;
    }
    code
}

/// Where the bracketed group that begins at `at` is over.
fn past_group(texts: &[&str], at: usize) -> usize {
    let mut nesting = 0;
    for (i, text) in texts.iter().enumerate().skip(at) {
        match *text {
            "(" | "[" | "{" => nesting += 1,
            ")" | "]" | "}" => {
                nesting -= 1;
                if nesting == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    texts.len()
}

/// Where the item, field or arm that begins at `at` is over: after its body, its semicolon or its comma.
fn past_item(texts: &[&str], at: usize) -> usize {
    const ITEMS: &[&str] = &[
        "pub",
        "fn",
        "mod",
        "use",
        "struct",
        "enum",
        "impl",
        "const",
        "static",
        "trait",
        "type",
        "async",
        "unsafe",
        "extern",
        "macro_rules",
        "let",
    ];
    let is_item = texts.get(at).is_some_and(|t| ITEMS.contains(t));
    let mut keyword = at + usize::from(texts.get(at) == Some(&"pub"));
    if keyword > at && texts.get(keyword) == Some(&"(") {
        keyword = past_group(texts, keyword);
    }
    let is_use = texts.get(keyword) == Some(&"use");
    let mut i = at;
    while i < texts.len() {
        match texts[i] {
            "(" | "[" => i = past_group(texts, i),
            "{" if is_use => i = past_group(texts, i),
            "{" => return past_group(texts, i),
            ";" => return i + 1,
            "," if !is_item => return i + 1,
            ")" | "]" | "}" => return i,
            _ => i += 1,
        }
    }
    texts.len()
}

/// Words and marks; comments, literals and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < text.len() {
        let start = at;
        let rest = &text[at..];
        let first = rest.chars().next().expect("within the text");
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at = past_block_comment(text, at);
        } else if let Some(end) = past_string(text, at) {
            at = end;
        } else if first == '\'' {
            at = past_quote(text, at);
        } else if first == '_' || first.is_alphanumeric() {
            at += rest
                .find(|c: char| c != '_' && !c.is_alphanumeric())
                .unwrap_or(rest.len());
            // `r#type` is a name like any other, and its mark is none.
            if bytes.get(at) == Some(&b'#') && &text[start..at] == "r" && !first.is_numeric() {
                at += 1;
                continue;
            }
            if !first.is_numeric() {
                found.push(Token {
                    text: &text[start..at],
                    line,
                });
            }
        } else {
            at += if rest.starts_with("::") { 2 } else { first.len_utf8() };
            if !first.is_whitespace() {
                found.push(Token {
                    text: &text[start..at],
                    line,
                });
            }
        }
        line += text[start..at].matches('\n').count();
    }
    found
}

fn past_block_comment(text: &str, mut at: usize) -> usize {
    let mut nesting = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            nesting += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            nesting -= 1;
            at += 2;
            if nesting == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The end of a string that begins here: plain, raw, of bytes or of C.
fn past_string(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|p| {
        rest.strip_prefix(p)
            .is_some_and(|r| r.starts_with('"') || p.ends_with('r') && r.trim_start_matches('#').starts_with('"'))
    })?;
    let body = &rest[prefix.len()..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    let open = at + prefix.len() + hashes + 1;
    if prefix.ends_with('r') {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(text[open..].find(&close).map_or(text.len(), |i| open + i + close.len()));
    }
    let mut escaped = false;
    for (i, c) in text[open..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(open + i + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// The end of a character literal, or of a lifetime's quote.
fn past_quote(text: &str, at: usize) -> usize {
    let mut rest = text[at + 1..].chars();
    match (rest.next(), rest.next()) {
        (Some('\\'), Some(escaped)) => {
            let from = at + 2 + escaped.len_utf8();
            text[from..].find('\'').map_or(text.len(), |i| from + i + 1)
        }
        (Some(c), Some('\'')) => at + 1 + c.len_utf8() + 1,
        // A lifetime: quote and name.
        _ => {
            let name = &text[at + 1..];
            at + 1
                + name
                    .find(|c: char| c != '_' && !c.is_alphanumeric())
                    .unwrap_or(name.len())
        }
    }
}

/// Names of the modules that a text uses, without lines.
fn modules(text: &str, depth: usize) -> Vec<&str> {
    uses(text, depth, "tenantproof")
        .modules
        .iter()
        .map(|u| u.name)
        .collect()
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    assert_eq!(modules("use crate::pg::conn::Conn;", 1), ["pg"]);
    assert_eq!(
        modules("use crate::{model::{Cell, Finding}, pg, run::*};", 1),
        ["model", "pg", "run"]
    );
    assert_eq!(
        modules("fn f(x: &crate::model::Cell) -> Vec<crate::pg::Conn> {}", 1),
        ["model", "pg"]
    );
    assert_eq!(modules("use tenantproof::{run, report::human};", 0), ["run", "report"]);
    assert_eq!(modules("macro_rules! m { () => { $crate::pg::X } }", 1), ["pg"]);
    assert_eq!(modules("use super::super::pg::X; use super::own;", 2), ["pg"]);
    assert_eq!(modules("use super::pg::X;", 1), ["pg"]);
    assert_eq!(
        modules("mod inner { use super::own; use super::super::pg; } use super::run;", 1),
        ["pg", "run"]
    );
    assert_eq!(modules("pub use crate::Prelude;", 1), ["Prelude"]);
}

#[test]
fn comments_literals_and_lifetimes_are_no_code() {
    let text = r###"
        // use crate::a;
        /* use crate::b; /* crate::c */ crate::d */
        /// [`crate::e`]
        const S: &str = "crate::f \" crate::g";
        const R: &str = r#"crate::h " crate::i"#;
        const Q: char = '"'; const B: char = '\''; const E: char = '\\'; const U: char = '\u{22}';
        const D: u8 = b'"';
        fn f<'a>(x: &'a crate::model::X) {}
    "###;
    assert_eq!(modules(text, 1), ["model"]);
}

#[test]
fn test_code_is_left_out_and_nothing_else() {
    let text = "
        #[cfg(test)] pub(crate) use crate::{a, b::{c, d}, e};
        #[cfg(test)] #[allow(dead_code)] pub(crate) fn f(x: [u8; 3], y: crate::c::Y) -> u8 { crate::d::g() }
        struct S { #[cfg(test)] x: crate::e::E, y: crate::model::F }
        #[cfg(test)] mod tests;
        #[cfg(test)] mod inline { use crate::f; }
        #[cfg(not(test))] use crate::pg;
        #[cfg(all(test, unix))] static X: u8 = crate::g::Y;
        use crate::sql;
    ";
    let found = uses(text, 1, "tenantproof");
    let names: Vec<&str> = found.modules.iter().map(|u| u.name).collect();
    assert_eq!(names, ["model", "pg", "sql"]);
    assert_eq!(found.test_modules, ["tests"]);
    assert_eq!(modules("#![cfg(test)]\nuse crate::pg;", 1), Vec::<&str>::new());
}

#[test]
fn other_crates_are_seen_where_a_path_begins() {
    let crates = |text| -> Vec<&str> { uses(text, 1, "tenantproof").crates.iter().map(|u| u.name).collect() };
    assert_eq!(crates("use sqlx::Row;"), ["sqlx"]);
    assert_eq!(crates("use ::sqlx::Row;"), ["sqlx"]);
    assert_eq!(crates("use sqlx as driver;"), ["sqlx"]);
    assert_eq!(crates("extern crate sqlx;"), ["sqlx"]);
    assert_eq!(
        crates("fn f() -> Result<(), sqlx::Error> { sqlx::query!(X) }"),
        ["sqlx", "sqlx"]
    );
    assert_eq!(crates("#[derive(Debug, clap::Parser)] struct X;"), ["clap"]);
    assert!(crates("let sqlx = x.sqlx; f(sqlx); struct S { sqlx: u8 }").is_empty());
    assert_eq!(crates("use other::sqlx::Row;"), ["other"]);
}

#[test]
fn lines_are_those_of_the_file() {
    let found = uses(
        "//! head\n\nuse crate::pg;\nuse crate::{\n    run,\n};\n",
        1,
        "tenantproof",
    );
    let lines: Vec<usize> = found.modules.iter().map(|u| u.line).collect();
    assert_eq!(lines, [3, 5]);
}
