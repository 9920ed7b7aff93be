//! What the system catalog says, as values. Deserialised from the JSON rows that `introspect`'s queries return.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::command::Command;
use super::function::Function;
use super::lookup::Lookup;
pub use super::privileges::{Privileges, RelationPrivileges};
use super::types::TypeFacts;
use crate::sql::quote;

/// Everything that was read of one database.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// All roles but PostgreSQL's own (`pg_*`).
    pub roles: Vec<Role>,
    /// Relations of non-system schemas, by schema and name.
    pub relations: Vec<Relation>,
    /// Functions and procedures of non-system schemas that belong to no extension.
    pub functions: Vec<Function>,
    /// Settings attached to databases and roles (`pg_db_role_setting`).
    pub default_settings: Vec<DefaultSetting>,
    /// Non-system schemas that belong to no extension, by name.
    pub schemas: Vec<Schema>,
    /// What objects to come will be granted (`pg_default_acl`).
    pub default_privileges: Vec<DefaultPrivilege>,
    /// Publications, by name.
    pub publications: Vec<Publication>,
    /// Where relations and functions are, by id and name.
    pub lookup: Lookup,
    /// Types of non-system schemas that are made of others.
    pub types: Vec<TypeFacts>,
}

impl Catalog {
    /// The relation with this object id.
    pub fn relation(&self, oid: u32) -> Option<&Relation> {
        self.lookup.relation(self, oid).map(|at| &self.relations[at])
    }

    /// Direct children by inheritance, and partitions.
    pub fn children(&self, oid: u32) -> impl Iterator<Item = &Relation> {
        let found = self.lookup.children(self, oid).into_iter();
        found.map(|at| &self.relations[at])
    }

    /// Relations with a foreign key to this one, itself included where it refers to itself.
    pub fn referrers(&self, oid: u32) -> impl Iterator<Item = &Relation> {
        let found = self.lookup.referrers(self, oid).into_iter();
        found.map(|at| &self.relations[at])
    }

    /// The relation of this name; without a schema the first of that name is meant.
    pub fn find_relation(&self, schema: Option<&str>, name: &str) -> Option<&Relation> {
        let mut found = self.lookup.named(self, name).into_iter().map(|at| &self.relations[at]);
        found.find(|r| schema.is_none_or(|s| r.name.schema == s))
    }

    /// Functions of this name; without a schema those of any schema.
    pub fn find_functions<'c, 's>(
        &'c self,
        schema: Option<&'s str>,
        name: &str,
    ) -> impl Iterator<Item = &'c Function> + use<'c, 's> {
        let found = self
            .lookup
            .functions(self, name)
            .into_iter()
            .map(|at| &self.functions[at]);
        found.filter(move |f| schema.is_none_or(|s| f.name.schema == s))
    }

    /// The role of this name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|r| r.name == name)
    }

    /// Tables, partitions included: what holds rows of its own or through partitions.
    pub fn tables(&self) -> impl Iterator<Item = &Relation> {
        self.relations.iter().filter(|r| r.kind.holds_rows())
    }

    /// Number of policies over all relations.
    pub fn policy_count(&self) -> usize {
        self.relations.iter().map(|r| r.policies.len()).sum()
    }
}

/// A schema-qualified name, printed as PostgreSQL identifies it (quoted where needed).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct QualifiedName {
    /// The schema.
    pub schema: String,
    /// The object's own name.
    pub name: String,
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote::qualified(&self.schema, &self.name))
    }
}

/// A role and what it may do by attribute or membership.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// SUPERUSER.
    pub superuser: bool,
    /// BYPASSRLS.
    pub bypasses_row_security: bool,
    /// LOGIN.
    pub login: bool,
    /// INHERIT.
    pub inherit: bool,
    /// CREATEROLE.
    pub create_role: bool,
    /// CREATEDB.
    #[serde(default)]
    pub create_database: bool,
    /// REPLICATION.
    #[serde(default)]
    pub replication: bool,
    /// Whether it is the superuser that the server was made with, or the one that this connection logged in as: a role of
    /// the server, whatever it is called, not one of the schema.
    #[serde(default)]
    pub is_server_superuser: bool,
    /// The roles it is a direct member of.
    pub member_of: Vec<String>,
    /// The same with what each membership lets it do.
    #[serde(default)]
    pub memberships: Vec<Membership>,
}

/// A direct membership (`pg_auth_members`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// The role that the member is in.
    pub role: String,
    /// Whether its privileges hold without SET ROLE; before PostgreSQL 16 an attribute of the member.
    pub inherits: bool,
    /// Whether SET ROLE is allowed; before PostgreSQL 16 it always is.
    pub may_set_role: bool,
    /// ADMIN OPTION.
    pub is_admin: bool,
}

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Grants, one entry a grantee.
    pub grants: Vec<Grant>,
}

/// The objects that a default privilege is for (`defaclobjtype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum DefaultObject {
    /// Tables, views and foreign tables.
    #[serde(rename = "r")]
    Tables,
    /// Sequences.
    #[serde(rename = "S")]
    Sequences,
    /// Functions and procedures.
    #[serde(rename = "f")]
    Functions,
    /// Types.
    #[serde(rename = "T")]
    Types,
    /// Schemas.
    #[serde(rename = "n")]
    Schemas,
    /// Large objects, since PostgreSQL 18.
    #[serde(rename = "L")]
    LargeObjects,
}

/// What ALTER DEFAULT PRIVILEGES left behind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DefaultPrivilege {
    /// The role whose objects it is for.
    pub role: String,
    /// The schema in which it adds to the defaults; without one it replaces PostgreSQL's own.
    pub schema: Option<String>,
    /// The objects.
    pub objects: DefaultObject,
    /// Grants to others than the role itself.
    pub grants: Vec<Grant>,
}

/// A publication: rows leave by it without regard to policies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Publication {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// FOR ALL TABLES.
    pub all_tables: bool,
    /// Schemas published as a whole.
    pub schemas: Vec<String>,
    /// Tables named one by one.
    pub tables: Vec<PublishedTable>,
    /// What is published: `insert`, `update`, `delete`, `truncate`.
    pub operations: Vec<String>,
}

/// A table of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PublishedTable {
    /// Its name.
    #[serde(flatten)]
    pub name: QualifiedName,
    /// The published columns; empty for all.
    pub columns: Vec<String>,
    /// Row filter.
    pub filter: Option<String>,
}

/// A setting attached to a database or role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DefaultSetting {
    /// The role, where it is limited to one.
    pub role: Option<String>,
    /// `name=value` entries.
    pub settings: Vec<String>,
}

/// What kind of relation it is (`pg_class.relkind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelationKind {
    /// Ordinary table.
    #[serde(rename = "r")]
    Table,
    /// Partitioned table.
    #[serde(rename = "p")]
    PartitionedTable,
    /// View.
    #[serde(rename = "v")]
    View,
    /// Materialized view.
    #[serde(rename = "m")]
    MaterializedView,
    /// Foreign table.
    #[serde(rename = "f")]
    ForeignTable,
    /// Sequence.
    #[serde(rename = "S")]
    Sequence,
}

impl RelationKind {
    /// Whether rows are stored in it or in its partitions.
    pub fn holds_rows(self) -> bool {
        match self {
            Self::Table | Self::PartitionedTable => true,
            Self::View | Self::MaterializedView | Self::ForeignTable | Self::Sequence => false,
        }
    }
}

/// Row security of a table (`relrowsecurity`, `relforcerowsecurity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowSecurity {
    /// Policies are not applied.
    Disabled,
    /// Policies apply to all but the owner and bypassing roles.
    Enabled,
    /// Policies apply to the owner, too.
    Forced,
}

/// A relation with all that decides who reaches its rows.
#[derive(Debug, Clone, Deserialize)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its name.
    #[serde(flatten)]
    pub name: QualifiedName,
    /// Its kind.
    pub kind: RelationKind,
    /// Its owner.
    pub owner: String,
    /// Row security.
    pub row_security: RowSecurity,
    /// Columns in order, without dropped ones.
    pub columns: Vec<Column>,
    /// Primary key, unique constraints, unique indexes and exclusion constraints.
    pub keys: Vec<UniqueKey>,
    /// Foreign keys of this table.
    pub foreign_keys: Vec<ForeignKey>,
    /// CHECK constraints.
    pub checks: Vec<Check>,
    /// Policies by name.
    pub policies: Vec<Policy>,
    /// `reloptions`, such as `security_invoker=true`.
    pub options: Vec<String>,
    /// Grants, one entry a grantee.
    pub grants: Vec<Grant>,
    /// Definition of a view or materialized view.
    pub definition: Option<String>,
    /// Parents by inheritance or partitioning.
    pub parents: Vec<u32>,
    /// Whether it is a partition.
    pub is_partition: bool,
    /// Partition bound as `pg_get_expr` prints it.
    pub partition_bound: Option<String>,
    /// What rows of a partition fulfil, its ancestors' bounds included (`pg_get_partition_constraintdef`).
    #[serde(default)]
    pub partition_constraint: Option<String>,
    /// Partition key as `pg_get_partkeydef` prints it.
    pub partition_key: Option<String>,
    /// Relations that a view or materialized view reads (by its rules).
    pub reads: Vec<u32>,
    /// User triggers: `pg_get_triggerdef` text, by name.
    pub triggers: Vec<String>,
    /// Triggers that do not fire as usual.
    #[serde(default)]
    pub trigger_states: Vec<TriggerState>,
    /// Rules (`pg_get_ruledef`) by name, a view's own left out.
    #[serde(default)]
    pub rules: Vec<String>,
    /// The server of a foreign table.
    #[serde(default)]
    pub foreign_server: Option<String>,
}

/// A trigger that does not fire as usual (`tgenabled`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TriggerState {
    /// The trigger's name.
    pub name: String,
    /// As ALTER TABLE says it: `DISABLE`, `ENABLE REPLICA`, `ENABLE ALWAYS`.
    pub state: String,
}

impl Relation {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Whether a view runs with the rights of who asks (`security_invoker`).
    pub fn is_security_invoker(&self) -> bool {
        self.is_on("security_invoker")
    }

    /// Whether a view is a `security_barrier`.
    pub fn is_security_barrier(&self) -> bool {
        self.is_on("security_barrier")
    }

    fn is_on(&self, option: &str) -> bool {
        self.options.iter().any(|o| {
            let set = o.strip_prefix(option).and_then(|rest| rest.strip_prefix('='));
            set.is_some_and(|v| matches!(v, "true" | "on" | "yes" | "1"))
        })
    }

    /// The primary key, if there is one.
    pub fn primary_key(&self) -> Option<&UniqueKey> {
        self.keys.iter().find(|k| k.is_primary)
    }
}

/// How a column's value is generated (`attgenerated`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generated {
    /// It is not.
    No,
    /// Stored or virtual generated column.
    Always,
}

/// Identity of a column (`attidentity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// No identity column.
    No,
    /// GENERATED BY DEFAULT AS IDENTITY.
    Default,
    /// GENERATED ALWAYS AS IDENTITY.
    Always,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as `format_type` prints it.
    pub type_name: String,
    /// The base type below domains, as `format_type` prints it without modifier.
    pub base_type: String,
    /// `typcategory` of the base type.
    pub category: String,
    /// Labels, where the base type is an enum.
    pub labels: Vec<String>,
    /// Text of the CHECK constraints of its domains.
    pub domain_checks: Vec<String>,
    /// The element type's name, where the base type is an array.
    pub element_type: Option<String>,
    /// NOT NULL, by column or domain.
    pub not_null: bool,
    /// Default expression.
    pub default: Option<String>,
    /// Whether it is generated.
    pub generated: Generated,
    /// Identity.
    pub identity: Identity,
    /// Maximal length of `varchar(n)`, `char(n)`, `bit(n)`.
    pub max_length: Option<u32>,
}

impl Column {
    /// Whether INSERT may name a value for it.
    pub fn is_insertable(&self) -> bool {
        self.generated == Generated::No && self.identity != Identity::Always
    }

    /// Whether its values come from a sequence.
    pub fn is_serial(&self) -> bool {
        self.identity != Identity::No || self.default.as_deref().is_some_and(|d| d.starts_with("nextval("))
    }
}

/// A primary key, unique constraint, unique index or exclusion constraint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct UniqueKey {
    /// Name of its index.
    pub name: String,
    /// Whether it is the primary key.
    pub is_primary: bool,
    /// Whether it is an exclusion constraint.
    pub is_exclusion: bool,
    /// Plain key columns; those that only an expression names are in `definition`.
    pub columns: Vec<String>,
    /// Whether a key part is an expression.
    pub has_expressions: bool,
    /// Whether it is partial.
    pub is_partial: bool,
    /// Index definition.
    pub definition: String,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// Columns here.
    pub columns: Vec<String>,
    /// The referenced table.
    pub references: u32,
    /// Columns there, in the same order.
    pub referenced_columns: Vec<String>,
    /// `confdeltype` as a word: `a` no action, `r` restrict, `c` cascade, `n` set null, `d` set default.
    pub on_delete: String,
    /// `confupdtype`, likewise.
    pub on_update: String,
    /// The columns that ON DELETE SET NULL or SET DEFAULT is limited to; empty for all.
    #[serde(default)]
    pub on_delete_columns: Vec<String>,
    /// Whether a key that is NULL in part is refused (MATCH FULL) rather than left unchecked.
    #[serde(default)]
    pub match_full: bool,
    /// NOT VALID or NOT ENFORCED: there may be rows that do not fit.
    #[serde(default)]
    pub is_unchecked: bool,
}

/// A CHECK constraint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Columns that it names.
    pub columns: Vec<String>,
    /// Expression, without `CHECK`.
    pub expression: String,
    /// NOT VALID or NOT ENFORCED: there may be rows that do not fit.
    #[serde(default)]
    pub is_unchecked: bool,
}

/// Privileges of one grantee on an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The role, or `PUBLIC`.
    pub grantee: String,
    /// Privilege words, `SELECT (a, b)` where limited to columns.
    pub privileges: Vec<String>,
}

/// The command a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PolicyCommand {
    /// FOR ALL.
    #[serde(rename = "*")]
    All,
    /// FOR SELECT.
    #[serde(rename = "r")]
    Select,
    /// FOR INSERT.
    #[serde(rename = "a")]
    Insert,
    /// FOR UPDATE.
    #[serde(rename = "w")]
    Update,
    /// FOR DELETE.
    #[serde(rename = "d")]
    Delete,
}

impl fmt::Display for PolicyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "ALL",
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        })
    }
}

/// How policies combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// OR'd together.
    Permissive,
    /// AND'd on top.
    Restrictive,
}

/// A row security policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its command.
    pub command: PolicyCommand,
    /// Permissive or restrictive.
    pub mode: PolicyMode,
    /// Roles it is for; `PUBLIC` for all.
    pub roles: Vec<String>,
    /// USING expression.
    pub using: Option<String>,
    /// WITH CHECK expression.
    pub check: Option<String>,
}
