//! Reports: an outcome in, text out. One file a format.

pub mod human;
pub mod json;

use crate::pg::ServerFacts;
use crate::run::verify::Outcome;

/// Everything a report tells.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// What came out.
    pub outcome: &'a Outcome,
    /// Where it ran.
    pub server: &'a ServerFacts,
    /// The least severity that fails.
    pub fail_on: crate::model::Severity,
}
