//! Large schemas are judged as small ones are: what is shared or left out for their sake changes no verdict. Nothing is timed.

use rstest::rstest;
use tenantproof::model::{Cells, Severity, Verdict};
use tenantproof::pg::ServerChoice;

use crate::bench::{Bench, request};
use crate::generate::{Kind, schema};
use crate::providers::absent;

/// More than the number of tables from which on scripts and looks are limited.
const TABLES: usize = 72;

fn file(folder: &tempfile::TempDir, text: &str) -> std::path::PathBuf {
    let file = folder.path().join("schema.sql");
    std::fs::write(&file, text).expect("written");
    file
}

#[rstest]
#[case::plain("plain")]
#[case::many_pairs("text")]
#[case::memberships_that_are_written("members")]
#[tokio::test]
async fn a_large_correct_schema_is_isolated(#[case] kind: &str) {
    if absent("local") {
        return;
    }
    let bench = Bench::start(ServerChoice::Local).await;
    let folder = tempfile::tempdir().expect("a folder");
    let schema = file(&folder, &schema(TABLES, Kind::of(kind)));
    let outcome = bench.verify(&[schema], &request()).await.expect("it can be judged");
    bench.stop().await;
    assert_eq!(outcome.verdict, Verdict::Isolated, "{:#?}", outcome.findings);
    let cells = Cells::count(&outcome.coverage);
    assert!(cells.held > 10 * TABLES && cells.vacuous == 0, "{cells:?}");
}

/// Scripts hold only the rows that they need, and still show the fault.
#[tokio::test]
async fn evidence_of_a_large_schema_is_small_and_replays() {
    if absent("local") {
        return;
    }
    let bench = Bench::start(ServerChoice::Local).await;
    let folder = tempfile::tempdir().expect("a folder");
    let schema = file(&folder, &schema(TABLES, Kind::of("open")));
    let outcome = bench
        .verify(std::slice::from_ref(&schema), &request())
        .await
        .expect("it can be judged");
    let serious: Vec<_> = outcome
        .findings
        .iter()
        .filter(|f| f.severity >= Severity::Medium)
        .collect();
    // One for each table that is open, and no more: what follows from it is a route.
    assert!(serious.len() >= TABLES, "{} findings", serious.len());
    for finding in serious.iter().step_by(17) {
        let evidence = finding.evidence.as_deref().expect("a dynamic finding has evidence");
        let inserts = evidence.lines().filter(|l| l.starts_with("INSERT")).count();
        assert!((1..150).contains(&inserts), "{inserts} rows for {}", finding.message);
        let last = bench.replay(std::slice::from_ref(&schema), evidence).await;
        assert_eq!(last, "VIOLATED", "{}\n{evidence}", finding.message);
    }
    bench.stop().await;
}
