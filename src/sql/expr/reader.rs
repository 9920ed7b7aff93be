//! Walking through a text: which settings are read, which functions called, what is compared with what.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::library::{Instance, Library};
use super::names::{
    arguments, call_name, chain, has_token, identifiers, is_arithmetic, is_operator, is_wrapper, literal, operator,
    sides,
};
use super::scope::targets;
use super::{ColumnRef, Comparison, Facts, Named, Operand, OperandKind};
use crate::model::Relation;

/// How deep values, sub-selects and functions may lead into one another.
const DEEPEST: u32 = 40;

/// What names stand for that are no columns: parameters and variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Env {
    /// Values by name; parameters also by number, `$1`.
    pub(super) values: HashMap<String, Vec<Operand>>,
    /// Variables that hold a row, and the relation it is of.
    pub(super) records: HashMap<String, String>,
    /// Name of the function that is read.
    pub(super) function: Option<String>,
    /// Where unqualified relations are looked for first.
    pub(super) schemas: Vec<String>,
}

pub(super) struct Reader<'r> {
    pub(super) library: Option<&'r Library<'r>>,
    /// The relation that unqualified columns are of: that of a policy or check.
    pub(super) home: Option<&'r Relation>,
    pub(super) env: Env,
    pub(super) facts: Facts,
    depth: Cell<u32>,
    /// Whether the columns of a call in FROM are being found.
    in_columns: Cell<bool>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(library: Option<&'r Library<'r>>, home: Option<&'r Relation>, env: Env) -> Self {
        Self {
            library,
            home,
            env,
            facts: Facts::default(),
            depth: Cell::new(0),
            in_columns: Cell::new(false),
        }
    }

    /// Whether one level more may be entered; [`Self::leave`] has to follow.
    pub(super) fn enter(&self) -> bool {
        if self.depth.get() >= DEEPEST {
            return false;
        }
        self.depth.set(self.depth.get() + 1);
        true
    }

    pub(super) fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }

    /// Reads a whole text.
    pub(super) fn read(&mut self, root: &SyntaxNode) {
        self.collect_relations(root);
        self.walk(root, true);
    }

    fn collect_relations(&mut self, root: &SyntaxNode) {
        for node in root
            .descendants()
            .filter(|n| matches!(n.kind(), SyntaxKind::RELATION_NAME_REF | SyntaxKind::TABLE_NAME_REF))
        {
            let parts = identifiers(&node);
            let Some((name, schema)) = parts.split_last() else {
                continue;
            };
            self.facts.relations.push(Named {
                schema: schema.last().cloned(),
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
            SyntaxKind::CAST_EXPR => self.note_settings(node),
            SyntaxKind::BIN_EXPR => {
                self.note_settings(node);
                self.comparison(node, positive);
            }
            SyntaxKind::BETWEEN_EXPR => {
                let parts: Vec<SyntaxNode> = node.children().collect();
                if let [subject, bounds @ ..] = parts.as_slice() {
                    for bound in bounds {
                        self.compare(&self.values(subject), "BETWEEN", &self.values(bound), positive);
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
                    self.compare(&self.values(&inner), op, &[Operand::other("NULL")], positive);
                }
            }
            SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR => self.truth(node, positive),
            SyntaxKind::CALL_EXPR => self.call(node, positive),
            SyntaxKind::INSERT => self.insertion(node),
            SyntaxKind::SET_SINGLE_COLUMN => self.setting_column(node),
            _ => {}
        }
        for child in node.children() {
            self.walk(&child, positive);
        }
    }

    fn note_settings(&mut self, node: &SyntaxNode) {
        for value in self.values(node) {
            if let OperandKind::Setting(read) = value.kind
                && !self.facts.settings.contains(&read)
            {
                self.facts.settings.push(read);
            }
        }
    }

    /// A call: what it calls, what that does, and whether it matches a column with an identity.
    fn call(&mut self, node: &SyntaxNode, positive: bool) {
        self.note_settings(node);
        self.matching_call(node, positive);
        let Some(call) = call_name(node) else { return };
        if let Some(instance) = self.call_result(node, &call) {
            self.facts.absorb(instance.facts.clone());
        }
        if !self.facts.calls.contains(&call) {
            self.facts.calls.push(call);
        }
    }

    /// What a function of the schema does when it is called like this.
    pub(super) fn call_result(&self, node: &SyntaxNode, call: &Named) -> Option<Rc<Instance>> {
        let library = self.library?;
        if !library.knows(call) {
            return None;
        }
        let given: Vec<(Option<String>, Vec<Operand>)> = arguments(node)
            .into_iter()
            .map(|(name, value)| (name, self.values(&value)))
            .collect();
        library.call(call, &given, &self.env.schemas)
    }

    /// Columns of the rows that a call returns, by name.
    pub(super) fn call_columns(&self, node: &SyntaxNode) -> Vec<(String, Vec<Operand>)> {
        // Its arguments may be columns of what stands beside it in FROM, itself among that: each is opened once.
        if self.in_columns.replace(true) {
            return Vec::new();
        }
        let columns = call_name(node)
            .and_then(|call| self.call_result(node, &call))
            .map(|instance| instance.columns.clone())
            .unwrap_or_default();
        self.in_columns.set(false);
        columns
    }

    /// A function that matches a column with an identity is a comparison: `starts_with(key, current_setting('x'))`.
    fn matching_call(&mut self, node: &SyntaxNode, positive: bool) {
        if call_name(node).is_some_and(|call| !is_wrapper(&call.name)) {
            return;
        }
        let parts: Vec<SyntaxNode> = match arguments(node) {
            none if none.is_empty() => node.children().flat_map(|n| n.children()).collect(),
            some => some.into_iter().map(|(_, n)| n).collect(),
        };
        let operands: Vec<Operand> = match parts.as_slice() {
            [lone] if lone.kind() == SyntaxKind::BIN_EXPR => lone
                .children()
                .filter(|n| !is_operator(n.kind()))
                .flat_map(|n| self.values(&n))
                .collect(),
            all => all.iter().flat_map(|n| self.values(n)).collect(),
        };
        let column = operands.iter().find(|o| matches!(o.kind, OperandKind::Column(_)));
        let identity = operands
            .iter()
            .find(|o| matches!(o.kind, OperandKind::Setting(_) | OperandKind::Call(_)));
        if let (Some(left), Some(right)) = (column, identity) {
            let (left, right) = (left.clone(), right.clone());
            self.compare(&[left], "match", &[right], positive);
        }
    }

    /// A column that is a condition by itself: `WHERE active AND NOT deleted`. An alternative (`public OR ...`) is none: what it
    /// opens, it opens to others as well.
    fn truth(&mut self, node: &SyntaxNode, positive: bool) {
        let mut at = node.clone();
        let is_condition = loop {
            let Some(parent) = at.parent() else { return };
            match parent.kind() {
                SyntaxKind::PAREN_EXPR => {}
                SyntaxKind::PREFIX_EXPR if has_token(&parent, SyntaxKind::NOT_KW) => {}
                SyntaxKind::BIN_EXPR => break super::names::operator(&parent) == "AND",
                kind => break kind == SyntaxKind::WHERE_CLAUSE,
            }
            at = parent;
        };
        let is_alternative = || {
            node.ancestors()
                .take_while(|n| n.kind() != SyntaxKind::WHERE_CLAUSE)
                .any(|n| n.kind() == SyntaxKind::BIN_EXPR && super::names::operator(&n) == "OR")
        };
        // What a body asks the other way round may be a guard that raises.
        let is_guard = !positive && self.env.function.is_some();
        if is_condition && !is_guard && !is_alternative() {
            let literal = Operand::plain(OperandKind::Literal(positive.to_string()));
            let mut columns = self.values(node);
            columns.retain(|c| !matches!(&c.kind, OperandKind::Column(column) if says_public(&column.name)));
            self.compare(&columns, "=", &[literal], true);
        }
    }

    fn comparison(&mut self, node: &SyntaxNode, positive: bool) {
        let Some((first, steps)) = chain(node) else { return };
        // `a -> 'b' @> c`: what comes before the comparing operator is its left side.
        let Some(at) = steps.iter().position(|(op, _)| !is_arithmetic(op)) else {
            return;
        };
        let (op, right) = &steps[at];
        if matches!(op.as_str(), "AND" | "OR") {
            return;
        }
        let negated = op.starts_with("NOT ") || op.as_str() == "!=" || op.as_str() == "<>";
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
        let positive = positive != (negated && !matches!(op.as_str(), "<>" | "!="));
        if at == 0
            && let Some(pairs) = self.row_pairs(&first, &right)
        {
            for (left, right) in pairs {
                self.compare(&left, &op, &right, positive);
            }
            return;
        }
        let left = self.fold_steps(&first, &steps[..at]);
        let right = self.fold_steps(&right, &steps[at + 1..]);
        self.compare(&left, &op, &right, positive);
    }

    /// Sides of a comparison of rows, column by column: `(a, b) = (c, d)`, `(a, b) IN (SELECT ...)`.
    fn row_pairs(&self, left: &SyntaxNode, right: &SyntaxNode) -> Option<Vec<(Vec<Operand>, Vec<Operand>)>> {
        if left.kind() != SyntaxKind::TUPLE_EXPR {
            return None;
        }
        let others: Vec<SyntaxNode> = match right.kind() {
            SyntaxKind::TUPLE_EXPR => right.children().collect(),
            _ => targets(right).iter().filter_map(|t| t.children().next()).collect(),
        };
        let pairs: Vec<_> = left
            .children()
            .zip(others)
            .map(|(l, r)| (self.values(&l), self.values(&r)))
            .collect();
        (!pairs.is_empty()).then_some(pairs)
    }

    fn compare(&mut self, left: &[Operand], op: &str, right: &[Operand], positive: bool) {
        for left in left {
            for right in right {
                let comparison = Comparison {
                    left: left.clone(),
                    op: op.to_owned(),
                    right: right.clone(),
                    positive,
                };
                if !self.facts.comparisons.contains(&comparison) {
                    self.facts.comparisons.push(comparison);
                }
            }
        }
    }

    /// What is put into a column says what it holds, where that is an identity.
    fn assigned(&mut self, column: &[Operand], values: &[Operand]) {
        let identities: Vec<Operand> = values
            .iter()
            .filter(|v| matches!(v.kind, OperandKind::Setting(_) | OperandKind::CurrentUser))
            // A text made of an identity is no identity.
            .filter(|v| {
                v.wrapped_in
                    .iter()
                    .all(|w| matches!(w.as_str(), "coalesce" | "nullif" | "array"))
            })
            .cloned()
            .collect();
        self.compare(column, ":=", &identities, true);
    }

    fn insertion(&mut self, node: &SyntaxNode) {
        let columns: Vec<String> = node
            .children()
            .filter(|n| n.kind() == SyntaxKind::COLUMN_TARGET_LIST)
            .flat_map(|list| list.children())
            .filter_map(|c| identifiers(&c).pop())
            .collect();
        let rows: Vec<Vec<SyntaxNode>> = node
            .children()
            .flat_map(|n| match n.kind() {
                SyntaxKind::VALUES => n
                    .descendants()
                    .filter(|r| r.kind() == SyntaxKind::ROW)
                    .map(|r| r.children().collect())
                    .collect(),
                SyntaxKind::SELECT => vec![targets(&n).iter().filter_map(|t| t.children().next()).collect()],
                _ => Vec::new(),
            })
            .collect();
        let Some(relation) = self.first_relation(node) else {
            return;
        };
        for row in rows {
            for (name, value) in columns.iter().zip(row) {
                let column = column_of(&relation, name);
                self.assigned(&[column], &self.values(&value));
            }
        }
    }

    fn setting_column(&mut self, node: &SyntaxNode) {
        let update = node.ancestors().find(|n| n.kind() == SyntaxKind::UPDATE);
        let parts: Vec<SyntaxNode> = node.children().filter(|n| !is_operator(n.kind())).collect();
        if let (Some(update), [target, .., value]) = (update, parts.as_slice())
            && let (Some(relation), Some(name)) = (self.first_relation(&update), identifiers(target).pop())
            && let Some(value) = value.children().next()
        {
            self.assigned(&[column_of(&relation, &name)], &self.values(&value));
        }
    }

    /// A variable or field of the new row that is given a value.
    pub(super) fn assign(&mut self, target: &str, value: &SyntaxNode) {
        let values = self.values(value);
        match target.split_once('.') {
            Some((row, field)) => {
                let column = Operand::plain(OperandKind::Column(ColumnRef {
                    qualifier: Some(row.to_owned()),
                    relation: self.env.records.get(row).cloned(),
                    name: field.to_owned(),
                    path: Vec::new(),
                }));
                self.assigned(&[column], &values);
            }
            None => self.bind(target, values),
        }
    }

    /// A variable keeps what it may hold: what it held before, too, for statements may be passed over.
    pub(super) fn bind(&mut self, target: &str, values: Vec<Operand>) {
        let known = self.env.values.entry(target.to_owned()).or_default();
        known.retain(|o| !matches!(o.kind, OperandKind::Other(_)));
        for value in values {
            if !known.contains(&value) {
                known.push(value);
            }
        }
    }

    /// Text of a statement that is put together at run time: what is not known of it stands there as an expression.
    pub(super) fn dynamic_text(&self, node: &SyntaxNode) -> Option<String> {
        match node.kind() {
            SyntaxKind::PAREN_EXPR | SyntaxKind::CAST_EXPR => self.dynamic_text(&node.children().next()?),
            SyntaxKind::LITERAL => literal(node).or_else(|| dollar_text(&node.text().to_string())),
            SyntaxKind::BIN_EXPR if operator(node) == "||" => {
                let [left, right] = sides(node)?;
                let part = |n: &SyntaxNode| self.dynamic_text(n).unwrap_or_else(|| format!("({})", n.text()));
                Some(part(&left) + &part(&right))
            }
            SyntaxKind::CALL_EXPR if call_name(node).is_some_and(|c| c.name == "format") => {
                let mut given = arguments(node).into_iter().map(|(_, n)| n);
                let template = self.dynamic_text(&given.next()?)?;
                let mut text = String::new();
                let mut chars = template.chars();
                while let Some(c) = chars.next() {
                    if c != '%' {
                        text.push(c);
                        continue;
                    }
                    let Some(kind) = chars.find(|c| c.is_alphabetic() || *c == '%') else {
                        break;
                    };
                    if kind == '%' {
                        text.push('%');
                        continue;
                    }
                    let argument = given.next();
                    let known = argument.as_ref().and_then(literal);
                    match (kind, known, argument) {
                        ('L', _, Some(value)) => text += &format!("({})", value.text()),
                        (_, Some(known), _) => text += &known,
                        _ => text.push('x'),
                    }
                }
                Some(text)
            }
            SyntaxKind::NAME_REF => match self.values(node).into_iter().next()?.kind {
                OperandKind::Literal(text) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether a column says, by name, that a row is for everybody: what is asked of it opens the row to others.
fn says_public(column: &str) -> bool {
    [
        "public", "publish", "shared", "visible", "global", "template", "featured", "listed",
    ]
    .iter()
    .any(|word| column.contains(word))
}

fn column_of(relation: &str, name: &str) -> Operand {
    Operand::plain(OperandKind::Column(ColumnRef {
        qualifier: None,
        relation: Some(relation.to_owned()),
        name: name.to_owned(),
        path: Vec::new(),
    }))
}

/// Text within dollar quotes.
fn dollar_text(text: &str) -> Option<String> {
    let tag = text.strip_prefix('$')?.find('$')? + 2;
    (text.len() >= 2 * tag).then(|| text[tag..text.len() - tag].to_owned())
}
