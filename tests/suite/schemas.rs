//! Whole schemas without a target file: seven small ones with a flaw and without, three large ones and ten breaks of each.
//! What is not handled yet is in `tests/schemas/open.txt`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tenantproof::model::{Cells, Finding, Severity, Verdict};
use tenantproof::pg::ServerChoice;
use tenantproof::run::verify::Outcome;

use crate::bench::{Bench, path, request};
use crate::breaks::declared;
use crate::leak_table::{compare, listed};
use crate::providers::{absent, say};

const OPEN: &str = "tests/schemas/open.txt";

/// Most vacuous cells of a correct schema, in percent of those that could be judged.
const MAX_VACUOUS: f64 = 10.0;

/// Names in a folder, of folders or of files that end so, in order.
fn names(folder: &str, ending: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path(folder))
        .unwrap_or_else(|e| panic!("{folder}: {e}"))
        .filter_map(|entry| {
            let name = entry.expect("a readable folder").file_name();
            name.to_string_lossy().strip_suffix(ending).map(ToOwned::to_owned)
        })
        .filter(|name| !name.contains(".exploit"))
        .collect();
    names.sort();
    names
}

/// A name with the types of its arguments as they are written by hand.
fn plain(object: &str) -> String {
    match object.split_once('(') {
        Some((name, arguments)) => format!("{name}({}", arguments.replace("pg_catalog.", "")),
        None => object.to_owned(),
    }
}

/// The objects that a flawed script holds responsible: one, or another that is as right.
fn objects(text: &str) -> Vec<String> {
    let or = text.lines().filter_map(|l| l.strip_prefix("-- or: "));
    std::iter::once(declared(text, "object"))
        .chain(or.map(|o| o.trim().to_owned()))
        .map(|o| plain(&o))
        .collect()
}

fn serious(outcome: &Outcome) -> impl Iterator<Item = &Finding> {
    outcome.findings.iter().filter(|f| f.severity >= Severity::Medium)
}

fn told(outcome: &Outcome) -> Vec<String> {
    serious(outcome)
        .map(|f| format!("{} {} {}", f.severity, f.rule, f.object))
        .collect()
}

async fn judge(bench: &Bench, schema: &[PathBuf]) -> Result<Outcome, String> {
    bench.drop_roles().await;
    bench.verify(schema, &request()).await
}

async fn replay(bench: &Bench, schema: &[PathBuf], evidence: &str) -> String {
    bench.drop_roles().await;
    bench.replay(schema, evidence).await
}

/// What is wrong with the verdict on a correct schema.
fn faults_of_correct(outcome: &Outcome) -> Vec<String> {
    let mut faults = told(outcome);
    if outcome.verdict != Verdict::Isolated {
        faults.push(format!("{:?}: {:?}", outcome.verdict, outcome.notes));
    }
    let cells = Cells::count(&outcome.coverage);
    if cells.vacuous_percent() > MAX_VACUOUS {
        faults.push(format!("{:.1} % vacuous: {cells:?}", cells.vacuous_percent()));
    }
    faults
}

/// A flawed schema, and the same without the flaw.
struct Pair<'a> {
    flawed: &'a [PathBuf],
    right: &'a [PathBuf],
    /// Objects of serious findings of the right one.
    known: &'a BTreeSet<String>,
    /// What a script may say of the right one.
    words: &'a [&'a str],
}

/// What is wrong with what is found of a flaw: it is named, nothing else is, and scripts tell the two apart.
async fn faults_of_flawed(bench: &Bench, pair: &Pair<'_>) -> Vec<String> {
    let text = std::fs::read_to_string(pair.flawed.last().expect("a file")).expect("the flaw is there");
    let wanted = objects(&text);
    let outcome = match judge(bench, pair.flawed).await {
        Ok(outcome) => outcome,
        Err(error) => return vec![format!("it cannot be judged: {error}")],
    };
    let (named, others): (Vec<&Finding>, Vec<&Finding>) =
        serious(&outcome).partition(|f| wanted.contains(&plain(&f.object)));
    let mut faults: Vec<String> = others
        .iter()
        .filter(|f| !pair.known.contains(&f.object))
        .map(|f| format!("named beside it: {} {} {}", f.severity, f.rule, f.object))
        .collect();
    if !named.iter().any(|f| f.evidence.is_some()) {
        faults.push(format!("{wanted:?} is not named with evidence: {:?}", told(&outcome)));
    }
    for (finding, evidence) in named.iter().filter_map(|f| Some((f, f.evidence.as_deref()?))) {
        let flawed = replay(bench, pair.flawed, evidence).await;
        let right = replay(bench, pair.right, evidence).await;
        if flawed != "VIOLATED" || !pair.words.contains(&right.as_str()) {
            faults.push(format!(
                "the script of {} {} says {flawed} and {right}",
                finding.rule, finding.object
            ));
        }
    }
    faults
}

/// What was not right, and the words for it.
#[derive(Default)]
struct Failing {
    which: BTreeSet<String>,
    told: Vec<String>,
    all: usize,
}

impl Failing {
    fn add(&mut self, which: &str, faults: &[String]) {
        self.all += 1;
        if !faults.is_empty() {
            let line = format!("{which}: {}", faults.join("; "));
            // At once: a large schema takes minutes, and one wants to know before the end.
            say(&line);
            self.told.push(line);
            self.which.insert(which.to_owned());
        }
    }

    fn compare(&self, prefix: &str) {
        say(&format!(
            "{prefix} {} of {} are right",
            self.all - self.which.len(),
            self.all
        ));
        compare(OPEN, prefix, &self.which, &self.told);
    }
}

#[tokio::test]
async fn seven_small_schemas_are_told_from_their_flawed_twins() {
    if absent("local") {
        return;
    }
    let bench = Bench::start(ServerChoice::Local).await;
    let mut failing = Failing::default();
    let folder = "tests/schemas/seven";
    let known = BTreeSet::new();
    for name in names(folder, "") {
        let flawed = [path(&format!("{folder}/{name}/flawed.sql"))];
        let right = [path(&format!("{folder}/{name}/safe.sql"))];
        let pair = Pair {
            flawed: &flawed,
            right: &right,
            known: &known,
            words: &["HELD", "INVALID"],
        };
        let mut faults = faults_of_flawed(&bench, &pair).await;
        // Further findings of a small schema are other ways to the one flaw.
        faults.retain(|f| !f.starts_with("named beside it"));
        failing.add(&format!("seven/{name}"), &faults);
        let faults = match judge(&bench, &right).await {
            Ok(outcome) if outcome.verdict == Verdict::Isolated => told(&outcome),
            Ok(outcome) => vec![format!(
                "{:?}: {:?} {:?}",
                outcome.verdict,
                told(&outcome),
                outcome.notes
            )],
            Err(error) => vec![error],
        };
        failing.add(&format!("seven/{name} safe"), &faults);
    }
    bench.stop().await;
    assert_eq!(failing.all, 14);
    failing.compare("seven/");
}

/// A large schema is isolated, and each of ten breaks of it is found.
async fn fixture(name: &str, before: &[&str]) {
    if absent("local") {
        return;
    }
    let bench = Bench::start(ServerChoice::Local).await;
    let mut failing = Failing::default();
    let folder = format!("tests/schemas/{name}");
    let right: Vec<PathBuf> = before
        .iter()
        .map(|b| path(b))
        .chain([path(&format!("{folder}/schema"))])
        .collect();
    let outcome = judge(&bench, &right).await.expect("the correct schema can be judged");
    failing.add(&format!("{name}/correct"), &faults_of_correct(&outcome));
    let known: BTreeSet<String> = serious(&outcome).map(|f| f.object.clone()).collect();
    let breaks = names(&format!("{folder}/breaks"), ".sql");
    assert_eq!(breaks.len(), 10, "{breaks:?}");
    for broken in breaks {
        let mut flawed = right.clone();
        flawed.push(path(&format!("{folder}/breaks/{broken}.sql")));
        let pair = Pair {
            flawed: &flawed,
            right: &right,
            known: &known,
            words: &["HELD"],
        };
        let faults = faults_of_flawed(&bench, &pair).await;
        failing.add(&format!("{name}/{broken}"), &faults);
    }
    bench.stop().await;
    failing.compare(&format!("{name}/"));
}

#[tokio::test]
async fn a_resource_planning_schema_is_isolated_and_its_breaks_are_found() {
    fixture("erp", &[]).await;
}

#[tokio::test]
async fn a_postgraphile_schema_is_isolated_and_its_breaks_are_found() {
    fixture("postgraphile", &[]).await;
}

#[tokio::test]
async fn a_supabase_schema_is_isolated_and_its_breaks_are_found() {
    let preset = [
        "presets/supabase/01_roles.sql",
        "presets/extensions.sql",
        "presets/supabase/02_platform.sql",
    ];
    fixture("supabase_b2b", &preset).await;
}

#[test]
fn the_list_names_schemas_that_are_there() {
    for which in listed(OPEN).into_keys() {
        let (schema, name) = which.split_once('/').expect("schema and name");
        let name = name.trim_end_matches(" safe");
        let there = name == "correct"
            || path(&format!("tests/schemas/{schema}/breaks/{name}.sql")).exists()
            || path(&format!("tests/schemas/{schema}/{name}")).exists();
        assert!(there, "{which}");
    }
}
