//! What is left of a run that was killed with -9, right after and after the next start.

use std::time::Duration;

use rstest::rstest;

use super::start;
use crate::child::Holder;
use crate::providers::absent;
use crate::traces;

/// It takes a fraction of that; on a machine with other work a shell has to wait for its turn.
const LIMIT: Duration = Duration::from_secs(20);

/// From before the server is there until long after.
const MOMENTS: [u64; 10] = [0, 20, 50, 90, 140, 200, 300, 500, 900, 1500];

#[tokio::test]
async fn a_local_server_does_not_outlive_its_owner() {
    if absent("local") {
        return;
    }
    for moment in MOMENTS {
        let mut holder = Holder::spawn(Holder::command("local"));
        std::thread::sleep(Duration::from_millis(moment));
        holder.kill();
        let pid = holder.pid();
        traces::gone_within(LIMIT, &format!("processes of a run killed at {moment} ms"), || {
            traces::processes(pid)
        });
        start("local").await.stop().await;
        assert_eq!(traces::folders(pid), [""; 0], "of a run killed at {moment} ms");
    }
}

/// A shell starts background programs deaf to SIGQUIT, and they stay so until they have set up their handlers.
#[test]
fn not_even_one_that_has_just_begun() {
    if absent("local") {
        return;
    }
    for wait in 0..10 {
        let mut holder = Holder::spawn(Holder::command("local"));
        let pid = holder.pid();
        let begun = || {
            traces::processes(pid)
                .iter()
                .any(|process| process.contains("postgres -D"))
        };
        while !begun() {
            assert_eq!(holder.child.try_wait().unwrap(), None);
        }
        std::thread::sleep(Duration::from_millis(wait));
        holder.kill();
        let what = format!("processes of a run killed {wait} ms after its server began");
        traces::gone_within(LIMIT, &what, || traces::processes(pid));
        traces::gone_within(LIMIT, "folders", || traces::folders(pid));
    }
}

/// The first run of a machine: `initdb` takes its time. Its watchdog ends with it, and the server's is not there yet while the
/// cluster is kept for later runs: a folder that is left just then goes with the next start.
#[rstest]
#[tokio::test]
async fn nor_does_initdb(#[values(100, 400, 800)] moment: u64) {
    if absent("local") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let mut command = Holder::command("local");
    command.env("XDG_CACHE_HOME", cache.path());
    let mut holder = Holder::spawn(command);
    std::thread::sleep(Duration::from_millis(moment));
    holder.kill();
    let pid = holder.pid();
    traces::gone_within(LIMIT, "processes", || traces::processes(pid));
    std::thread::sleep(Duration::from_secs(2));
    if !traces::folders(pid).is_empty() {
        start("local").await.stop().await;
    }
    assert_eq!(traces::folders(pid), [""; 0]);
}

#[tokio::test]
async fn a_local_server_whose_watchdog_was_killed_too_ends_with_the_next_start() {
    if absent("local") {
        return;
    }
    let mut holder = Holder::spawn(Holder::command("local"));
    assert!(holder.report().starts_with("READY"));
    let pid = holder.pid();
    let watchdogs: Vec<String> = traces::processes(pid)
        .iter()
        .filter(|process| process.contains("/bin/sh"))
        .filter_map(|process| Some(process.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(
        watchdogs.len(),
        2,
        "the watchdog and its reader: {:#?}",
        traces::processes(pid)
    );
    assert!(
        std::process::Command::new("kill")
            .arg("-KILL")
            .args(&watchdogs)
            .status()
            .unwrap()
            .success()
    );
    // Now only a sweep can end it. Any start sweeps, those of tests beside this one too.
    std::thread::sleep(Duration::from_millis(100));
    assert!(!traces::processes(pid).is_empty(), "the server went with its watchdog");
    holder.kill();
    let server = start("local").await;
    assert_eq!(traces::processes(pid), [""; 0]);
    assert_eq!(traces::folders(pid), [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_container_does_not_outlive_the_next_start() {
    if absent("container") {
        return;
    }
    for moment in MOMENTS {
        let mut holder = Holder::spawn(Holder::command("container"));
        std::thread::sleep(Duration::from_millis(moment));
        holder.kill();
        let pid = holder.pid();
        // The engine may still be at work on what the run had asked for.
        std::thread::sleep(Duration::from_millis(500));
        start("container").await.stop().await;
        assert_eq!(traces::containers(pid), [""; 0], "of a run killed at {moment} ms");
    }
}

#[rstest]
#[case::local("local")]
#[case::container("container")]
#[tokio::test]
async fn a_living_run_is_not_swept(#[case] choice: &str) {
    if absent(choice) {
        return;
    }
    let mut holder = Holder::spawn(Holder::command(choice));
    assert!(holder.report().starts_with("READY"));
    let pid = holder.pid();
    start(choice).await.stop().await;
    let left = [traces::processes(pid), traces::containers(pid)].concat();
    assert!(!left.is_empty(), "a start swept a server that is in use");
    holder.finish();
}
