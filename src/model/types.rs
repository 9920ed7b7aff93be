//! Types that a schema makes of others, as values.

use serde::Deserialize;

/// A type that is made of others: what its values look like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct TypeFacts {
    /// Its name as `format_type` prints it.
    pub name: String,
    /// `typtype`: `d` domain, `e` enum, `c` composite, `r` range, `m` multirange.
    pub kind: String,
    /// What a domain is over, with modifiers.
    pub base: Option<String>,
    /// Labels of an enum.
    pub labels: Vec<String>,
    /// Fields of a composite type.
    pub fields: Vec<TypeField>,
    /// What a range or multirange is over.
    pub subtype: Option<String>,
    /// CHECK expressions of a domain, over `VALUE`.
    pub checks: Vec<String>,
}

/// A field of a composite type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TypeField {
    /// Its name.
    pub name: String,
    /// Its type with modifiers, as `format_type` prints it.
    pub type_name: String,
}
