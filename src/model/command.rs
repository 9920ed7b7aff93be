//! Commands whose reach is judged.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A command whose reach is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    /// SELECT.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// TRUNCATE.
    Truncate,
    /// MERGE.
    Merge,
    /// COPY.
    Copy,
    /// EXECUTE of a function.
    Execute,
    /// USAGE of a sequence.
    Usage,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::Merge => "MERGE",
            Self::Copy => "COPY",
            Self::Execute => "EXECUTE",
            Self::Usage => "USAGE",
        })
    }
}
