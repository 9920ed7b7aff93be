//! What a session tries to write: inserts, updates, deletes, upserts and TRUNCATE, on foreign rows and on own rows that are
//! moved towards them. Only says what to try; `judge` says what it meant.

mod choose;
mod mention;
mod prepare;

use std::collections::BTreeSet;

use choose::{adopt, at_paths, echo, key_columns, named, settable, states};
use prepare::{
    all_but, clear_children, clear_circle, clear_own_children, ended_membership, in_turn, make_room, unchecked,
};

use super::attempt::Act;
use super::trial::Trial;
use crate::model::{Command, ForeignKey, Relation, UniqueKey};
use crate::sql::quote;
use crate::world::grow::{Values, insert_statement, key_condition};
use crate::world::{Class, GrownRow, Universe};

/// What an attempt is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The session's own work: the positive control.
    Own,
    /// A row that carries another tenant's key.
    Plant,
    /// All rows that the session can reach.
    All,
    /// Foreign rows given the session's own key.
    Steal,
    /// Own rows given another's key.
    Move,
    /// Own rows put under another's parent through this foreign key.
    Adopt(ForeignKey),
    /// A distinguished state of own rows.
    State,
    /// An own row with the key of a foreign one.
    Key(UniqueKey),
    /// Own rows with text that names what is another's, where a trigger looks for names.
    Mention,
    /// Own rows with values that foreign rows hold, where a trigger may look for them.
    Echo,
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteProbe {
    /// The command.
    pub command: Command,
    /// What it is for.
    pub purpose: Purpose,
    /// What to run.
    pub act: Act,
    /// Whether the outcome must be the same without B: then it is tried in world 0, too.
    pub compare: bool,
}

/// All that is to be tried on a relation.
pub fn probes(trial: &Trial<'_>, relation: &Relation) -> Vec<WriteProbe> {
    let Some(privileges) = trial.privileges.relations.get(&relation.oid) else {
        return Vec::new();
    };
    let mut probes = Vec::new();
    if !privileges.insert.is_empty() {
        inserts(
            trial,
            relation,
            &privileges.insert,
            !privileges.update.is_empty(),
            &mut probes,
        );
    }
    if !privileges.update.is_empty() {
        updates(trial, relation, &privileges.update, &mut probes);
    }
    if privileges.delete {
        deletes(trial, relation, &mut probes);
    }
    // Where an API makes the statements, one table stands for all: it is a way for others who hold the role only.
    if privileges.truncate
        && relation.kind.holds_rows()
        && (trial.may_truncate(relation) || truncatable(trial).next().is_some_and(|r| r.oid == relation.oid))
    {
        for cascade in ["", " CASCADE"] {
            let act = Act {
                reread: Some(trial.holder_oid(relation)),
                ..Act::of(format!("TRUNCATE {}{cascade}", relation.name))
            };
            probes.push(WriteProbe {
                command: Command::Truncate,
                purpose: Purpose::All,
                act,
                compare: false,
            });
        }
    }
    probes
}

/// Tables that the session's role may empty, as most beside them.
pub fn truncatable<'t>(trial: &'t Trial<'_>) -> impl Iterator<Item = &'t Relation> {
    trial.catalog.relations.iter().filter(|r| {
        let privileges = trial.privileges.relations.get(&r.oid);
        let is_given = r.kind.holds_rows() && privileges.is_some_and(|p| p.truncate);
        is_given && !trial.may_truncate(r) && trial.b.base(r.oid).is_some()
    })
}

/// The table whose grown rows stand for a relation: itself, the parent of a partition, the one table under a view.
pub fn source<'t>(trial: &'t Trial<'_>, relation: &'t Relation) -> Option<&'t Relation> {
    let relation = trial.catalog.relation(relation.oid)?;
    if relation.kind.holds_rows() {
        return Some(trial.holder(relation));
    }
    let tables: Vec<&Relation> = relation
        .reads
        .iter()
        .filter_map(|oid| trial.catalog.relation(*oid))
        .filter(|r| r.kind.holds_rows())
        .collect();
    let fits = |t: &&&Relation| relation.columns.iter().all(|c| t.column(&c.name).is_some());
    tables.iter().find(fits).or(tables.first()).copied()
}

fn insert(relation: &Relation, row: &Values) -> String {
    insert_statement(relation, row)
}

fn inserts(trial: &Trial<'_>, relation: &Relation, columns: &[String], may_update: bool, probes: &mut Vec<WriteProbe>) {
    let Some(table) = source(trial, relation) else { return };
    // A partition takes only rows of its own.
    let shape = if trial.a.candidates.contains_key(&relation.oid) {
        relation
    } else {
        table
    };
    // Where no further row fits, the one that is there says what rows are like.
    let like = |universe: &Universe| {
        trial.candidate(universe, shape, columns).or_else(|| {
            let row = universe.base(table.oid)?;
            let given = row.values.iter().filter(|(n, _)| columns.contains(n));
            Some(given.map(|(n, v)| (n.clone(), v.clone())).collect::<Values>())
        })
    };
    let Some(own) = like(trial.a) else {
        return;
    };
    probes.push(WriteProbe {
        command: Command::Insert,
        purpose: Purpose::Own,
        act: Act {
            prepare: make_room(table, trial.a, &own),
            ..Act::of(insert(relation, &own))
        },
        compare: false,
    });

    let tenant = named(trial, table, Class::Tenant, columns);
    let user = named(trial, table, Class::User, columns);
    let mut planted: Vec<Values> = Vec::new();
    for universe in [trial.b, trial.common] {
        if let Some(theirs) = like(universe) {
            let mut as_me = theirs.clone();
            for (column, _) in &user {
                as_me.insert(column.clone(), Some(trial.a.keys.user.clone()));
            }
            let mut keys_only = own.clone();
            for (column, form) in &tenant {
                let shape = table.column(column).map(|c| form.value(&universe.keys.tenant, c));
                keys_only.insert(column.clone(), shape);
            }
            planted.extend([theirs, as_me, keys_only]);
        }
    }
    // A row that names two tenants says something between them: both directions.
    if tenant.len() > 1 {
        for (at, _) in tenant.iter().enumerate() {
            for (rest, first) in [
                (&trial.a.keys.tenant, &trial.b.keys.tenant),
                (&trial.b.keys.tenant, &trial.a.keys.tenant),
            ] {
                for from in [trial.a, trial.b] {
                    let Some(mut row) = trial.candidate(from, shape, columns) else {
                        continue;
                    };
                    for (other, (column, _)) in tenant.iter().enumerate() {
                        row.insert(column.clone(), Some(if other == at { first } else { rest }.clone()));
                    }
                    planted.push(row);
                }
            }
        }
    }
    planted.extend(at_paths(trial, table, trial.b, &own, columns));
    let mut seen: Vec<&Values> = vec![&own];
    for row in &planted {
        if !seen.contains(&row) {
            let mut prepare = ended_membership(trial, table, row);
            // The one row of a tenant that is there already is another's for good.
            if !trial.classes.is_root(table.oid) {
                prepare.extend(make_room(table, trial.b, row));
            }
            let act = Act {
                prepare: unchecked(prepare),
                ..Act::of(insert(relation, row))
            };
            probes.push(WriteProbe {
                command: Command::Insert,
                purpose: Purpose::Plant,
                act,
                compare: false,
            });
            seen.push(row);
        }
    }
    let mut push = |purpose: Purpose, row: &Values, compare: bool| {
        probes.push(WriteProbe {
            command: Command::Insert,
            purpose,
            act: Act::of(insert(relation, row)),
            compare,
        });
    };
    for row in at_paths(trial, table, trial.a, &own, columns) {
        push(Purpose::Own, &row, false);
    }
    // The key of a row that is B's, on a row that is otherwise A's.
    for key in &table.keys {
        let parts = key_columns(table, key);
        // A key that is NULL in part is no key.
        let is_whole = |r: &&GrownRow| parts.iter().all(|c| r.values.get(c).is_some_and(Option::is_some));
        let Some(theirs) = trial.b.rows_of(table.oid).find(is_whole).or(trial.b.base(table.oid)) else {
            continue;
        };
        let mut row = own.clone();
        let mut moved = false;
        let tenant_names: Vec<&String> = tenant.iter().map(|(c, _)| c).collect();
        for column in parts
            .iter()
            .filter(|c| columns.contains(c) && !tenant_names.contains(c))
        {
            row.insert(column.clone(), theirs.values.get(column).cloned().flatten());
            moved = true;
        }
        if moved {
            push(Purpose::Key(key.clone()), &row, true);
        }
    }
    for key in &table.foreign_keys {
        if let Some(moved) = adopt(trial, table, key, columns) {
            let mut row = own.clone();
            row.extend(moved);
            push(Purpose::Adopt(key.clone()), &row, true);
        }
    }
    for mentioned in mention::mentions(trial, table, columns) {
        let mut row = own.clone();
        row.extend(mentioned);
        push(Purpose::Mention, &row, false);
    }
    let echoed = echo(trial, table, columns);
    if !echoed.is_empty() {
        let mut row = own.clone();
        row.extend(echoed);
        push(Purpose::Echo, &row, true);
    }
    if may_update
        && let (Some(theirs), Some(primary)) = (trial.b.base(table.oid), table.primary_key())
        && relation.kind.holds_rows()
        && let Some((column, value)) = settable(
            trial,
            relation,
            trial.privileges.relations.get(&relation.oid).map_or(&[], |p| &p.update),
        )
        .into_iter()
        .next()
    {
        let row: Values = theirs
            .values
            .iter()
            .filter(|(n, _)| columns.contains(n))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        let target: Vec<String> = primary.columns.iter().map(|c| quote::ident(c)).collect();
        let sql = format!(
            "{} ON CONFLICT ({}) DO UPDATE SET {} = {}",
            insert(relation, &row),
            target.join(", "),
            quote::ident(&column),
            quote::literal(&value)
        );
        probes.push(WriteProbe {
            command: Command::Insert,
            purpose: Purpose::Steal,
            act: Act::of(sql),
            compare: false,
        });
    }
}

fn updates(trial: &Trial<'_>, relation: &Relation, columns: &[String], probes: &mut Vec<WriteProbe>) {
    let Some(table) = source(trial, relation) else { return };
    let mut push = |purpose: Purpose, assignments: &[(String, Option<String>)], compare: bool| {
        let list: Vec<String> = assignments
            .iter()
            .map(|(c, v)| {
                format!(
                    "{} = {}",
                    quote::ident(c),
                    v.as_deref().map_or("NULL".to_owned(), quote::literal)
                )
            })
            .collect();
        let sql = format!("UPDATE {} SET {}", relation.name, list.join(", "));
        // Rows that refer to the moved ones would hold them: without those, row security alone decides.
        let kept = if matches!(purpose, Purpose::Move) {
            in_turn(trial, table)
        } else {
            Vec::new()
        };
        for row in kept {
            let mut prepare = clear_own_children(trial, table.oid);
            prepare.extend(all_but(trial, table, row));
            if prepare.is_empty() {
                continue;
            }
            probes.push(WriteProbe {
                command: Command::Update,
                purpose: purpose.clone(),
                act: Act {
                    prepare: unchecked(prepare),
                    ..Act::of(sql.clone())
                },
                compare: false,
            });
        }
        probes.push(WriteProbe {
            command: Command::Update,
            purpose,
            act: Act::of(sql),
            compare,
        });
    };
    // Without a WHERE and with a constant: such an UPDATE asks for no SELECT policy.
    for (column, value) in settable(trial, relation, columns).into_iter().take(3) {
        push(Purpose::All, &[(column, Some(value))], false);
    }
    let tenant = named(trial, table, Class::Tenant, columns);
    let user = named(trial, table, Class::User, columns)
        .into_iter()
        .map(|(c, _)| c)
        .collect::<Vec<_>>();
    // The key of the table that has one row a tenant: nobody can take another's, it is there already.
    let is_root_key =
        |column: &String| trial.classes.is_root(table.oid) && table.keys.iter().any(|k| k.columns == [column.clone()]);
    for (column, form) in tenant.iter().filter(|(column, _)| !is_root_key(column)) {
        let Some(shape) = table.column(column) else { continue };
        push(
            Purpose::Steal,
            &[(column.clone(), Some(form.value(&trial.a.keys.tenant, shape)))],
            false,
        );
        for universe in [trial.b, trial.common] {
            let key = form.value(&universe.keys.tenant, shape);
            push(Purpose::Move, &[(column.clone(), Some(key.clone()))], false);
            // With the foreign keys that hold the tenant, which would refuse it otherwise.
            let mut all = vec![(column.clone(), Some(key))];
            for foreign in table.foreign_keys.iter().filter(|k| k.columns.contains(column)) {
                if let Some(parent) = universe.base(foreign.references) {
                    for (here, there) in foreign.columns.iter().zip(&foreign.referenced_columns) {
                        if here != column && columns.contains(here) && !all.iter().any(|(c, _)| c == here) {
                            all.push((here.clone(), parent.values.get(there).cloned().flatten()));
                        }
                    }
                }
            }
            if all.len() > 1 {
                push(Purpose::Move, &all, false);
            }
        }
    }
    if tenant.len() > 1 {
        let all: Vec<(String, Option<String>)> = tenant
            .iter()
            .filter_map(|(c, form)| Some((c.clone(), Some(form.value(&trial.b.keys.tenant, table.column(c)?)))))
            .collect();
        push(Purpose::Move, &all, false);
    }
    for column in &user {
        push(
            Purpose::Move,
            &[(column.clone(), Some(trial.b.keys.user.clone()))],
            false,
        );
    }
    for key in &table.foreign_keys {
        if let Some(moved) = adopt(trial, table, key, columns) {
            let assignments: Vec<(String, Option<String>)> = moved.into_iter().collect();
            push(Purpose::Adopt(key.clone()), &assignments, true);
        }
    }
    let echoed = echo(trial, table, columns);
    if !echoed.is_empty() {
        let assignments: Vec<(String, Option<String>)> = echoed.into_iter().collect();
        push(Purpose::Echo, &assignments, true);
    }
    for row in at_paths(trial, table, trial.b, &Values::new(), columns) {
        let assignments: Vec<(String, Option<String>)> = row.into_iter().collect();
        push(Purpose::Move, &assignments, false);
    }
    for (column, value) in states(trial, table, columns) {
        push(Purpose::State, &[(column, Some(value))], false);
    }
    // A condition on the new row that others of the tenant do not meet refuses all of them: the session's own row alone.
    if trial.decides_access(table.oid)
        && let Some(own) = trial.a.base(table.oid)
        && let Some(place) = table.primary_key().and_then(|key| key_condition(key, own))
    {
        for (column, value) in states(trial, table, columns) {
            let (column, value) = (quote::ident(&column), quote::literal(&value));
            probes.push(WriteProbe {
                command: Command::Update,
                purpose: Purpose::State,
                act: Act::of(format!("UPDATE {} SET {column} = {value} WHERE {place}", relation.name)),
                compare: false,
            });
        }
    }
}

fn deletes(trial: &Trial<'_>, relation: &Relation, probes: &mut Vec<WriteProbe>) {
    let sql = format!("DELETE FROM {}", relation.name);
    probes.push(WriteProbe {
        command: Command::Delete,
        purpose: Purpose::All,
        act: Act::of(sql.clone()),
        compare: false,
    });
    // Rows that others refer to cannot go: those are taken away first, so that only row security decides.
    let Some(table) = source(trial, relation) else { return };
    let mut prepare = Vec::new();
    clear_children(trial, table.oid, &mut BTreeSet::from([table.oid]), &mut prepare);
    if !prepare.is_empty() {
        let circle = clear_circle(trial, table.oid);
        if !circle.is_empty() {
            prepare = circle;
        }
        let act = Act {
            prepare,
            ..Act::of(sql)
        };
        probes.push(WriteProbe {
            command: Command::Delete,
            purpose: Purpose::All,
            act,
            compare: false,
        });
    }
}
