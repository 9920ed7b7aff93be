//! Facts about SQL text: settings read, functions called, comparisons, relations named.
//!
//! Works on what PostgreSQL prints (`pg_get_expr`, `pg_get_viewdef`) and on function bodies. Text that does not parse gives
//! what the tolerant parser could make of it; nothing here decides a verdict, it only says what is worth trying.

mod library;
mod names;
mod plpgsql;
mod reader;
mod scope;
mod values;

use squawk_syntax::ast::AstNode;
use squawk_syntax::{SourceFile, SyntaxNode};

use crate::model::Function;
pub use library::Library;
use reader::{Env, Reader};

/// A read of a setting, or of a place in a JSON setting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SettingRead {
    /// Name, such as `app.tenant_id`.
    pub name: String,
    /// Path in JSON, such as `["app_metadata", "tenant_id"]`.
    pub path: Vec<String>,
    /// The type it is cast to, where that says what it holds.
    pub cast: Option<String>,
}

/// A function call, or a relation, as named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Schema, where given.
    pub schema: Option<String>,
    /// Name.
    pub name: String,
    /// Path into the JSON that a call returns.
    pub path: Vec<String>,
}

/// A column reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRef {
    /// What it was qualified by.
    pub qualifier: Option<String>,
    /// The relation behind the qualifier, where an alias of the text says so.
    pub relation: Option<String>,
    /// Its name.
    pub name: String,
    /// Path into it, where it is JSON.
    pub path: Vec<String>,
}

/// What one side of a comparison is, seen through casts, parentheses and wrapping functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperandKind {
    /// A column.
    Column(ColumnRef),
    /// A setting.
    Setting(SettingRead),
    /// Another function's result.
    Call(Named),
    /// One literal, as text.
    Literal(String),
    /// A list of literals.
    Literals(Vec<String>),
    /// `current_user` and its like.
    CurrentUser,
    /// Anything else.
    Other(String),
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    kind: OperandKind,
    wrapped_in: Vec<String>,
}

impl Operand {
    /// What it is.
    pub fn kind(&self) -> &OperandKind {
        &self.kind
    }

    /// Functions and operators around it, outermost first.
    pub fn wrapped_in(&self) -> &[String] {
        &self.wrapped_in
    }
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Left side.
    pub left: Operand,
    /// Operator, upper case, such as `=`, `IN`, `= ANY`, `IS NULL`, `~~`.
    pub op: String,
    /// Right side.
    pub right: Operand,
    /// Whether it is not below a NOT.
    pub positive: bool,
}

/// What a text says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Settings read.
    pub settings: Vec<SettingRead>,
    /// Functions called.
    pub calls: Vec<Named>,
    /// Comparisons.
    pub comparisons: Vec<Comparison>,
    /// Relations read or written.
    pub relations: Vec<Named>,
}

impl Facts {
    fn absorb(&mut self, other: Self) {
        add_new(&mut self.settings, other.settings);
        add_new(&mut self.calls, other.calls);
        add_new(&mut self.comparisons, other.comparisons);
        add_new(&mut self.relations, other.relations);
    }
}

fn add_new<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for item in more {
        if !all.contains(&item) {
            all.push(item);
        }
    }
}

/// Facts of an expression.
pub fn of_expression(text: &str) -> Facts {
    of_query(&format!("SELECT {text}"))
}

/// Facts of one or more statements.
pub fn of_query(text: &str) -> Facts {
    let mut reader = Reader::new(None, None, Env::default());
    reader.read(&parse(text));
    reader.facts
}

/// Facts of a plpgsql body: its statements are read one by one, with the procedural words taken off.
pub fn of_plpgsql(body: &str) -> Facts {
    library::of_body(body)
}

/// Facts of a function's body, in SQL or PL/pgSQL.
pub fn of_body(function: &Function) -> Facts {
    if function.language == "sql" {
        of_query(&function.body)
    } else {
        of_plpgsql(&function.body)
    }
}

/// Deeper nesting than this is not read: the parser calls itself, and a full stack cannot be caught.
const DEEPEST_NESTING: usize = 200;

/// The tree of a text. What the parser cannot cope with is not understood, and reads as nothing.
fn parse(text: &str) -> SyntaxNode {
    let mut depth = 0_usize;
    let is_deep = text.bytes().any(|b| {
        match b {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST_NESTING
    });
    let text = if is_deep { "" } else { text };
    let tree = |text: &str| SourceFile::parse(text).tree().syntax().clone();
    std::panic::catch_unwind(|| tree(text)).unwrap_or_else(|_| tree(""))
}

#[cfg(test)]
mod tests;
