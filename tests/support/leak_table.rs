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
    /// What was not right: case and variant.
    failing: BTreeSet<(String, String)>,
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
            self.failing.insert((case.id.clone(), variant.to_owned()));
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

    /// Every case that is not right has to be on the list, and none else. The list is of a native server: elsewhere some
    /// cases cannot run.
    pub fn compare(&self, list: &str) {
        if !self.is_native {
            return;
        }
        let listed: BTreeSet<(String, String)> = open_cases(list).into_keys().collect();
        let worse: Vec<_> = self.failing.difference(&listed).collect();
        let better: Vec<_> = listed.difference(&self.failing).collect();
        assert!(
            worse.is_empty(),
            "not handled, and not listed in {list}: {worse:#?}\n{:#?}",
            self.told
        );
        assert!(better.is_empty(), "handled now: take them off {list}: {better:#?}");
    }
}

/// Cases that are not handled yet, with the reason: `id variant: reason` a line.
fn open_cases(list: &str) -> BTreeMap<(String, String), String> {
    let text = std::fs::read_to_string(path(list)).expect("the list of open cases is there");
    text.lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|line| {
            let (which, reason) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("`{line}` gives a reason"));
            let (id, variant) = which
                .split_once(' ')
                .unwrap_or_else(|| panic!("`{line}` names case and variant"));
            ((id.to_owned(), variant.to_owned()), reason.to_owned())
        })
        .collect()
}
