//! The leak cases on the embedded server: the verdicts of the native one, but for what is listed with its reason.

use std::collections::{BTreeMap, BTreeSet};

use tenantproof::model::{Cell, CellVerdict, Finding, Severity};
use tenantproof::pg::ServerChoice;
use tenantproof::run::verify::Outcome;

use crate::bench::{Bench, path, request};
use crate::leaks_support::Case;

type Listed = BTreeMap<(String, String), String>;

/// `id variant: reason` a line.
fn list(file: &str) -> Listed {
    let text = std::fs::read_to_string(path(file)).expect("the list is there");
    let entry = |line: &str| {
        let (which, reason) = line.split_once(": ").expect("a line gives a reason");
        let (id, variant) = which.split_once(' ').expect("a line names case and variant");
        ((id.to_owned(), variant.to_owned()), reason.to_owned())
    };
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(entry).collect()
}

#[tokio::test]
async fn the_embedded_server_gives_the_verdicts_of_a_native_one() {
    let bench = Bench::start(ServerChoice::Embedded).await;
    let open = list("tests/leaks/open.txt");
    let apart = list("tests/leaks/embedded.txt");
    let mut differing: Listed = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    let mut same = 0;
    for case in Case::all() {
        for variant in ["flawed", "safe"] {
            let Some(schema) = case.schema(variant) else { continue };
            let mut wanted = request();
            wanted.sessions = case.sessions(variant);
            let outcome = bench.verify(&[schema], &wanted).await;
            let least = if case.severity == "low" {
                Severity::Info
            } else {
                Severity::Medium
            };
            let right = match (&outcome, variant) {
                (Ok(outcome), "flawed") => outcome.findings.iter().any(|f| f.severity >= least && case.names(f)),
                (Ok(outcome), _) => !outcome.findings.iter().any(|f| f.severity >= Severity::Medium),
                (Err(_), _) => false,
            };
            let key = (case.id.clone(), variant.to_owned());
            wrong.extend((!right).then(|| key.clone()));
            if outcome.is_ok() && right != open.contains_key(&key) {
                same += 1;
                continue;
            }
            let told = match outcome {
                Ok(o) => {
                    let of = |f: &Finding| format!("{} {} {}", f.severity, f.rule, f.object);
                    format!("right: {right}; {:?}", o.findings.iter().map(of).collect::<Vec<_>>())
                }
                Err(error) => error.chars().take(300).collect(),
            };
            differing.insert(key, told);
        }
    }
    bench.stop().await;
    crate::providers::say(&format!(
        "embedded: {same} verdicts as on a native server, {} not",
        differing.len()
    ));
    differing.retain(|key, _| !apart.contains_key(key));
    assert!(
        differing.is_empty(),
        "not as on a native server, and not in tests/leaks/embedded.txt: {differing:#?}"
    );
    let stale: Vec<_> = apart.keys().filter(|key| !wrong.contains(*key)).collect();
    assert!(
        stale.is_empty(),
        "judged rightly: take them off tests/leaks/embedded.txt: {stale:#?}"
    );
}

async fn verify_text(schema: &str) -> Outcome {
    let bench = Bench::start(ServerChoice::Embedded).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schema.sql");
    std::fs::write(&file, schema).expect("written");
    let outcome = bench.verify(&[file], &request()).await;
    bench.stop().await;
    outcome.expect("it can be judged")
}

const NOTES: &str = "
CREATE ROLE note_user;
CREATE TABLE public.note (tenant_id text NOT NULL, id int NOT NULL, body text, PRIMARY KEY (tenant_id, id));
ALTER TABLE public.note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.note USING (tenant_id = current_setting('app.tenant_id', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON public.note TO note_user;
";

#[tokio::test]
async fn what_it_does_not_judge_is_named() {
    let schema = format!("{NOTES} ALTER ROLE note_user SET app.tenant_id = 'acme';");
    let outcome = verify_text(&schema).await;
    let note = outcome
        .notes
        .iter()
        .find(|n| n.starts_with("not judged by the embedded server"));
    let note = note.expect("it says so");
    assert!(note.contains("1 here") && note.contains("second connection"), "{note}");
}

/// More errors than one session bears, were they not caught.
#[tokio::test]
async fn a_schema_with_many_errors_is_judged() {
    let mut schema = NOTES.to_owned();
    for n in 0..25 {
        schema += &format!(
            "CREATE FUNCTION public.refuses_{n}(one text, other text) RETURNS int LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '42601', HINT = one; END $$;\n"
        );
    }
    let outcome = verify_text(&schema).await;
    // The errors of the parser, which these pass for, count five times.
    let limit = tenantproof::pg::embedded::ERRORS_PER_CONNECTION as u64 / 5;
    assert!(
        outcome.statements > limit,
        "{} messages tell nothing",
        outcome.statements
    );
    let refused = |c: &&Cell| c.reason.as_deref().is_some_and(|r| r.contains("42601 no"));
    assert_eq!(outcome.coverage.iter().filter(refused).count(), 25);
    let notes = outcome.coverage.iter().filter(|c| c.object == "public.note");
    assert!(notes.clone().any(|c| c.verdict == CellVerdict::Held));
    assert!(notes.clone().all(|c| c.verdict != CellVerdict::Vacuous));
}
