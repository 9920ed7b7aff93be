//! Bad input: the right exit code, and one clear message each.

use std::path::Path;
use std::process::Command;

use rstest::rstest;

/// Runs the command in a folder of its own; exit code and messages, with the folder's name taken out.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tenantproof"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("the command runs");
    let text = String::from_utf8_lossy(&output.stderr).replace(&folder.display().to_string(), "FOLDER");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code().unwrap_or(-1), text)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let good = "CREATE TABLE public.note (id int);\n";
    std::fs::write(folder.path().join("good.sql"), good).expect("written");
    std::fs::create_dir(folder.path().join("empty")).expect("made");
    std::fs::create_dir(folder.path().join("migrations")).expect("made");
    std::fs::write(folder.path().join("migrations/1_good.sql"), good).expect("written");
    let bad = format!("{}CREATE TABEL public.bad (id int);\n", "-- a line\n".repeat(39));
    std::fs::write(folder.path().join("migrations/2_bad.sql"), bad).expect("written");
    std::fs::write(
        folder.path().join("extension.sql"),
        "CREATE EXTENSION no_such_extension;\nCREATE TABLE t (x no_such_type);\n",
    )
    .expect("written");
    std::fs::write(
        folder.path().join("unknown.toml"),
        "[tenancy]\ncolums = [\"tenant_id\"]\n",
    )
    .expect("written");
    std::fs::write(
        folder.path().join("role.toml"),
        "[[session]]\nname = \"m\"\nrole = \"nobody_here\"\nsettings = { \"app.t\" = \"{tenant}\" }\n",
    )
    .expect("written");
    folder
}

#[rstest]
#[case::missing_file(2, &["verify", "--schema", "nothing.sql"])]
#[case::empty_folder(2, &["verify", "--schema", "empty"])]
#[case::no_schema_at_all(2, &["verify"])]
#[case::syntax_error_on_line_40_of_the_second_file(3, &["verify", "--server", "SERVER", "--schema", "migrations"])]
#[case::unknown_key_in_the_target_file(2, &["verify", "--config", "unknown.toml", "--schema", "good.sql"])]
#[case::missing_target_file(2, &["verify", "--config", "none.toml", "--schema", "good.sql"])]
#[case::role_that_the_schema_does_not_have(2, &["verify", "--server", "SERVER", "--config", "role.toml", "--schema", "good.sql"])]
#[case::unreachable_url(3, &["verify", "--server", "postgres://postgres@127.0.0.1:1/postgres", "--schema", "good.sql"])]
#[case::missing_extension(3, &["verify", "--server", "SERVER", "--schema", "extension.sql"])]
#[case::percentage_beyond_100(2, &["verify", "--max-vacuous", "140", "--schema", "good.sql"])]
#[case::unknown_severity(2, &["verify", "--fail-on", "bad", "--schema", "good.sql"])]
#[case::unknown_rule(2, &["explain", "no-such-rule"])]
fn bad_input_gets_one_clear_message(#[case] exit: i32, #[case] arguments: &[&str]) {
    let folder = folder();
    let server = if local_is_there() { "local" } else { "embedded" };
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|a| if *a == "SERVER" { server } else { a })
        .collect();
    let (code, text) = run(folder.path(), &arguments);
    assert_eq!(code, exit, "{text}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(crate::bench::path("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    // Paths of the server's installation differ from machine to machine.
    settings.add_filter(r#""[^"]*/extension/"#, "\"DIR/extension/");
    settings.add_filter(r"Could not open extension control file [^\n]*", "(the server's file)");
    let name = std::thread::current()
        .name()
        .unwrap_or("case")
        .rsplit("::")
        .next()
        .unwrap_or("case")
        .to_owned();
    settings.bind(|| insta::assert_snapshot!(format!("bad-input-{name}"), text));
}

/// Whether the machine has PostgreSQL: the messages are the same, only sooner.
fn local_is_there() -> bool {
    Path::new("/usr/lib/postgresql").exists() || std::env::var_os("PG_BIN").is_some()
}

#[test]
fn the_readme_lists_the_exit_codes() {
    let readme = std::fs::read_to_string(crate::bench::path("README.md")).expect("the README is there");
    let source = std::fs::read_to_string(crate::bench::path("src/cli/exit.rs")).expect("the source is there");
    let codes = source
        .lines()
        .filter_map(|l| l.trim().trim_end_matches(',').rsplit_once(" = "));
    let mut count = 0;
    for (_, code) in codes {
        assert!(
            readme.lines().any(|l| l.starts_with(&format!("| {code} |"))),
            "exit {code} is in the README's table"
        );
        count += 1;
    }
    assert_eq!(count, 6);
}
