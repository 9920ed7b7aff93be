//! House rules that a machine can keep: a reason for each dependency, files of a readable size, a map that is true.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::floors;

/// Most lines of a file in src.
const MAX_LINES: usize = 600;

/// Files above it: how long they may be, and why they are. Shorter ceilings are welcome, longer ones are not.
const LONG_FILES: &[(&str, usize, &str)] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Text of a file of the project.
pub fn project(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Files below a folder with an extension, as paths with `/` from the project's root, sorted.
pub fn files_under(folder: &str, extension: &str) -> Vec<String> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root.join(folder), extension, &mut found);
    let mut paths: Vec<String> = found
        .iter()
        .map(|path| {
            path.strip_prefix(&root)
                .expect("below the root")
                .to_string_lossy()
                .replace('\\', "/")
        })
        .collect();
    paths.sort();
    paths
}

/// Dependencies of a manifest that have no comment before them. One comment may stand over several that belong together.
fn without_reason(manifest: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    let mut has_reason = false;
    for line in manifest.lines() {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            in_dependencies = table.ends_with("dependencies");
            // `[dependencies.name]` is an entry of its own.
            if let Some((parent, name)) = table.rsplit_once('.')
                && parent.ends_with("dependencies")
                && !has_reason
            {
                found.push(name);
            }
            has_reason = false;
        } else if line.starts_with('#') {
            has_reason = line.trim_start_matches('#').trim().len() > 3;
        } else if line.trim().is_empty() {
            has_reason = false;
        } else if in_dependencies
            && let Some((name, _)) = line.split_once('=')
            && !line.starts_with([' ', '\t', ']', '}'])
            && !has_reason
        {
            found.push(name.trim());
        }
    }
    found
}

#[test]
fn every_dependency_says_why_it_is_there() {
    assert_eq!(without_reason(&project("Cargo.toml")), Vec::<&str>::new());
}

#[test]
fn a_dependency_without_a_reason_is_seen() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\n# Why b.\nb = \"1\"\nc = \"1\"\n\nd = \"1\"\n\
                    [features]\ne = []\n[dev-dependencies]\nf = { version = \"1\" }\n\n[target.'cfg(unix)'.dependencies]\ng = \"1\"\n\
                    #\nh = \"1\"\n[dependencies.i]\nversion = \"1\"\n";
    assert_eq!(without_reason(manifest), ["a", "d", "f", "g", "h", "i"]);
}

/// What is wrong with the sizes of files.
fn size_faults(files: &[(String, usize)], exceptions: &[(&str, usize, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, lines) in files {
        let exception = exceptions.iter().find(|(excepted, ..)| excepted == path);
        let limit = exception.map_or(MAX_LINES, |(_, ceiling, _)| *ceiling);
        if *lines > limit {
            faults.push(format!(
                "{path} has {lines} lines, more than {limit}: divide it by concern"
            ));
        } else if exception.is_some() && *lines <= MAX_LINES {
            faults.push(format!("{path} has {lines} lines and needs no exception any more"));
        }
    }
    let paths: BTreeSet<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    faults.extend(
        exceptions
            .iter()
            .filter(|(path, ..)| !paths.contains(path))
            .map(|(path, ..)| format!("{path} is excepted and not there")),
    );
    faults
}

#[test]
fn files_have_a_readable_size() {
    let files: Vec<(String, usize)> = files_under("src", "rs")
        .into_iter()
        .map(|path| {
            let lines = project(&path).lines().count();
            (path, lines)
        })
        .collect();
    let faults = size_faults(&files, LONG_FILES);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_long_file_and_a_stale_exception_are_seen() {
    let files = [
        ("src/a.rs".to_owned(), 601),
        ("src/b.rs".to_owned(), 700),
        ("src/c.rs".to_owned(), 10),
    ];
    let exceptions = [("src/b.rs", 700, ""), ("src/c.rs", 700, ""), ("src/d.rs", 700, "")];
    assert_eq!(size_faults(&files, &exceptions).len(), 3);
    assert_eq!(size_faults(&files[..2], &[("src/b.rs", 699, "")]).len(), 2);
}

/// Names of the map: the first word of each line of the code block after `## Map`, and further ones before two spaces.
fn mapped(architecture: &str) -> Vec<&str> {
    let Some((_, rest)) = architecture.split_once("\n## Map\n") else {
        return Vec::new();
    };
    let Some(block) = rest.split("```").nth(1) else {
        return Vec::new();
    };
    block
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split("  ").next())
        .flat_map(|names| names.split(", "))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

/// Paths in backticks elsewhere in a text that look like files or folders of the project.
fn mentioned(text: &str) -> Vec<&str> {
    const FOLDERS: &[&str] = &[
        "src/",
        "tests/",
        "scripts/",
        "policies/",
        "docs/",
        "snapshots/",
        ".ci/",
        ".github/",
    ];
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|word| FOLDERS.iter().any(|f| word.starts_with(f)) && !word.contains([' ', '*', '<', '{']))
        .filter(|word| !word.contains("NAME") && !word.contains("NN"))
        .collect()
}

#[test]
fn the_map_names_every_module_and_nothing_that_is_not_there() {
    let text = project("ARCHITECTURE.md");
    let names = mapped(&text);
    let root = root();
    let absent: Vec<&&str> = names.iter().filter(|name| !root.join(name).exists()).collect();
    assert!(absent.is_empty(), "the map names what is not there: {absent:?}");
    let named: BTreeSet<String> = names
        .iter()
        .filter_map(|name| name.strip_prefix("src/"))
        .map(|name| {
            name.trim_end_matches('/')
                .trim_end_matches(".rs")
                .split('/')
                .next()
                .unwrap_or(name)
                .to_owned()
        })
        .collect();
    let left_out: Vec<String> = floors::modules()
        .into_iter()
        .filter(|module| !named.contains(module))
        .collect();
    assert!(left_out.is_empty(), "the map leaves out modules: {left_out:?}");
}

#[test]
fn documents_point_at_files_that_exist() {
    let root = root();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = project(document);
        let absent: Vec<&str> = mentioned(&text)
            .into_iter()
            .filter(|path| !root.join(path).exists())
            .collect();
        assert!(absent.is_empty(), "{document} points at what is not there: {absent:?}");
    }
}

#[test]
fn names_are_read_off_a_map() {
    let text = "# A\n\n## Map\n\nWords.\n\n```text\nsrc/main.rs, src/cli/    top\nsrc/pg.rs, src/pg/  servers\n                    and more `src/x`\n```\n\nSee `src/run/worlds.rs`, `tests/leaks/NAME` and `cargo test`.\n";
    assert_eq!(mapped(text), ["src/main.rs", "src/cli/", "src/pg.rs", "src/pg/"]);
    assert_eq!(mentioned(text), ["src/x", "src/run/worlds.rs"]);
}
