//! Settings: every one in one typed place, and what holds for the tenant of the running task.
//!
//! Layers, from bottom to top: the declaration's default, a file, the environment, and, where [`SWITCH`] is `true`, what the
//! database says for the tenant (its own configuration or an inherited one). The layers below tenants are read once, when
//! the source is made; tenants' are cached.

mod cached;
mod layers;
mod table;

pub(super) use cached::Forget;
pub use cached::{SettingsSource, Watch};
pub use layers::{Layers, SWITCH, SettingsError, Source};
pub use table::{Scope, Setting, SettingValue, SettingsTable, setting_default, settings};

table::settings! {
    /// What the tenancy system itself can be told.
    ///
    /// ```
    /// use tenantproof::tenancy::{Layers, Settings};
    /// let settings: Settings = Layers::new().environment([("TENANCY_SEARCH_MAX_RESULTS", "5")]).resolve()?;
    /// assert_eq!(settings.search_max_results, 5);
    /// assert_eq!(settings.cache_ttl_seconds, 300); // the default
    /// # Ok::<(), tenantproof::tenancy::SettingsError>(())
    /// ```
    pub struct Settings {
        /// The database's address, with the login's password.
        database_url: String = "", key "database.url", secret;
        /// What stands between the service and the database.
        database_pooler: String = "none", key "database.pooler", deployment, choices ["none", "transaction"];
        /// Most connections to the database.
        database_max_connections: u64 = 10, key "database.max_connections", deployment, unit "connections", bounds 1..=1000;
        /// How long a unit of work may take.
        database_deadline_milliseconds: u64 = 10_000, key "database.deadline_milliseconds", deployment, unit "milliseconds", bounds 1..=3_600_000;
        /// The address of Redis; empty: cache in the process alone.
        redis_url: String = "", key "redis.url", secret;
        /// What cache keys begin with.
        cache_prefix: String = "tenantproof", key "cache.prefix", deployment;
        /// How long a cached value stays valid.
        cache_ttl_seconds: u64 = 300, key "cache.ttl_seconds", tenant, unit "seconds", bounds 1..=604_800;
        /// How long it is remembered that something is not there.
        cache_negative_ttl_seconds: u64 = 30, key "cache.negative_ttl_seconds", tenant, unit "seconds", bounds 0..=3_600;
        /// Most memory that a tenant's cached values take in a process.
        cache_max_bytes: u64 = 16_777_216, key "cache.max_bytes", deployment, unit "bytes", bounds 0..=1_073_741_824;
        /// How long documents are kept.
        documents_retention_days: u64 = 365, key "documents.retention_days", tenant, unit "days", bounds 1..=36_500;
        /// How long a chunk of a document is at most.
        documents_chunk_characters: u64 = 1_000, key "documents.chunk_characters", tenant, unit "characters", bounds 50..=100_000;
        /// Whether documents are searched by meaning.
        search_enabled: bool = false, key "search.enabled", tenant;
        /// The model that makes embeddings.
        search_model: String = "none", key "search.model", tenant;
        /// How many results a search returns at most.
        search_max_results: u64 = 10, key "search.max_results", tenant, unit "results", bounds 1..=100;
    }
}

impl Settings {
    /// What holds for the tenant of the running task, from the source that was [installed](SettingsSource::install).
    ///
    /// # Errors
    ///
    /// Without a context or a source; when the tenant's configuration cannot be read or does not fit.
    pub async fn for_current_tenant() -> Result<std::sync::Arc<Self>, SettingsError> {
        cached::installed()?.for_current_tenant().await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_has_words_a_default_that_fits_and_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for setting in Settings::TABLE {
            assert!(setting.description.trim().ends_with('.'), "{}", setting.key);
            assert_eq!(setting.fault(&(setting.default)()), None, "{}", setting.key);
            assert!(
                names.insert(setting.variable()),
                "two settings are {}",
                setting.variable()
            );
        }
    }

    fn error(layers: Layers) -> String {
        layers.resolve::<Settings>().unwrap_err().to_string()
    }

    #[test]
    fn later_layers_win() {
        let file = "[cache]\nttl_seconds = 60\n[search]\nmodel = \"small\"";
        let layers = Layers::new()
            .file_text("app.toml", file)
            .environment([("TENANCY_CACHE_TTL_SECONDS", "90")]);
        let settings: Settings = layers.resolve().unwrap();
        assert_eq!(
            (settings.cache_ttl_seconds, settings.search_model.as_str()),
            (90, "small")
        );
    }

    #[test]
    fn errors_name_key_value_and_origin_and_no_secret() {
        let wrong = error(Layers::new().environment([("TENANCY_CACHE_TTL_SECONDS", "soon")]));
        for part in ["cache.ttl_seconds", "\"soon\"", "TENANCY_CACHE_TTL_SECONDS", "number"] {
            assert!(wrong.contains(part), "{wrong}");
        }
        let far = error(Layers::new().file_text("app.toml", "[cache]\nttl_seconds = 0"));
        assert!(
            far.contains("app.toml") && far.contains("from 1 to 604800 seconds"),
            "{far}"
        );
        let half = error(Layers::new().file_text("app.toml", "[cache]\nttl_seconds = 1.5"));
        assert!(half.contains("whole number"), "{half}");
        let unknown = error(Layers::new().file_text("app.toml", "[cache]\nttl = 5"));
        assert!(
            unknown.contains("`cache.ttl`") && unknown.contains("did you mean `cache.ttl_seconds`"),
            "{unknown}"
        );
        let choice = error(Layers::new().environment([("TENANCY_DATABASE_POOLER", "session")]));
        assert!(choice.contains("one of none, transaction"), "{choice}");
        let secret = error(Layers::new().file_text("app.toml", "[database]\nurl = [\"s3cret\"]"));
        assert!(
            secret.contains("database.url") && !secret.contains("s3cret"),
            "{secret}"
        );
        let syntax = error(Layers::new().file_text("app.toml", "[cache"));
        assert!(syntax.contains("app.toml"), "{syntax}");
        let mistyped = error(Layers::new().environment([("TENANCY_REDIS_URI", "redis://:s3cret@h")]));
        assert!(
            mistyped.contains("TENANCY_REDIS_URI") && !mistyped.contains("s3cret"),
            "{mistyped}"
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings: Settings = Layers::new()
            .environment([("TENANCY_DATABASE_URL", "postgres://u:s3cret@h/d")])
            .resolve()
            .unwrap();
        assert_eq!(settings.database_url, "postgres://u:s3cret@h/d");
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn the_switch_is_read_strictly() {
        let with = |value: &str| Layers::new().environment([(SWITCH, value)]).tenants_count();
        assert!(!Layers::new().tenants_count().unwrap());
        assert!(with("true").unwrap() && !with("false").unwrap());
        for wrong in ["", "1", "True", "yes", "TRUE", " true"] {
            assert!(matches!(with(wrong), Err(SettingsError::Switch { .. })), "{wrong:?}");
        }
    }
}
