//! What a run says: cells with verdicts, findings with evidence, and the one verdict.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::catalog::Command;

/// The one answer of a run (contract: report and exit code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing at or above the threshold, and enough was exercised.
    Isolated,
    /// At least one finding at or above the threshold.
    Violated,
    /// Too little could be judged.
    Inconclusive,
}

/// What was shown for one session, object, context state and command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CellVerdict {
    /// The session can do it to its own rows and could not to foreign ones.
    Held,
    /// It reached foreign rows.
    Violated,
    /// The session may not do it at all.
    Denied,
    /// The probe could not have seen a leak; the reason says why.
    Vacuous,
}

/// How the request's identity is set while a cell is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContextState {
    /// Settings carry the tenant's own keys.
    Bound,
    /// Settings were never set on this connection.
    Unset,
    /// Settings are the empty string, as they read after a transaction that set them locally.
    Empty,
}

impl ContextState {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Unset => "unset",
            Self::Empty => "empty",
        }
    }
}

/// One judged cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Session name of the target.
    pub session: String,
    /// Object, as PostgreSQL identifies it.
    pub object: String,
    /// Context state.
    pub state: ContextState,
    /// Command.
    pub command: Command,
    /// Verdict.
    pub verdict: CellVerdict,
    /// Why it is vacuous or denied, or what is shared by design.
    pub reason: Option<String>,
}

/// Counts of cells by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cells {
    /// Held.
    pub held: usize,
    /// Violated.
    pub violated: usize,
    /// Denied.
    pub denied: usize,
    /// Vacuous.
    pub vacuous: usize,
}

impl Cells {
    /// Counts the cells of a coverage list.
    pub fn count(cells: &[Cell]) -> Self {
        let mut counts = Self::default();
        for cell in cells {
            match cell.verdict {
                CellVerdict::Held => counts.held += 1,
                CellVerdict::Violated => counts.violated += 1,
                CellVerdict::Denied => counts.denied += 1,
                CellVerdict::Vacuous => counts.vacuous += 1,
            }
        }
        counts
    }

    /// Cells that could have been judged: all but the denied.
    pub fn judgeable(&self) -> usize {
        self.held + self.violated + self.vacuous
    }

    /// Share of vacuous cells among the judgeable, in percent.
    pub fn vacuous_percent(&self) -> f64 {
        match self.judgeable() {
            0 => 100.0,
            n => self.vacuous as f64 * 100.0 / n as f64,
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing to do.
    Info,
    /// A channel of little reach.
    Low,
    /// To be fixed.
    #[default]
    Medium,
    /// Foreign rows are read or changed in some circumstances.
    High,
    /// Foreign rows are read or changed by an ordinary request.
    Critical,
}

impl Severity {
    /// The word used in reports and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|s| s.word() == text)
            .ok_or_else(|| format!("unknown severity `{text}`: use critical, high, medium, low or info"))
    }
}

/// What kind of fault it is (DESIGN: words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// Foreign rows read.
    Leak,
    /// Foreign rows changed or planted.
    Breach,
    /// Existence of foreign rows disclosed.
    Reveal,
    /// A session gains another identity or privilege.
    Escalation,
    /// A request runs with another's or no identity.
    Context,
    /// A session cannot reach its own rows.
    Lockout,
}

impl FindingKind {
    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::Breach => "breach",
            Self::Reveal => "reveal",
            Self::Escalation => "escalation",
            Self::Context => "context",
            Self::Lockout => "lockout",
        }
    }
}

/// Where a finding was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// By a rule over the catalog.
    Static,
    /// By running statements.
    Dynamic,
    /// By both.
    Both,
}

/// What kind of object has to be fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectType {
    /// Table, partitioned table or partition.
    Table,
    /// View.
    View,
    /// Materialized view.
    MaterializedView,
    /// Foreign table.
    ForeignTable,
    /// Sequence.
    Sequence,
    /// Function.
    Function,
    /// Procedure.
    Procedure,
    /// Database, with its default settings.
    Database,
    /// Type.
    Type,
    /// Role.
    Role,
}

impl ObjectType {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::ForeignTable => "foreign table",
            Self::Sequence => "sequence",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Database => "database",
            Self::Type => "type",
            Self::Role => "role",
        }
    }
}

/// One way by which a fault was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    /// Object that was named in the statement.
    pub object: String,
    /// Its type.
    pub object_type: ObjectType,
    /// The command.
    pub command: Command,
}

/// One thing to fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Id of the oracle or rule.
    pub rule: String,
    /// Where it was seen.
    pub source: Source,
    /// Kind of fault.
    pub kind: FindingKind,
    /// Severity.
    pub severity: Severity,
    /// What to fix.
    pub object: String,
    /// Its type.
    pub object_type: ObjectType,
    /// The command, where one is involved.
    pub command: Option<Command>,
    /// Session name, where one is involved.
    pub session: Option<String>,
    /// Object and effect, in one fragment.
    pub message: String,
    /// A script that shows it (contract: DESIGN section 6).
    pub evidence: Option<String>,
    /// SQL or text that mends it.
    pub remedy: String,
    /// All the ways it was seen.
    pub routes: Vec<Route>,
}
