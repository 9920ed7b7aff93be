//! What a role may do in effect, as the server computes it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What one role may do, as the server computes it (`has_*_privilege`): the effect of grants, membership and ownership.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Privileges {
    /// By relation.
    pub relations: BTreeMap<u32, RelationPrivileges>,
    /// Functions it may execute.
    pub functions: Vec<u32>,
    /// Schemas it may create objects in.
    #[serde(default)]
    pub create_in: Vec<String>,
    /// Whether it may read files of the server.
    #[serde(default)]
    pub server_files: bool,
    /// Whether it may run programs on the server.
    #[serde(default)]
    pub server_programs: bool,
}

/// Effective privileges on one relation.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RelationPrivileges {
    /// Columns that may be read.
    pub select: Vec<String>,
    /// Columns that may be given in INSERT.
    pub insert: Vec<String>,
    /// Columns that may be updated.
    pub update: Vec<String>,
    /// DELETE.
    pub delete: bool,
    /// TRUNCATE.
    pub truncate: bool,
    /// TRIGGER.
    #[serde(default)]
    pub trigger: bool,
    /// USAGE or UPDATE of a sequence.
    pub usage: bool,
}
