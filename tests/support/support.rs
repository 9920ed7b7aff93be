//! What tests share.

pub mod child;
pub mod traces;
