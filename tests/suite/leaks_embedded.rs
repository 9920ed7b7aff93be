//! The leak cases on the embedded server: the verdicts of the native one, but for what is listed with its reason.

use std::collections::{BTreeMap, BTreeSet};

use tenantproof::model::Severity;
use tenantproof::pg::ServerChoice;

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
            if right == open.contains_key(&key) {
                let told = match outcome {
                    Ok(o) => {
                        let of = |f: &tenantproof::model::Finding| format!("{} {} {}", f.severity, f.rule, f.object);
                        format!("right: {right}; {:?}", o.findings.iter().map(of).collect::<Vec<_>>())
                    }
                    Err(error) => error.chars().take(300).collect(),
                };
                differing.insert(key, told);
            } else {
                same += 1;
            }
        }
    }
    bench.stop().await;
    crate::providers::say(&format!(
        "embedded: {same} verdicts as on a native server, {} not",
        differing.len()
    ));
    let listed: BTreeSet<_> = apart.keys().collect();
    let found: BTreeSet<_> = differing.keys().collect();
    let unlisted: Vec<_> = differing.iter().filter(|(k, _)| !apart.contains_key(*k)).collect();
    assert!(
        unlisted.is_empty(),
        "not as on a native server, and not in tests/leaks/embedded.txt: {unlisted:#?}"
    );
    let stale: Vec<_> = listed.difference(&found).collect();
    assert!(
        stale.is_empty(),
        "as on a native server: take them off tests/leaks/embedded.txt: {stale:#?}"
    );
}
