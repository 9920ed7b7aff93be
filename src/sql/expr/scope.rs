//! Which column a name means: the relations, sub-selects and functions in the FROM clauses around it.

use squawk_syntax::{SyntaxKind, SyntaxNode};

use super::names::{call_name, identifiers};
use super::reader::Reader;
use super::{ColumnRef, Operand, OperandKind};

/// Something in a FROM clause.
#[derive(Debug, Clone)]
struct Item {
    alias: String,
    origin: Origin,
    /// Names that an alias gives to the columns.
    columns: Vec<String>,
}

#[derive(Debug, Clone)]
enum Origin {
    /// A relation, as it was named.
    Relation(String),
    /// A function's rows.
    Function(SyntaxNode),
    /// A sub-select.
    Query(SyntaxNode),
}

impl Reader<'_> {
    /// What a name of one or more parts means where it stands.
    pub(super) fn meaning(&self, node: &SyntaxNode, parts: &[String]) -> Vec<Operand> {
        match parts {
            [name] => self.bare(node, name),
            [.., qualifier, name] => self.qualified(node, qualifier, name),
            [] => vec![Operand::other("")],
        }
    }

    fn bare(&self, node: &SyntaxNode, name: &str) -> Vec<Operand> {
        for scope in scopes(node) {
            for item in items_of(&scope) {
                if let Some(found) = self.column_in(node, &item, name, true) {
                    return found;
                }
            }
        }
        if let Some(values) = self.env.values.get(name) {
            return values.clone();
        }
        let home = self.home.filter(|r| r.column(name).is_some());
        vec![Operand::plain(OperandKind::Column(ColumnRef {
            qualifier: None,
            relation: home.map(|r| full_name(&r.name.schema, &r.name.name)),
            name: name.to_owned(),
            path: Vec::new(),
        }))]
    }

    fn qualified(&self, node: &SyntaxNode, qualifier: &str, name: &str) -> Vec<Operand> {
        for scope in scopes(node) {
            for item in items_of(&scope).iter().filter(|i| i.alias == qualifier) {
                if let Some(mut found) = self.column_in(node, item, name, false) {
                    for operand in &mut found {
                        if let OperandKind::Column(column) = &mut operand.kind {
                            column.qualifier.get_or_insert_with(|| qualifier.to_owned());
                        }
                    }
                    return found;
                }
            }
        }
        if self.env.function.as_deref() == Some(qualifier)
            && let Some(values) = self.env.values.get(name)
        {
            return values.clone();
        }
        let home = self.home.filter(|r| r.name.name == qualifier);
        let relation = self
            .env
            .records
            .get(qualifier)
            .cloned()
            .or_else(|| home.map(|r| full_name(&r.name.schema, &r.name.name)));
        vec![Operand::plain(OperandKind::Column(ColumnRef {
            qualifier: Some(qualifier.to_owned()),
            relation,
            name: name.to_owned(),
            path: Vec::new(),
        }))]
    }

    /// The column of this name of something in FROM. An unqualified name has to be known to be there.
    fn column_in(&self, node: &SyntaxNode, item: &Item, name: &str, must_have: bool) -> Option<Vec<Operand>> {
        match &item.origin {
            Origin::Relation(written) => {
                if !written.contains('.')
                    && let Some((query, columns)) = with_query(node, written)
                {
                    return self.target_of(
                        &query,
                        name,
                        if item.columns.is_empty() {
                            &columns
                        } else {
                            &item.columns
                        },
                    );
                }
                let known = self.library.and_then(|l| l.relation(written, &self.env.schemas));
                if must_have && known.is_none_or(|r| r.column(name).is_none()) {
                    return None;
                }
                let relation = known.map_or_else(|| written.clone(), |r| full_name(&r.name.schema, &r.name.name));
                Some(vec![Operand::plain(OperandKind::Column(ColumnRef {
                    qualifier: None,
                    relation: Some(relation),
                    name: name.to_owned(),
                    path: Vec::new(),
                }))])
            }
            Origin::Query(query) => self.target_of(query, name, &item.columns),
            Origin::Function(call) => {
                let is_own = item.columns.iter().any(|c| c == name) || item.alias == name;
                let named = self.call_columns(call);
                let by_name = named.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
                by_name
                    .filter(|v| !v.is_empty())
                    .or_else(|| is_own.then(|| self.values(call)))
            }
        }
    }

    /// What a query returns under a name.
    fn target_of(&self, query: &SyntaxNode, name: &str, columns: &[String]) -> Option<Vec<Operand>> {
        if !self.enter() {
            return None;
        }
        let targets = targets(query);
        let at = columns.iter().position(|c| c == name).or_else(|| {
            columns
                .is_empty()
                .then(|| targets.iter().position(|t| target_name(t).as_deref() == Some(name)))?
        });
        let found = at
            .and_then(|at| targets.get(at)?.children().next())
            .map(|expression| self.values(&expression));
        self.leave();
        // `SELECT *` passes on what is below.
        found.or_else(|| {
            let scope = targets.first().filter(|t| t.text().to_string().ends_with('*'))?;
            scopes(scope)
                .into_iter()
                .take(1)
                .flat_map(|s| items_of(&s))
                .find_map(|item| self.column_in(scope, &item, name, true))
        })
    }

    /// Values of all targets of a query, by name.
    pub(super) fn targets_by_name(&self, query: &SyntaxNode) -> Vec<(String, Vec<Operand>)> {
        targets(query)
            .iter()
            .filter_map(|t| Some((target_name(t).unwrap_or_default(), self.values(&t.children().next()?))))
            .collect()
    }

    /// The relation that a query's rows are of, for variables that hold such a row.
    pub(super) fn first_relation(&self, query: &SyntaxNode) -> Option<String> {
        let scope = query.descendants().find(|n| is_scope(n.kind()))?;
        items_of(&scope).into_iter().find_map(|item| match item.origin {
            Origin::Relation(written) => Some(
                match self.library.and_then(|l| l.relation(&written, &self.env.schemas)) {
                    Some(known) => full_name(&known.name.schema, &known.name.name),
                    None => written,
                },
            ),
            _ => None,
        })
    }
}

/// How references name a relation.
pub(super) fn full_name(schema: &str, name: &str) -> String {
    format!("{schema}.{name}")
}

/// Targets of the first SELECT in a query, or of the RETURNING of a statement that writes; those of a UNION's other arms
/// are in the same order.
pub(super) fn targets(query: &SyntaxNode) -> Vec<SyntaxNode> {
    let writes = |n: &SyntaxNode| {
        matches!(
            n.kind(),
            SyntaxKind::INSERT | SyntaxKind::UPDATE | SyntaxKind::DELETE | SyntaxKind::MERGE
        )
    };
    let list = match query.children().chain([query.clone()]).find(writes) {
        Some(statement) => statement
            .children()
            .find(|n| n.kind() == SyntaxKind::RETURNING_CLAUSE)
            .and_then(|r| r.children().find(|n| n.kind() == SyntaxKind::TARGET_LIST)),
        None => query
            .descendants()
            .filter(|n| n.kind() == SyntaxKind::TARGET_LIST)
            // The WITH clause comes first and is no part of it.
            .find(|n| {
                n.ancestors()
                    .take_while(|a| a != query)
                    .all(|a| a.kind() != SyntaxKind::WITH_TABLE)
            }),
    };
    list.map(|list| list.children().filter(|n| n.kind() == SyntaxKind::TARGET).collect())
        .unwrap_or_default()
}

fn target_name(target: &SyntaxNode) -> Option<String> {
    let alias = target.children().find(|n| n.kind() == SyntaxKind::AS_NAME);
    match alias {
        Some(alias) => identifiers(&alias).pop(),
        None => {
            let expression = target.children().next()?;
            match expression.kind() {
                SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR => identifiers(&expression).pop(),
                SyntaxKind::CALL_EXPR => call_name(&expression).map(|c| c.name),
                SyntaxKind::CAST_EXPR => identifiers(&expression.children().next()?).pop(),
                _ => None,
            }
        }
    }
}

fn is_scope(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        SyntaxKind::SELECT
            | SyntaxKind::SELECT_INTO
            | SyntaxKind::UPDATE
            | SyntaxKind::DELETE
            | SyntaxKind::INSERT
            | SyntaxKind::MERGE
    )
}

/// Statements and sub-selects around a node, the innermost first.
fn scopes(node: &SyntaxNode) -> Vec<SyntaxNode> {
    node.ancestors().filter(|n| is_scope(n.kind())).collect()
}

fn items_of(scope: &SyntaxNode) -> Vec<Item> {
    let mut items = Vec::new();
    gather(scope, &mut items);
    items
}

fn gather(node: &SyntaxNode, items: &mut Vec<Item>) {
    for child in node.children() {
        match child.kind() {
            SyntaxKind::RELATION_FROM_ITEM => {
                let name = child.children().find(|n| n.kind() == SyntaxKind::RELATION_NAME_REF);
                if let Some(written) = name.map(|n| identifiers(&n).join(".")) {
                    items.push(item(&child, written.clone(), Origin::Relation(written)));
                }
            }
            SyntaxKind::FUNCTION_FROM_ITEM => {
                if let Some(call) = child.children().find(|n| n.kind() == SyntaxKind::CALL_EXPR) {
                    let name = call_name(&call).map_or_else(String::new, |c| c.name);
                    items.push(item(&child, name, Origin::Function(call)));
                }
            }
            SyntaxKind::PAREN_FROM_ITEM => match child.descendants().find(|n| n.kind() == SyntaxKind::FROM_ALIAS) {
                Some(alias) if alias.parent().as_ref() == Some(&child) => {
                    items.push(item(&child, String::new(), Origin::Query(child.clone())));
                }
                _ => gather(&child, items),
            },
            SyntaxKind::RELATION_NAME | SyntaxKind::TABLE_RELATION_NAME | SyntaxKind::RELATION_NAME_REF => {
                let written = identifiers(&child).join(".");
                items.push(item(node, written.clone(), Origin::Relation(written)));
            }
            SyntaxKind::FROM_CLAUSE
            | SyntaxKind::USING_CLAUSE
            | SyntaxKind::USING_ON_CLAUSE
            | SyntaxKind::JOIN_EXPR
            | SyntaxKind::JOIN => gather(&child, items),
            SyntaxKind::PAREN_EXPR if node.kind() == SyntaxKind::PAREN_FROM_ITEM => gather(&child, items),
            _ => {}
        }
    }
}

fn item(node: &SyntaxNode, written: String, origin: Origin) -> Item {
    let alias = node.children().find(|n| {
        matches!(
            n.kind(),
            SyntaxKind::FROM_ALIAS | SyntaxKind::OPTIONAL_AS_ALIAS | SyntaxKind::REQUIRED_AS_ALIAS
        )
    });
    let own = written.rsplit('.').next().unwrap_or(&written).to_owned();
    let name = alias
        .iter()
        .flat_map(|a| a.children())
        .find(|n| n.kind() == SyntaxKind::TABLE_ALIAS)
        .and_then(|n| identifiers(&n).pop());
    let columns = alias
        .iter()
        .flat_map(|a| a.children())
        .find(|n| n.kind() == SyntaxKind::COLUMN_LIST)
        .map(|list| {
            list.children()
                .filter_map(|c| identifiers(&c).into_iter().next())
                .collect()
        })
        .unwrap_or_default();
    Item {
        alias: name.unwrap_or(own),
        origin,
        columns,
    }
}

/// The query that a WITH clause around a node gives this name, and the names of its columns.
fn with_query(node: &SyntaxNode, name: &str) -> Option<(SyntaxNode, Vec<String>)> {
    node.ancestors().find_map(|around| {
        let clause = around.children().find(|n| n.kind() == SyntaxKind::WITH_CLAUSE)?;
        let table = clause.children().find(|table| {
            let own = table.children().find(|n| n.kind() == SyntaxKind::CTE_NAME);
            own.and_then(|n| identifiers(&n).pop()).as_deref() == Some(name)
        })?;
        let columns = table
            .children()
            .find(|n| n.kind() == SyntaxKind::COLUMN_LIST)
            .map(|list| {
                list.children()
                    .filter_map(|c| identifiers(&c).into_iter().next())
                    .collect()
            })
            .unwrap_or_default();
        Some((table.children().last()?, columns))
    })
}
