//! The JSON report (contract: DESIGN section 6, version 1).

use serde::Serialize;

use super::Report;
use crate::model::{Cell, Cells, Finding, Verdict};

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    verdict: Verdict,
    seed: u64,
    target: Target<'a>,
    findings: &'a [Finding],
    cells: Cells,
    coverage: &'a [Cell],
    accepted: usize,
    statements: u64,
    elapsed_ms: u64,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Target<'a> {
    server: &'a str,
    postgres: &'a str,
    relations: usize,
    policies: usize,
    functions: usize,
    passed_over: &'a [(String, String)],
}

/// The report as JSON, pretty-printed, with a final newline.
pub fn render(report: &Report<'_>) -> String {
    let Report { outcome, server, .. } = report;
    let (relations, policies, functions) = outcome.counts;
    let document = Document {
        version: 1,
        verdict: outcome.verdict,
        seed: outcome.seed,
        target: Target {
            server: &server.provider,
            postgres: &server.version,
            relations,
            policies,
            functions,
            passed_over: &server.passed_over,
        },
        findings: &outcome.findings,
        cells: Cells::count(&outcome.coverage),
        coverage: &outcome.coverage,
        accepted: outcome.accepted,
        statements: outcome.statements,
        elapsed_ms: outcome.elapsed_ms,
        notes: &outcome.notes,
    };
    serde_json::to_string_pretty(&document).expect("a report holds nothing that JSON cannot say") + "\n"
}
