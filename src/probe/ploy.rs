//! Ploys: a few statements by several parties in turn, and a fact that tells afterwards whether they reached another tenant.
//!
//! What a single read or write of a relation cannot show: a function of the session's own that runs in another's statement,
//! rows that are removed only after a condition of the session has seen them, plans that are kept, counters, files, references
//! that bind another tenant. A recipe only says what to try; running and judging are here.

mod code;
mod plans;
mod references;
mod sequences;
mod server;
mod views;

use super::binding::Binding;
use super::judge::{Hit, Judge, Subject};
use super::observe::Seen;
use super::oracle::Oracle;
use super::trial::Trial;
use crate::model::{Attacker, Command, ContextState, Severity};
use crate::pg::conn::{Conn, ConnError};
use crate::sql::quote;

/// Who runs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The superuser: what the server or time would do.
    Superuser,
    /// The attacker.
    A,
    /// The victim.
    B,
    /// The attacker's role before it has said who it is.
    Unbound,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who runs it.
    pub by: By,
    /// What.
    pub sql: String,
}

impl Step {
    fn new(by: By, sql: impl Into<String>) -> Self {
        Self { by, sql: sql.into() }
    }

    /// A query whose rows are kept as text in the setting [`SHOWN`].
    fn shown(by: By, query: &str) -> Self {
        Self::new(
            by,
            format!(
                "SELECT pg_catalog.set_config('{SHOWN}', coalesce((SELECT pg_catalog.string_agg(q::text, ' ') FROM ({query}) AS q), ''), false)"
            ),
        )
    }

    /// A statement whose error text is kept in [`SHOWN`].
    fn error_shown(by: By, statement: &str) -> Self {
        Self::new(
            by,
            format!(
                "DO $proof$ BEGIN {statement}; EXCEPTION WHEN OTHERS THEN PERFORM pg_catalog.set_config('{SHOWN}', SQLERRM, false); END $proof$"
            ),
        )
    }
}

/// The setting in which steps leave what they saw.
const SHOWN: &str = "proof.shown";

/// What tells that a ploy worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// What was shown holds a value of B's rows that A does not see otherwise.
    ForeignText,
    /// This condition, over settings and as superuser.
    Fact(String),
    /// What was shown differs between the world without and the world with B.
    Differs,
}

/// Something to try.
#[derive(Debug, Clone)]
pub struct Ploy {
    /// The property that it would break.
    pub oracle: &'static Oracle,
    /// How bad that is.
    pub severity: Severity,
    /// What to fix.
    pub subject: Subject,
    /// The command that matters.
    pub command: Command,
    /// What happened, after "session `x`".
    pub how: String,
    /// What is run.
    pub steps: Vec<Step>,
    /// What tells.
    pub sign: Sign,
    /// Steps after which the fact must not hold: else it says nothing of the ploy.
    pub control: Vec<Step>,
    /// Statements of the superuser that put back what a rollback does not.
    pub put_back: Vec<String>,
}

impl Ploy {
    fn new(oracle: &'static Oracle, subject: Subject, how: impl Into<String>, steps: Vec<Step>, sign: Sign) -> Self {
        Self {
            oracle,
            severity: Severity::Critical,
            subject,
            command: Command::Select,
            how: how.into(),
            steps,
            sign,
            control: Vec::new(),
            put_back: Vec::new(),
        }
    }
}

/// A ploy and how it came out.
#[derive(Debug)]
pub struct Played {
    /// What was tried.
    pub ploy: Ploy,
    /// What was shown in the world with B, and whether the fact held.
    pub with: Option<(String, bool)>,
    /// What was shown without B, where that is compared.
    pub without: Option<(String, bool)>,
}

/// What to try as a session of this ability.
pub fn ploys(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = references::ploys(trial);
    ploys.extend(sequences::gaps(trial));
    ploys.extend(sequences::looks(trial));
    ploys.extend(code::openers(trial));
    ploys.extend(code::tables_at_run_time(trial));
    ploys.extend(plans::ploys(trial));
    if trial.session.attacker != Attacker::Api {
        ploys.extend(views::ploys(trial));
        ploys.extend(code::triggers(trial));
        ploys.extend(code::shadows(trial));
        ploys.extend(sequences::resets(trial));
        ploys.extend(server::ploys(trial));
    }
    ploys
}

/// Runs the ploys against the world with B.
pub async fn play(conn: &mut Conn, trial: &Trial<'_>) -> Result<Vec<Played>, ConnError> {
    let mut all = Vec::new();
    for ploy in ploys(trial) {
        if !ploy.control.is_empty() {
            let control = run(conn, trial, &ploy.control, &ploy).await?;
            if control.is_none_or(|(_, fact)| fact) {
                continue;
            }
        }
        let with = run(conn, trial, &ploy.steps, &ploy).await?;
        all.push(Played {
            ploy,
            with,
            without: None,
        });
    }
    Ok(all)
}

/// Runs those that compare the worlds once more, without B.
pub async fn replay(conn: &mut Conn, trial: &Trial<'_>, played: &mut [Played]) -> Result<(), ConnError> {
    for one in played.iter_mut().filter(|p| p.ploy.sign == Sign::Differs) {
        one.without = run(conn, trial, &one.ploy.steps, &one.ploy).await?;
    }
    Ok(())
}

/// Runs steps under a savepoint; none where the server refused one.
async fn run(
    conn: &mut Conn,
    trial: &Trial<'_>,
    steps: &[Step],
    ploy: &Ploy,
) -> Result<Option<(String, bool)>, ConnError> {
    let superuser = quote::ident(conn.superuser());
    let become_superuser = format!("SET LOCAL SESSION AUTHORIZATION {superuser}");
    let (limit, _) = conn.limits();
    let mut message = format!(
        "SAVEPOINT tp_ploy; {limit}SELECT pg_catalog.set_config('{SHOWN}', '', false); SET CONSTRAINTS ALL IMMEDIATE; "
    );
    let mut last = None;
    for step in steps {
        if last != Some(step.by) {
            message += &match binding(trial, step.by) {
                Some(binding) => binding.sql(),
                None => format!("{become_superuser};"),
            };
        }
        last = Some(step.by);
        message += &format!(" {}; ", step.sql);
    }
    let fact = match &ploy.sign {
        Sign::Fact(condition) => condition.as_str(),
        Sign::ForeignText | Sign::Differs => "false",
    };
    message += &format!(
        "{become_superuser}; SELECT pg_catalog.current_setting('{SHOWN}', true), coalesce(({fact}), false)::text"
    );
    let mut outcome = conn.run(&message).await?;
    if outcome.error.is_none() && !ploy.put_back.is_empty() {
        conn.query(&ploy.put_back.join("; ")).await?;
    }
    conn.query(&format!(
        "ROLLBACK TO SAVEPOINT tp_ploy; {become_superuser}; RELEASE SAVEPOINT tp_ploy"
    ))
    .await?;
    if outcome.error.is_some() {
        return Ok(None);
    }
    let row = outcome.results.pop().and_then(|mut r| r.rows.pop()).unwrap_or_default();
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    Ok(Some((text(0), text(1) == "true")))
}

/// The request that a step runs as; none for the superuser.
pub fn binding(trial: &Trial<'_>, by: By) -> Option<Binding> {
    match by {
        By::Superuser => None,
        By::A => Some(trial.as_a(ContextState::Bound)),
        By::B => Some(trial.as_b()),
        By::Unbound => Some(trial.as_a(ContextState::Empty)),
    }
}

/// What the ploys showed. `plain` is all that A sees without them.
pub fn judge(judge: &Judge<'_>, played: &[Played], plain: &[Seen]) -> Vec<Hit> {
    played.iter().filter_map(|p| judge_one(judge, p, plain)).collect()
}

fn judge_one(judge: &Judge<'_>, played: &Played, plain: &[Seen]) -> Option<Hit> {
    let ploy = &played.ploy;
    let trial = judge.trial;
    let (shown, fact) = played.with.as_ref()?;
    let condition = match &ploy.sign {
        Sign::Fact(condition) if *fact => condition.clone(),
        Sign::Fact(_) => return None,
        Sign::ForeignText => shows(&foreign_value(trial, shown, plain)?),
        Sign::Differs => {
            let (without, _) = played.without.as_ref()?;
            if without == shown {
                return None;
            }
            format!(
                "pg_catalog.current_setting('{SHOWN}', true) IS DISTINCT FROM pg_catalog.current_setting('proof.before', true)"
            )
        }
    };
    let subject = ploy.subject.clone();
    let sentence = format!(
        "{} {}: session `{}` {}",
        subject.object_type.word(),
        subject.object,
        trial.session.name,
        ploy.how
    );
    let steps: Vec<(Option<Binding>, &str)> = ploy
        .steps
        .iter()
        .map(|s| (binding(trial, s.by), s.sql.as_str()))
        .collect();
    let evidence = judge.scene(&trial.as_a(ContextState::Bound), 0, |scene| {
        scene.ploy(&sentence, &steps, &condition, ploy.sign == Sign::Differs)
    });
    Some(judge.hit(
        ploy.oracle,
        ploy.severity,
        subject,
        ploy.command,
        ContextState::Bound,
        sentence,
        evidence,
        Vec::new(),
    ))
}

/// A value of B's that a text holds and that A does not see without it.
fn foreign_value(trial: &Trial<'_>, text: &str, plain: &[Seen]) -> Option<String> {
    let canary = &trial.b.keys.canary;
    if !text.contains(canary.as_str()) {
        return None;
    }
    let seen = |value: &str| {
        plain
            .iter()
            .flat_map(Seen::rows)
            .flatten()
            .flatten()
            .any(|v| v.contains(value))
    };
    trial
        .b
        .rows
        .iter()
        .flat_map(|r| r.values.values().flatten())
        .filter(|v| v.contains(canary.as_str()) && text.contains(v.as_str()))
        .find(|v| !seen(v))
        .cloned()
}

/// A condition: a text that B's rows have was shown.
fn shows(value: &str) -> String {
    format!(
        "pg_catalog.strpos(coalesce(pg_catalog.current_setting('{SHOWN}', true), ''), {}) > 0",
        quote::literal(value)
    )
}
