//! Splits a script into statements the way psql does.
//!
//! Owns the state that psql keeps while it reads: variables, open files, `\if` branches, parentheses, and the statement
//! so far with its way back to the file. Meta-commands themselves are in [`super::meta`], tokens in [`crate::sql::lex`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{self, Mark, mark};
use super::{Jump, Origin, ScriptError, Step, StepKind};
use crate::sql::lex::{self, Token, TokenKind, Unterminated};
use crate::sql::quote;

/// What lasts from file to file, as within one psql session.
pub(super) struct Reader {
    steps: Vec<Step>,
    /// Files being read, outermost first, to refuse circles.
    open: Vec<PathBuf>,
    pub(super) variables: BTreeMap<String, String>,
    standard_strings: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            open: Vec::new(),
            variables: BTreeMap::new(),
            standard_strings: true,
        }
    }
}

impl Reader {
    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    pub(super) fn file(&mut self, path: &Path) -> Result<(), ScriptError> {
        let text = folder::text(path)?;
        self.open
            .push(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
        let result = self.text(path, &text);
        self.open.pop();
        result
    }

    /// Whether a file is being read further out.
    pub(super) fn is_open(&self, path: &Path) -> bool {
        fs::canonicalize(path).is_ok_and(|canonical| self.open.contains(&canonical))
    }

    pub(super) fn text(&mut self, name: &Path, text: &str) -> Result<(), ScriptError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let cursor = Cursor {
            offset: 0,
            line: 1,
            column: 1,
        };
        let mut scanner = Scanner {
            reader: self,
            file: Arc::from(name),
            text,
            at: 0,
            cursor,
            statement: Statement::default(),
            branches: Vec::new(),
            bare_up: false,
        };
        scanner.run()
    }
}

/// One file being read.
pub(super) struct Scanner<'r, 't> {
    pub(super) reader: &'r mut Reader,
    pub(super) file: Arc<Path>,
    pub(super) text: &'t str,
    /// The byte to read next.
    pub(super) at: usize,
    cursor: Cursor,
    pub(super) statement: Statement,
    pub(super) branches: Vec<Branch>,
    /// A comment `-- up` was seen, so that `-- down` is a mark and no remark.
    bare_up: bool,
}

/// A known place, so that the next one need not be counted from the beginning.
#[derive(Clone, Copy)]
struct Cursor {
    offset: usize,
    line: u32,
    column: u32,
}

/// An open `\if`.
pub(super) struct Branch {
    /// Where the `\if` stands.
    pub(super) at: Origin,
    /// What surrounds it is carried out.
    pub(super) outer: bool,
    /// The present branch is carried out.
    pub(super) active: bool,
    /// One of its branches was.
    pub(super) taken: bool,
    /// Its `\else` was seen.
    pub(super) last: bool,
}

/// The statement so far.
#[derive(Default)]
pub(super) struct Statement {
    text: String,
    /// Bytes of the text up to the last token that is neither blank nor comment.
    significant: usize,
    characters: usize,
    origin: Option<Origin>,
    jumps: Vec<Jump>,
    /// Where the file goes on if nothing comes between.
    expected: usize,
    fixed: bool,
    parens: usize,
    /// Open `BEGIN ATOMIC` and `CASE` of a routine's body.
    blocks: usize,
    /// The first words, in lower case.
    head: Vec<String>,
    previous: String,
}

impl Statement {
    /// Follows parentheses and `BEGIN ATOMIC ... END`. Gives true at the semicolon that ends the statement.
    fn track(&mut self, text: &str, token: &Token) -> bool {
        let raw = &text[token.range.clone()];
        match token.kind {
            TokenKind::Word => {
                let word = raw.to_ascii_lowercase();
                if self.head.len() < 4 {
                    self.head.push(word.clone());
                }
                if self.parens == 0 && self.is_routine() {
                    match word.as_str() {
                        "atomic" if self.blocks == 0 && self.previous == "begin" => self.blocks = 1,
                        "case" if self.blocks > 0 => self.blocks += 1,
                        "end" => self.blocks = self.blocks.saturating_sub(1),
                        _ => {}
                    }
                }
                self.previous = word;
                false
            }
            TokenKind::Punct => {
                match raw {
                    "(" => self.parens += 1,
                    ")" => self.parens = self.parens.saturating_sub(1),
                    ";" => return self.parens == 0 && self.blocks == 0,
                    _ => {}
                }
                false
            }
            _ => false,
        }
    }

    fn is_routine(&self) -> bool {
        let routine = |word: &String| word == "function" || word == "procedure";
        match &self.head[..] {
            [create, second, ..] if create == "create" && routine(second) => true,
            [create, or, replace, fourth] => {
                create == "create" && or == "or" && replace == "replace" && routine(fourth)
            }
            _ => false,
        }
    }
}

impl Scanner<'_, '_> {
    fn run(&mut self) -> Result<(), ScriptError> {
        while self.at < self.text.len() {
            match self.text.as_bytes()[self.at] {
                b'\\' => self.meta()?,
                b':' if self.is_active() && self.variable()? => {}
                _ => self.token()?,
            }
        }
        if let Some(branch) = self.branches.pop() {
            return Err(unterminated(branch.at, "a branch (`\\if`)", "\\endif"));
        }
        self.finish()
    }

    pub(super) fn is_active(&self) -> bool {
        self.branches.last().is_none_or(|branch| branch.active)
    }

    /// The place of a byte of this file.
    pub(super) fn origin(&mut self, offset: usize) -> Origin {
        if offset < self.cursor.offset {
            self.cursor = Cursor {
                offset: 0,
                line: 1,
                column: 1,
            };
        }
        for c in self.text[self.cursor.offset..offset].chars() {
            if c == '\n' {
                self.cursor.line += 1;
                self.cursor.column = 1;
            } else {
                self.cursor.column += 1;
            }
        }
        self.cursor.offset = offset;
        Origin {
            file: Arc::clone(&self.file),
            line: self.cursor.line,
            column: self.cursor.column,
        }
    }

    fn token(&mut self) -> Result<(), ScriptError> {
        let token = match lex::token(self.text, self.at, self.reader.standard_strings) {
            Ok(token) => token,
            Err(Unterminated { what, closer, start }) => return Err(unterminated(self.origin(start), what, &closer)),
        };
        if token.kind == TokenKind::LineComment && self.opens_line(token.range.start) {
            match mark(&self.text[token.range.clone()]) {
                Some(Mark::Up) => {}
                Some(Mark::BareUp) => self.bare_up = true,
                Some(Mark::BareDown) if !self.bare_up => {}
                Some(Mark::Down | Mark::BareDown) => return self.skip_down(),
                None => {}
            }
        }
        self.at = token.range.end;
        if self.is_active() {
            let text = self.text;
            self.take(text, &token, None)?;
        }
        Ok(())
    }

    /// Adds a token to the statement; `source` is where it stands if it is not from the file's own text.
    fn take(&mut self, text: &str, token: &Token, source: Option<usize>) -> Result<(), ScriptError> {
        let trivia = token.kind.is_trivia();
        let raw = &text[token.range.clone()];
        if self.statement.origin.is_none() && (trivia || raw == ";") {
            return Ok(());
        }
        self.push(raw, source.unwrap_or(token.range.start), source.is_some());
        if trivia {
            return Ok(());
        }
        self.statement.significant = self.statement.text.len();
        if self.statement.track(text, token) {
            self.finish()
        } else {
            Ok(())
        }
    }

    /// Adds text to the statement, and a jump where it does not follow what is there.
    fn push(&mut self, piece: &str, source: usize, fixed: bool) {
        let first = self.statement.origin.is_none();
        let follows = !fixed && !self.statement.fixed && source == self.statement.expected;
        if first || !follows {
            let origin = self.origin(source);
            if !first || fixed {
                let jump = Jump {
                    at: self.statement.characters,
                    line: origin.line,
                    column: origin.column,
                    fixed,
                };
                self.statement.jumps.push(jump);
            }
            self.statement.origin.get_or_insert(origin);
        }
        self.statement.text.push_str(piece);
        self.statement.characters += piece.chars().count();
        self.statement.expected = source + piece.len();
        self.statement.fixed = fixed;
    }

    /// Ends the statement, whatever it lacks, and reads the rows that follow if it is a COPY.
    pub(super) fn finish(&mut self) -> Result<(), ScriptError> {
        let Statement {
            mut text,
            significant,
            origin,
            jumps,
            ..
        } = std::mem::take(&mut self.statement);
        text.truncate(significant);
        let Some(origin) = origin.filter(|_| significant > 0) else {
            return Ok(());
        };
        self.note_string_setting(&text);
        let kind = if copies_from_stdin(&text) {
            StepKind::Copy {
                data: self.rows(&origin)?,
            }
        } else {
            StepKind::Sql
        };
        self.reader.steps.push(Step {
            text,
            origin,
            kind,
            jumps,
        });
        Ok(())
    }

    /// Adds a step that is no statement.
    pub(super) fn reconnect(&mut self, origin: Origin) {
        let step = Step {
            text: "\\connect -".to_owned(),
            origin,
            kind: StepKind::Reconnect,
            jumps: Vec::new(),
        };
        self.reader.steps.push(step);
    }

    /// Adds plain text from a meta-command to the statement.
    pub(super) fn push_plain(&mut self, piece: &str, source: usize) {
        self.push(piece, source, true);
        self.statement.significant = self.statement.text.len();
    }

    /// The lines after the present one, up to `\.`.
    fn rows(&mut self, statement: &Origin) -> Result<Vec<u8>, ScriptError> {
        let rest = &self.text[self.at..];
        let (line, below) = rest.split_once('\n').unwrap_or((rest, ""));
        if !line.trim().is_empty() && !line.trim_start().starts_with("--") {
            let problem = "nothing may follow `COPY ... FROM stdin;` on its line; move it below the rows".to_owned();
            return Err(ScriptError::Malformed {
                at: self.origin(self.at),
                problem,
            });
        }
        let mut length = 0;
        for line in below.split_inclusive('\n') {
            if line.trim_end_matches(['\r', '\n']) == "\\." {
                self.at = self.text.len() - below.len() + length + line.len();
                return Ok(below.as_bytes()[..length].to_vec());
            }
            length += line.len();
        }
        Err(unterminated(statement.clone(), "a block of COPY rows", "\\."))
    }

    /// Old dumps turn `standard_conforming_strings` off, and then a backslash may hide a quote.
    fn note_string_setting(&mut self, text: &str) {
        if !text.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("set")) {
            return;
        }
        let words: Vec<String> = lex::significant(text)
            .iter()
            .filter_map(|token| lex::name(text, token).or_else(|| lex::string(text, token)))
            .filter(|word| !matches!(word.as_str(), "session" | "local" | "to"))
            .collect();
        if let [_, name, value] = &words[..]
            && name == "standard_conforming_strings"
        {
            self.reader.standard_strings = boolean(value) != Some(false);
        }
    }

    /// Puts a variable's value in place of `:name`, `:'name'`, `:"name"` or `:{?name}`. Gives false, and reads nothing,
    /// where there is none: casts, slices and names never set stay as they are.
    fn variable(&mut self) -> Result<bool, ScriptError> {
        let Some((reference, length)) = Reference::at(&self.text[self.at..]) else {
            return Ok(false);
        };
        let Some((value, raw)) = self.value(&reference) else {
            return Ok(false);
        };
        let source = self.at;
        self.at += length;
        if !raw {
            self.push_plain(&value, source);
            return Ok(true);
        }
        let mut at = 0;
        while at < value.len() {
            let token = match lex::token(&value, at, self.reader.standard_strings) {
                Ok(token) => token,
                Err(Unterminated { what, closer, .. }) => {
                    let what = format!("{what} in the value of variable `{}`", reference.name);
                    return Err(ScriptError::Unterminated {
                        at: self.origin(source),
                        what,
                        closer,
                    });
                }
            };
            at = token.range.end;
            self.take(&value, &token, Some(source))?;
        }
        Ok(true)
    }

    /// What a reference stands for, and whether it is to be read as SQL again.
    pub(super) fn value(&self, reference: &Reference) -> Option<(String, bool)> {
        let value = self.reader.variables.get(&reference.name);
        match reference.form {
            Form::Test => Some((if value.is_some() { "TRUE" } else { "FALSE" }.to_owned(), false)),
            Form::Plain => Some((value?.clone(), true)),
            Form::Literal => Some((quote::literal(value?), false)),
            // psql always quotes here, so that capitals are kept.
            Form::Name => Some((format!("\"{}\"", value?.replace('"', "\"\"")), false)),
        }
    }

    fn opens_line(&self, offset: usize) -> bool {
        let before = &self.text[..offset];
        before[before.rfind('\n').map_or(0, |newline| newline + 1)..]
            .trim()
            .is_empty()
    }

    /// Leaves out what takes a migration back: up to the next mark that goes forward, or the end.
    fn skip_down(&mut self) -> Result<(), ScriptError> {
        self.finish()?;
        for line in self.text[self.at..].split_inclusive('\n') {
            if matches!(mark(line.trim()), Some(Mark::Up | Mark::BareUp)) {
                return Ok(());
            }
            self.at += line.len();
        }
        Ok(())
    }
}

pub(super) fn unterminated(at: Origin, what: &str, closer: &str) -> ScriptError {
    ScriptError::Unterminated {
        at,
        what: what.to_owned(),
        closer: closer.to_owned(),
    }
}

/// psql's reading of a boolean: any unambiguous beginning of true, false, yes, no, on, off, or 1 and 0.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let word = text.to_ascii_lowercase();
    let begins = |full: &str, least: usize| word.len() >= least && full.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || word == "on" || word == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Some(false)
    } else {
        None
    }
}

/// A reference to a psql variable.
pub(super) struct Reference {
    pub(super) name: String,
    form: Form,
}

enum Form {
    Plain,
    Literal,
    Name,
    Test,
}

impl Reference {
    /// The reference that a text begins with, and its length.
    pub(super) fn at(text: &str) -> Option<(Self, usize)> {
        let body = text.strip_prefix(':')?;
        let (form, open, close) = match body.as_bytes().first()? {
            b'\'' => (Form::Literal, 1, "'"),
            b'"' => (Form::Name, 1, "\""),
            b'{' if body.starts_with("{?") => (Form::Test, 2, "}"),
            _ => (Form::Plain, 0, ""),
        };
        let name = &body[open..];
        let length = name
            .bytes()
            .take_while(|&b| lex::is_word_start(b) || b.is_ascii_digit())
            .count();
        let name = &name[..length];
        (length > 0 && body[open + length..].starts_with(close)).then(|| {
            (
                Self {
                    name: name.to_owned(),
                    form,
                },
                1 + open + length + close.len(),
            )
        })
    }
}

fn copies_from_stdin(text: &str) -> bool {
    if !text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("copy")) {
        return false;
    }
    let mut depth = 0usize;
    let mut previous = String::new();
    for token in lex::significant(text) {
        let raw = &text[token.range.clone()];
        match raw {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let word = if token.kind == TokenKind::Word && depth == 0 {
            raw.to_ascii_lowercase()
        } else {
            String::new()
        };
        if previous == "from" && word == "stdin" {
            return true;
        }
        previous = word;
    }
    false
}
