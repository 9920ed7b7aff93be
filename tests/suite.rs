//! All integration tests, in one binary: linking is the slow part of a test run.

#[path = "suite/bad_input.rs"]
mod bad_input;
#[path = "support/bench.rs"]
mod bench;
#[path = "suite/breaks.rs"]
mod breaks;
#[path = "support/child.rs"]
mod child;
#[cfg(feature = "embedded")]
#[path = "suite/embedded.rs"]
mod embedded;
#[path = "suite/evidence.rs"]
mod evidence;
#[path = "suite/floors.rs"]
mod floors;
#[path = "support/generate.rs"]
mod generate;
#[path = "suite/house.rs"]
mod house;
#[path = "support/leak_table.rs"]
mod leak_table;
#[path = "suite/leaks.rs"]
mod leaks;
#[cfg(feature = "embedded")]
#[path = "suite/leaks_embedded.rs"]
mod leaks_embedded;
#[path = "support/leaks.rs"]
mod leaks_support;
#[path = "support/providers.rs"]
mod providers;
#[path = "suite/robust.rs"]
mod robust;
#[path = "suite/scale.rs"]
mod scale;
#[path = "suite/schemas.rs"]
mod schemas;
#[path = "suite/servers.rs"]
mod servers;
#[path = "suite/snapshots.rs"]
mod snapshots;
#[path = "suite/tenancy.rs"]
mod tenancy;
#[path = "support/tenancy.rs"]
mod tenancy_support;
#[path = "support/traces.rs"]
mod traces;
#[path = "suite/unseen.rs"]
mod unseen;
#[path = "suite/verify.rs"]
mod verify;
#[path = "suite/worlds.rs"]
mod worlds;
#[path = "suite/zero_config.rs"]
mod zero_config;
