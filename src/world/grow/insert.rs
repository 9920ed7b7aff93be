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
        // What a tenant could insert is worth fewer tries: a row that is there can take its place.
        let tries = if wish.variant == Variant::Candidate {
            5
        } else {
            MAX_MENDS
        };
        for _ in 0..tries {
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
            // What hung is no refusal that another row or another mode would meet.
            if error.is_timeout() {
                last = Some(error);
                break;
            }
            if error.code == "23505"
                && wish.variant != Variant::Candidate
                && let Some(at) = self.adopt_twin(table, wish, &row, &error).await?
            {
                return Ok(Ok(at));
            }
            if let Some(key) = error
                .constraint
                .as_ref()
                .and_then(|name| table.keys.iter().find(|k| k.name == *name))
            {
                let values = key.columns.iter().map(|c| row.get(c).cloned().flatten()).collect();
                self.taken.insert((table.oid, key.columns.clone(), values));
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
        let reason = last.map_or_else(|| "no row fits".to_owned(), |e| e.reason());
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

    pub(super) fn push(&mut self, table: &Relation, values: Values, variant: Variant, insert: String) -> usize {
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
        let (limit, limited) = self.conn.limits();
        parts.extend(limit.split("; ").filter(|s| !s.is_empty()).map(str::to_owned));
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
            .get(1 + limited + before.len())
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
