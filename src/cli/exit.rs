//! Exit codes (contract: DESIGN section 4).

use std::process::ExitCode;

use crate::model::Verdict;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Isolated, or nothing to complain about.
    Isolated = 0,
    /// Findings, or a snapshot that differs.
    Findings = 1,
    /// Bad usage or configuration.
    Usage = 2,
    /// No server, or the schema did not load.
    NotRun = 3,
    /// Too little could be judged.
    Inconclusive = 4,
    /// Ended by Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Isolated => Self::Isolated,
            Verdict::Violated => Self::Findings,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}
