//! Making one row: as superuser with triggers on, then with the identity settings bound, then with triggers off.

use super::{GrownRow, Growth, Made, Refusal, Universe, Values, Variant, Waiting, Wish, insert_statement};
use crate::model::Relation;
use crate::pg::conn::{ConnError, DbError};
use crate::sql::quote;
use crate::world::classes::Class;

/// How often a refused row is mended before it is given up.
const MAX_MENDS: usize = 14;

/// How the insert is run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Plain,
    /// With the settings by which a request says who it is.
    Bound,
    /// Without triggers, for this reason.
    Forced(String),
}

/// What a message with an insert came to.
enum Tried {
    /// The row as stored, and the statements that made it.
    Stored(Vec<Option<String>>, String),
    Swallowed,
    /// Refused by the insert itself.
    Refused(DbError),
    /// Refused by a deferred constraint.
    Deferred(DbError),
}

/// The columns of a table as text, to be selected or returned.
pub(super) fn returned(table: &Relation) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|c| format!("{}::text", quote::ident(&c.name)))
        .collect();
    columns.join(", ")
}

/// A row by column.
pub(super) fn named(table: &Relation, row: Vec<Option<String>>) -> Values {
    table.columns.iter().map(|c| c.name.clone()).zip(row).collect()
}

/// What is tried in turn with one row.
pub(super) struct Attempt {
    /// Values that a trigger was offered in place of the first ones.
    pub(super) varied: usize,
    pub(super) dropped: bool,
}

impl<'g> Growth<'g, '_> {
    /// Makes one row; its index in the universe.
    pub(super) async fn insert(&mut self, table: &'g Relation, wish: &Wish, depth: usize) -> Made<usize> {
        self.making.push((table.oid, None));
        let made = Box::pin(self.insert_row(table, wish, depth)).await;
        self.making.pop();
        let is_outermost = !self.making.iter().any(|(oid, _)| *oid == table.oid);
        if is_outermost {
            self.promised.remove(&table.oid);
            // Rows that waited for this one in vain.
            let lost: Vec<Waiting> = self.waiting.extract_if(.., |w| w.needs == table.oid).collect();
            for waiting in lost {
                self.universe.forget(waiting.table, waiting.at);
            }
        }
        made
    }

    async fn insert_row(&mut self, table: &'g Relation, wish: &Wish, depth: usize) -> Made<usize> {
        let planned = match Box::pin(self.plan(table, wish, depth)).await? {
            Ok(row) => row,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let needs = self.making.last().and_then(|(_, needs)| *needs);
        let needs = needs
            .or(self.waiting.last().map(|w| w.needs))
            .filter(|oid| *oid != table.oid);
        if let Some(needs) = needs.filter(|oid| self.making.iter().any(|(made, _)| made == oid)) {
            return Ok(Ok(self.wait(table, wish, planned, needs)));
        }
        let (is_bound, forced) = self.learned(|m| (m.bound.contains(&table.oid), m.forced.get(&table.oid).cloned()));
        let mut mode = match forced {
            Some(reason) => Mode::Forced(reason),
            None if self.forced.contains(&table.oid) => Mode::Forced("a deferred constraint".to_owned()),
            None if is_bound && !self.grower.bindings.is_empty() => Mode::Bound,
            None => Mode::Plain,
        };
        let mut row = planned.clone();
        if let Some(partition) = wish.partition.filter(|p| !self.is_plain_partition(*p)) {
            self.fit_partition(table, wish, &mut row, partition).await?;
        }
        let mut attempt = Attempt {
            varied: 0,
            dropped: false,
        };
        let mut last: Option<DbError> = None;
        for _ in 0..MAX_MENDS {
            let error = match self.attempt(table, wish, &row, &mode).await? {
                Tried::Stored(stored, statements) => {
                    let values = named(table, stored);
                    // A trigger that asks who makes the row has put another tenant in, or none.
                    if mode == Mode::Plain
                        && !self.grower.bindings.is_empty()
                        && self.lost_its_tenant(table, &row, &values)
                    {
                        if wish.variant != Variant::Candidate {
                            self.conn
                                .query(&format!(
                                    "DELETE FROM {} WHERE ctid = (SELECT max(ctid) FROM {0})",
                                    table.name
                                ))
                                .await?;
                        }
                        mode = Mode::Bound;
                        continue;
                    }
                    if (1..=MAX_MENDS).contains(&attempt.varied) && wish.fixed.is_empty() {
                        self.settle_on(table, &planned, &row);
                    }
                    return Ok(Ok(self.keep(table, wish, &row, values, statements, &mode).await?));
                }
                Tried::Swallowed => {
                    if let Some(values) = self.find(table, &row).await? {
                        let statements = insert_statement(table, &row);
                        return Ok(Ok(self
                            .keep(table, wish, &row, values, statements, &Mode::Plain)
                            .await?));
                    }
                    if matches!(mode, Mode::Forced(_)) || !wish.is_base() {
                        return Ok(Err(Refusal("a trigger or rule swallows inserted rows".to_owned())));
                    }
                    mode = Mode::Forced("a trigger or rule swallows inserted rows".to_owned());
                    continue;
                }
                Tried::Deferred(error) => {
                    // Rows that follow may fulfil it.
                    if wish.is_base() && self.pending.is_empty() && error.code != "23503" {
                        self.pending.insert(table.oid);
                        continue;
                    }
                    error
                }
                Tried::Refused(error) => error,
            };
            if error.code == "23505"
                && wish.is_base()
                && let Some(at) = self.adopt_twin(table, &row, &error).await?
            {
                return Ok(Ok(at));
            }
            // A trigger or default that asks who makes the row and finds nobody.
            if mode == Mode::Plain
                && !self.grower.bindings.is_empty()
                && (asks_for_identity(&error) || takes_away(table, &row, &error))
            {
                mode = Mode::Bound;
                last = Some(error);
                continue;
            }
            if self.mend(table, wish, &mut row, &error, &mut attempt, depth).await? {
                last = Some(error);
                continue;
            }
            let by_trigger = is_raised(&error);
            match mode {
                Mode::Plain if by_trigger && !self.grower.bindings.is_empty() => mode = Mode::Bound,
                Mode::Plain | Mode::Bound if by_trigger && wish.is_base() => {
                    mode = Mode::Forced(format!("{} {}", error.code, error.message));
                }
                _ => {
                    last = Some(error);
                    break;
                }
            }
            row.clone_from(&planned);
            attempt = Attempt {
                varied: usize::MAX,
                dropped: true,
            };
            last = Some(error);
        }
        if let Some(error) = &last
            && wish.variant == Variant::Candidate
            && is_raised(error)
            && error.code != "23505"
        {
            // A request may be let do what a superuser without a request is not.
            self.keep_candidate(table, wish, &planned);
            return Ok(Ok(0));
        }
        let reason = last.map_or_else(|| "no row fits".to_owned(), |e| format!("{} {}", e.code, e.message));
        if wish.variant == Variant::Base
            && let Some(values) = self.find_by_key(table).await?
        {
            let insert = format!("-- made by a trigger: a row of {}", table.name);
            return Ok(Ok(self.push(table, values, wish.variant.clone(), insert)));
        }
        Ok(Err(Refusal(reason)))
    }

    /// Remembers the values that a trigger took where it did not take those that were planned.
    fn settle_on(&mut self, table: &Relation, planned: &Values, row: &Values) {
        for (column, value) in row.iter().filter(|(c, v)| planned.get(*c) != Some(v)) {
            let is_state = table.column(column).is_some_and(|c| !c.labels.is_empty())
                || value
                    .as_ref()
                    .is_some_and(|v| self.grower.classes.literals(table.oid, column).contains(v));
            if is_state {
                self.learned(|m| m.settled.insert((table.oid, column.clone()), value.clone()));
            }
        }
    }

    fn push(&mut self, table: &Relation, values: Values, variant: Variant, insert: String) -> usize {
        if variant == Variant::Base {
            for column in &table.columns {
                if let (Some(group), Some(Some(value))) = (
                    self.grower.classes.group(table.oid, &column.name),
                    values.get(&column.name),
                ) {
                    self.universe.groups.insert(group, value.clone());
                }
            }
        }
        self.universe.push(GrownRow {
            relation: table.oid,
            values,
            variant,
            insert,
        })
    }

    /// Keeps a row for the statement of the one that it refers to.
    fn wait(&mut self, table: &Relation, wish: &Wish, row: Values, needs: u32) -> usize {
        let at = self.push(table, row.clone(), wish.variant.clone(), "-- waits".to_owned());
        self.waiting.push(Waiting {
            table: table.oid,
            at,
            row,
            needs,
        });
        at
    }

    async fn attempt(&mut self, table: &Relation, wish: &Wish, row: &Values, mode: &Mode) -> Result<Tried, ConnError> {
        let (before, after) = match mode {
            Mode::Plain => (Vec::new(), Vec::new()),
            Mode::Bound => self.binding(),
            Mode::Forced(_) => (
                vec!["SET LOCAL session_replication_role = replica".to_owned()],
                vec!["SET LOCAL session_replication_role = origin".to_owned()],
            ),
        };
        let mut insert = insert_statement(table, row);
        let with: Vec<String> = self
            .waiting
            .iter()
            .enumerate()
            .filter_map(|(at, w)| {
                Some(format!(
                    "tp_{at} AS ({})",
                    insert_statement(self.table(w.table)?, &w.row)
                ))
            })
            .collect();
        if !with.is_empty() {
            insert = format!("WITH {} {insert}", with.join(", "));
        }
        let is_candidate = wish.variant == Variant::Candidate;
        let returning = if table.columns.is_empty() {
            String::new()
        } else {
            format!(" RETURNING {}", returned(table))
        };
        let mut parts: Vec<String> = vec!["SAVEPOINT tp_grow".to_owned()];
        parts.extend(before.iter().cloned());
        parts.push(format!("{insert}{returning}"));
        parts.extend(after.iter().cloned());
        let until_here = parts.len();
        if self.pending.is_empty() {
            parts.extend([
                "SET CONSTRAINTS ALL IMMEDIATE".to_owned(),
                "SET CONSTRAINTS ALL DEFERRED".to_owned(),
            ]);
        }
        if is_candidate {
            parts.push("ROLLBACK TO SAVEPOINT tp_grow".to_owned());
        }
        parts.push("RELEASE SAVEPOINT tp_grow".to_owned());
        let outcome = self.conn.run(&parts.join("; ")).await?;
        if let Some(error) = outcome.error {
            self.conn
                .query("ROLLBACK TO SAVEPOINT tp_grow; RELEASE SAVEPOINT tp_grow")
                .await?;
            return Ok(if outcome.results.len() >= until_here {
                Tried::Deferred(error)
            } else {
                Tried::Refused(error)
            });
        }
        let stored = outcome
            .results
            .get(1 + before.len())
            .and_then(|r| r.rows.first())
            .cloned();
        match stored {
            None if !table.columns.is_empty() => Ok(Tried::Swallowed),
            stored => {
                let statements = match mode {
                    Mode::Forced(reason) => format!(
                        "{}; -- triggers are off for this row: {}\n{insert};\n{}",
                        before.join("; "),
                        reason.replace(['\n', '\r'], " "),
                        after.join("; ")
                    ),
                    Mode::Plain | Mode::Bound => [&before[..], &[insert], &after[..]].concat().join("; "),
                };
                Ok(Tried::Stored(stored.unwrap_or_default(), statements))
            }
        }
    }

    /// Takes a row that was made into the universe.
    async fn keep(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
        row: &Values,
        values: Values,
        statements: String,
        mode: &Mode,
    ) -> Result<usize, ConnError> {
        let oid = table.oid;
        match mode {
            Mode::Plain => {}
            Mode::Bound => self.learned(|m| {
                m.bound.insert(oid);
            }),
            Mode::Forced(reason) => self.learned(|m| {
                m.forced.insert(oid, reason.clone());
            }),
        }
        if wish.variant == Variant::Candidate {
            self.keep_candidate(table, wish, row);
            return Ok(0);
        }
        for waiting in std::mem::take(&mut self.waiting) {
            let Some(other) = self.table(waiting.table) else {
                continue;
            };
            let stored = self.find(other, &waiting.row).await?;
            let kept = &mut self.universe.rows[waiting.at];
            kept.insert = format!("-- made together with the row of {}", table.name);
            if let Some(stored) = stored {
                kept.values = stored;
            }
        }
        Ok(self.push(table, values, wish.variant.clone(), statements))
    }

    /// Keeps a row that would fit: for the table, or for a partition and those above it.
    fn keep_candidate(&mut self, table: &Relation, wish: &Wish, row: &Values) {
        let mut at = wish.partition.unwrap_or(table.oid);
        while at != table.oid {
            self.universe.candidates.entry(at).or_insert_with(|| row.clone());
            match self.table(at).and_then(|t| t.parents.first()) {
                Some(parent) => at = *parent,
                None => return,
            }
        }
        if wish.partition.is_none() {
            self.universe.candidates.insert(table.oid, row.clone());
        }
    }

    /// The row of a table that has the key of a planned one.
    async fn find(&mut self, table: &Relation, row: &Values) -> Result<Option<Values>, ConnError> {
        let complete =
            |columns: &[String]| !columns.is_empty() && columns.iter().all(|c| row.get(c).is_some_and(Option::is_some));
        let key = table
            .keys
            .iter()
            .find(|k| !k.is_exclusion && !k.has_expressions && complete(&k.columns));
        match key {
            Some(key) => self.find_where(table, &key.columns, row).await,
            None => Ok(None),
        }
    }

    async fn find_where(
        &mut self,
        table: &Relation,
        columns: &[String],
        row: &Values,
    ) -> Result<Option<Values>, ConnError> {
        let condition: Vec<String> = columns
            .iter()
            .filter_map(|c| {
                Some(format!(
                    "{} = {}",
                    quote::ident(c),
                    quote::literal(row.get(c)?.as_deref()?)
                ))
            })
            .collect();
        let sql = format!(
            "SAVEPOINT tp_ask; SELECT {} FROM {} WHERE {} LIMIT 1",
            returned(table),
            table.name,
            condition.join(" AND ")
        );
        let outcome = self.conn.run(&sql).await?;
        self.conn
            .query("ROLLBACK TO SAVEPOINT tp_ask; RELEASE SAVEPOINT tp_ask")
            .await?;
        let found = outcome
            .results
            .into_iter()
            .next_back()
            .and_then(|r| r.rows.into_iter().next());
        Ok(found
            .filter(|r| outcome.error.is_none() && r.len() == table.columns.len())
            .map(|r| named(table, r)))
    }

    /// A row that has the key already and that nobody of this universe made: a trigger did. It is given what was planned
    /// of identity and parents.
    async fn adopt_twin(
        &mut self,
        table: &'g Relation,
        row: &Values,
        error: &DbError,
    ) -> Result<Option<usize>, ConnError> {
        let Some(key) = error
            .constraint
            .as_ref()
            .and_then(|name| table.keys.iter().find(|k| k.name == *name))
            .filter(|k| !k.has_expressions && !k.columns.is_empty())
        else {
            return Ok(None);
        };
        let Some(mut values) = self.find_where(table, &key.columns, row).await? else {
            return Ok(None);
        };
        let is_known = |universe: &Universe| {
            universe
                .rows_of(table.oid)
                .any(|r| key.columns.iter().all(|c| r.values.get(c) == values.get(c)))
        };
        if is_known(&self.universe)
            || self.grower.common.is_some_and(is_known)
            || !self.carries_identity(table, &values)
        {
            return Ok(None);
        }
        let identity = |c: &str| {
            self.grower.classes.class(table.oid, c).is_some()
                || self.grower.classes.preferred_literal(table.oid, c).is_some()
                || table.foreign_keys.iter().any(|k| k.columns.iter().any(|k| k == c))
        };
        let changes: Vec<(String, String)> = row
            .iter()
            .filter(|(c, v)| v.is_some() && values.get(*c) != Some(v) && identity(c) && !key.columns.contains(c))
            .filter_map(|(c, v)| Some((c.clone(), v.clone()?)))
            .collect();
        let mut insert = format!("-- made by a trigger: a row of {}", table.name);
        if !changes.is_empty() {
            let sets: Vec<String> = changes
                .iter()
                .map(|(c, v)| format!("{} = {}", quote::ident(c), quote::literal(v)))
                .collect();
            let condition: Vec<String> = key
                .columns
                .iter()
                .filter_map(|c| {
                    Some(format!(
                        "{} = {}",
                        quote::ident(c),
                        quote::literal(values.get(c)?.as_deref()?)
                    ))
                })
                .collect();
            let update = format!(
                "UPDATE {} SET {} WHERE {}",
                table.name,
                sets.join(", "),
                condition.join(" AND ")
            );
            let outcome = self
                .conn
                .run(&format!("SAVEPOINT tp_grow; {update}; RELEASE SAVEPOINT tp_grow"))
                .await?;
            if outcome.error.is_some() {
                self.conn
                    .query("ROLLBACK TO SAVEPOINT tp_grow; RELEASE SAVEPOINT tp_grow")
                    .await?;
            } else {
                if let Some(changed) = self.find_where(table, &key.columns, row).await? {
                    values = changed;
                }
                insert = update;
            }
        }
        Ok(Some(self.push(table, values, Variant::Base, insert)))
    }

    /// Whether a row belongs to this universe, by what it holds.
    fn carries_identity(&self, table: &Relation, values: &Values) -> bool {
        let keys = &self.universe.keys;
        let known = |v: &str| v == keys.tenant || v == keys.user || v == keys.email || v.contains(&keys.canary);
        let parent = |column: &String, value: &str| {
            let leads = |k: &&crate::model::ForeignKey| k.columns.contains(column);
            table.foreign_keys.iter().filter(leads).any(|k| {
                self.universe
                    .rows_of(k.references)
                    .any(|r| r.values.values().flatten().any(|v| v == value))
            })
        };
        values
            .iter()
            .any(|(c, v)| v.as_deref().is_some_and(|v| known(v) || parent(c, v)))
    }

    /// Statements that bind the universe's identity around an insert, and unbind it.
    fn binding(&self) -> (Vec<String>, Vec<String>) {
        let set = |name: &str, value: &str| {
            format!(
                "SELECT pg_catalog.set_config({}, {}, true)",
                quote::literal(name),
                quote::literal(value)
            )
        };
        let bindings = self.grower.bindings.iter();
        bindings
            .map(|(name, template)| (set(name, &self.universe.keys.setting(template)), set(name, "")))
            .unzip()
    }

    /// Whether a stored row carries another tenant than it was given.
    fn lost_its_tenant(&self, table: &Relation, given: &Values, stored: &Values) -> bool {
        given.iter().any(|(column, value)| {
            let class = self.grower.classes.class(table.oid, column);
            class.is_some_and(|(class, _)| class == Class::Tenant)
                && value.is_some()
                && stored.get(column) != Some(value)
        })
    }

    /// A row that is there already and carries the universe's key: a trigger made it.
    async fn find_by_key(&mut self, table: &Relation) -> Result<Option<Values>, ConnError> {
        let keys = &self.universe.keys;
        let carrier = table
            .columns
            .iter()
            .find_map(|c| match self.grower.classes.class(table.oid, &c.name)? {
                (Class::Tenant, _) => Some((c, &keys.tenant)),
                (Class::User, _) => Some((c, &keys.user)),
                (Class::Email, _) => None,
            });
        let Some((column, key)) = carrier else { return Ok(None) };
        let sql = format!(
            "SELECT {} FROM {} WHERE {}::text = {} LIMIT 1",
            returned(table),
            table.name,
            quote::ident(&column.name),
            quote::literal(key)
        );
        let rows = self.conn.query(&sql).await?;
        Ok(rows
            .into_iter()
            .next()
            .and_then(|r| r.into_iter().next())
            .map(|row| named(table, row)))
    }
}

impl Universe {
    /// Takes back a row that was never made.
    fn forget(&mut self, table: u32, at: usize) {
        if let Some(rows) = self.by_table.get_mut(&table) {
            rows.retain(|row| *row != at);
        }
        if let Some(row) = self.rows.get_mut(at) {
            row.insert = "-- not made".to_owned();
            row.values.clear();
        }
    }
}

/// Whether an error says that a trigger or default wants to know who asks.
fn asks_for_identity(error: &DbError) -> bool {
    // undefined_object: the setting was never set; raise_exception: what a trigger says; invalid_text_representation: ''
    matches!(error.code.as_str(), "42704" | "P0001" | "42501")
        || (error.code == "22P02" && error.message.ends_with("\"\""))
}

/// Whether a column is NULL although it was given: a trigger has put something else in.
fn takes_away(table: &Relation, row: &Values, error: &DbError) -> bool {
    error.code == "23502"
        && table.columns.iter().any(|c| {
            error.message.contains(&format!("\"{}\"", c.name)) && row.get(&c.name).is_some_and(Option::is_some)
        })
}

/// Whether a function raised an error, or ran into it.
pub(super) fn is_raised(error: &DbError) -> bool {
    error.code.starts_with('P')
        || error.code == "42501"
        || error.context.as_deref().is_some_and(|c| c.contains(" function "))
}
