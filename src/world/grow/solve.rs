//! Asking the server which of many candidates satisfy conditions.

use super::plan::conditions;
use super::rules::domain_checks;
use super::{Growth, Values, Wish};
use crate::model::{Column, Generated, Relation};
use crate::pg::conn::ConnError;
use crate::sql::quote;
use crate::world::classes::Class;
use crate::world::values::limits::Target;
use crate::world::values::{self, candidates};

/// Ranks below this are not places in the list of candidates.
const FIRST_CANDIDATE: usize = 10;

/// Rank of NULL, ahead of candidates and behind all of them.
const NULL: usize = 2;
const NULL_LAST: usize = 1_000_000;

impl<'g> Growth<'g, '_> {
    /// Finds values for columns so that all conditions on them hold; `extra` is one that is no constraint of the table.
    /// Whether any value changed.
    pub(super) async fn solve(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
        row: &mut Values,
        columns: &[String],
        extra: Option<&str>,
    ) -> Result<bool, ConnError> {
        let mut columns: Vec<String> = columns.to_vec();
        for _ in 0..3 {
            if let Some(changed) = self.solve_for(table, wish, row, &columns, extra, false).await? {
                return Ok(changed);
            }
            // Columns that other conditions tie to these.
            let tied = table
                .checks
                .iter()
                .filter(|c| c.columns.iter().any(|c| columns.contains(c)));
            let more: Vec<String> = tied
                .flat_map(|c| c.columns.iter())
                .filter(|c| !columns.contains(c))
                .cloned()
                .collect();
            if more.is_empty() || columns.len() > 6 {
                break;
            }
            for column in more {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
            columns.truncate(8);
        }
        // Two columns that hold the user, and must not hold the same: the second may be somebody else.
        let changed = self.solve_for(table, wish, row, &columns, extra, true).await?;
        Ok(changed.unwrap_or(false))
    }

    /// One question; nothing where nothing satisfies it.
    async fn solve_for(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
        row: &mut Values,
        columns: &[String],
        extra: Option<&str>,
        with_users: bool,
    ) -> Result<Option<bool>, ConnError> {
        let types = &self.grower.catalog.types;
        // Below its domains, which take no NULL, and with its modifiers, which are part of what `character` means.
        let cast = |column: &'g Column| Target::of(column, types).type_name;
        let free: Vec<&'g Column> = columns
            .iter()
            .filter_map(|c| table.column(c))
            .filter(|c| c.is_insertable() && !wish.fixed.contains_key(&c.name))
            .filter(|c| match self.grower.classes.class(table.oid, &c.name) {
                None => true,
                Some((Class::Tenant, _)) => false,
                Some(_) => with_users && self.is_second_user(table, &c.name),
            })
            .collect();
        if free.is_empty() {
            return Ok(None);
        }
        let touching = table
            .checks
            .iter()
            .filter(|c| c.columns.iter().any(|c| free.iter().any(|f| f.name == *c)));
        let mut asked: Vec<&str> = touching.map(|c| c.expression.as_str()).collect();
        asked.extend(extra);
        let limit = match free.len() {
            1 => 500,
            2 => 90,
            3 => 30,
            4 => 13,
            5 => 8,
            6 => 5,
            _ => 3,
        };
        let mut sources = Vec::new();
        for (at, column) in free.iter().enumerate() {
            let is_foreign = self.is_foreign(table, &column.name);
            let n = self.universe.next();
            let current = row.get(&column.name).cloned().flatten();
            let mut options: Vec<(usize, Option<String>)> = Vec::new();
            options.extend(current.clone().map(|v| (0, Some(v))));
            if is_foreign {
                let others = self.other_parents(table, column).into_iter().enumerate();
                options.extend(others.map(|(at, v)| (at + FIRST_CANDIDATE, Some(v))));
            } else {
                let keys = &self.universe.keys;
                options.extend(values::generate_among(types, column, keys, n).map(|v| (1, Some(v))));
                let mut texts = conditions(types, table, column);
                texts.extend(extra.map(str::to_owned));
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                options.extend(
                    candidates(types, column, &texts, keys, n)
                        .into_iter()
                        .enumerate()
                        .map(|(r, v)| (r + FIRST_CANDIDATE, Some(v))),
                );
            }
            // A value says more than none; but where several columns have to fit together there are too many to try all first.
            let null_last = free.len() == 1 && !is_foreign;
            if !column.not_null && !null_last {
                options.insert(options.len().min(2), (NULL, None));
            }
            let mut seen: Vec<Option<String>> = Vec::new();
            let fits = |v: &str| column.max_length.is_none_or(|max| v.chars().count() <= max as usize);
            options.retain(|(_, v)| {
                let new = !seen.contains(v) && v.as_deref().is_none_or(fits);
                seen.push(v.clone());
                new
            });
            options.truncate(limit);
            if !column.not_null && null_last {
                options.push((NULL_LAST, None));
            }
            if options.is_empty() {
                return Ok(None);
            }
            let list: Vec<String> = options
                .iter()
                .map(|(rank, v)| {
                    format!(
                        "({rank}, {})",
                        v.as_deref()
                            .map_or("NULL::text".to_owned(), |v| format!("{}::text", quote::literal(v)))
                    )
                })
                .collect();
            sources.push(format!(
                "v{at} AS MATERIALIZED (SELECT x.rank, x.value, pg_temp.tp_cast(x.value, NULL::{}, {}) AS typed FROM (VALUES {}) AS x(rank, value) WHERE x.value IS NULL OR pg_temp.tp_fits(x.value, {}))",
                column.base_type,
                quote::literal(cast(column)),
                list.join(", "),
                quote::literal(&column.type_name)
            ));
        }
        let bound = |column: &'g Column| {
            let value = match row.get(&column.name) {
                Some(Some(value)) => quote::literal(value),
                None if column.generated == Generated::No => {
                    column.default.clone().map_or("NULL".to_owned(), |d| format!("({d})"))
                }
                Some(None) | None => "NULL".to_owned(),
            };
            format!("{value}::{} AS {}", cast(column), quote::ident(&column.name))
        };
        let is_named = |c: &Column| {
            columns.contains(&c.name)
                || table
                    .checks
                    .iter()
                    .any(|k| asked.contains(&k.expression.as_str()) && k.columns.contains(&c.name))
                || extra.is_some_and(|e| e.contains(c.name.as_str()))
        };
        let typed: Vec<String> = table
            .columns
            .iter()
            .filter(|c| is_named(c))
            .map(|c| match free.iter().position(|f| f.name == c.name) {
                Some(at) => format!("v{at}.typed AS {}", quote::ident(&c.name)),
                None => bound(c),
            })
            .collect();
        let names: Vec<String> = (0..free.len()).map(|at| format!("v{at}")).collect();
        let each = |what: &str| names.iter().map(|v| format!("{v}.{what}")).collect::<Vec<_>>();
        let conditions: Vec<String> = asked.iter().map(|e| format!("({e}) IS NOT FALSE")).collect();
        let condition = if conditions.is_empty() {
            "true".to_owned()
        } else {
            conditions.join(" AND ")
        };
        let select = format!("SELECT {}, {}", each("value").join(", "), each("rank").join(", "));
        let with = format!("WITH {}", sources.join(", "));
        let order = format!(
            "ORDER BY {}, {} LIMIT 1",
            each("rank").join(" + "),
            each("rank").join(", ")
        );
        let from = format!("FROM {}", names.join(" CROSS JOIN "));
        let typed = typed.join(", ");
        let sql = format!("{with} {select} {from} CROSS JOIN LATERAL (SELECT {typed}) AS t WHERE {condition} {order}");
        let mut answer = self.ask(&sql).await?;
        if answer.is_err() {
            // Some candidate makes a condition fail: each is then asked for by itself, and fewer of them.
            let guarded = format!(
                "{with} {select} {from} WHERE pg_temp.tp_holds({}, {}) {order}",
                quote::literal(&format!(
                    "SELECT {condition} FROM (SELECT {}) AS t",
                    table
                        .columns
                        .iter()
                        .filter(|c| is_named(c))
                        .map(|c| match free.iter().position(|f| f.name == c.name) {
                            Some(at) => format!("CAST($1[{}] AS {}) AS {}", at + 1, cast(c), quote::ident(&c.name)),
                            None => bound(c),
                        })
                        .collect::<Vec<_>>()
                        .join(", ")
                )),
                format_args!("ARRAY[{}]", each("value").join(", "))
            );
            answer = self.ask(&guarded).await?;
        }
        let Ok(Some(solution)) = answer else { return Ok(None) };
        let (chosen, ranks) = solution.split_at(free.len().min(solution.len()));
        let mut changed = false;
        for ((column, value), rank) in free.iter().zip(chosen).zip(ranks) {
            let rank: usize = rank.as_deref().and_then(|r| r.parse().ok()).unwrap_or(0);
            if wish.is_plain() && extra.is_none() {
                let place = (table.oid, column.name.clone());
                if self.is_foreign(table, &column.name) {
                    // Which parent fits is another question for every row.
                } else if rank == NULL || rank == NULL_LAST {
                    self.learned(|m| m.ranks.insert(place, None));
                } else if rank >= FIRST_CANDIDATE {
                    self.learned(|m| m.ranks.insert(place, Some(rank - FIRST_CANDIDATE)));
                }
            }
            if row.get(&column.name) != Some(value) {
                changed |= !(value.is_none() && row.get(&column.name).is_none() && column.default.is_none());
                row.insert(column.name.clone(), value.clone());
            }
        }
        Ok(Some(changed))
    }

    fn is_foreign(&self, table: &Relation, column: &str) -> bool {
        table.foreign_keys.iter().any(|k| k.columns.iter().any(|c| c == column))
    }

    /// Whether a column holds the user, and another one before it does.
    fn is_second_user(&self, table: &Relation, column: &str) -> bool {
        let users = self.grower.classes.columns_of(table, Class::User);
        // The one that has to be there, or that is part of a key, is the row's own.
        let own = users
            .iter()
            .find(|c| table.primary_key().is_some_and(|k| k.columns.contains(c)))
            .or_else(|| users.iter().find(|c| table.column(c).is_some_and(|c| c.not_null)))
            .or(users.first());
        own.is_some_and(|own| own != column)
    }

    /// Values that a foreign key's column can have, by the rows there are.
    fn other_parents(&self, table: &Relation, column: &Column) -> Vec<String> {
        let mut found = Vec::new();
        for key in &table.foreign_keys {
            let Some(at) = key.columns.iter().position(|c| *c == column.name) else {
                continue;
            };
            let Some(there) = key.referenced_columns.get(at) else {
                continue;
            };
            let seeds = self
                .grower
                .common
                .map_or(&self.universe.seeds, |c| &c.seeds)
                .get(&key.references);
            let own = self
                .universe
                .rows_of(key.references)
                .map(|r| &r.values)
                .chain(seeds.into_iter().flatten());
            found.extend(own.filter_map(|v| v.get(there).cloned().flatten()).take(6));
        }
        found
    }

    /// Finds other values for columns whose type, or domain, does not take what was planned.
    pub(super) async fn solve_types(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
        row: &mut Values,
    ) -> Result<bool, ConnError> {
        let given: Vec<&Column> = table
            .columns
            .iter()
            .filter(|c| !wish.fixed.contains_key(&c.name) && row.get(&c.name).is_some_and(Option::is_some))
            .collect();
        let fits = |c: &Column, value: &str| {
            format!(
                "pg_temp.tp_fits({}, {})",
                quote::literal(value),
                quote::literal(&c.type_name)
            )
        };
        let questions: Vec<String> = given
            .iter()
            .filter_map(|c| Some(fits(c, row.get(&c.name)?.as_deref()?)))
            .collect();
        let Ok(Some(answers)) = self.ask(&format!("SELECT {}", questions.join(", "))).await? else {
            return Ok(false);
        };
        let types = &self.grower.catalog.types;
        let mut changed = false;
        for (column, answer) in given.into_iter().zip(answers) {
            let too_long = row
                .get(&column.name)
                .cloned()
                .flatten()
                .is_some_and(|v| column.max_length.is_some_and(|m| v.chars().count() > m as usize));
            if answer.as_deref() == Some("t") && !too_long {
                continue;
            }
            let n = self.universe.next();
            let checks = domain_checks(types, column);
            let texts: Vec<&str> = checks.iter().map(String::as_str).collect();
            let list: Vec<String> = candidates(types, column, &texts, &self.universe.keys, n)
                .iter()
                .enumerate()
                .filter(|(_, v)| column.max_length.is_none_or(|m| v.chars().count() <= m as usize))
                .map(|(rank, v)| format!("({rank}, {}::text)", quote::literal(v)))
                .collect();
            if list.is_empty() {
                continue;
            }
            let sql = format!(
                "SELECT x.value, x.rank FROM (VALUES {}) AS x(rank, value) WHERE pg_temp.tp_fits(x.value, {}) ORDER BY x.rank LIMIT 1",
                list.join(", "),
                quote::literal(&column.type_name)
            );
            if let Ok(Some(solution)) = self.ask(&sql).await?
                && let [value, Some(rank)] = solution.as_slice()
            {
                row.insert(column.name.clone(), value.clone());
                let place = (table.oid, column.name.clone());
                let rank = rank.parse().ok();
                // The list of the column may hold the conditions of the table as well: then its places are others.
                if rank.is_some() && conditions(types, table, column).len() == checks.len() {
                    self.learned(|m| m.ranks.insert(place, rank));
                }
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Runs a question that may fail (a candidate may make any expression fail) and leaves nothing behind.
    async fn ask(&mut self, sql: &str) -> Result<Result<Option<Vec<Option<String>>>, String>, ConnError> {
        if !self.has_helpers {
            self.conn.query(HELPERS).await?;
            self.has_helpers = true;
        }
        let outcome = self.conn.run(&format!("SAVEPOINT tp_ask; {sql}")).await?;
        self.conn
            .query("ROLLBACK TO SAVEPOINT tp_ask; RELEASE SAVEPOINT tp_ask")
            .await?;
        Ok(match outcome.error {
            Some(error) => Err(error.message),
            None => Ok(outcome.results.last().and_then(|r| r.rows.first()).cloned()),
        })
    }
}

impl Wish {
    /// Whether nothing of the row is prescribed, so that what is learned of it holds for others.
    fn is_plain(&self) -> bool {
        self.fixed.is_empty() && self.partition.is_none()
    }
}

/// A cast that yields NULL where the text is no value of the type, so that one bad candidate does not end the search; whether
/// a type takes a text; and whether a condition holds, where it may fail.
const HELPERS: &str = "CREATE OR REPLACE FUNCTION pg_temp.tp_cast(value text, sample anyelement, type text) RETURNS anyelement LANGUAGE plpgsql AS \
$tp$ BEGIN IF value IS NULL THEN RETURN NULL; END IF; EXECUTE pg_catalog.format('SELECT %L::%s', value, type) INTO sample; RETURN sample; \
EXCEPTION WHEN OTHERS THEN RETURN NULL; END $tp$; \
CREATE OR REPLACE FUNCTION pg_temp.tp_fits(value text, type text) RETURNS boolean LANGUAGE plpgsql AS \
$tp$ BEGIN EXECUTE pg_catalog.format('SELECT %L::%s', value, type); RETURN true; EXCEPTION WHEN OTHERS THEN RETURN false; END $tp$; \
CREATE OR REPLACE FUNCTION pg_temp.tp_holds(question text, given text[]) RETURNS boolean LANGUAGE plpgsql AS \
$tp$ DECLARE answer boolean; BEGIN EXECUTE question INTO answer USING given; RETURN answer; EXCEPTION WHEN OTHERS THEN RETURN false; END $tp$";
