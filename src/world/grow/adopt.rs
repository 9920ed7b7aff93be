//! Rows that triggers made: they are found by their key and taken into the universe.

use super::insert::{named, returned};
use super::{Growth, Universe, Values, Wish};
use crate::model::Relation;
use crate::pg::conn::{ConnError, DbError};
use crate::sql::quote;
use crate::world::classes::Class;

impl<'g> Growth<'g, '_> {
    /// The row of a table that has the key of a planned one.
    pub(super) async fn find(&mut self, table: &Relation, row: &Values) -> Result<Option<Values>, ConnError> {
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
    pub(super) async fn adopt_twin(
        &mut self,
        table: &'g Relation,
        wish: &Wish,
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
            wish.fixed.contains_key(c)
                || self.grower.classes.class(table.oid, c).is_some()
                || self.grower.classes.preferred_literal(table.oid, c).is_some()
                || table.foreign_keys.iter().any(|k| k.columns.iter().any(|k| k == c))
        };
        if wish.fixed.keys().any(|c| key.columns.contains(c)) {
            return Ok(None);
        }
        let changes: Vec<(String, String)> = row
            .iter()
            .filter(|(c, v)| {
                (v.is_some() || wish.fixed.contains_key(*c))
                    && values.get(*c) != Some(v)
                    && identity(c)
                    && !key.columns.contains(c)
            })
            .map(|(c, v)| (c.clone(), v.as_deref().map_or("NULL".to_owned(), quote::literal)))
            .collect();
        let mut insert = format!("-- made by a trigger: a row of {}", table.name);
        if !changes.is_empty() {
            let sets: Vec<String> = changes
                .iter()
                .map(|(c, v)| format!("{} = {v}", quote::ident(c)))
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
                if !wish.fixed.is_empty() {
                    return Ok(None);
                }
            } else {
                if let Some(changed) = self.find_where(table, &key.columns, row).await? {
                    values = changed;
                }
                insert = update;
            }
        }
        Ok(Some(self.push(table, values, wish.variant.clone(), insert)))
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

    /// A row that is there already and carries the universe's key: a trigger made it.
    pub(super) async fn find_by_key(&mut self, table: &Relation) -> Result<Option<Values>, ConnError> {
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
