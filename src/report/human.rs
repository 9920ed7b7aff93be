//! The report for people: one screen, the verdict last, colour only where it is wanted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use super::Report;
use crate::model::{Cell, CellVerdict, Cells, Command, ContextState, Finding, Severity, Verdict};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default().bold();

/// Most findings that are shown in full.
const MAX_FINDINGS: usize = 12;

/// The report as text with ANSI styles; the printer drops them where they are not wanted.
pub fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    head(&mut text, report);
    coverage(&mut text, &report.outcome.coverage);
    findings(&mut text, report);
    for note in &report.outcome.notes {
        let _ = writeln!(text, "{WARN}note{WARN:#} {note}");
    }
    tail(&mut text, report);
    text
}

fn head(text: &mut String, report: &Report<'_>) {
    let (relations, policies, functions) = report.outcome.counts;
    let server = report.server;
    let _ = writeln!(
        text,
        "{BOLD}tenantproof{BOLD:#} PostgreSQL {} ({}), {relations} relations, {policies} policies, {functions} functions",
        server.version, server.provider
    );
    for (provider, reason) in &server.passed_over {
        let _ = writeln!(text, "{DIM}  {provider} passed over: {reason}{DIM:#}");
    }
    for session in &report.outcome.sessions {
        let settings: Vec<String> = session.settings.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        let with = if settings.is_empty() {
            "no settings".to_owned()
        } else {
            settings.join(", ")
        };
        let _ = writeln!(
            text,
            "{DIM}  session {}: role {}, {with}{DIM:#}",
            session.name, session.role
        );
    }
    for guess in &report.outcome.guesses {
        let _ = writeln!(text, "{DIM}  inferred: {} ({}){DIM:#}", guess.what, guess.reason);
    }
    text.push('\n');
}

/// One row a session and state, one column a command: how many cells of each verdict.
fn coverage(text: &mut String, cells: &[Cell]) {
    if cells.is_empty() {
        return;
    }
    let commands = [
        Command::Select,
        Command::Insert,
        Command::Update,
        Command::Delete,
        Command::Truncate,
        Command::Execute,
    ];
    let mut rows: BTreeMap<(&str, ContextState), BTreeMap<Command, Vec<&Cell>>> = BTreeMap::new();
    for cell in cells {
        rows.entry((&cell.session, cell.state))
            .or_default()
            .entry(cell.command)
            .or_default()
            .push(cell);
    }
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        ["session".to_owned(), "context".to_owned()]
            .into_iter()
            .chain(commands.iter().map(ToString::to_string)),
    );
    for ((session, state), by_command) in rows {
        let counts = commands
            .iter()
            .map(|c| by_command.get(c).map_or(String::new(), |cells| summary(cells)));
        table.add_row([session.to_owned(), state.word().to_owned()].into_iter().chain(counts));
    }
    let _ = writeln!(text, "{table}");
    let _ = writeln!(
        text,
        "{DIM}cells: + held, ! violated, - denied (not granted), ? vacuous (could not have shown a leak){DIM:#}\n"
    );
    let vacuous: Vec<&Cell> = cells.iter().filter(|c| c.verdict == CellVerdict::Vacuous).collect();
    for cell in vacuous.iter().take(8) {
        let _ = writeln!(
            text,
            "{DIM}vacuous: {} {} {} {}: {}{DIM:#}",
            cell.session,
            cell.state.word(),
            cell.command,
            cell.object,
            cell.reason.as_deref().unwrap_or("no reason known")
        );
    }
    if vacuous.len() > 8 {
        let _ = writeln!(
            text,
            "{DIM}and {} more vacuous cells: see the JSON report{DIM:#}",
            vacuous.len() - 8
        );
    }
}

fn summary(cells: &[&Cell]) -> String {
    let count = |verdict| cells.iter().filter(|c| c.verdict == verdict).count();
    [
        (CellVerdict::Held, '+'),
        (CellVerdict::Violated, '!'),
        (CellVerdict::Denied, '-'),
        (CellVerdict::Vacuous, '?'),
    ]
    .into_iter()
    .map(|(verdict, sign)| (count(verdict), sign))
    .filter(|(n, _)| *n > 0)
    .map(|(n, sign)| format!("{n}{sign}"))
    .collect::<Vec<_>>()
    .join(" ")
}

fn findings(text: &mut String, report: &Report<'_>) {
    let all = &report.outcome.findings;
    let (shown, quiet): (Vec<&Finding>, Vec<&Finding>) = all.iter().partition(|f| f.severity >= report.fail_on);
    for finding in shown.iter().take(MAX_FINDINGS) {
        let style = if finding.severity >= Severity::High { BAD } else { WARN };
        let _ = writeln!(
            text,
            "{style}{} {}{style:#} {BOLD}{}{BOLD:#} [{}]",
            finding.severity,
            finding.kind.word(),
            finding.object,
            finding.rule
        );
        let _ = writeln!(text, "  {}", finding.message);
        let others: Vec<String> = finding
            .routes
            .iter()
            .map(|r| format!("{} {}", r.command, r.object))
            .filter(|r| {
                *r != format!(
                    "{} {}",
                    finding.command.map_or(String::new(), |c| c.to_string()),
                    finding.object
                )
            })
            .collect();
        if !others.is_empty() {
            let _ = writeln!(text, "  {DIM}seen by: {}{DIM:#}", others.join(", "));
        }
        let _ = writeln!(text, "  {GOOD}fix{GOOD:#} {}", finding.remedy);
    }
    if shown.iter().any(|f| f.evidence.is_some()) {
        let _ = writeln!(
            text,
            "  {DIM}each finding has a script that shows it: `--format json`, field `evidence`{DIM:#}"
        );
    }
    if shown.len() > MAX_FINDINGS {
        let _ = writeln!(text, "and {} more: see the JSON report", shown.len() - MAX_FINDINGS);
    }
    for finding in quiet.iter().take(6) {
        let _ = writeln!(
            text,
            "{DIM}{} {} {}: {}{DIM:#}",
            finding.severity,
            finding.kind.word(),
            finding.object,
            finding.message
        );
    }
    if quiet.len() > 6 {
        let _ = writeln!(text, "{DIM}and {} more below the threshold{DIM:#}", quiet.len() - 6);
    }
    if !all.is_empty() {
        text.push('\n');
    }
}

fn tail(text: &mut String, report: &Report<'_>) {
    let outcome = report.outcome;
    let cells = Cells::count(&outcome.coverage);
    let (style, word) = match outcome.verdict {
        Verdict::Isolated => (GOOD, "ISOLATED"),
        Verdict::Violated => (BAD, "VIOLATED"),
        Verdict::Inconclusive => (WARN, "INCONCLUSIVE"),
    };
    let accepted = if outcome.accepted > 0 {
        format!(", {} accepted", outcome.accepted)
    } else {
        String::new()
    };
    let _ = writeln!(
        text,
        "{style}{word}{style:#} {} held, {} violated, {} denied, {} vacuous; {} {}{accepted}; {:.2} s, seed {}",
        cells.held,
        cells.violated,
        cells.denied,
        cells.vacuous,
        outcome.findings.len(),
        if outcome.findings.len() == 1 {
            "finding"
        } else {
            "findings"
        },
        outcome.elapsed_ms as f64 / 1000.0,
        outcome.seed
    );
}
