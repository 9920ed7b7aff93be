//! What can be wrong with a script before it reaches a server.

use std::io;
use std::path::PathBuf;

use super::Origin;

/// Why a script could not be read. Each message says what, where, and what to do; it fits after "failed to".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// A path that names nothing.
    #[error("read `{}`: there is no such file or folder; name an SQL file or a folder of SQL files", path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A file or folder that the system does not hand out.
    #[error("read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder without SQL in it.
    #[error("find SQL in `{}`: {found}; {advice}", path.display())]
    NoSql {
        /// The folder.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
        /// What to do.
        advice: String,
    },
    /// A file that is not text in UTF-8, or UTF-16 with a byte order mark.
    #[error("read `{}`: {problem} at byte {offset}; {advice}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// Where, in bytes from 0.
        offset: usize,
        /// What to do.
        advice: &'static str,
    },
    /// A quote, comment, dollar body, `\if` or COPY block that never ends.
    #[error("read {at}: {what} begins here and never ends; close it with `{closer}`")]
    Unterminated {
        /// Where it was opened.
        at: Origin,
        /// What was opened.
        what: String,
        /// What would close it.
        closer: String,
    },
    /// A meta-command that only psql can carry out.
    #[error("read {at}: meta-command `\\{command}` is not supported: {reason}")]
    MetaCommand {
        /// Where its backslash stands.
        at: Origin,
        /// The command without its backslash.
        command: String,
        /// Why not, and what to write instead.
        reason: String,
    },
    /// A meta-command that is supported, used in a way that is not.
    #[error("read {at}: {problem}")]
    Malformed {
        /// Where.
        at: Origin,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that is part of itself.
    #[error("read {at}: `{}` is being read already, so including it would never end; remove one of the includes", path.display())]
    IncludeCycle {
        /// The `\i` that closes the circle.
        at: Origin,
        /// The file it names.
        path: PathBuf,
    },
    /// An included file that cannot be read.
    #[error("include `{}` from {at}", path.display())]
    Include {
        /// The `\i`.
        at: Origin,
        /// The file as it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<ScriptError>,
    },
}
