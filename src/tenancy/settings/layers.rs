//! Layers of settings: defaults, then a file, then the environment, then a tenant's configuration. Later ones win.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::table::{Scope, Setting, SettingsTable};
use crate::tenancy::configuration::{Effective, Origin, ValueType, shortened};
use crate::tenancy::id::TenantId;
use crate::tenancy::store::StoreError;

/// The one variable that decides whether tenants' configurations count. Exactly `true` or `false`; left out: false.
pub const SWITCH: &str = "LOAD_CONFIG_FROM_SUPABASE";

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The declaration.
    Default,
    /// A file.
    File(String),
    /// A variable of the environment.
    Environment(String),
    /// A tenant's configuration.
    Tenant(Origin),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("its default"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Tenant(origin) => write!(f, "configuration, {origin}"),
        }
    }
}

/// What is wrong with settings. Values of secrets are left out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file cannot be read.
    #[error("read the settings in {file}")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is no TOML.
    #[error("read the settings in {file}: {reason}")]
    Syntax {
        /// Which.
        file: String,
        /// Where and why.
        reason: String,
    },
    /// Nobody knows the key.
    #[error(
        "take setting `{key}` = {value} from {source_}{}: there is no such setting{}",
        of_tenant(tenant),
        suggestion(nearest)
    )]
    Unknown {
        /// Whose, where it is a tenant's.
        tenant: Option<TenantId>,
        /// Key, or variable.
        key: String,
        /// Value, shortened.
        value: String,
        /// Where it is from.
        source_: Source,
        /// A key that looks like it.
        nearest: Option<String>,
    },
    /// The value is not what the setting takes.
    #[error("take setting `{key}` = {value} from {source_}{}: {reason}", of_tenant(tenant))]
    Invalid {
        /// Whose, where it is a tenant's.
        tenant: Option<TenantId>,
        /// Key.
        key: String,
        /// Value, shortened.
        value: String,
        /// Where it is from.
        source_: Source,
        /// What it has to be.
        reason: String,
    },
    /// The switch is neither on nor off.
    #[error("read {SWITCH} = {value:?}: it has to be exactly `true` or `false`")]
    Switch {
        /// What it is.
        value: String,
    },
    /// The tenant's configuration cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The load that this request waited for failed.
    #[error("load the settings of tenant {tenant}: {reason}")]
    Shared {
        /// Whose.
        tenant: TenantId,
        /// Why.
        reason: String,
    },
    /// [`Settings::for_current_tenant`](super::Settings::for_current_tenant) before a source was installed.
    #[error("find the source of settings: call `SettingsSource::install` when the service starts")]
    NotInstalled,
}

fn of_tenant(tenant: &Option<TenantId>) -> String {
    tenant.map(|t| format!(" of tenant {t}")).unwrap_or_default()
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map(|n| format!("; did you mean `{n}`?"))
        .unwrap_or_default()
}

/// The layers below a tenant's configuration.
///
/// ```
/// use tenantproof::tenancy::{Layers, Settings};
///
/// let layers = Layers::new()
///     .file_text("app.toml", "[cache]\nttl_seconds = 60")
///     .environment([("TENANCY_CACHE_TTL_SECONDS", "90"), ("PATH", "/bin")]);
/// assert_eq!(layers.resolve::<Settings>()?.cache_ttl_seconds, 90);
///
/// let typo = Layers::new().environment([("TENANCY_CACHE_TTL", "90")]).resolve::<Settings>();
/// assert!(typo.unwrap_err().to_string().contains("TENANCY_CACHE_TTL"));
/// # Ok::<(), tenantproof::tenancy::SettingsError>(())
/// ```
#[derive(Clone, Default)]
pub struct Layers {
    files: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
    prefix: Option<String>,
}

/// Without values: they may be secret.
impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Layers")
            .field("files", &files)
            .field("prefix", &self.env_prefix())
            .finish_non_exhaustive()
    }
}

impl Layers {
    /// Defaults alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// A TOML file; tables make dots: `[cache] ttl_seconds` is `cache.ttl_seconds`.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn file(self, path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
            file: path.display().to_string(),
            source,
        })?;
        Ok(self.file_text(&path.display().to_string(), &text))
    }

    /// The text of such a file.
    pub fn file_text(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Variables; those that begin with the prefix have to be settings.
    pub fn environment<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.environment
            .extend(variables.into_iter().map(|(k, v)| (k.into(), v.into())));
        self
    }

    /// The variables of this process. Those that are no text are left out.
    pub fn process_environment(self) -> Self {
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        self.environment(variables)
    }

    /// What variables begin with; default `TENANCY_`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.to_owned());
        self
    }

    /// Whether tenants' configurations count: [`SWITCH`].
    ///
    /// # Errors
    ///
    /// When it is neither `true` nor `false`.
    pub fn tenants_count(&self) -> Result<bool, SettingsError> {
        match self.environment.get(SWITCH).map(String::as_str) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(SettingsError::Switch {
                value: other.chars().take(40).collect(),
            }),
        }
    }

    /// All layers but tenants'.
    ///
    /// # Errors
    ///
    /// The first key that is unknown or whose value does not fit, and where it is from.
    pub fn resolve<S: SettingsTable>(&self) -> Result<S, SettingsError> {
        typed(&self.values::<S>()?)
    }

    fn env_prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("TENANCY_")
    }

    pub(super) fn values<S: SettingsTable>(&self) -> Result<Resolved, SettingsError> {
        let mut values: Resolved = S::TABLE
            .iter()
            .map(|s| (s.key, ((s.default)(), Source::Default)))
            .collect();
        for (name, text) in &self.files {
            let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
                file: name.clone(),
                reason: error.to_string().trim_end().to_owned(),
            })?;
            let mut flat = Vec::new();
            flatten::<S>("", table, &mut flat);
            for (key, value) in flat {
                put::<S>(&mut values, None, &key, value, Source::File(name.clone()))?;
            }
        }
        for (variable, text) in &self.environment {
            let Some(name) = variable.strip_prefix(self.env_prefix()) else {
                continue;
            };
            let source = Source::Environment(variable.clone());
            match S::TABLE.iter().find(|s| s.variable() == name) {
                Some(setting) => put::<S>(&mut values, None, setting.key, of_text(setting, text), source)?,
                None => return Err(unknown::<S>(None, variable, &Value::Null, source)),
            }
        }
        Ok(values)
    }

    /// A tenant's values on top. Keys that are no settings but known to the configuration schema are the service's own.
    pub(super) fn with_tenant<S: SettingsTable>(
        mut values: Resolved,
        tenant: TenantId,
        effective: &BTreeMap<String, Effective>,
        known: impl Fn(&str) -> bool,
    ) -> Result<S, SettingsError> {
        for (key, effective) in effective {
            if matches!(effective.origin, Origin::Default { .. }) {
                continue;
            }
            if !S::TABLE.iter().any(|s| s.key == key) && known(key) {
                continue;
            }
            put::<S>(
                &mut values,
                Some(tenant),
                key,
                effective.value.clone(),
                Source::Tenant(effective.origin),
            )?;
        }
        typed(&values)
    }
}

/// By key: a value and where it is from.
pub(super) type Resolved = BTreeMap<&'static str, (Value, Source)>;

fn typed<S: SettingsTable>(values: &Resolved) -> Result<S, SettingsError> {
    S::from_values(|key| values.get(key).map(|(value, _)| value.clone()).unwrap_or_default()).map_err(|key| {
        let (value, source_) = values.get(key).cloned().unwrap_or((Value::Null, Source::Default));
        SettingsError::Invalid {
            tenant: None,
            key: key.to_owned(),
            value: show(setting::<S>(key), &value),
            source_,
            reason: "it does not fit the setting's type".into(),
        }
    })
}

fn setting<S: SettingsTable>(key: &str) -> Option<&'static Setting> {
    S::TABLE.iter().find(|s| s.key == key)
}

fn put<S: SettingsTable>(
    values: &mut Resolved,
    tenant: Option<TenantId>,
    key: &str,
    value: Value,
    source_: Source,
) -> Result<(), SettingsError> {
    let Some(setting) = setting::<S>(key) else {
        return Err(unknown::<S>(tenant, key, &value, source_));
    };
    let reason = match (tenant, setting.scope) {
        (Some(_), Scope::Deployment | Scope::Secret) => Some("a tenant may not override it".to_owned()),
        (Some(_), Scope::Tenant) | (None, _) => setting.fault(&value),
    };
    if let Some(reason) = reason {
        return Err(SettingsError::Invalid {
            tenant,
            key: key.to_owned(),
            value: show(Some(setting), &value),
            source_,
            reason,
        });
    }
    values.insert(setting.key, (value, source_));
    Ok(())
}

fn show(setting: Option<&Setting>, value: &Value) -> String {
    match setting.map(|s| s.scope) {
        Some(Scope::Secret) => "(secret)".to_owned(),
        Some(Scope::Deployment | Scope::Tenant) | None => shortened(value),
    }
}

/// An unknown key may be a secret that was misspelt: its value is left out.
fn unknown<S: SettingsTable>(tenant: Option<TenantId>, key: &str, value: &Value, source_: Source) -> SettingsError {
    let words: Vec<(String, &str)> = S::TABLE.iter().map(|s| (s.variable(), s.key)).collect();
    let wanted = key.to_uppercase().replace('.', "_");
    let nearest = words.iter().find(|(variable, _)| {
        wanted.ends_with(variable)
            || variable.starts_with(&wanted)
            || wanted
                .split('_')
                .next_back()
                .is_some_and(|last| last.len() > 3 && variable.ends_with(last))
    });
    SettingsError::Unknown {
        tenant,
        key: key.to_owned(),
        value: if tenant.is_some() {
            shortened(value)
        } else {
            "...".to_owned()
        },
        source_,
        nearest: nearest.map(|(_, key)| (*key).to_owned()),
    }
}

fn flatten<S: SettingsTable>(prefix: &str, table: toml::Table, flat: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            toml::Value::Table(inner) if setting::<S>(&key).is_none() => flatten::<S>(&key, inner, flat),
            other => flat.push((key, serde_json::to_value(other).unwrap_or_default())),
        }
    }
}

/// A variable's text as the setting's type; what does not read as it stays text, and is refused as such.
fn of_text(setting: &Setting, text: &str) -> Value {
    match setting.value_type {
        ValueType::String => Value::String(text.to_owned()),
        ValueType::Number => match serde_json::from_str::<Value>(text) {
            Ok(number) if number.is_number() => number,
            _ => Value::String(text.to_owned()),
        },
        ValueType::Boolean => match text {
            "true" => true.into(),
            "false" => false.into(),
            other => Value::String(other.to_owned()),
        },
        ValueType::Json | ValueType::Array | ValueType::Object => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        }
    }
}
