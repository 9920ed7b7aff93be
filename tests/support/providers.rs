//! Which providers are to be had here. A test that needs another says so, loudly, and passes over; where
//! `TENANTPROOF_REQUIRE` names the provider, its absence is a failure.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use tenantproof::pg::{Server, ServerOptions};

static KNOWN: Mutex<BTreeMap<String, Option<String>>> = Mutex::new(BTreeMap::new());

/// Says something that the test harness does not swallow.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Why a provider is not to be had; nothing where it is.
pub fn missing(choice: &str) -> Option<String> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .entry(choice.to_owned())
        .or_insert_with(|| try_out(choice))
        .clone()
}

fn try_out(choice: &str) -> Option<String> {
    let options = ServerOptions {
        choice: choice.parse().expect("a provider"),
        version: None,
    };
    // A thread of its own: the caller may be inside a runtime.
    let started = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let server = Server::start(&options).await.map_err(|e| e.to_string())?;
            server.stop().await;
            Ok::<(), String>(())
        })
    });
    started.join().expect("the trial ends").err()
}

/// Whether a test has to be passed over for want of a provider. Says so.
#[track_caller]
pub fn absent(choice: &str) -> bool {
    let Some(reason) = missing(choice) else { return false };
    let required = std::env::var("TENANTPROOF_REQUIRE").unwrap_or_default();
    assert!(
        !required.split_whitespace().any(|r| r == choice),
        "{choice} is required here, but: {reason}"
    );
    let at = std::panic::Location::caller();
    say(&format!(
        "PASSED OVER {}:{}: needs a {choice} server: {reason}",
        at.file(),
        at.line()
    ));
    true
}
