//! Values that every floor above shares: names, catalog objects, sessions, cells and findings.
//!
//! Owns the types and what can be asked of them; does no IO and knows no driver.

mod access;
pub mod catalog;
pub mod command;
pub mod finding;
pub mod function;
pub mod lookup;
pub mod privileges;
pub mod target;
pub mod types;

pub use catalog::{
    Catalog, Column, Command, ForeignKey, Generated, Identity, Policy, PolicyCommand, PolicyMode, QualifiedName,
    Relation, RelationKind, Role, RowSecurity, UniqueKey,
};
pub use finding::{
    Cell, CellVerdict, Cells, ContextState, Finding, FindingKind, ObjectType, Route, Severity, Source, Verdict,
};
pub use function::{Argument, Function, FunctionKind, Volatility};
pub use target::{Acceptance, Attacker, Session, Tenancy};
pub use types::{TypeFacts, TypeField};
