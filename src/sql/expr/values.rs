//! What a value is made of: seen through casts, wrapping functions, sub-selects, variables and functions of the schema.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::names::{
    arguments, call_name, chain, identifiers, is_arithmetic, is_clock, is_current_user, is_json_step, is_wrapper,
    literal, path_keys,
};
use super::reader::Reader;
use super::scope::targets;
use super::{Operand, OperandKind, SettingRead};

/// Most sources of one value that are looked at.
const MOST_SOURCES: usize = 6;

impl Operand {
    pub(super) fn plain(kind: OperandKind) -> Self {
        Self {
            kind,
            wrapped_in: Vec::new(),
        }
    }

    pub(super) fn other(text: &str) -> Self {
        Self::plain(OperandKind::Other(text.to_owned()))
    }

    fn wrapped(mut self, by: &str) -> Self {
        self.wrapped_in.insert(0, by.to_owned());
        self
    }

    /// Whether it says where a value comes from, rather than what it is.
    pub(super) fn is_source(&self) -> bool {
        matches!(
            self.kind,
            OperandKind::Setting(_) | OperandKind::Column(_) | OperandKind::Call(_) | OperandKind::CurrentUser
        )
    }
}

impl Reader<'_> {
    /// What the value of an expression comes from; never empty, the most direct source first.
    pub(super) fn values(&self, node: &SyntaxNode) -> Vec<Operand> {
        if !self.enter() {
            return vec![Operand::other("")];
        }
        let mut found = self.sources(node);
        self.leave();
        found.truncate(MOST_SOURCES);
        if found.is_empty() {
            found.push(Operand::other(&node.text().to_string()));
        }
        found
    }

    fn sources(&self, node: &SyntaxNode) -> Vec<Operand> {
        match node.kind() {
            SyntaxKind::CAST_EXPR => {
                let Some(inner) = node.children().next() else {
                    return Vec::new();
                };
                let mut found = self.values(&inner);
                let cast = node.children().last().map(|t| t.text().to_string().to_lowercase());
                for operand in &mut found {
                    if let OperandKind::Setting(read) = &mut operand.kind
                        && read.cast.is_none()
                    {
                        read.cast = cast
                            .clone()
                            .filter(|t| !matches!(t.as_str(), "text" | "json" | "jsonb"));
                    }
                }
                found
            }
            SyntaxKind::PAREN_EXPR | SyntaxKind::COLLATE | SyntaxKind::PAREN_SELECT | SyntaxKind::PAREN_FROM_ITEM => {
                node.children()
                    .next()
                    .map(|inner| self.values(&inner))
                    .unwrap_or_default()
            }
            SyntaxKind::SELECT | SyntaxKind::SELECT_INTO => {
                let target = targets(node).into_iter().next();
                target
                    .and_then(|t| t.children().next())
                    .map(|expression| self.values(&expression))
                    .unwrap_or_default()
            }
            SyntaxKind::COMPOUND_SELECT => self.union(node.children().filter(|n| n.kind() != SyntaxKind::WITH_CLAUSE)),
            SyntaxKind::LITERAL => match literal(node) {
                Some(text) => vec![Operand::plain(OperandKind::Literal(text))],
                None => {
                    let text = node.text().to_string();
                    self.env.values.get(&text).cloned().unwrap_or_default()
                }
            },
            SyntaxKind::ARRAY_EXPR | SyntaxKind::TUPLE_EXPR => self.list(node),
            SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR => self.named(node),
            SyntaxKind::BIN_EXPR => self.computed(node),
            SyntaxKind::INDEX_EXPR | SyntaxKind::SLICE_EXPR => {
                let inner = node.children().next().map(|n| self.values(&n)).unwrap_or_default();
                inner.into_iter().map(|o| o.wrapped("[]")).collect()
            }
            SyntaxKind::CASE_EXPR => {
                let results = node.descendants().filter(|n| {
                    matches!(n.kind(), SyntaxKind::WHEN_CLAUSE | SyntaxKind::ELSE_CLAUSE)
                        && n.ancestors().find(|a| a.kind() == SyntaxKind::CASE_EXPR).as_ref() == Some(node)
                });
                let found = self.union(results.filter_map(|n| n.children().last()));
                found.into_iter().map(|o| o.wrapped("coalesce")).collect()
            }
            SyntaxKind::CALL_EXPR => self.called(node),
            _ => Vec::new(),
        }
    }

    /// What several expressions come from. Literals count only where there is nothing else.
    fn union(&self, nodes: impl Iterator<Item = SyntaxNode>) -> Vec<Operand> {
        let all: Vec<Operand> = nodes.flat_map(|n| self.values(&n)).collect();
        if all.iter().any(Operand::is_source) {
            let mut unique: Vec<Operand> = Vec::new();
            for operand in all.into_iter().filter(Operand::is_source) {
                if !unique.contains(&operand) {
                    unique.push(operand);
                }
            }
            unique
        } else {
            all
        }
    }

    fn list(&self, node: &SyntaxNode) -> Vec<Operand> {
        let items: Vec<SyntaxNode> = node.children().collect();
        let values: Vec<Operand> = items.iter().flat_map(|n| self.values(n)).collect();
        let literals: Option<Vec<String>> = values
            .iter()
            .map(|i| match &i.kind {
                OperandKind::Literal(value) => Some(vec![value.clone()]),
                OperandKind::Literals(values) => Some(values.clone()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|all| all.concat());
        match literals {
            Some(values) => vec![Operand::plain(OperandKind::Literals(values))],
            None => self
                .union(items.into_iter())
                .into_iter()
                .map(|o| o.wrapped("array"))
                .collect(),
        }
    }

    fn named(&self, node: &SyntaxNode) -> Vec<Operand> {
        let first = node.children().next();
        // A field of a row that an expression gives: `(f(x)).a`.
        if let Some(row) = first.filter(|n| node.kind() == SyntaxKind::FIELD_EXPR && n.kind() == SyntaxKind::PAREN_EXPR)
        {
            let name = node
                .children()
                .last()
                .and_then(|n| identifiers(&n).pop())
                .unwrap_or_default();
            let call = row.children().next().filter(|n| n.kind() == SyntaxKind::CALL_EXPR);
            let columns = call.map(|c| self.call_columns(&c)).unwrap_or_default();
            return columns
                .into_iter()
                .find(|(column, _)| *column == name)
                .map(|(_, values)| values)
                .unwrap_or_default();
        }
        let parts = identifiers(node);
        if parts.is_empty() {
            return if is_current_user(node) {
                vec![Operand::plain(OperandKind::CurrentUser)]
            } else {
                Vec::new()
            };
        }
        self.meaning(node, &parts)
    }

    fn computed(&self, node: &SyntaxNode) -> Vec<Operand> {
        let Some((first, steps)) = chain(node) else {
            return Vec::new();
        };
        if steps.iter().any(|(op, _)| !is_arithmetic(op)) {
            return Vec::new();
        }
        self.fold_steps(&first, &steps)
    }

    /// Operators of a chain applied one after the other.
    pub(super) fn fold_steps(&self, first: &SyntaxNode, steps: &[(String, SyntaxNode)]) -> Vec<Operand> {
        let mut found = self.values(first);
        for (op, right) in steps {
            if is_json_step(op) {
                let keys = self.keys(op, right);
                found = found.into_iter().map(|o| go_down(o, &keys)).collect();
            } else {
                let mut all = found;
                all.extend(self.values(right));
                let sources: Vec<Operand> = all.iter().filter(|o| o.is_source()).cloned().collect();
                found = sources.into_iter().map(|o| o.wrapped(op)).collect();
            }
        }
        found
    }

    /// Keys that a JSON operator goes down by.
    fn keys(&self, op: &str, right: &SyntaxNode) -> Vec<String> {
        match self.values(right).into_iter().next().map(|o| o.kind) {
            Some(OperandKind::Literal(key)) if op.starts_with('#') => path_keys(&key),
            Some(OperandKind::Literal(key)) => vec![key],
            Some(OperandKind::Literals(keys)) => keys,
            _ => vec![String::new()],
        }
    }

    fn called(&self, node: &SyntaxNode) -> Vec<Operand> {
        let Some(call) = call_name(node) else {
            return self.special_call(node);
        };
        let given = arguments(node);
        match call.name.as_str() {
            "current_setting" => {
                let name = given.first().map(|(_, n)| self.values(n)).unwrap_or_default();
                return name
                    .into_iter()
                    .filter_map(|o| match o.kind {
                        OperandKind::Literal(name) => Some(Operand::plain(OperandKind::Setting(SettingRead {
                            name: name.to_lowercase(),
                            path: Vec::new(),
                            cast: None,
                        }))),
                        _ => None,
                    })
                    .collect();
            }
            "coalesce" | "greatest" | "least" => {
                let found = self.union(given.into_iter().map(|(_, n)| n));
                return found.into_iter().map(|o| o.wrapped("coalesce")).collect();
            }
            "nullif" => {
                let first = given.first().map(|(_, n)| self.values(n)).unwrap_or_default();
                return first.into_iter().map(|o| o.wrapped("nullif")).collect();
            }
            "jsonb_extract_path_text" | "json_extract_path_text" | "jsonb_extract_path" | "json_extract_path" => {
                let mut rest = given.into_iter().map(|(_, n)| self.values(&n));
                let document = rest.next().unwrap_or_default();
                let keys: Vec<String> = rest
                    .filter_map(|v| match v.into_iter().next()?.kind {
                        OperandKind::Literal(key) => Some(vec![key]),
                        OperandKind::Literals(keys) => Some(keys),
                        _ => None,
                    })
                    .flatten()
                    .collect();
                return document.into_iter().map(|o| go_down(o, &keys)).collect();
            }
            _ => {}
        }
        let through: Vec<Operand> = self
            .call_result(node, &call)
            .map(|instance| instance.returns.iter().filter(|o| o.is_source()).cloned().collect())
            .unwrap_or_default();
        if !through.is_empty() {
            return through;
        }
        if given.is_empty() || is_clock(&call.name) {
            return vec![Operand::plain(OperandKind::Call(call))];
        }
        // What is wrapped counts: the column or setting among the arguments of a built-in function.
        if is_wrapper(&call.name) {
            for (_, argument) in &given {
                let inner: Vec<Operand> = self.values(argument).into_iter().filter(Operand::is_source).collect();
                if !inner.is_empty() {
                    return inner.into_iter().map(|o| o.wrapped(&call.name)).collect();
                }
            }
        }
        vec![Operand::plain(OperandKind::Call(call))]
    }

    /// `trim(x)`, `substring(x FROM 1)`: calls with a grammar of their own.
    fn special_call(&self, node: &SyntaxNode) -> Vec<Operand> {
        let Some(inner) = node.children().next() else {
            return Vec::new();
        };
        let kind = format!("{:?}", inner.kind());
        if !matches!(kind.as_str(), "TRIM_FN" | "SUBSTRING_FN" | "POSITION_FN" | "OVERLAY_FN") {
            return Vec::new();
        }
        let name = kind.trim_end_matches("_FN").to_lowercase();
        inner
            .descendants()
            .filter(|n| {
                matches!(
                    n.kind(),
                    SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR | SyntaxKind::CALL_EXPR | SyntaxKind::CAST_EXPR
                )
            })
            .map(|n| self.values(&n))
            .find(|v| v.iter().any(Operand::is_source))
            .unwrap_or_default()
            .into_iter()
            .map(|o| o.wrapped(&name))
            .collect()
    }
}

fn go_down(mut operand: Operand, keys: &[String]) -> Operand {
    match &mut operand.kind {
        OperandKind::Setting(read) => read.path.extend(keys.iter().cloned()),
        OperandKind::Call(call) => call.path.extend(keys.iter().cloned()),
        OperandKind::Column(column) => {
            column.path.extend(keys.iter().cloned());
            return operand.wrapped("json");
        }
        _ => {}
    }
    operand
}
