//! How a column's value is formed from a tenant's or user's key.

use super::classes::Form;
use crate::model::Column;

/// How a class column's value is formed from the key.
impl Form {
    /// The value for a key.
    pub fn value(self, key: &str, column: &Column) -> String {
        if self == Self::Scaled {
            return format!("{key}001");
        }
        if column.category == "A" {
            return format!("{{\"{}\"}}", key.replace('\\', "\\\\").replace('"', "\\\""));
        }
        if column.base_type.starts_with("json") {
            return format!("[{}]", serde_json::Value::from(key));
        }
        key.to_owned()
    }

    /// Other texts in which the key may be embedded, where a comparison is not plain equality.
    pub fn others(self, key: &str, column: &Column) -> Vec<String> {
        match self {
            Self::Whole => Vec::new(),
            Self::Scaled => ["00", "01", "000", "000000"]
                .iter()
                .map(|zeros| format!("{key}{zeros}"))
                .collect(),
            Self::Embedded if column.category == "S" => {
                vec![
                    format!("{key}/file-{}", key.len()),
                    format!("{key}:item"),
                    format!("{key}-item"),
                    format!("{key}.item"),
                    format!("item/{key}/x"),
                ]
            }
            Self::Embedded => Vec::new(),
        }
    }
}
