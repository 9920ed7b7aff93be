//! What a finding is about.

use std::collections::BTreeSet;

use crate::model::{Catalog, Command, Function, FunctionKind, ObjectType, Relation, RelationKind};

/// The type of object a relation is.
pub fn type_of(relation: &Relation) -> ObjectType {
    match relation.kind {
        RelationKind::Table | RelationKind::PartitionedTable => ObjectType::Table,
        RelationKind::View => ObjectType::View,
        RelationKind::MaterializedView => ObjectType::MaterializedView,
        RelationKind::ForeignTable => ObjectType::ForeignTable,
        RelationKind::Sequence => ObjectType::Sequence,
    }
}

/// The type of object a function is.
fn type_of_function(function: &Function) -> ObjectType {
    match function.kind {
        FunctionKind::Procedure => ObjectType::Procedure,
        FunctionKind::Function | FunctionKind::Aggregate | FunctionKind::Window => ObjectType::Function,
    }
}

/// What a finding is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Identity.
    pub object: String,
    /// Type.
    pub object_type: ObjectType,
    /// The object that the statement named, where that is another.
    pub route: Option<(String, ObjectType, Command)>,
}

impl Subject {
    /// A relation.
    pub fn of(relation: &Relation) -> Self {
        Self {
            object: relation.name.to_string(),
            object_type: type_of(relation),
            route: None,
        }
    }

    /// A function.
    pub fn of_function(function: &Function) -> Self {
        Self {
            object: function.identity(),
            object_type: type_of_function(function),
            route: None,
        }
    }
}

/// Whether a body, or the body of a function that it calls, names something.
pub(super) fn mentions(catalog: &Catalog, body: &str, name: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map(str::to_owned)
            .collect()
    };
    let mut waiting = words(body);
    let mut seen = BTreeSet::new();
    while let Some(word) = waiting.pop() {
        if word == name {
            return true;
        }
        if seen.insert(word.clone()) {
            waiting.extend(catalog.find_functions(None, &word).flat_map(|f| words(&f.body)));
        }
    }
    false
}
