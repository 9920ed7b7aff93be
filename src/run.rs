//! The order of things: load a schema, find out who its tenants are, verify, and put the outcome together.

mod commit;
mod defaults;
mod embedded;
pub mod infer;
pub mod load;
mod merge;
pub mod path;
pub mod snapshots;
pub mod target;
pub mod territory;
pub mod verify;
mod worlds;
