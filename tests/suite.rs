//! All integration tests, in one binary: linking is the slow part of a test run.

#[path = "suite/servers.rs"]
mod servers;
#[path = "support/support.rs"]
mod support;
