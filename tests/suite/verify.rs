//! The reference schema is isolated, on every server that is to be had.

use std::collections::BTreeSet;

use tenantproof::model::{Cell, CellVerdict, Cells, Command, ContextState, Verdict};
use tenantproof::pg::ServerChoice;
use tenantproof::report::Report;
use tenantproof::report::json;

use crate::bench::{Bench, path, reference};
use crate::providers::{absent, missing, say};

#[tokio::test]
async fn the_reference_schema_is_isolated_on_every_provider() {
    let mut ran = Vec::new();
    let mut passed_over = Vec::new();
    for choice in [ServerChoice::Container, ServerChoice::Local, ServerChoice::Embedded] {
        if absent(&choice.to_string()) {
            let reason = missing(&choice.to_string()).unwrap_or_default();
            passed_over.push(format!("{choice}: {reason}"));
            continue;
        }
        let bench = Bench::start(choice.clone()).await;
        let outcome = bench
            .verify(&[path("policies")], &reference())
            .await
            .expect("it can be judged");
        bench.stop().await;
        let cells = Cells::count(&outcome.coverage);
        assert_eq!(outcome.verdict, Verdict::Isolated, "{choice}: {:#?}", outcome.findings);
        assert_eq!(outcome.findings, [], "{choice}");
        assert!(cells.held >= 60, "{choice}: {cells:?}");
        let vacuous: Vec<_> = outcome
            .coverage
            .iter()
            .filter(|c| c.verdict == CellVerdict::Vacuous)
            .collect();
        assert!(vacuous.is_empty(), "{choice}: {vacuous:#?}");
        ran.push(format!("{choice} ({} held, {} denied)", cells.held, cells.denied));
    }
    say(&format!("\nproviders that ran: {}", ran.join(", ")));
    let without = if passed_over.is_empty() {
        "none".to_owned()
    } else {
        passed_over.join("; ")
    };
    say(&format!("providers that did not: {without}"));
    assert!(!ran.is_empty(), "no provider at all: {passed_over:#?}");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_report() {
    let bench = Bench::any().await;
    let mut texts = BTreeSet::new();
    for _ in 0..2 {
        let mut outcome = bench
            .verify(&[path("policies")], &reference())
            .await
            .expect("it can be judged");
        outcome.elapsed_ms = 0;
        let facts = tenantproof::pg::ServerFacts::default();
        let report = Report {
            outcome: &outcome,
            server: &facts,
            fail_on: tenantproof::model::Severity::Medium,
        };
        texts.insert(json::render(&report));
    }
    bench.stop().await;
    assert_eq!(texts.len(), 1, "two runs differ");
}

#[tokio::test]
async fn a_schema_without_identity_is_inconclusive_and_never_isolated() {
    let bench = Bench::any().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schema.sql");
    std::fs::write(
        &file,
        "CREATE ROLE plain; CREATE TABLE note (id int PRIMARY KEY, body text); GRANT SELECT ON note TO plain;",
    )
    .expect("written");
    let outcome = bench
        .verify(&[file], &crate::bench::request())
        .await
        .expect("it can be judged");
    bench.stop().await;
    assert_eq!(outcome.verdict, Verdict::Inconclusive);
    assert!(
        outcome.notes.iter().any(|n| n.contains("which tenant it is")),
        "{:?}",
        outcome.notes
    );
}

/// Rows that a preparation takes away are no work of the session's: what reaches no row of its own shows nothing.
#[tokio::test]
async fn an_update_that_reaches_no_own_row_is_vacuous() {
    let bench = Bench::any().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schema.sql");
    std::fs::write(
        &file,
        "CREATE ROLE still;
         CREATE TABLE note (tenant_id text NOT NULL, id int NOT NULL, body text, PRIMARY KEY (tenant_id, id));
         ALTER TABLE note ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON note FOR SELECT USING (tenant_id = current_setting('app.tenant_id', true));
         CREATE POLICY never ON note FOR UPDATE USING (tenant_id = current_setting('app.tenant_id', true) AND id < 0);
         GRANT SELECT, UPDATE ON note TO still;",
    )
    .expect("written");
    let outcome = bench
        .verify(&[file], &crate::bench::request())
        .await
        .expect("it can be judged");
    bench.stop().await;
    let cell = |command| {
        let is = |c: &&Cell| c.object == "public.note" && c.command == command && c.state == ContextState::Bound;
        outcome.coverage.iter().find(is).expect("the cell is there").verdict
    };
    assert_eq!(cell(Command::Select), CellVerdict::Held);
    assert_eq!(cell(Command::Update), CellVerdict::Vacuous);
}
