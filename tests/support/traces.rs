//! What a process has left on this machine: names of ours hold the pid of their owner.

use std::process::Command;
use std::time::{Duration, Instant};

fn mark(pid: u32) -> String {
    format!("tenantproof_{pid}_")
}

/// Processes that work in a folder of this owner.
pub fn processes(pid: u32) -> Vec<String> {
    let mark = mark(pid);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        // The children of a postmaster show a title of their own, but work in its folder.
        let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if command.contains(&mark) || folder.to_string_lossy().contains(&mark) {
            found.push(format!(
                "{} {command} in {}",
                entry.file_name().to_string_lossy(),
                folder.display()
            ));
        }
    }
    found
}

/// Folders of this owner.
pub fn folders(pid: u32) -> Vec<String> {
    let mark = mark(pid);
    let mut parents = vec![std::env::temp_dir(), "/dev/shm".into()];
    if let Some(home) = std::env::var_os("HOME") {
        parents.push(std::path::Path::new(&home).join(".cache/tenantproof"));
    }
    let entries = parents
        .iter()
        .filter_map(|parent| std::fs::read_dir(parent).ok())
        .flatten()
        .flatten();
    entries
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.contains(&mark))
        .collect()
}

/// Containers of this owner, running or not.
pub fn containers(pid: u32) -> Vec<String> {
    let output = Command::new("docker")
        .args([
            "ps",
            "--all",
            "--filter",
            "label=tenantproof",
            "--format",
            "{{.ID}} {{.Label \"tenantproof\"}}",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "docker ps: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| line.contains(&mark(pid)))
        .map(str::to_owned)
        .collect()
}

/// Waits until `look` finds nothing; says what is left when it still does after `limit`.
#[track_caller]
pub fn gone_within(limit: Duration, what: &str, look: impl Fn() -> Vec<String>) {
    let start = Instant::now();
    loop {
        let left = look();
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < limit, "{what} left after {limit:?}: {left:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
