//! All integration tests, in one binary: linking is the slow part of a test run.

#[path = "support/child.rs"]
mod child;
#[cfg(feature = "embedded")]
#[path = "suite/embedded.rs"]
mod embedded;
#[path = "suite/floors.rs"]
mod floors;
#[path = "suite/house.rs"]
mod house;
#[path = "suite/servers.rs"]
mod servers;
#[path = "support/traces.rs"]
mod traces;
