//! Facts about SQL text: settings read, functions called, comparisons, relations named.
//!
//! Works on what PostgreSQL prints (`pg_get_expr`, `pg_get_viewdef`) and on function bodies. Text that does not parse gives
//! what the tolerant parser could make of it; nothing here decides a verdict, it only says what is worth trying.

mod plpgsql;

use std::collections::HashMap;

use squawk_syntax::ast::AstNode;
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

/// A read of a setting, or of a place in a JSON setting.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        self.settings.extend(other.settings);
        self.calls.extend(other.calls);
        self.comparisons.extend(other.comparisons);
        self.relations.extend(other.relations);
    }
}

/// Facts of an expression.
pub fn of_expression(text: &str) -> Facts {
    of_query(&format!("SELECT {text}"))
}

/// Facts of one or more statements.
pub fn of_query(text: &str) -> Facts {
    let file = SourceFile::parse(text).tree();
    let mut reader = Reader {
        aliases: HashMap::new(),
        facts: Facts::default(),
    };
    reader.collect_relations(file.syntax());
    reader.walk(file.syntax(), true);
    reader.facts
}

/// Facts of a plpgsql body: its statements are read one by one, with the procedural words taken off.
pub fn of_plpgsql(body: &str) -> Facts {
    let mut facts = Facts::default();
    for piece in plpgsql::split(body) {
        facts.absorb(of_query(&piece));
    }
    facts
}

struct Reader {
    aliases: HashMap<String, String>,
    facts: Facts,
}

impl Reader {
    fn collect_relations(&mut self, root: &SyntaxNode) {
        for node in root.descendants().filter(|n| n.kind() == SyntaxKind::RELATION_NAME_REF) {
            let parts = identifiers(&node);
            let Some((name, schema)) = parts.split_last() else {
                continue;
            };
            let schema = schema.last().cloned();
            let full = schema.as_ref().map_or_else(|| name.clone(), |s| format!("{s}.{name}"));
            let alias = node
                .ancestors()
                .take(3)
                .flat_map(|n| n.children())
                .find(|n| matches!(n.kind(), SyntaxKind::FROM_ALIAS | SyntaxKind::OPTIONAL_AS_ALIAS))
                .and_then(|n| identifiers(&n).into_iter().next());
            self.aliases.insert(alias.unwrap_or_else(|| name.clone()), full.clone());
            self.aliases.entry(name.clone()).or_insert(full);
            self.facts.relations.push(Named {
                schema,
                name: name.clone(),
                path: Vec::new(),
            });
        }
    }

    fn walk(&mut self, node: &SyntaxNode, positive: bool) {
        let positive = match node.kind() {
            SyntaxKind::PREFIX_EXPR if has_token(node, SyntaxKind::NOT_KW) => !positive,
            _ => positive,
        };
        match node.kind() {
            SyntaxKind::CAST_EXPR => {
                if let Some(read) = self.setting(node) {
                    self.facts.settings.push(read);
                    return;
                }
            }
            SyntaxKind::BIN_EXPR => {
                if let Some(read) = self.setting(node) {
                    self.facts.settings.push(read);
                    return;
                }
                if let Some(call) = self.call_place(node) {
                    self.facts.calls.push(call);
                    return;
                }
                self.comparison(node, positive);
            }
            SyntaxKind::BETWEEN_EXPR => {
                let sides: Vec<SyntaxNode> = node.children().collect();
                if let [subject, bounds @ ..] = sides.as_slice() {
                    for bound in bounds {
                        let (left, right) = (self.operand(subject), self.operand(bound));
                        let op = "BETWEEN".to_owned();
                        self.facts.comparisons.push(Comparison {
                            left,
                            op,
                            right,
                            positive,
                        });
                    }
                }
            }
            SyntaxKind::POSTFIX_EXPR => {
                if let Some(inner) = node.children().next() {
                    let op = if has_token(node, SyntaxKind::ISNULL_KW) {
                        "IS NULL"
                    } else {
                        "IS NOT NULL"
                    };
                    let left = self.operand(&inner);
                    self.facts.comparisons.push(Comparison {
                        left,
                        op: op.to_owned(),
                        right: other("NULL"),
                        positive,
                    });
                }
            }
            SyntaxKind::CALL_EXPR => {
                if let Some(read) = self.setting(node) {
                    self.facts.settings.push(read);
                    return;
                }
                self.matching_call(node, positive);
                if let Some(call) = call_name(node) {
                    self.facts.calls.push(call);
                }
            }
            _ => {}
        }
        for child in node.children() {
            self.walk(&child, positive);
        }
    }

    /// A function that matches a column with an identity is a comparison: `starts_with(key, current_setting('x'))`.
    fn matching_call(&mut self, node: &SyntaxNode, positive: bool) {
        if call_name(node).is_some_and(|call| !is_wrapper(&call.name)) {
            return;
        }
        let arguments: Vec<SyntaxNode> = match node.children().find(|n| n.kind() == SyntaxKind::ARG_LIST) {
            Some(list) => list.children().filter_map(|a| a.children().next()).collect(),
            None => node.children().flat_map(|n| n.children()).collect(),
        };
        let operands: Vec<Operand> = match arguments.as_slice() {
            [lone] if lone.kind() == SyntaxKind::BIN_EXPR => lone
                .children()
                .filter(|n| !is_operator(n.kind()))
                .map(|n| self.operand(&n))
                .collect(),
            all => all.iter().map(|n| self.operand(n)).collect(),
        };
        let column = operands.iter().find(|o| matches!(o.kind, OperandKind::Column(_)));
        let identity = operands
            .iter()
            .find(|o| matches!(o.kind, OperandKind::Setting(_) | OperandKind::Call(_)));
        if let (Some(left), Some(right)) = (column, identity) {
            let (left, right) = (left.clone(), right.clone());
            self.facts.comparisons.push(Comparison {
                left,
                op: "match".to_owned(),
                right,
                positive,
            });
        }
    }

    fn comparison(&mut self, node: &SyntaxNode, positive: bool) {
        let operands: Vec<SyntaxNode> = node.children().filter(|n| !is_operator(n.kind())).collect();
        let [left, right] = operands.as_slice() else { return };
        let op = operator(node);
        if matches!(
            op.as_str(),
            "AND" | "OR" | "||" | "+" | "-" | "*" | "/" | "->" | "->>" | "#>" | "#>>" | "%"
        ) {
            return;
        }
        let negated = op.starts_with("NOT ");
        let mut op = op.trim_start_matches("NOT ").to_owned();
        let mut right = right.clone();
        if right.kind() == SyntaxKind::CALL_EXPR
            && let Some(any) = right
                .children()
                .find(|n| matches!(n.kind(), SyntaxKind::ANY_FN | SyntaxKind::SOME_FN))
            && let Some(inner) = any.children().next()
        {
            op += " ANY";
            right = inner;
        }
        if op.starts_with("IS") && !op.contains("DISTINCT") {
            op = format!("{op} {}", right.text().to_string().to_uppercase());
        }
        let (left, right) = (self.operand(left), self.operand(&right));
        self.facts.comparisons.push(Comparison {
            left,
            op,
            right,
            positive: positive != negated,
        });
    }

    fn operand(&self, node: &SyntaxNode) -> Operand {
        let mut wrapped_in = Vec::new();
        let kind = self.classify(node, &mut wrapped_in);
        Operand { kind, wrapped_in }
    }

    fn classify(&self, node: &SyntaxNode, wrapped_in: &mut Vec<String>) -> OperandKind {
        if let Some(read) = self.setting(node) {
            return OperandKind::Setting(read);
        }
        let text = || OperandKind::Other(node.text().to_string());
        match node.kind() {
            SyntaxKind::PAREN_EXPR | SyntaxKind::CAST_EXPR => match node.children().next() {
                Some(inner) => self.classify(&inner, wrapped_in),
                None => text(),
            },
            // A sub-select of one expression without FROM is that expression: `(SELECT auth.uid())`.
            SyntaxKind::SELECT => match lone_target(node) {
                Some(inner) => self.classify(&inner, wrapped_in),
                None => text(),
            },
            SyntaxKind::LITERAL => literal(node).map_or_else(text, OperandKind::Literal),
            SyntaxKind::ARRAY_EXPR | SyntaxKind::TUPLE_EXPR => {
                let items: Vec<OperandKind> = node.children().map(|n| self.classify(&n, &mut Vec::new())).collect();
                let literals: Option<Vec<String>> = items
                    .iter()
                    .map(|i| match i {
                        OperandKind::Literal(value) => Some(value.clone()),
                        _ => None,
                    })
                    .collect();
                match literals {
                    Some(values) => OperandKind::Literals(values),
                    None => {
                        wrapped_in.push("array".to_owned());
                        items
                            .into_iter()
                            .find(|i| !matches!(i, OperandKind::Literal(_)))
                            .unwrap_or_else(text)
                    }
                }
            }
            SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR => {
                let parts = identifiers(node);
                match parts.as_slice() {
                    [] if is_current_user(node) => OperandKind::CurrentUser,
                    [.., qualifier, name] => OperandKind::Column(ColumnRef {
                        qualifier: Some(qualifier.clone()),
                        relation: self.aliases.get(qualifier).cloned(),
                        name: name.clone(),
                        path: Vec::new(),
                    }),
                    [name] => OperandKind::Column(ColumnRef {
                        qualifier: None,
                        relation: None,
                        name: name.clone(),
                        path: Vec::new(),
                    }),
                    [] => text(),
                }
            }
            SyntaxKind::BIN_EXPR => {
                if let Some(call) = self.call_place(node) {
                    return OperandKind::Call(call);
                }
                let sides: Vec<SyntaxNode> = node.children().filter(|n| !is_operator(n.kind())).collect();
                if let [left, right] = sides.as_slice()
                    && let Some(keys) = json_keys(&operator(node), right)
                    && let OperandKind::Column(mut column) = self.classify(left, wrapped_in)
                {
                    column.path.extend(keys);
                    wrapped_in.push("json".to_owned());
                    return OperandKind::Column(column);
                }
                let mut found = text();
                for side in &sides {
                    let inner = self.classify(side, &mut Vec::new());
                    if matches!(
                        inner,
                        OperandKind::Setting(_)
                            | OperandKind::Column(_)
                            | OperandKind::Call(_)
                            | OperandKind::CurrentUser
                    ) {
                        wrapped_in.push(operator(node));
                        found = inner;
                        break;
                    }
                }
                found
            }
            SyntaxKind::INDEX_EXPR | SyntaxKind::SLICE_EXPR => match node.children().next() {
                Some(inner) => {
                    wrapped_in.push("[]".to_owned());
                    self.classify(&inner, wrapped_in)
                }
                None => text(),
            },
            SyntaxKind::CALL_EXPR => {
                let Some(call) = call_name(node) else { return text() };
                let arguments: Vec<SyntaxNode> = node
                    .descendants()
                    .filter(|n| n.kind() == SyntaxKind::ARG_LIST)
                    .take(1)
                    .flat_map(|l| l.children())
                    .filter_map(|a| a.children().next())
                    .collect();
                if arguments.is_empty() || is_clock(&call.name) {
                    return OperandKind::Call(call);
                }
                // What is wrapped counts: the column or setting among the arguments of a built-in function.
                if is_wrapper(&call.name) {
                    for argument in &arguments {
                        let mut deeper = Vec::new();
                        let inner = self.classify(argument, &mut deeper);
                        if matches!(
                            inner,
                            OperandKind::Setting(_)
                                | OperandKind::Column(_)
                                | OperandKind::Call(_)
                                | OperandKind::CurrentUser
                        ) {
                            wrapped_in.push(call.name.clone());
                            wrapped_in.extend(deeper);
                            return inner;
                        }
                    }
                }
                OperandKind::Call(call)
            }
            _ => text(),
        }
    }

    /// `current_setting('x')`, and places in it by JSON operators.
    fn setting(&self, node: &SyntaxNode) -> Option<SettingRead> {
        match node.kind() {
            SyntaxKind::PAREN_EXPR => self.setting(&node.children().next()?),
            SyntaxKind::CAST_EXPR => {
                let mut read = self.setting(&node.children().next()?)?;
                let cast = node.children().last().map(|t| t.text().to_string());
                if read.cast.is_none() {
                    read.cast = cast.filter(|t| !matches!(t.as_str(), "text" | "json" | "jsonb"));
                }
                Some(read)
            }
            SyntaxKind::SELECT => self.setting(&lone_target(node)?),
            SyntaxKind::CALL_EXPR => {
                let call = call_name(node)?;
                let arguments = node.children().find(|n| n.kind() == SyntaxKind::ARG_LIST)?;
                let first = arguments.children().next()?.children().next()?;
                match call.name.as_str() {
                    "current_setting" => {
                        let name = first
                            .descendants_with_tokens()
                            .find_map(|t| t.into_token().filter(|t| t.kind() == SyntaxKind::STRING))?;
                        Some(SettingRead {
                            name: unquote(name.text()).to_lowercase(),
                            path: Vec::new(),
                            cast: None,
                        })
                    }
                    "nullif" | "coalesce" => self.setting(&first),
                    "jsonb_extract_path_text" | "json_extract_path_text" => {
                        let mut read = self.setting(&first)?;
                        read.path.extend(
                            arguments
                                .children()
                                .skip(1)
                                .filter_map(|a| a.descendants().find_map(|n| literal(&n))),
                        );
                        Some(read)
                    }
                    _ => None,
                }
            }
            SyntaxKind::BIN_EXPR => {
                let op = operator(node);
                let sides: Vec<SyntaxNode> = node.children().filter(|n| !is_operator(n.kind())).collect();
                let [left, right] = sides.as_slice() else { return None };
                let mut read = self.setting(left)?;
                read.path.extend(json_keys(&op, right)?);
                Some(read)
            }
            _ => None,
        }
    }

    /// A place in the JSON that a function returns: `auth.jwt() ->> 'sub'`.
    fn call_place(&self, node: &SyntaxNode) -> Option<Named> {
        match node.kind() {
            SyntaxKind::PAREN_EXPR | SyntaxKind::CAST_EXPR => self.call_place(&node.children().next()?),
            SyntaxKind::SELECT => self.call_place(&lone_target(node)?),
            SyntaxKind::CALL_EXPR => {
                let call = call_name(node)?;
                match call.name.as_str() {
                    "nullif" | "coalesce" => {
                        let arguments = node.children().find(|n| n.kind() == SyntaxKind::ARG_LIST)?;
                        self.call_place(&arguments.children().next()?.children().next()?)
                    }
                    _ => Some(call),
                }
            }
            SyntaxKind::BIN_EXPR => {
                let sides: Vec<SyntaxNode> = node.children().filter(|n| !is_operator(n.kind())).collect();
                let [left, right] = sides.as_slice() else { return None };
                let keys = json_keys(&operator(node), right)?;
                let mut call = self.call_place(left)?;
                call.path.extend(keys);
                Some(call)
            }
            _ => None,
        }
    }
}

/// The one expression of a sub-select without FROM.
fn lone_target(node: &SyntaxNode) -> Option<SyntaxNode> {
    if node.children().any(|n| n.kind() == SyntaxKind::FROM_CLAUSE) {
        return None;
    }
    node.descendants()
        .find(|n| n.kind() == SyntaxKind::TARGET)?
        .children()
        .next()
}

/// Keys that a JSON operator goes down by.
fn json_keys(op: &str, right: &SyntaxNode) -> Option<Vec<String>> {
    let key = right.descendants().find_map(|n| literal(&n))?;
    match op {
        "->" | "->>" => Some(vec![key]),
        "#>" | "#>>" => Some(
            key.trim_matches(['{', '}'])
                .split(',')
                .map(|p| p.trim().to_owned())
                .collect(),
        ),
        _ => None,
    }
}

fn other(text: &str) -> Operand {
    Operand {
        kind: OperandKind::Other(text.to_owned()),
        wrapped_in: Vec::new(),
    }
}

/// Built-in functions that return a part or form of their argument.
fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "nullif"
            | "coalesce"
            | "lower"
            | "upper"
            | "trim"
            | "btrim"
            | "ltrim"
            | "rtrim"
            | "split_part"
            | "left"
            | "right"
            | "substr"
            | "substring"
            | "string_to_array"
            | "regexp_replace"
            | "replace"
            | "concat"
            | "format"
            | "position"
            | "strpos"
            | "starts_with"
            | "text"
            | "array_position"
            | "to_number"
            | "md5"
            | "encode"
            | "decode"
            | "regexp_split_to_array"
            | "unnest"
            | "jsonb_array_elements_text"
            | "translate"
            | "foldername"
    )
}

fn is_clock(name: &str) -> bool {
    matches!(
        name,
        "now" | "clock_timestamp" | "statement_timestamp" | "transaction_timestamp"
    )
}

fn call_name(node: &SyntaxNode) -> Option<Named> {
    let head = node
        .children()
        .find(|n| matches!(n.kind(), SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR))?;
    let mut parts: Vec<String> = head
        .descendants_with_tokens()
        .filter_map(|t| t.into_token())
        .filter(|t| t.kind() != SyntaxKind::DOT && !t.text().trim().is_empty())
        .map(|t| fold(t.text()))
        .collect();
    let name = parts.pop()?;
    Some(Named {
        schema: parts.pop(),
        name,
        path: Vec::new(),
    })
}

fn identifiers(node: &SyntaxNode) -> Vec<String> {
    node.descendants_with_tokens()
        .filter_map(|t| t.into_token())
        .filter(|t| {
            !matches!(t.kind(), SyntaxKind::DOT | SyntaxKind::AS_KW | SyntaxKind::ONLY_KW)
                && !is_reserved_name(t.kind())
        })
        .filter(|t| {
            t.text()
                .starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"')
        })
        .map(|t| fold(t.text()))
        .collect()
}

fn is_reserved_name(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::CURRENT_USER_KW
            | SyntaxKind::SESSION_USER_KW
            | SyntaxKind::USER_KW
            | SyntaxKind::CURRENT_ROLE_KW
            | SyntaxKind::CURRENT_TIMESTAMP_KW
            | SyntaxKind::CURRENT_DATE_KW
            | SyntaxKind::LOCALTIMESTAMP_KW
    )
}

fn is_current_user(node: &SyntaxNode) -> bool {
    [
        SyntaxKind::CURRENT_USER_KW,
        SyntaxKind::SESSION_USER_KW,
        SyntaxKind::USER_KW,
        SyntaxKind::CURRENT_ROLE_KW,
    ]
    .into_iter()
    .any(|kind| node.descendants_with_tokens().any(|t| t.kind() == kind))
}

/// An identifier as the server stores it.
fn fold(text: &str) -> String {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}

fn literal(node: &SyntaxNode) -> Option<String> {
    if node.kind() != SyntaxKind::LITERAL {
        return None;
    }
    let token = node.children_with_tokens().find_map(|t| t.into_token())?;
    match token.kind() {
        SyntaxKind::STRING => Some(unquote(token.text())),
        SyntaxKind::INT_NUMBER | SyntaxKind::NUMERIC_NUMBER => Some(token.text().to_owned()),
        SyntaxKind::TRUE_KW => Some("true".to_owned()),
        SyntaxKind::FALSE_KW => Some("false".to_owned()),
        _ => None,
    }
}

fn unquote(text: &str) -> String {
    text.trim_start_matches(['E', 'e'])
        .trim_matches('\'')
        .replace("''", "'")
}

fn has_token(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    node.children_with_tokens().any(|t| t.kind() == kind)
}

/// Nodes within a binary expression that are the operator itself.
fn is_operator(kind: SyntaxKind) -> bool {
    let name = format!("{kind:?}");
    kind == SyntaxKind::CUSTOM_OP
        || name.starts_with("IS_")
        || name.starts_with("NOT_")
        || name.ends_with("_OP")
        || matches!(
            name.as_str(),
            "LTEQ" | "GTEQ" | "NEQ" | "NEQB" | "SIMILAR_TO" | "AT_TIME_ZONE" | "OPERATOR_CALL"
        )
}

/// The operator of a binary expression: the tokens between its operands.
fn operator(node: &SyntaxNode) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut operands = 0;
    for element in node.children_with_tokens() {
        match element {
            squawk_syntax::SyntaxElement::Node(inner) if !is_operator(inner.kind()) => operands += 1,
            squawk_syntax::SyntaxElement::Node(inner) if operands == 1 => words.push(inner.text().to_string()),
            squawk_syntax::SyntaxElement::Token(token)
                if operands == 1 && !token.text().trim().is_empty() && token.kind() != SyntaxKind::COMMENT =>
            {
                words.push(token.text().to_owned());
            }
            _ => {}
        }
    }
    words
        .join(" ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_uppercase()
}

#[cfg(test)]
mod tests;
