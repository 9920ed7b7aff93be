//! Evidence of the leak cases, replayed: every script shows the flaw, and is quiet on the correct twin.

use std::collections::{BTreeMap, BTreeSet};

use tenantproof::pg::ServerChoice;

use crate::bench::{Bench, path, request};
use crate::leak_table::listed;
use crate::leaks_support::Case;
use crate::providers::{absent, say};

/// What scripts say on twins other than HELD: `case rule object: WORD reason`.
const LIST: &str = "tests/leaks/replays.txt";

#[tokio::test]
async fn scripts_show_the_flaw_and_are_quiet_on_the_twin() {
    if absent("local") {
        return;
    }
    let bench = Bench::start(ServerChoice::Local).await;
    let reset = std::fs::read_to_string(path("tests/leaks/reset-roles.sql")).expect("the reset is there");
    let mut not_shown = Vec::new();
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut scripts, mut quiet) = (0, 0);
    for case in Case::all() {
        let Some(flawed) = case.schema("flawed") else { continue };
        let flawed = [flawed];
        let safe = case.schema("safe").map(|s| [s]);
        let mut wanted = request();
        wanted.sessions = case.sessions("flawed");
        bench.run(&reset).await;
        // Cases that cannot be judged are on the list of the leak table.
        let Ok(outcome) = bench.verify(&flawed, &wanted).await else {
            continue;
        };
        let mut of_twin: Option<BTreeSet<(String, String)>> = None;
        for finding in &outcome.findings {
            let Some(evidence) = &finding.evidence else { continue };
            let which = format!("{} {} {}", case.id, finding.rule, finding.object);
            scripts += 1;
            bench.run(&reset).await;
            let word = bench.replay(&flawed, evidence).await;
            if word != "VIOLATED" {
                not_shown.push(format!("{which} says {word}"));
            }
            let Some(safe) = &safe else { continue };
            bench.run(&reset).await;
            let word = bench.replay(safe, evidence).await;
            if word == "HELD" {
                quiet += 1;
                continue;
            }
            // A channel that every installation has: the twin's own run reports it too.
            if of_twin.is_none() {
                wanted.sessions = case.sessions("safe");
                bench.run(&reset).await;
                let twin = bench.verify(safe, &wanted).await;
                of_twin = Some(twin.map_or_else(
                    |_| BTreeSet::new(),
                    |o| o.findings.into_iter().map(|f| (f.rule, f.object)).collect(),
                ));
            }
            let is_of_twin = of_twin
                .as_ref()
                .is_some_and(|t| t.contains(&(finding.rule.clone(), finding.object.clone())));
            if !is_of_twin {
                said.entry(which).or_default().insert(word);
            }
        }
    }
    bench.stop().await;
    say(&format!("{scripts} scripts; on the twin {quiet} are quiet"));
    assert!(not_shown.is_empty(), "the flaw is not shown: {not_shown:#?}");
    let said: BTreeSet<String> = said
        .into_iter()
        .map(|(which, words)| format!("{which}: {}", words.into_iter().collect::<Vec<_>>().join("+")))
        .collect();
    let listed: BTreeSet<String> = listed(LIST)
        .into_iter()
        .map(|(which, reason)| format!("{which}: {}", reason.split(' ').next().unwrap_or_default()))
        .collect();
    let worse: Vec<_> = said.difference(&listed).collect();
    let better: Vec<_> = listed.difference(&said).collect();
    assert!(
        worse.is_empty() && better.is_empty(),
        "not listed in {LIST}: {worse:#?}\nto be taken off it: {better:#?}"
    );
}
