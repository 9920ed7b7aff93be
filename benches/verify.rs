//! How `verify` grows with the schema: seconds, statements and peak memory by number of tables, on a local server.
//!
//! `cargo bench --bench verify [-- TABLES ...]`; `RUNS` says how often each is run, the median counts; `SERVER` where;
//! `KIND` what is generated (see `generate::Kind`).

#[path = "../tests/support/generate.rs"]
mod generate;

use std::time::{Duration, Instant};

use tenantproof::model::{Cells, Severity};
use tenantproof::pg::conn::Conn;
use tenantproof::pg::{Server, ServerOptions};
use tenantproof::run::load::{self, LoadOptions};
use tenantproof::run::verify::{Request, verify};
use tenantproof::sql::script;

/// One run.
struct Run {
    load: Duration,
    verify: Duration,
    statements: u64,
    cells: Cells,
    findings: usize,
}

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let sizes = if asked.is_empty() {
        vec![10, 30, 100, 300, 1_000]
    } else {
        asked
    };
    let runs: usize = std::env::var("RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3)
        .max(1);
    let choice = std::env::var("SERVER").unwrap_or_else(|_| "local".to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let name = std::env::var("KIND").unwrap_or_else(|_| "plain".to_owned());
    let kind = generate::Kind::of(&name);
    println!("server {choice}, schema {name}, median of {runs}");
    println!("| tables | load | verify | a table | messages | cells held / denied / vacuous | peak memory |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for tables in sizes {
        let mut all: Vec<Run> = (0..runs)
            .map(|_| runtime.block_on(one(&choice, tables, kind)))
            .collect();
        all.sort_by_key(|r| r.verify);
        let median = &all[all.len() / 2];
        println!(
            "| {tables} | {:.2} s | {:.2} s | {:.1} ms | {} | {} / {} / {} | {} MiB |",
            median.load.as_secs_f64(),
            median.verify.as_secs_f64(),
            median.verify.as_secs_f64() * 1000.0 / tables as f64,
            median.statements,
            median.cells.held,
            median.cells.denied,
            median.cells.vacuous,
            peak_memory() / 1024,
        );
        if kind.open {
            println!("{} findings", median.findings);
        } else {
            assert_eq!(median.findings, 0, "the schema is correct");
        }
    }
}

async fn one(choice: &str, tables: usize, kind: generate::Kind) -> Run {
    let options = ServerOptions {
        choice: choice.parse().expect("a server"),
        version: None,
    };
    let server = Server::start(&options).await.expect("a server starts");
    let scratch = server.scratch().await.expect("a scratch database");
    let patience = Duration::from_secs(120);
    let mut conn = Conn::open(&scratch.connect_options(), patience)
        .await
        .expect("a connection");
    let started = Instant::now();
    let steps = script::read_text("generated.sql", &generate::schema(tables, kind)).expect("SQL");
    load::load(&mut conn, &steps, LoadOptions::default())
        .await
        .expect("it loads");
    let load = started.elapsed();
    let request = Request {
        roles_before: scratch.roles_before().clone(),
        cases: 16,
        max_vacuous: 25.0,
        ..Request::default()
    };
    let started = Instant::now();
    let outcome = verify(&mut conn, &request, &|what| {
        if std::env::var_os("PROGRESS").is_some() {
            eprintln!("{:8.2} {what}", started.elapsed().as_secs_f64());
        }
    })
    .await
    .expect("it is judged");
    let verify = started.elapsed();
    for finding in outcome.findings.iter().filter(|f| f.severity >= Severity::Low).take(5) {
        println!("unexpected: {} {} {}", finding.severity, finding.rule, finding.message);
    }
    conn.close().await;
    scratch.drop_now().await.expect("the database goes");
    server.stop().await;
    Run {
        load,
        verify,
        statements: outcome.statements,
        cells: Cells::count(&outcome.coverage),
        findings: outcome.findings.iter().filter(|f| f.severity >= Severity::Low).count(),
    }
}

/// The most memory that this process has held, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
