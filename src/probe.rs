//! Oracles: what to try as a session, and how to judge what came of it.

pub mod attempt;
pub mod binding;
pub mod observe;
pub mod state;
pub mod trial;
pub mod write;
