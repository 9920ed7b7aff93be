//! The `tenantproof` command.
fn main() {}
