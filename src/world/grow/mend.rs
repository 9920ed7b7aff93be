//! Mending a row that the server refused, from what it said.

use super::super::values;
use super::{Grower, Universe, Values};
use crate::model::{Column, Relation};
use crate::pg::conn::{Conn, ConnError, DbError};
use crate::sql::quote;

impl Grower<'_> {
    /// Changes the row by what the server said; whether another try makes sense.
    #[expect(
        clippy::too_many_arguments,
        reason = "one row in the making: its universe, table, values and the refusal"
    )]
    pub(super) async fn mend(
        &self,
        conn: &mut Conn,
        universe: &mut Universe,
        table: &Relation,
        row: &mut Values,
        fixed: &Values,
        error: &DbError,
        depth: usize,
    ) -> Result<bool, ConnError> {
        match error.code.as_str() {
            _ if error.is_interference() => Ok(false),
            // check_violation: of a constraint, a domain, or no partition for the row
            "23514" => {
                if let Some(check) = error
                    .constraint
                    .as_ref()
                    .and_then(|name| table.checks.iter().find(|c| c.name == *name))
                {
                    return self
                        .solve_check(conn, universe, table, row, fixed, &check.columns, &check.expression)
                        .await;
                }
                if let Some(partitioned) = table.partition_key.as_deref() {
                    return Ok(self.try_partition(table, row, partitioned, universe));
                }
                self.solve_domains(conn, universe, table, row, fixed).await
            }
            // unique_violation, exclusion_violation
            "23505" | "23P01" => {
                let key = error
                    .constraint
                    .as_ref()
                    .and_then(|name| table.keys.iter().find(|k| k.name == *name));
                let columns: Vec<String> = match key {
                    Some(key) if !key.has_expressions && !key.columns.is_empty() && !key.is_exclusion => {
                        key.columns.clone()
                    }
                    _ => table
                        .columns
                        .iter()
                        .filter(|c| row.contains_key(&c.name))
                        .map(|c| c.name.clone())
                        .collect(),
                };
                if key.is_none_or(|k| k.has_expressions || k.is_exclusion) {
                    for column in table
                        .columns
                        .iter()
                        .filter(|c| c.is_insertable() && !fixed.contains_key(&c.name))
                    {
                        let plain = self.classes.class(table.oid, &column.name).is_none()
                            && !table.foreign_keys.iter().any(|k| k.columns.contains(&column.name));
                        if plain && row.get(&column.name).is_some_and(Option::is_some) {
                            let n = universe.next();
                            if let Some(value) = values::generate(column, &universe.keys, n) {
                                row.insert(column.name.clone(), Some(value));
                            }
                        }
                    }
                    return Ok(true);
                }
                Ok(
                    Box::pin(self.refresh(conn, universe, table, &columns, row, fixed, depth))
                        .await?
                        .is_ok(),
                )
            }
            // not_null_violation: a default gave NULL
            "23502" => {
                let Some(column) = table.columns.iter().find(|c| {
                    error.message.contains(&format!("\"{}\"", c.name)) && !row.get(&c.name).is_some_and(Option::is_some)
                }) else {
                    return Ok(false);
                };
                if fixed.contains_key(&column.name) || !column.is_insertable() {
                    return Ok(false);
                }
                let n = universe.next();
                let Some(value) = values::generate(column, &universe.keys, n) else {
                    return Ok(false);
                };
                row.insert(column.name.clone(), Some(value));
                Ok(true)
            }
            // A value that the type or a trigger does not take: leave nullable free columns out, once.
            code if code.starts_with("22") || code == "42804" => {
                self.solve_domains(conn, universe, table, row, fixed).await
            }
            _ => {
                let droppable: Vec<String> = table
                    .columns
                    .iter()
                    .filter(|c| {
                        !c.not_null && !fixed.contains_key(&c.name) && self.classes.class(table.oid, &c.name).is_none()
                    })
                    .filter(|c| row.get(&c.name).is_some_and(Option::is_some))
                    .map(|c| c.name.clone())
                    .collect();
                for name in &droppable {
                    row.insert(name.clone(), None);
                }
                Ok(!droppable.is_empty())
            }
        }
    }

    /// Finds values for the columns of a CHECK by asking the server which of many candidates satisfy it.
    #[expect(
        clippy::too_many_arguments,
        reason = "one row in the making and the constraint that refuses it"
    )]
    async fn solve_check(
        &self,
        conn: &mut Conn,
        universe: &mut Universe,
        table: &Relation,
        row: &mut Values,
        fixed: &Values,
        columns: &[String],
        expression: &str,
    ) -> Result<bool, ConnError> {
        let free: Vec<&Column> = columns
            .iter()
            .filter_map(|c| table.column(c))
            .filter(|c| {
                c.is_insertable() && !fixed.contains_key(&c.name) && self.classes.class(table.oid, &c.name).is_none()
            })
            .filter(|c| {
                !table
                    .foreign_keys
                    .iter()
                    .any(|k| k.columns.contains(&c.name) && row.get(&c.name).is_some_and(Option::is_some))
                    || columns.len() > 1
            })
            .collect();
        if free.is_empty() {
            return Ok(false);
        }
        let limit = if free.len() == 1 {
            400
        } else if free.len() == 2 {
            60
        } else {
            12
        };
        let mut sources = Vec::new();
        for (at, column) in free.iter().enumerate() {
            let n = universe.next();
            let mut options: Vec<Option<String>> = Vec::new();
            options.push(row.get(&column.name).cloned().flatten());
            options.extend(values::generate(column, &universe.keys, n).map(Some));
            options.extend(
                values::candidates(column, expression, &universe.keys, n)
                    .into_iter()
                    .map(Some),
            );
            options.dedup();
            options.truncate(limit);
            if !column.not_null {
                options.insert(1.min(options.len()), None);
            }
            let list: Vec<String> = options
                .iter()
                .enumerate()
                .map(|(rank, v)| format!("({rank}, {})", v.as_deref().map_or("NULL".to_owned(), quote::literal)))
                .collect();
            sources.push(format!("(VALUES {}) AS v{at}(rank, value)", list.join(", ")));
        }
        let typed: Vec<String> = columns
            .iter()
            .filter_map(|c| table.column(c))
            .map(|c| match free.iter().position(|f| f.name == c.name) {
                Some(at) => format!(
                    "pg_temp.tp_cast(v{at}.value, NULL::{}) AS {}",
                    c.base_type,
                    quote::ident(&c.name)
                ),
                None => format!(
                    "{}::{} AS {}",
                    row.get(&c.name)
                        .cloned()
                        .flatten()
                        .map_or("NULL".to_owned(), |v| quote::literal(&v)),
                    c.base_type,
                    quote::ident(&c.name)
                ),
            })
            .collect();
        let outputs: Vec<String> = (0..free.len()).map(|at| format!("v{at}.value")).collect();
        let ranks: Vec<String> = (0..free.len()).map(|at| format!("v{at}.rank")).collect();
        let sql = format!(
            "{CAST_HELPER}; SELECT {} FROM {} CROSS JOIN LATERAL (SELECT {}) AS t WHERE ({expression}) IS NOT FALSE AND {} ORDER BY {} LIMIT 1",
            outputs.join(", "),
            sources.join(" CROSS JOIN "),
            typed.join(", "),
            free.iter()
                .enumerate()
                .map(|(at, c)| format!("(v{at}.value IS NULL OR t.{} IS NOT NULL)", quote::ident(&c.name)))
                .collect::<Vec<_>>()
                .join(" AND "),
            ranks.join(" + "),
        );
        let Some(solution) = self.ask(conn, &sql).await? else {
            return Ok(false);
        };
        let mut changed = false;
        for (column, value) in free.iter().zip(solution) {
            changed |= row.insert(column.name.clone(), value.clone()) != Some(value);
        }
        Ok(changed)
    }

    /// Solves the CHECKs of domains, which the server reports without a column.
    async fn solve_domains(
        &self,
        conn: &mut Conn,
        universe: &mut Universe,
        table: &Relation,
        row: &mut Values,
        fixed: &Values,
    ) -> Result<bool, ConnError> {
        let mut changed = false;
        for column in &table.columns {
            if column.domain_checks.is_empty()
                || fixed.contains_key(&column.name)
                || !row.get(&column.name).is_some_and(Option::is_some)
            {
                continue;
            }
            let n = universe.next();
            let all = column.domain_checks.join(" ");
            let mut options = values::candidates(column, &all, &universe.keys, n);
            options.extend(values::generate(column, &universe.keys, n));
            let list: Vec<String> = options
                .iter()
                .enumerate()
                .map(|(rank, v)| format!("({rank}, {})", quote::literal(v)))
                .collect();
            let sql = format!(
                "{CAST_HELPER}; SELECT v.value FROM (VALUES {}) AS v(rank, value) WHERE pg_temp.tp_cast(v.value, NULL::{}) IS NOT NULL ORDER BY v.rank LIMIT 1",
                list.join(", "),
                column.type_name,
            );
            if let Some(solution) = self.ask(conn, &sql).await? {
                let value = solution.into_iter().next().flatten();
                changed |= row.insert(column.name.clone(), value.clone()) != Some(value);
            }
        }
        Ok(changed)
    }

    /// Runs a question that may fail (a candidate may make any expression fail) and leaves nothing behind.
    async fn ask(&self, conn: &mut Conn, sql: &str) -> Result<Option<Vec<Option<String>>>, ConnError> {
        let outcome = conn.run(&format!("SAVEPOINT tp_ask; {sql}")).await?;
        conn.defer(&["ROLLBACK TO SAVEPOINT tp_ask", "RELEASE SAVEPOINT tp_ask"]);
        Ok(match outcome.error {
            Some(_) => None,
            None => outcome.results.last().and_then(|r| r.rows.first()).cloned(),
        })
    }

    /// Takes partition key values from the bounds of the partitions.
    fn try_partition(&self, table: &Relation, row: &mut Values, partition_key: &str, universe: &mut Universe) -> bool {
        let columns: Vec<&Column> = table
            .columns
            .iter()
            .filter(|c| partition_key.contains(c.name.as_str()) && self.classes.class(table.oid, &c.name).is_none())
            .collect();
        let bounds: Vec<String> = self
            .catalog
            .tables()
            .filter(|t| t.parents.contains(&table.oid))
            .filter_map(|t| t.partition_bound.as_deref())
            .flat_map(values::literals)
            .collect();
        let n = universe.next() as usize;
        let mut changed = false;
        for column in columns {
            if let Some(value) = bounds.get(n % bounds.len().max(1)) {
                changed |= row.insert(column.name.clone(), Some(value.clone())) != Some(Some(value.clone()));
            }
        }
        changed
    }
}

/// A cast that yields NULL where the text is no value of the type, so that one bad candidate does not end the search.
const CAST_HELPER: &str = "CREATE FUNCTION pg_temp.tp_cast(value text, type anyelement) RETURNS anyelement LANGUAGE plpgsql AS \
$tp$ BEGIN IF value IS NULL THEN RETURN NULL; END IF; EXECUTE pg_catalog.format('SELECT %L::%s', value, pg_catalog.pg_typeof(type)) INTO type; RETURN type; \
EXCEPTION WHEN OTHERS THEN RETURN NULL; END $tp$";

/// Whether an error says that a trigger or default wants to know who asks.
pub(super) fn asks_for_identity(error: &DbError) -> bool {
    // undefined_object: the setting was never set; raise_exception: what a trigger says; invalid_text_representation: ''
    matches!(error.code.as_str(), "42704" | "P0001" | "42501")
        || (error.code == "22P02" && error.message.ends_with("\"\""))
}
