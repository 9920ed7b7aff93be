//! The multi-tenant system, on real servers.

#[path = "tenancy/cache.rs"]
mod cache;
#[path = "tenancy/configuration.rs"]
mod configuration;
#[path = "tenancy/context.rs"]
mod context;
#[path = "tenancy/documents.rs"]
mod documents;
#[path = "tenancy/interleaved.rs"]
mod interleaved;
#[path = "tenancy/layer.rs"]
mod layer;
#[path = "tenancy/service.rs"]
mod service;
#[path = "tenancy/settings.rs"]
mod settings;
#[path = "tenancy/spawned.rs"]
mod spawned;
#[path = "tenancy/store.rs"]
mod store;
#[path = "tenancy/tools.rs"]
mod tools;
