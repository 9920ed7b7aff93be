//! All integration tests: linking is the slow part, so they are one binary.

#[path = "suite/embedded.rs"]
#[cfg(feature = "embedded")]
mod embedded;
