//! SQL text: quoting as the server does it, reading scripts as psql does, and facts about expressions.
//!
//! The sole user of the SQL parser.

pub mod expr;
pub mod layout;
mod lex;
pub mod quote;
pub mod script;
