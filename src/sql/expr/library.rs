//! Functions of a schema, read with the arguments that they are called with.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::plpgsql::{self, Piece};
use super::reader::{Env, Reader};
use super::{Facts, Named, Operand, OperandKind, parse};
use crate::model::{Catalog, Function, Relation};

/// How deep functions may call one another.
const DEEPEST: usize = 10;

/// What a function does when it is called with certain arguments.
#[derive(Debug, Default)]
pub(super) struct Instance {
    pub(super) facts: Facts,
    /// What its (first) result may come from.
    pub(super) returns: Vec<Operand>,
    /// Columns of the rows that it returns, by name.
    pub(super) columns: Vec<(String, Vec<Operand>)>,
}

/// An expression, and the relation that its columns are of.
type Text = (String, Option<u32>);

/// The functions and relations of a catalog, for texts that name them.
#[derive(Debug)]
pub struct Library<'c> {
    functions: HashMap<&'c str, Vec<&'c Function>>,
    relations: HashMap<&'c str, Vec<&'c Relation>>,
    /// What was read already: by function and arguments.
    known: RefCell<HashMap<(u32, String), Rc<Instance>>>,
    open: RefCell<Vec<u32>>,
    /// Expressions that were read already: by text and relation.
    expressions: RefCell<HashMap<Text, Rc<Facts>>>,
}

impl<'c> Library<'c> {
    /// The library of a catalog.
    pub fn new(catalog: &'c Catalog) -> Self {
        let mut functions: HashMap<&str, Vec<&Function>> = HashMap::new();
        for function in &catalog.functions {
            functions.entry(&function.name.name).or_default().push(function);
        }
        let mut relations: HashMap<&str, Vec<&Relation>> = HashMap::new();
        for relation in &catalog.relations {
            relations.entry(&relation.name.name).or_default().push(relation);
        }
        Self {
            functions,
            relations,
            known: RefCell::default(),
            open: RefCell::default(),
            expressions: RefCell::default(),
        }
    }

    /// Facts of an expression; unqualified columns are of `relation`. What functions of the schema do is part of it.
    pub fn of_expression(&self, text: &str, relation: Option<&Relation>) -> Rc<Facts> {
        let key = (text.to_owned(), relation.map(|r| r.oid));
        if let Some(known) = self.expressions.borrow().get(&key) {
            return Rc::clone(known);
        }
        let facts = Rc::new(self.read(&format!("SELECT {text}"), relation));
        self.expressions.borrow_mut().insert(key, Rc::clone(&facts));
        facts
    }

    /// Facts of one or more statements.
    pub fn of_query(&self, text: &str) -> Facts {
        self.read(text, None)
    }

    /// Facts of a function's body, whatever it is called with.
    pub fn of_function(&self, function: &Function) -> Facts {
        self.instantiate(function, &[]).facts.clone()
    }

    /// What an expression's value comes from.
    pub fn values_of(&self, text: &str, relation: Option<&Relation>) -> Vec<Operand> {
        let reader = Reader::new(Some(self), relation, Env::default());
        let root = parse(&format!("SELECT {text}"));
        let first = super::scope::targets(&root).into_iter().next();
        first
            .and_then(|t| t.children().next())
            .map(|expression| reader.values(&expression))
            .unwrap_or_default()
    }

    fn read(&self, text: &str, relation: Option<&Relation>) -> Facts {
        let mut reader = Reader::new(Some(self), relation, Env::default());
        reader.read(&parse(text));
        reader.facts
    }

    /// The relation of this name as written, with or without schema.
    pub(super) fn relation(&self, written: &str, schemas: &[String]) -> Option<&'c Relation> {
        let (schema, name) = match written.rsplit_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, written),
        };
        let all = self.relations.get(name)?;
        let of = |wanted: &str| all.iter().find(|r| r.name.schema == wanted).copied();
        match schema {
            Some(schema) => of(schema),
            None => schemas.iter().find_map(|s| of(s)).or_else(|| all.first().copied()),
        }
    }

    pub(super) fn knows(&self, call: &Named) -> bool {
        self.functions.contains_key(call.name.as_str())
    }

    /// What a call does.
    pub(super) fn call(
        &self,
        call: &Named,
        given: &[(Option<String>, Vec<Operand>)],
        schemas: &[String],
    ) -> Option<Rc<Instance>> {
        let all = self.functions.get(call.name.as_str())?;
        let fits = |f: &&&Function| {
            call.schema.as_ref().is_none_or(|s| f.name.schema == *s) && !f.is_trigger() && f.language != "internal"
        };
        let takes = |f: &&&Function| f.arguments.len() >= given.len() || f.is_variadic;
        let near = |f: &&&Function| schemas.contains(&f.name.schema);
        let candidates = || all.iter().filter(fits);
        let function = candidates()
            .find(|f| f.arguments.len() == given.len() && near(f))
            .or_else(|| candidates().find(|f| f.arguments.len() == given.len()))
            .or_else(|| candidates().find(takes))
            .or_else(|| candidates().next())?;
        Some(self.instantiate(function, given))
    }

    fn instantiate(&self, function: &Function, given: &[(Option<String>, Vec<Operand>)]) -> Rc<Instance> {
        let key = (function.oid, format!("{given:?}"));
        if let Some(known) = self.known.borrow().get(&key) {
            return Rc::clone(known);
        }
        if self.open.borrow().contains(&function.oid) || self.open.borrow().len() >= DEEPEST {
            return Rc::default();
        }
        self.open.borrow_mut().push(function.oid);
        let instance = Rc::new(self.read_body(function, bind(function, given)));
        self.open.borrow_mut().pop();
        self.known.borrow_mut().insert(key, Rc::clone(&instance));
        instance
    }

    fn read_body(&self, function: &Function, env: Env) -> Instance {
        let mut reader = Reader::new(Some(self), None, env);
        let mut instance = Instance::default();
        let body = function.body.trim();
        let standard = body.get(..6).is_some_and(|w| w.eq_ignore_ascii_case("RETURN"));
        if function.language == "sql" && standard {
            read_query(&mut reader, &format!("SELECT {}", &body[6..]), true, &mut instance);
        } else if function.language == "sql" && !body.to_uppercase().starts_with("BEGIN") {
            read_query(&mut reader, body, true, &mut instance);
        } else {
            for piece in plpgsql::split(body) {
                read_piece(&mut reader, piece, function.language == "sql", &mut instance);
            }
        }
        instance.facts = std::mem::take(&mut reader.facts);
        instance
    }
}

/// Parameters by name and number.
fn bind(function: &Function, given: &[(Option<String>, Vec<Operand>)]) -> Env {
    let mut env = Env {
        function: Some(function.name.name.clone()),
        schemas: search_path(function),
        ..Env::default()
    };
    for (at, argument) in function.arguments.iter().enumerate() {
        let is_rest = function.is_variadic && at + 1 == function.arguments.len();
        let by_name = given.iter().find(|(n, _)| n.is_some() && *n == argument.name);
        let values = match by_name {
            Some((_, values)) => values.clone(),
            None if is_rest => rest(given.get(at..).unwrap_or_default()),
            None => given
                .get(at)
                .filter(|(n, _)| n.is_none())
                .map(|(_, v)| v.clone())
                .unwrap_or_default(),
        };
        let values = if values.is_empty() {
            vec![Operand::other("a parameter")]
        } else {
            values
        };
        env.values.insert(format!("${}", at + 1), values.clone());
        if let Some(name) = &argument.name {
            env.values.insert(name.clone(), values);
        }
        // A parameter of a table's row type.
        if let Some(name) = &argument.name
            && argument.category == "C"
        {
            env.records.insert(name.clone(), argument.type_name.clone());
        }
    }
    env
}

/// What VARIADIC makes one array of.
fn rest(given: &[(Option<String>, Vec<Operand>)]) -> Vec<Operand> {
    let all: Vec<&Operand> = given.iter().flat_map(|(_, v)| v).collect();
    let literals: Option<Vec<String>> = all
        .iter()
        .map(|o| match &o.kind {
            OperandKind::Literal(text) => Some(vec![text.clone()]),
            OperandKind::Literals(texts) => Some(texts.clone()),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .map(|all| all.concat());
    match literals {
        Some(texts) => vec![Operand::plain(OperandKind::Literals(texts))],
        None => all.into_iter().cloned().collect(),
    }
}

/// Schemas in which a function's names are looked for.
fn search_path(function: &Function) -> Vec<String> {
    let set = function.settings.iter().find_map(|s| s.strip_prefix("search_path="));
    let mut schemas: Vec<String> = set
        .unwrap_or_default()
        .split(',')
        .map(|s| s.trim().trim_matches('"').to_owned())
        .filter(|s| !s.is_empty())
        .collect();
    schemas.push("public".to_owned());
    schemas.push(function.name.schema.clone());
    schemas
}

/// Reads statements; the last one's rows are returned, where `is_returned`.
fn read_query(reader: &mut Reader<'_>, text: &str, is_returned: bool, instance: &mut Instance) {
    let root = parse(text);
    reader.read(&root);
    if !is_returned {
        return;
    }
    let Some(last) = root.children().last() else { return };
    let columns = reader.targets_by_name(&last);
    if let Some((_, first)) = columns.first() {
        add(&mut instance.returns, first);
    }
    for (name, values) in columns {
        if !name.is_empty() {
            instance.columns.push((name, values));
        }
    }
}

fn read_piece(reader: &mut Reader<'_>, piece: Piece, is_sql: bool, instance: &mut Instance) {
    match piece {
        Piece::Query(text) => read_query(reader, &text, is_sql, instance),
        Piece::Value(text) => read_query(reader, &format!("SELECT {text}"), false, instance),
        Piece::ReturnQuery(text) => read_query(reader, &text, true, instance),
        Piece::Return(text) => {
            read_query(reader, &format!("SELECT {text}"), true, instance);
            // A row variable: its columns are those of the relation.
        }
        Piece::Assign { target, value } => {
            let root = parse(&format!("SELECT {value}"));
            reader.read(&root);
            let expression = super::scope::targets(&root).into_iter().next();
            if let Some(expression) = expression.and_then(|t| t.children().next()) {
                reader.assign(&target, &expression);
            }
        }
        Piece::Into { targets, query } => {
            let root = parse(&query);
            reader.read(&root);
            let columns = reader.targets_by_name(&root);
            if let ([only], Some(relation)) = (targets.as_slice(), reader.first_relation(&root)) {
                reader.env.records.insert(only.clone(), relation);
            }
            for (target, (_, values)) in targets.into_iter().zip(columns) {
                if !target.contains('.') {
                    reader.bind(&target, values);
                }
            }
        }
        Piece::Execute {
            text,
            using,
            is_returned,
        } => {
            let root = parse(&format!("SELECT {text}"));
            reader.read(&root);
            let expression = super::scope::targets(&root).into_iter().next();
            let made = expression.and_then(|t| reader.dynamic_text(&t.children().next()?));
            let Some(made) = made else { return };
            let mut inner = Reader::new(reader.library, None, reader.env.clone());
            if let Some(using) = using {
                let list = parse(&format!("SELECT {using}"));
                for (at, (_, values)) in reader.targets_by_name(&list).into_iter().enumerate() {
                    inner.env.values.insert(format!("${}", at + 1), values);
                }
            }
            read_query(&mut inner, &made, is_returned, instance);
            reader.facts.absorb(inner.facts);
        }
    }
}

fn add(all: &mut Vec<Operand>, more: &[Operand]) {
    for operand in more {
        if !all.contains(operand) {
            all.push(operand.clone());
        }
    }
}

/// Facts of a plpgsql body of its own.
pub(super) fn of_body(body: &str) -> Facts {
    let mut reader = Reader::new(None, None, Env::default());
    let mut instance = Instance::default();
    for piece in plpgsql::split(body) {
        read_piece(&mut reader, piece, false, &mut instance);
    }
    reader.facts
}
