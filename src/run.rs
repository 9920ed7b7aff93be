//! The order of things: load a schema, find out who its tenants are, verify, and put the outcome together.

pub mod worlds;
