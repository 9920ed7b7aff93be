//! Oracles: what to try as a session, and how to judge what came of it.

pub mod attempt;
pub mod binding;
pub mod call;
pub mod evidence;
pub mod guise;
pub mod judge;
mod judge_call;
pub mod observe;
pub mod oracle;
pub mod ploy;
pub mod scenery;
pub mod state;
pub mod trial;
pub mod write;

pub use judge_call::Called;
