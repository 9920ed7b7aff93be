//! Growing universes: which columns carry identity, what values fit, and rows of one tenant in every table.
//!
//! Knows no table by name. Everything follows from keys, types, constraints, policies and what the server answers.

pub mod classes;
mod form;
pub mod grow;
pub mod keys;
pub mod reach;
pub mod values;

pub use classes::{Class, Classes, Form};
pub use grow::{Grower, GrownRow, Universe};
pub use keys::{KeyPair, Keys};
