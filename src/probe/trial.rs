//! One session against one pair of universes: who owns which row, and what is attributed to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::binding::Binding;
use super::observe::{Query, Seen};
use super::scenery::Scenery;
use super::state::{Change, RowId, State};
use crate::model::catalog::Privileges;
use crate::model::{Catalog, ContextState, Relation, Session};
use crate::sql::quote;
use crate::world::grow::{Values, Variant, key_condition};
use crate::world::{Class, Classes, Form, GrownRow, Universe};

/// Whose a row is, by the worlds it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// In world 0 and not before: the attacker's.
    Own,
    /// In world 1 and not in world 0: the victim's.
    Foreign,
    /// There before either: seeded by the schema, shared, or a base tenant's.
    Common,
}

/// The universes of a pair and the worlds they make.
#[derive(Debug, Clone, Default)]
pub struct Worlds {
    /// Before either universe.
    pub base: State,
    /// With A.
    pub zero: State,
    /// With A and B.
    pub one: State,
}

/// Everything that a probe of one session needs to know.
#[derive(Debug)]
pub struct Trial<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// What columns mean.
    pub classes: &'a Classes,
    /// The session.
    pub session: &'a Session,
    /// What its role may do.
    pub privileges: &'a Privileges,
    /// Rows that belong to neither.
    pub common: &'a Universe,
    /// The attacker.
    pub a: &'a Universe,
    /// The victim.
    pub b: &'a Universe,
    /// The worlds.
    pub worlds: &'a Worlds,
    /// What it reads.
    pub queries: &'a [Query],
    own: BTreeMap<u32, BTreeSet<RowId>>,
    foreign: BTreeMap<u32, BTreeSet<RowId>>,
    scenery: OnceLock<Arc<Scenery>>,
}

impl<'a> Trial<'a> {
    /// Prepares the ownership of rows.
    #[expect(clippy::too_many_arguments, reason = "what a trial is made of")]
    pub fn new(
        catalog: &'a Catalog,
        classes: &'a Classes,
        session: &'a Session,
        privileges: &'a Privileges,
        common: &'a Universe,
        a: &'a Universe,
        b: &'a Universe,
        worlds: &'a Worlds,
        queries: &'a [Query],
    ) -> Self {
        let own = worlds.zero.since(&worlds.base);
        let foreign = worlds.one.since(&worlds.zero);
        Self {
            catalog,
            classes,
            session,
            privileges,
            common,
            a,
            b,
            worlds,
            queries,
            own,
            foreign,
            scenery: OnceLock::new(),
        }
    }

    /// The universes as evidence scripts make them.
    pub fn scenery(&self) -> Arc<Scenery> {
        let make = || {
            let universes = [self.common, self.a, self.b];
            Arc::new(Scenery::of(universes, self.classes.reach().clone()))
        };
        self.scenery.get_or_init(make).clone()
    }

    /// A's request in a context state.
    pub fn as_a(&self, state: ContextState) -> Binding {
        Binding::new(self.session, &self.a.keys, state)
    }

    /// B's request.
    pub fn as_b(&self) -> Binding {
        Binding::new(self.session, &self.b.keys, ContextState::Bound)
    }

    /// A's user asking for B's tenant, where a session names both: what a membership would open.
    pub fn as_intruder(&self) -> Option<Binding> {
        let names = |token: &str| self.session.settings.values().any(|t| t.contains(token));
        if !names("{tenant}") || !(names("{user}") || names("{email}")) {
            return None;
        }
        let keys = crate::world::Keys {
            tenant: self.b.keys.tenant.clone(),
            ..self.a.keys.clone()
        };
        Some(Binding::new(self.session, &keys, ContextState::Bound))
    }

    /// Whose a row of world 1 is.
    pub fn owner(&self, table: u32, id: &RowId) -> Owner {
        let has = |sets: &BTreeMap<u32, BTreeSet<RowId>>| sets.get(&table).is_some_and(|s| s.contains(id));
        if has(&self.own) {
            Owner::Own
        } else if has(&self.foreign) {
            Owner::Foreign
        } else {
            Owner::Common
        }
    }

    /// Whether the changes take away or alter a row of this owner.
    pub fn hits(&self, changes: &[Change], owner: Owner) -> Vec<Change> {
        changes
            .iter()
            .filter(|c| !c.is_new && self.owner(c.relation, &c.id) == owner)
            .cloned()
            .collect()
    }

    /// Whether two changes are of one row, by its primary key.
    pub fn is_same_row(&self, old: &Change, new: &Change) -> bool {
        let Some(table) = self
            .catalog
            .relation(old.relation)
            .filter(|_| old.relation == new.relation)
        else {
            return false;
        };
        let Some(key) = table.primary_key() else { return false };
        let at = |name: &String| table.columns.iter().position(|c| c.name == *name);
        key.columns
            .iter()
            .filter_map(at)
            .all(|at| old.row.get(at) == new.row.get(at))
    }

    /// New rows that carry another tenant's key and not A's.
    pub fn planted(&self, changes: &[Change]) -> Vec<Change> {
        let foreign_keys = [&self.b.keys.tenant, &self.common.keys.tenant];
        changes
            .iter()
            .filter(|c| c.is_new)
            .filter(|c| {
                let Some(table) = self.catalog.relation(c.relation) else {
                    return false;
                };
                let tenants = self.tenant_values(table, &c.row);
                !self.asks_to_belong(c)
                    && !tenants.is_empty()
                    && !tenants.contains(&self.a.keys.tenant)
                    && tenants.iter().any(|t| foreign_keys.contains(&t))
            })
            .cloned()
            .collect()
    }

    /// Whether TRUNCATE of a relation counts: an API that makes the statements never sends it, so that only a privilege that
    /// most tables beside it do not give says that somebody meant it.
    pub fn may_truncate(&self, relation: &Relation) -> bool {
        if self.session.can_truncate() {
            return true;
        }
        let beside = self
            .catalog
            .tables()
            .filter(|t| t.name.schema == relation.name.schema)
            .filter_map(|t| self.privileges.relations.get(&t.oid));
        let (given, kept): (Vec<_>, Vec<_>) = beside.partition(|p| p.truncate);
        given.len() <= kept.len()
    }

    /// Whether the session's role is a member of another, to any depth.
    pub fn is_member(&self, of: &str) -> bool {
        self.catalog.is_member(&self.as_a(ContextState::Bound).role, of)
    }

    /// Whether a changed row carries a tenant's key.
    pub fn is_tenant_row(&self, change: &Change) -> bool {
        self.catalog
            .relation(change.relation)
            .is_some_and(|t| !self.tenant_values(t, &change.row).is_empty())
    }

    /// Values of the tenant columns of a row.
    pub fn tenant_values(&self, table: &Relation, row: &[Option<String>]) -> Vec<String> {
        table
            .columns
            .iter()
            .zip(row)
            .filter(|(c, _)| self.classes.class(table.oid, &c.name) == Some((Class::Tenant, Form::Whole)))
            .filter_map(|(_, v)| v.clone())
            .collect()
    }

    /// Whether a row is a membership of A's own user: no harm in itself, what it opens is looked at.
    pub fn asks_to_belong(&self, change: &Change) -> bool {
        self.catalog
            .relation(change.relation)
            .is_some_and(|t| self.classes.is_membership(t) && self.names_user_of_a(t, &change.row))
    }

    fn names_user_of_a(&self, table: &Relation, row: &[Option<String>]) -> bool {
        table.columns.iter().zip(row).any(|(c, v)| {
            self.classes
                .class(table.oid, &c.name)
                .is_some_and(|(class, _)| class == Class::User)
                && v.as_deref() == Some(self.a.keys.user.as_str())
        })
    }

    /// Whether some column says plainly which tenant a row belongs to.
    pub fn says_tenant(&self, table: &Relation) -> bool {
        table
            .columns
            .iter()
            .any(|c| c.category != "A" && self.classes.class(table.oid, &c.name) == Some((Class::Tenant, Form::Whole)))
    }

    /// Of the rows that a session saw of a relation, those that are B's. For a table by what the row holds; elsewhere by
    /// B's canary.
    pub fn foreign_among<'r>(
        &self,
        relation: &Relation,
        seen: &[&'r Vec<Option<String>>],
    ) -> Vec<&'r Vec<Option<String>>> {
        if relation.kind.holds_rows() {
            let foreign: BTreeSet<Vec<Option<String>>> = self
                .foreign_projected(relation)
                .into_iter()
                .map(|(_, row)| row)
                .collect();
            seen.iter().filter(|row| foreign.contains(**row)).copied().collect()
        } else {
            seen.iter().filter(|row| self.has_canary(row)).copied().collect()
        }
    }

    /// Whether a row holds text that only B's universe has.
    pub fn has_canary(&self, row: &[Option<String>]) -> bool {
        let needles = [self.b.keys.canary.as_str(), self.b.keys.user.as_str()];
        row.iter()
            .flatten()
            .any(|v| needles.iter().any(|n| v.contains(n)) || *v == self.b.keys.tenant)
    }

    /// Whether a row holds a text that B's rows hold, beyond what a statement names.
    pub fn has_stored_value(&self, row: &[Option<String>], statement: &str) -> bool {
        let canary = &self.b.keys.canary;
        row.iter()
            .flatten()
            .filter(|v| v.contains(canary.as_str()) && !statement.contains(v.as_str()))
            .any(|v| {
                self.b
                    .rows
                    .iter()
                    .any(|r| r.values.values().flatten().any(|stored| stored == v))
            })
    }

    /// A text of B's rows that a message holds, beyond what the statement named.
    pub fn stored_value_in(&self, message: &str, statement: &str) -> Option<&'a str> {
        let canary = self.b.keys.canary.as_str();
        let b: &'a Universe = self.b;
        b.rows
            .iter()
            .flat_map(|r| r.values.values().flatten())
            .map(String::as_str)
            .find(|v| v.contains(canary) && message.contains(v) && !statement.contains(v))
    }

    /// B's rows of a table (a partition's through its own name) as the session would see them.
    fn foreign_projected(&self, relation: &Relation) -> Vec<(RowId, Vec<Option<String>>)> {
        let Some(privileges) = self.privileges.relations.get(&relation.oid) else {
            return Vec::new();
        };
        let holder = self.holder(relation);
        let places: Vec<Option<usize>> = privileges
            .select
            .iter()
            .map(|name| holder.columns.iter().position(|c| c.name == *name))
            .collect();
        let tables: Vec<u32> = std::iter::once(holder.oid).chain(self.children(holder.oid)).collect();
        let mut rows = Vec::new();
        for table in tables {
            for id in self.foreign.get(&table).into_iter().flatten() {
                if let Some(row) = self.worlds.one.row(table, id) {
                    rows.push((
                        id.clone(),
                        places
                            .iter()
                            .map(|at| at.and_then(|at| row.get(at).cloned().flatten()))
                            .collect(),
                    ));
                }
            }
        }
        rows
    }

    /// Children by inheritance, whose rows show in the parent.
    fn children(&self, oid: u32) -> Vec<u32> {
        let children = self.catalog.children(oid);
        children
            .filter(|t| t.kind.holds_rows() && !t.is_partition)
            .map(|t| t.oid)
            .collect()
    }

    /// The table that stores a relation's rows in a [`State`]: the topmost parent of a partition.
    pub fn holder(&self, relation: &'a Relation) -> &'a Relation {
        let mut holder = relation;
        while holder.is_partition {
            match holder.parents.first().and_then(|p| self.catalog.relation(*p)) {
                Some(parent) => holder = parent,
                None => break,
            }
        }
        holder
    }

    /// [`Self::holder`] by object id.
    pub fn holder_oid(&self, relation: &Relation) -> u32 {
        self.catalog
            .relation(relation.oid)
            .map_or(relation.oid, |r| self.holder(r).oid)
    }

    /// The grown row of B that these values are, where the table is known.
    pub fn grown_row(&self, relation: &Relation, seen: &[Option<String>]) -> Option<&'a GrownRow> {
        let privileges = self.privileges.relations.get(&relation.oid)?;
        let holder = self.holder(self.catalog.relation(relation.oid)?);
        self.b.rows_of(holder.oid).find(|row| {
            privileges
                .select
                .iter()
                .zip(seen)
                .all(|(name, value)| row.values.get(name).is_none_or(|v| v == value))
        })
    }

    /// Why a row of B may be seen by everybody: it is in a state whose name says so.
    pub fn shared_by_state(&self, row: &GrownRow) -> Option<String> {
        let (column, value) = match &row.variant {
            Variant::State { column, value } => (column, value),
            Variant::Closed { .. } => return Some("shared by design: rows that name the session itself".to_owned()),
            Variant::Base | Variant::Leaf | Variant::Parent | Variant::Candidate => return None,
        };
        let name = column.to_lowercase();
        let value = value.as_deref().unwrap_or("");
        let says = |word: &str| name.contains(word);
        let published = ["public", "published", "is_template", "global", "shared"]
            .iter()
            .any(|w| says(w))
            && matches!(value, "true" | "t");
        let visibility =
            ["public", "published", "everyone", "world", "shared", "global"].contains(&value.to_lowercase().as_str());
        let published_at = (says("published") || says("public_at")) && !value.is_empty() && value != "false";
        (published || visibility || published_at).then(|| format!("shared by design: rows with {column} = {value}"))
    }

    /// Statements that take away B's rows which are public by a state that a function asks for.
    pub fn unpublish(&self, function: &crate::model::Function) -> Vec<String> {
        let is_asked = |row: &&GrownRow| match &row.variant {
            Variant::State { column, .. } => function.body.contains(column.as_str()),
            _ => false,
        };
        let place = |row: &GrownRow| {
            let table = self.catalog.relation(row.relation)?;
            let place = key_condition(table.primary_key()?, row)?;
            Some(format!("DELETE FROM {} WHERE {place}", table.name))
        };
        self.b
            .rows
            .iter()
            .filter(is_asked)
            .filter(|r| self.shared_by_state(r).is_some())
            .filter_map(place)
            .collect()
    }

    /// Whether a row carries no tenant at all.
    pub fn is_unowned(&self, row: &GrownRow) -> bool {
        match &row.variant {
            Variant::State { column, value: None } => self
                .classes
                .class(row.relation, column)
                .is_some_and(|(c, _)| c == Class::Tenant),
            Variant::State { .. }
            | Variant::Closed { .. }
            | Variant::Base
            | Variant::Leaf
            | Variant::Parent
            | Variant::Candidate => false,
        }
    }

    /// The candidate of a universe for a table, limited to columns that the session may give.
    pub fn candidate(&self, universe: &Universe, table: &Relation, columns: &[String]) -> Option<Values> {
        let values = universe.candidates.get(&table.oid)?;
        Some(
            values
                .iter()
                .filter(|(name, _)| columns.contains(name))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        )
    }

    /// Relations whose rows decide what others show: policies read them.
    pub fn decides_access(&self, relation: u32) -> bool {
        self.classes.is_authority(relation)
    }

    /// `SELECT 1`-like text that names a relation's own rows as the session sees them, for positive controls.
    pub fn control_query(&self, seen: &BTreeMap<u32, Seen>, faulty: u32) -> Option<String> {
        let sees = |oid: &u32| seen.get(oid).is_some_and(|s| !s.rows().is_empty());
        // Another table than the faulty one: what mends that may take it out of reach.
        let tables = self
            .queries
            .iter()
            .map(|q| q.relation)
            .filter(|oid| self.catalog.relation(*oid).is_some_and(|r| r.kind.holds_rows()));
        let oid = tables
            .filter(|oid| *oid != faulty)
            .chain(std::iter::once(faulty))
            .chain(self.queries.iter().map(|q| q.relation))
            .find(sees)?;
        let relation = self.catalog.relation(oid)?;
        let columns = &self.privileges.relations.get(&oid)?.select;
        let column = columns.first()?;
        Some(format!(
            "SELECT pg_catalog.count({})::text FROM {}",
            if relation.kind.holds_rows() {
                quote::ident(column)
            } else {
                "*".to_owned()
            },
            relation.name
        ))
    }
}
