//! Schema files as people have them, read into steps that a loader runs one by one.
//!
//! Reads what `psql -f` reads: dumps with COPY data, migrations, `\i`, `\set` and `\if`; statements end where psql's
//! lexer (`psqlscan.l`) ends them. Each step knows where it came from, so that PostgreSQL's error position can be shown as
//! file, line and column. Running the steps, and deciding what to do with `BEGIN` or `CREATE ROLE`, is the loader's part:
//! [`classify()`] only says what a step is.

mod classify;
mod error;
mod folder;
mod meta;
mod scan;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use classify::{Block, Class, block, classify, extension_moved, hides_role_commands};
pub use error::ScriptError;

/// One thing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The statement from its first token to its semicolon, comments inside it included. The last statement of a file may
    /// have no semicolon. For [`StepKind::Reconnect`] the meta-command.
    pub text: String,
    /// Where its first token stands.
    pub origin: Origin,
    /// How to run it.
    pub kind: StepKind,
    /// Where the text departs from the file: after variables, meta-commands and skipped branches.
    jumps: Vec<Jump>,
}

/// How a step is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// One statement.
    Sql,
    /// `COPY ... FROM stdin` with the rows that follow it.
    Copy {
        /// The lines between the statement and `\.`, line ends included, as UTF-8 whatever the file's encoding was.
        data: Vec<u8>,
    },
    /// `\connect -`: go on with a fresh connection of the same kind, with none of the old one's settings.
    Reconnect,
}

/// A place in a file. Lines and columns begin at 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The file as it was named, or found in the folder that was named.
    pub file: Arc<Path>,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// From this character of the step's text on, the file goes on at another place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Jump {
    /// The 0-based character of the step's text.
    at: usize,
    line: u32,
    column: u32,
    /// Text from a variable: all of it stands at the reference.
    fixed: bool,
}

impl Step {
    /// A statement of no file: generated text, or a statement that was changed on its way to the server. Positions inside
    /// it count from `origin`.
    pub fn sql(text: impl Into<String>, origin: Origin) -> Self {
        Self {
            text: text.into(),
            origin,
            kind: StepKind::Sql,
            jumps: Vec::new(),
        }
    }
}

/// Reads schema files and folders, in the order given.
///
/// Of a folder, the `.sql` files are read in name order, byte by byte as `sort` does in the C locale, except that a version
/// number that begins the names counts as a number: `2_a.sql` comes before `10_b.sql`, Flyway's `V2__a.sql` before
/// `V10__b.sql`, and its repeatable `R__c.sql` last. Folders are not searched, but one that holds `migration.sql` (Prisma,
/// Drizzle) or `up.sql` (Diesel) is one migration. What undoes a migration is left out: `down*.sql`, `*.down.sql`,
/// `*_down.sql`, `*.undo.sql`, `U1__x.sql`, and inside a file what follows a mark such as `-- migrate:down` or
/// `-- +goose Down`. Hidden files are left out too.
///
/// A path named outright is read whatever its name.
///
/// # Errors
///
/// When a path is missing or cannot be read, a folder holds no SQL, or a file cannot be split into statements.
pub fn read_paths(paths: &[PathBuf]) -> Result<Vec<Step>, ScriptError> {
    let mut reader = scan::Reader::default();
    for path in paths {
        for file in folder::files(path)? {
            reader.file(&file)?;
        }
    }
    Ok(reader.into_steps())
}

/// Reads a script from memory; `name` stands for its file in positions, and `\ir` is relative to it.
///
/// # Errors
///
/// As [`read_paths`].
pub fn read_text(name: &str, text: &str) -> Result<Vec<Step>, ScriptError> {
    let mut reader = scan::Reader::default();
    reader.text(Path::new(name), text)?;
    Ok(reader.into_steps())
}

/// The line and column of a position inside a step, as in the field `P` of PostgreSQL's error messages: characters, from 1.
/// Positions beyond the end give the end.
pub fn locate(step: &Step, position: usize) -> (u32, u32) {
    let target = position.saturating_sub(1);
    let mut place = (step.origin.line, step.origin.column);
    let mut fixed = false;
    let mut jumps = step.jumps.iter().peekable();
    let mut characters = step.text.chars();
    let mut at = 0;
    loop {
        while let Some(jump) = jumps.next_if(|jump| jump.at <= at) {
            place = (jump.line, jump.column);
            fixed = jump.fixed;
        }
        if at == target {
            return place;
        }
        match characters.next() {
            None => return place,
            Some(_) if fixed => {}
            Some('\n') => place = (place.0 + 1, 1),
            Some(_) => place.1 += 1,
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests;
