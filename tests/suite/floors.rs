//! The floors: a module uses what is below it, never what is above, and one place knows each outside thing.
//!
//! [`faults`] is a function of paths and texts; what it goes red on is tested beside it, and once on the crate as it is.
//! Not seen: `include!`, and names brought in by a glob.

#[path = "floors/source.rs"]
mod source;

use std::collections::BTreeSet;

use super::house::{files_under, project};
use source::{Use, Uses};

/// Floors from top to bottom. The crate roots hold declarations; only main.rs has code.
const FLOORS: &[&str] = &[
    "main",
    "cli",
    "report",
    "run",
    "tenancy",
    "workload",
    "probe",
    "world",
    "mutate",
    "lint",
    "snapshot",
    "introspect",
    "pg",
    "sql",
    "rls",
    "model",
];

/// Crates that one place knows, and the floors that are this place.
const KEPT: &[(&str, &[&str])] = &[
    ("sqlx", &["pg", "tenancy", "workload"]),
    ("testcontainers", &["pg"]),
    ("testcontainers_modules", &["pg"]),
    ("oliphaunt_wasix", &["pg"]),
    ("squawk_syntax", &["sql"]),
    ("anstyle", &["report", "cli"]),
    ("clap", &["cli", "main"]),
    // The embedded server's crate returns it; nothing else in pg does.
    ("anyhow", &["cli", "main", "pg"]),
];

/// Floors that take values and need no server, and what they would need one for.
const PURE: &[&str] = &["model", "rls", "sql", "lint", "snapshot", "mutate"];
const SERVED: &[&str] = &["pg", "introspect"];
const SERVED_CRATES: &[&str] = &["tokio"];

/// Uses of what is above that are let be: file, module, reason. One that is not needed any more is a fault.
const LET_BE: &[(&str, &str, &str)] = &[(
    "model/catalog.rs",
    "sql",
    "names print themselves as SQL, and quoting is known in one place",
)];

/// What is wrong with files, given as paths below src and texts; one line each, in the order of the files.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let read: Vec<(&str, Uses<'_>)> = files
        .iter()
        .map(|(path, text)| (*path, source::uses(text, depth(path), "tenantproof")))
        .collect();
    let tests: BTreeSet<String> = read
        .iter()
        .flat_map(|(path, uses)| uses.test_modules.iter().map(|name| format!("{}{name}", inside(path))))
        .collect();
    let is_test = |path: &str| {
        let module = path.trim_end_matches(".rs");
        tests
            .iter()
            .any(|t| module == t || module.starts_with(&format!("{t}/")))
    };
    let mut faults = Vec::new();
    for (path, uses) in read.iter().filter(|(path, _)| !is_test(path)) {
        let module = top(path);
        let Some(own) = level(module).or((module == "lib").then_some(0)) else {
            faults.push(format!("{path}: `{module}` is on no floor; add it to the list"));
            continue;
        };
        for Use { name, line } in &uses.modules {
            match level(name) {
                _ if module == "lib" => {}
                None => faults.push(format!(
                    "{path}:{line}: `{name}` at the crate root is no floor; name the module it is in"
                )),
                Some(used) if used < own => {
                    faults.push(format!("{path}:{line}: `{module}` uses `{name}`, which is above it"));
                }
                Some(_) if PURE.contains(&module) && SERVED.contains(name) => {
                    faults.push(format!(
                        "{path}:{line}: `{module}` takes values and needs no server, but uses `{name}`"
                    ));
                }
                Some(_) => {}
            }
        }
        for Use { name, line } in &uses.crates {
            if let Some((_, keepers)) = KEPT.iter().find(|(kept, _)| kept == name)
                && !keepers.contains(&module)
            {
                faults.push(format!(
                    "{path}:{line}: `{module}` uses `{name}`, which only {} may know",
                    keepers.join(", ")
                ));
            }
            if PURE.contains(&module) && SERVED_CRATES.contains(name) {
                faults.push(format!(
                    "{path}:{line}: `{module}` takes values and needs no server, but uses `{name}`"
                ));
            }
        }
    }
    faults
}

/// Position from the top.
fn level(module: &str) -> Option<usize> {
    FLOORS.iter().position(|f| *f == module)
}

/// The top-level module of a path below src.
fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// Modules between the crate root and the file's own.
fn depth(path: &str) -> usize {
    match path {
        "lib.rs" | "main.rs" => 0,
        _ => path.split('/').count(),
    }
}

/// Where a file's own modules are.
fn inside(path: &str) -> String {
    match path {
        "lib.rs" | "main.rs" => String::new(),
        _ => format!("{}/", path.trim_end_matches(".rs")),
    }
}

/// Top-level modules of the crate, as the files say.
pub fn modules() -> BTreeSet<String> {
    files_under("src", "rs")
        .iter()
        .map(|path| top(path.strip_prefix("src/").expect("below src")).to_owned())
        .filter(|module| !matches!(module.as_str(), "lib" | "main"))
        .collect()
}

#[test]
fn every_module_uses_only_what_is_below_it() {
    let paths = files_under("src", "rs");
    let texts: Vec<String> = paths.iter().map(|path| project(path)).collect();
    let files: Vec<(&str, &str)> = paths
        .iter()
        .zip(&texts)
        .map(|(path, text)| (&path["src/".len()..], text.as_str()))
        .collect();
    assert!(
        files.iter().any(|(_, text)| text.contains("use crate::")),
        "nothing was walked"
    );
    let mut faults = faults(&files);
    for (path, used, reason) in LET_BE {
        let all = faults.len();
        faults.retain(|f| {
            !(f.starts_with(&format!("{path}:")) && f.contains(&format!(" uses `{used}`, which is above")))
        });
        assert!(
            faults.len() < all,
            "{path} no longer uses `{used}`: take its exception away ({reason})"
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The faults of one file that stands alone.
#[track_caller]
fn goes_red(path: &str, text: &str, needle: &str) {
    let faults = faults(&[(path, text)]);
    assert!(
        faults.len() == 1 && faults[0].contains(needle),
        "{path}: {text}\n{faults:?}"
    );
}

#[track_caller]
fn stays_quiet(path: &str, text: &str) {
    assert_eq!(faults(&[(path, text)]), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn a_use_of_what_is_above_is_a_fault() {
    goes_red(
        "model/finding.rs",
        "use crate::sql::quote;",
        "`model` uses `sql`, which is above it",
    );
    goes_red("run.rs", "use crate::report::human;", "above");
    goes_red("pg/conn.rs", "\nfn f() { crate::probe::judge() }", "pg/conn.rs:2:");
    goes_red("probe/write.rs", "use super::super::run::verify;", "above");
    goes_red(
        "world/grow.rs",
        "use crate::{model::Column, probe::state::State};",
        "`probe`",
    );
    goes_red("report/json.rs", "use crate::cli::Format;", "above");
    goes_red("cli.rs", "use tenantproof::main::x;", "above");
}

#[test]
fn a_use_of_what_is_below_is_none() {
    stays_quiet(
        "report/json.rs",
        "use super::Report; use crate::run::verify::Outcome; use crate::model::Cell;",
    );
    stays_quiet("run/worlds.rs", "use crate::run::commit; use crate::world::Keys;");
    stays_quiet(
        "main.rs",
        "mod cli; fn main() -> anyhow::Result<()> { cli::run(tenantproof::run::all()) }",
    );
    stays_quiet("lib.rs", "pub mod model; pub use crate::model::Cell;");
}

#[test]
fn test_code_may_use_anything() {
    stays_quiet("sql/expr.rs", "#[cfg(test)] mod tests { use crate::pg::Server; }");
    let declared = ("sql/script.rs", "#[cfg(test)]\nmod tests;");
    let tests = ("sql/script/tests.rs", "use crate::pg::Server;");
    assert_eq!(faults(&[declared, tests]), Vec::<String>::new());
    assert_eq!(faults(&[("sql/script.rs", "mod tests;"), tests]).len(), 1);
}

#[test]
fn a_crate_outside_its_place_is_a_fault() {
    goes_red(
        "run/load.rs",
        "use sqlx::PgPool;",
        "only pg, tenancy, workload may know",
    );
    goes_red("world/grow.rs", "fn f(e: sqlx::Error) {}", "`world` uses `sqlx`");
    goes_red("run/load.rs", "use testcontainers::runners::AsyncRunner;", "only pg");
    goes_red(
        "run/load.rs",
        "use testcontainers_modules::postgres::Postgres;",
        "only pg",
    );
    goes_red("lint/rule.rs", "use squawk_syntax::ast;", "only sql");
    goes_red("run/target.rs", "#[derive(clap::Args)] struct X;", "only cli, main");
    goes_red("run/load.rs", "fn f() -> anyhow::Result<()> {}", "only cli, main");
    stays_quiet("pg/conn.rs", "use sqlx::Row; use testcontainers::X;");
    stays_quiet("tenancy/store.rs", "use sqlx::PgPool;");
    stays_quiet("sql/expr.rs", "use squawk_syntax::ast;");
    stays_quiet("cli/verify.rs", "use clap::Args; fn f() -> anyhow::Result<()> {}");
}

#[test]
fn a_pure_floor_needs_no_server() {
    goes_red("lint/rule.rs", "use crate::pg::conn::Conn;", "needs no server");
    goes_red("snapshot.rs", "use crate::introspect;", "needs no server");
    goes_red("mutate/drop.rs", "async fn f() { tokio::spawn(x) }", "needs no server");
    stays_quiet("introspect.rs", "use crate::pg::conn::Conn;");
}

#[test]
fn what_is_on_no_floor_is_a_fault() {
    goes_red("helpers.rs", "", "`helpers` is on no floor");
    goes_red("run/load.rs", "use crate::Everything;", "no floor");
    goes_red("run/load.rs", "use crate::*;", "no floor");
}
