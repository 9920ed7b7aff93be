//! All integration tests, in one binary: linking is the slow part of a test run.

#[path = "support/child.rs"]
mod child;
#[path = "suite/servers.rs"]
mod servers;
#[path = "support/traces.rs"]
mod traces;
