//! Which keys a version of the configuration schema knows, and which values they take.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The type of a key's values, as `jsonb_typeof` calls it; `json` takes any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// Anything.
    #[default]
    Json,
    /// Text.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// Names with values.
    Object,
}

impl ValueType {
    /// The type a value has; NULL has none but `json`.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Json,
            Value::Bool(_) => Self::Boolean,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    /// As the column `value_type` holds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a key's values have to be.
///
/// ```
/// use tenantproof::tenancy::{KeySchema, ValueType};
/// let key: KeySchema = serde_json::from_str(r#"{"type": "number", "default": 300, "minimum": 1}"#)?;
/// assert_eq!((key.value_type, key.secret), (ValueType::Number, false));
/// assert!(serde_json::from_str::<KeySchema>(r#"{"typ": "number"}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySchema {
    /// Their type.
    #[serde(rename = "type", default)]
    pub value_type: ValueType,
    /// What holds where neither the tenant nor one it inherits from has a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What it is for, its unit included.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The greatest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The only values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Value>,
    /// Whether messages and listings leave the value out.
    #[serde(default)]
    pub secret: bool,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The schema does not know the key.
    UnknownKey,
    /// The value has another type.
    WrongType {
        /// What it has to be.
        wanted: ValueType,
    },
    /// The value is not among those that are allowed.
    OutOfRange {
        /// What is allowed, in words.
        allowed: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey => f.write_str("no such key in the configuration schema"),
            Self::WrongType { wanted } => write!(f, "it has to be of type {wanted}"),
            Self::OutOfRange { allowed } => write!(f, "it has to be {allowed}"),
        }
    }
}

/// One version of the configuration schema.
///
/// ```
/// use tenantproof::tenancy::{Fault, Schema};
/// let schema: Schema = serde_json::from_value(serde_json::json!({
///     "version": 1,
///     "keys": {"cache.ttl_seconds": {"type": "number", "default": 300, "minimum": 1}}
/// }))?;
/// assert_eq!(schema.check("cache.ttl_seconds", &60.into()), Ok(()));
/// assert!(matches!(schema.check("cache.ttl_seconds", &0.into()), Err(Fault::OutOfRange { .. })));
/// assert_eq!(schema.check("cache.ttl", &60.into()), Err(Fault::UnknownKey));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// Its number; later ones are greater.
    pub version: i32,
    /// By key.
    pub keys: BTreeMap<String, KeySchema>,
}

impl Schema {
    /// Whether a key may have this value.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self, key: &str, value: &Value) -> Result<(), Fault> {
        let schema = self.keys.get(key).ok_or(Fault::UnknownKey)?;
        if schema.value_type != ValueType::Json && ValueType::of(value) != schema.value_type {
            return Err(Fault::WrongType {
                wanted: schema.value_type,
            });
        }
        if !schema.one_of.is_empty() && !schema.one_of.contains(value) {
            let words: Vec<String> = schema.one_of.iter().map(Value::to_string).collect();
            return Err(Fault::OutOfRange {
                allowed: format!("one of {}", words.join(", ")),
            });
        }
        let Some(number) = value.as_f64() else { return Ok(()) };
        match (schema.minimum, schema.maximum) {
            (Some(least), _) if number < least => Err(Fault::OutOfRange {
                allowed: format!("at least {least}"),
            }),
            (_, Some(most)) if number > most => Err(Fault::OutOfRange {
                allowed: format!("at most {most}"),
            }),
            _ => Ok(()),
        }
    }

    /// A value for messages: shortened, and left out where it is secret.
    pub fn show(&self, key: &str, value: &Value) -> String {
        match self.keys.get(key) {
            Some(schema) if schema.secret => "(secret)".to_owned(),
            Some(_) | None => shortened(value),
        }
    }
}

/// The first 80 characters of a value.
pub(in crate::tenancy) fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
