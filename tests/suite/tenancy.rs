//! The multi-tenant system, on real servers.

#[path = "tenancy/context.rs"]
mod context;
#[path = "tenancy/store.rs"]
mod store;
