//! Functions and procedures, as the catalog has them.

use serde::Deserialize;

use super::catalog::{Grant, QualifiedName};

/// Function, procedure, aggregate or window function (`prokind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum FunctionKind {
    /// Function.
    #[serde(rename = "f")]
    Function,
    /// Procedure.
    #[serde(rename = "p")]
    Procedure,
    /// Aggregate.
    #[serde(rename = "a")]
    Aggregate,
    /// Window function.
    #[serde(rename = "w")]
    Window,
}

/// Volatility (`provolatile`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Volatility {
    /// IMMUTABLE.
    #[serde(rename = "i")]
    Immutable,
    /// STABLE.
    #[serde(rename = "s")]
    Stable,
    /// VOLATILE.
    #[serde(rename = "v")]
    Volatile,
}

/// An argument that a caller passes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Argument {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its type as `format_type` prints it.
    pub type_name: String,
    /// `typcategory`.
    pub category: String,
    /// Labels, where it is an enum.
    pub labels: Vec<String>,
}

/// A function or procedure.
#[derive(Debug, Clone, Deserialize)]
pub struct Function {
    /// `pg_proc.oid`.
    pub oid: u32,
    /// Its name.
    #[serde(flatten)]
    pub name: QualifiedName,
    /// Input arguments.
    pub arguments: Vec<Argument>,
    /// Kind.
    pub kind: FunctionKind,
    /// Owner.
    pub owner: String,
    /// SECURITY DEFINER.
    pub is_definer: bool,
    /// Whether the last argument is VARIADIC; its type is then the array.
    #[serde(default)]
    pub is_variadic: bool,
    /// LEAKPROOF: it may run on rows before a policy or a security barrier has passed them.
    #[serde(default)]
    pub is_leakproof: bool,
    /// Binary operators that it implements, as SQL names them: `OPERATOR(public.===)`.
    #[serde(default)]
    pub operators: Vec<String>,
    /// Volatility.
    pub volatility: Volatility,
    /// Whether it returns a set.
    pub returns_set: bool,
    /// Result type as `format_type` prints it.
    pub result_type: String,
    /// Language.
    pub language: String,
    /// Body, or the SQL-standard body as printed.
    pub body: String,
    /// Settings attached by `SET`.
    pub settings: Vec<String>,
    /// Grants; empty where the default (EXECUTE to PUBLIC) stands, which `introspect` spells out.
    pub grants: Vec<Grant>,
}

impl Function {
    /// As PostgreSQL identifies it: name and argument types.
    pub fn identity(&self) -> String {
        let types: Vec<&str> = self.arguments.iter().map(|a| a.type_name.as_str()).collect();
        format!("{}({})", self.name, types.join(", "))
    }

    /// Whether it only does what a request does to say who it is: with the caller's rights, returning nothing, it sets
    /// settings. That is no more than `set_config` itself.
    pub fn opens_requests(&self) -> bool {
        !self.is_definer && self.result_type == "void" && self.body.to_lowercase().contains("set_config")
    }

    /// Whether it is a trigger or event trigger function, which nobody can call.
    pub fn is_trigger(&self) -> bool {
        matches!(self.result_type.as_str(), "trigger" | "event_trigger")
    }
}
