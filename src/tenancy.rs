#![doc = include_str!("../docs/tenancy.md")]

mod cache;
mod check;
mod configuration;
mod context;
mod documents;
mod id;
mod layer;
mod settings;
mod sharing;
mod store;
mod transfer;
mod usage;

pub use cache::{
    Backend, Cache, CacheError, CacheOptions, CacheScope, CacheStats, Generation, Key, Lookup, Reply, cache_key,
};
pub use check::{Problem, Weight};
pub use configuration::{
    Change, ConfigurationError, Configurations, Effective, Expected, FailedTenant, Fault, HistoryEntry, KeySchema,
    Migrator, Origin, Report, Schema, Step, ValueType,
};
pub use context::{
    Access, FutureExt, InTenant, NoTenant, TenantContext, spawn, spawn_blocking, with_tenant, with_tenant_sync,
};
#[doc(hidden)]
pub use documents::vector_statement;
pub use documents::{Chunk, Document, DocumentChanges, Documents, Hit, ImportReport, NewDocument, Reach};
pub use id::{DocumentId, InvalidId, TenantId, UserId};
pub use layer::{JwtAlgorithm, JwtKeyError, JwtVerifier, TenantLayer, TenantService, TrustedProxy};
pub use serde_json::Value as SettingJson;
pub use settings::{
    Layers, SWITCH, Scope, Setting, SettingValue, Settings, SettingsError, SettingsSource, SettingsTable, Source,
    Watch, setting_default, settings,
};
pub use sharing::{Share, ShareError, ShareId, Shares};
pub use store::{NewTenant, Pooler, Service, Store, StoreError, StoreOptions, Tenant, TenantTransaction, Transient};
pub use transfer::{Header, ImportOptions, Imported, Line, TransferError, parse_line};
pub use usage::{Metric, Usage};
