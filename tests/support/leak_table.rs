//! The leak cases as a table: each verified with the sessions given, and what came of it compared with a list of open cases.

use std::collections::{BTreeMap, BTreeSet};

use tenantproof::model::{Session, Severity};

use crate::bench::{Bench, path, request};
use crate::leaks_support::Case;

/// What a run over all cases came to.
pub struct Table {
    /// Flawed cases, and how many were found.
    pub flawed: (usize, usize),
    /// Flawed cases of attacker api and kind read, and how many were found.
    pub reads: (usize, usize),
    /// Correct designs, and how many were quiet.
    pub correct: (usize, usize),
    /// Found of all, and quiet of all, by class of flaw.
    classes: BTreeMap<String, [(usize, usize); 2]>,
    /// What was not right: case and variant.
    failing: BTreeSet<String>,
    told: Vec<String>,
    is_native: bool,
}

impl Table {
    /// Verifies all cases; `sessions` says what a case is verified with.
    pub async fn of(sessions: impl Fn(&Case, &str) -> Vec<Session>) -> Self {
        let bench = Bench::any().await;
        let reset = std::fs::read_to_string(path("tests/leaks/reset-roles.sql")).expect("the reset is there");
        let mut table = Self {
            flawed: (0, 0),
            reads: (0, 0),
            correct: (0, 0),
            classes: BTreeMap::new(),
            failing: BTreeSet::new(),
            told: Vec::new(),
            is_native: bench.provider() != tenantproof::pg::Provider::Embedded,
        };
        for case in Case::all() {
            for variant in ["flawed", "safe"] {
                let Some(schema) = case.schema(variant) else { continue };
                let mut wanted = request();
                wanted.sessions = sessions(&case, variant);
                // Roles outlive databases: what one case gave to a role would show in the next.
                bench.run(&reset).await;
                let outcome = bench.verify(&[schema], &wanted).await;
                let right = match (&outcome, variant) {
                    (Ok(outcome), "flawed") => {
                        let least = if case.severity == "low" {
                            Severity::Info
                        } else {
                            Severity::Medium
                        };
                        outcome.findings.iter().any(|f| f.severity >= least && case.names(f))
                    }
                    (Ok(outcome), _) => !outcome.findings.iter().any(|f| f.severity >= Severity::Medium),
                    (Err(_), _) => false,
                };
                let seen = outcome.map(|o| {
                    o.findings
                        .iter()
                        .map(|f| format!("{} {} {}", f.severity, f.rule, f.object))
                        .collect::<Vec<_>>()
                });
                table.add(&case, variant, right, &format!("{seen:?}"));
            }
        }
        bench.stop().await;
        table
    }

    fn add(&mut self, case: &Case, variant: &str, right: bool, seen: &str) {
        let count = |(all, good): &mut (usize, usize)| {
            *all += 1;
            *good += usize::from(right);
        };
        let class = self.classes.entry(case.class.clone()).or_default();
        count(&mut class[usize::from(variant != "flawed")]);
        if variant == "flawed" {
            count(&mut self.flawed);
            if case.attacker == "api" && case.kind == "read" {
                count(&mut self.reads);
            }
        } else {
            count(&mut self.correct);
        }
        if !right {
            self.told.push(format!("{} {variant}: {seen}", case.id));
            self.failing.insert(format!("{} {variant}", case.id));
        }
    }

    /// One line of figures.
    pub fn figures(&self) -> String {
        let of = |(all, good): (usize, usize)| format!("{good} of {all}");
        format!(
            "flawed: {} found; of attacker api and kind read: {} found; correct designs: {} quiet; {} open",
            of(self.flawed),
            of(self.reads),
            of(self.correct),
            self.failing.len()
        )
    }

    /// A table of figures, a line for each class of flaw.
    pub fn by_class(&self) -> String {
        let of = |(all, good): (usize, usize)| format!("{good} of {all}");
        let lines = self
            .classes
            .iter()
            .map(|(class, [flawed, correct])| format!("| {class} | {} | {} |\n", of(*flawed), of(*correct)));
        std::iter::once("| class | found | quiet |\n| --- | --- | --- |\n".to_owned())
            .chain(lines)
            .collect()
    }

    /// Flawed cases that a server of ours can run, and how many were found: some ask for what is set where a server starts.
    pub fn runnable(&self) -> (usize, usize) {
        let (all, found) = self.flawed;
        let not: usize = NOT_RUNNABLE
            .iter()
            .filter(|id| self.failing.contains(&format!("{id} flawed")))
            .count();
        (all - not, found)
    }

    /// Every case that is not right has to be on the list, and none else. The list is of a native server: elsewhere some
    /// cases cannot run.
    pub fn compare(&self, list: &str) {
        if self.is_native {
            compare(list, "", &self.failing, &self.told);
        }
    }
}

/// Flawed cases that ask for a setting of the server itself: wal_level is logical on none of ours.
const NOT_RUNNABLE: &[&str] = &["183-publication-without-row-filter"];

/// Share in percent.
pub fn percent((all, good): (usize, usize)) -> f64 {
    good as f64 * 100.0 / all.max(1) as f64
}

/// What fails and what is listed as not handled yet (`what: reason` a line) are the same, among what begins with a prefix.
pub fn compare(list: &str, prefix: &str, failing: &BTreeSet<String>, told: &[String]) {
    let mut listed: BTreeSet<String> = listed(list).into_keys().collect();
    listed.retain(|l| l.starts_with(prefix));
    let worse: Vec<_> = failing.difference(&listed).collect();
    let better: Vec<_> = listed.difference(failing).collect();
    assert!(
        worse.is_empty() && better.is_empty(),
        "not handled, and not listed in {list}: {worse:#?}\nhandled now, take them off {list}: {better:#?}\n{told:#?}"
    );
}

/// The lines of a list, each with its reason.
pub fn listed(list: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path(list)).expect("the list of open cases is there");
    text.lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|line| {
            let (which, reason) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("`{line}` gives a reason"));
            (which.to_owned(), reason.to_owned())
        })
        .collect()
}
