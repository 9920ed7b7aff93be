//! Declaring settings: one list has each with its default, unit, bounds, and whether a tenant may override it.

use serde_json::Value;

use crate::tenancy::configuration::ValueType;

/// One setting, as declared.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its key in files and in tenants' configurations, such as `cache.ttl_seconds`.
    pub key: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Unit of its value; empty where it has none.
    pub unit: &'static str,
    /// Type of its value.
    pub value_type: ValueType,
    /// What holds where nobody says otherwise.
    pub default: fn() -> Value,
    /// Least and greatest number.
    pub bounds: Option<(f64, f64)>,
    /// The only values.
    pub one_of: &'static [&'static str],
    /// Who may set it.
    pub scope: Scope,
}

/// Who may set a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The deployment: file and environment.
    Deployment,
    /// The same, and its value is never printed.
    Secret,
    /// A tenant too, by its configuration.
    Tenant,
}

impl Setting {
    /// The environment variable's name after the prefix: the key in capitals, with `_` for `.`.
    pub fn variable(&self) -> String {
        self.key.to_uppercase().replace('.', "_")
    }

    /// What is wrong with a value, in words.
    pub(super) fn fault(&self, value: &Value) -> Option<String> {
        let unit = if self.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", self.unit)
        };
        if self.value_type != ValueType::Json && ValueType::of(value) != self.value_type {
            return Some(format!("it has to be of type {}", self.value_type));
        }
        if let Some(text) = value.as_str()
            && !self.one_of.is_empty()
            && !self.one_of.contains(&text)
        {
            return Some(format!("it has to be one of {}", self.one_of.join(", ")));
        }
        let (least, most) = self.bounds?;
        let number = value.as_f64()?;
        let is_whole = number.fract() == 0.0;
        (number < least || number > most || !is_whole)
            .then(|| format!("it has to be a whole number from {least} to {most}{unit}"))
    }
}

/// A type that a setting can have. Numbers are whole.
pub trait SettingValue: Sized {
    /// As JSON calls it.
    const TYPE: ValueType;
    /// From a value that was checked; none where it does not fit all the same.
    fn from_value(value: &Value) -> Option<Self>;
}

impl SettingValue for bool {
    const TYPE: ValueType = ValueType::Boolean;
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl SettingValue for u64 {
    const TYPE: ValueType = ValueType::Number;
    fn from_value(value: &Value) -> Option<Self> {
        // 300.0 is whole, and JSON numbers from a database may be written so.
        value.as_u64().or_else(|| {
            value
                .as_f64()
                .filter(|n| n.fract() == 0.0 && *n >= 0.0)
                .map(|n| n as u64)
        })
    }
}

impl SettingValue for String {
    const TYPE: ValueType = ValueType::String;
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

/// A struct of settings, made by [`settings!`](macro@crate::tenancy::settings).
pub trait SettingsTable: Sized + Clone + Send + Sync + 'static {
    /// All settings, in the order of declaration.
    const TABLE: &'static [Setting];
    /// From one value a setting, each checked against the table.
    ///
    /// # Errors
    ///
    /// The key of a value that does not fit.
    fn from_values(value: impl Fn(&str) -> Value) -> Result<Self, &'static str>;
}

/// Declares a struct of settings: each with its default, key, scope (`deployment`, `secret` or `tenant`), and where it has
/// them unit, bounds or choices.
///
/// ```
/// tenantproof::tenancy::settings! {
///     /// What our service can be told.
///     pub struct Mine {
///         /// How many results a search returns.
///         results: u64 = 10, key "search.results", tenant, unit "results", bounds 1..=100;
///         /// Which model makes embeddings.
///         model: String = "small", key "search.model", tenant, choices ["small", "large"];
///         /// The mail server's password.
///         mail_password: String = "", key "mail.password", secret;
///     }
/// }
/// use tenantproof::tenancy::Layers;
/// let mine = Layers::new().file_text("app.toml", "[search]\nresults = 20").resolve::<Mine>()?;
/// assert_eq!((mine.results, mine.model.as_str()), (20, "small"));
/// # Ok::<(), tenantproof::tenancy::SettingsError>(())
/// ```
#[macro_export]
macro_rules! tenancy_settings {
    (
        $(#[$outer:meta])*
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $type:ty = $default:expr, key $key:literal, $scope:ident
                $(, unit $unit:literal)? $(, bounds $least:literal..=$most:literal)? $(, choices [$($choice:literal),* $(,)?])?;
            )*
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, PartialEq)]
        $visibility struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        impl $crate::tenancy::SettingsTable for $name {
            const TABLE: &'static [$crate::tenancy::Setting] = &[$($crate::tenancy::Setting {
                key: $key,
                description: concat!($($doc),*),
                unit: concat!($($unit)?),
                value_type: <$type as $crate::tenancy::SettingValue>::TYPE,
                default: || $crate::tenancy::setting_default($default),
                bounds: $crate::tenancy::settings!(@bounds $($least, $most)?),
                one_of: &[$($($choice),*)?],
                scope: $crate::tenancy::settings!(@scope $scope),
            }),*];

            fn from_values(value: impl Fn(&str) -> $crate::tenancy::SettingJson) -> Result<Self, &'static str> {
                Ok(Self {
                    $($field: <$type as $crate::tenancy::SettingValue>::from_value(&value($key)).ok_or($key)?,)*
                })
            }
        }

        /// Secrets left out.
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let mut out = f.debug_struct(stringify!($name));
                $($crate::tenancy::settings!(@show out, self, $field, $scope);)*
                out.finish()
            }
        }
    };
    (@bounds) => { None };
    (@bounds $least:literal, $most:literal) => { Some(($least as f64, $most as f64)) };
    (@scope deployment) => { $crate::tenancy::Scope::Deployment };
    (@scope secret) => { $crate::tenancy::Scope::Secret };
    (@scope tenant) => { $crate::tenancy::Scope::Tenant };
    (@show $out:ident, $self:ident, $field:ident, secret) => { $out.field(stringify!($field), &"(secret)") };
    (@show $out:ident, $self:ident, $field:ident, $scope:ident) => { $out.field(stringify!($field), &$self.$field) };
}

// Under the module's path, and only there: the crate root is no place for names.
#[doc(inline)]
pub use tenancy_settings as settings;

/// For [`settings!`](macro@crate::tenancy::settings) alone.
#[doc(hidden)]
pub fn setting_default(value: impl Into<Value>) -> Value {
    value.into()
}
