//! Other users of A. The session's own user has the best standing that the schema knows, and some rows are tied to that:
//! what a plain member can do to its own membership is tried as that member.

use super::Record;
use super::attempts::{keep_news, pick};
use crate::model::{Command, ContextState, Relation, Severity};
use crate::pg::conn::ConnError;
use crate::probe::attempt::{Act, Bench, Look};
use crate::probe::binding::Binding;
use crate::probe::evidence::Check;
use crate::probe::judge::{Hit, Judge, Subject, named_columns};
use crate::probe::observe::{self, Query, Seen};
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::sql::quote;
use crate::world::grow::{Values, key_condition};
use crate::world::{Class, GrownRow, Keys};

/// Most colleagues that are tried for each table of memberships.
const MAX_COLLEAGUES: usize = 3;

/// What a colleague's move of its own membership opened to it.
#[derive(Debug)]
pub(super) struct Moved {
    relation: u32,
    act: Act,
    binding: Binding,
    looker: Binding,
    queries: Vec<Query>,
    before: Vec<Seen>,
    after: Vec<Seen>,
}

/// Moves memberships of A's other users to B, as those users.
pub(super) async fn moves(bench: &mut Bench<'_>, trial: &Trial<'_>, record: &Record) -> Result<Vec<Moved>, ConnError> {
    let mut moved = Vec::new();
    for table in trial.catalog.tables().filter(|t| trial.classes.is_membership(t)) {
        let Some(privileges) = trial.privileges.relations.get(&table.oid) else {
            continue;
        };
        let tenants = trial.classes.columns_of(table, Class::Tenant);
        let Some(tenant) = tenants.iter().find(|c| privileges.update.contains(c)) else {
            continue;
        };
        let users = trial.classes.columns_of(table, Class::User);
        let user_of = |row: &GrownRow| users.iter().find_map(|c| row.values.get(c)?.clone());
        let mut known = vec![trial.a.keys.user.clone()];
        for row in trial.a.rows_of(table.oid) {
            let Some(user) = user_of(row).filter(|u| !known.contains(u)) else {
                continue;
            };
            let Some(place) = table.primary_key().and_then(|key| key_condition(key, row)) else {
                continue;
            };
            if known.len() > MAX_COLLEAGUES {
                break;
            }
            known.push(user.clone());
            let keys = Keys {
                email: email_of(trial, &user).unwrap_or_else(|| trial.a.keys.email.clone()),
                user,
                ..trial.a.keys.clone()
            };
            let binding = Binding::new(trial.session, &keys, ContextState::Bound);
            let there = Keys {
                tenant: trial.b.keys.tenant.clone(),
                ..keys
            };
            let looker = Binding::new(trial.session, &there, ContextState::Bound);
            let asked: Vec<usize> = (0..record.queries.len()).collect();
            let queries = pick(&record.queries, &asked);
            let before = observe::observe(bench.conn, &looker, &queries).await?;
            let (column, value) = (quote::ident(tenant), quote::literal(&trial.b.keys.tenant));
            // A WHERE clause has the policies for SELECT look at the new row, too; without one other rows may be in the way.
            for end in [format!(" WHERE {place}"), String::new()] {
                let act = Act::of(format!("UPDATE {} SET {column} = {value}{end}", table.name));
                let look = Look {
                    binding: &looker,
                    queries: &queries,
                    where_decided: true,
                };
                let mut effect = bench.attempt(&binding, &act, &[], &[look]).await?;
                let mut shown = effect.asked(0, &asked);
                let Some(mut after) = effect.looked.pop().filter(|_| effect.error.is_none()) else {
                    continue;
                };
                let mut all: Vec<Option<Seen>> = vec![None; record.queries.len()];
                for (at, seen) in asked.iter().zip(&before) {
                    all[*at] = Some(seen.clone());
                }
                let known: Vec<Seen> = all.into_iter().map(|s| s.unwrap_or(Seen::Rows(Vec::new()))).collect();
                keep_news(&mut after, &mut shown, &known);
                moved.push(Moved {
                    relation: table.oid,
                    act,
                    binding: binding.clone(),
                    looker: looker.clone(),
                    queries: pick(&record.queries, &shown),
                    before: pick(&known, &shown),
                    after,
                });
                break;
            }
        }
    }
    Ok(moved)
}

/// The address of a user of A, where a table says it.
fn email_of(trial: &Trial<'_>, user: &str) -> Option<String> {
    let says = |values: &Values, column: &String| values.get(column).cloned().flatten();
    trial.a.rows.iter().find_map(|row| {
        let table: &Relation = trial.catalog.relation(row.relation)?;
        let key = table.primary_key().filter(|k| k.columns.len() == 1)?;
        (says(&row.values, &key.columns[0]).as_deref() == Some(user)).then_some(())?;
        let emails = trial.classes.columns_of(table, Class::Email);
        emails.iter().find_map(|c| says(&row.values, c))
    })
}

/// Rows of B that a colleague reads once it has moved.
pub(super) fn judge(judge: &Judge<'_>, moved: &[Moved]) -> Vec<Hit> {
    let trial = judge.trial;
    let mut hits = Vec::new();
    for one in moved {
        let Some(table) = trial.catalog.relation(one.relation) else {
            continue;
        };
        let opened = one
            .queries
            .iter()
            .zip(one.after.iter().zip(&one.before))
            .find(|(query, (after, before))| {
                let relation = trial.catalog.relation(query.relation);
                relation
                    .is_some_and(|r| r.oid != table.oid && !trial.foreign_among(r, &after.beyond(before)).is_empty())
            });
        let Some((query, _)) = opened else { continue };
        let Some(shown) = trial.catalog.relation(query.relation) else {
            continue;
        };
        let sentence = format!(
            "table {}: another user of session `{}` moves its own row to another tenant by UPDATE and then reads rows of that tenant in {}",
            table.name, trial.session.name, shown.name
        );
        let check = Check::SameView(&one.looker, named_columns(query));
        let evidence = judge.scene(&trial.as_a(ContextState::Bound), shown.oid, |scene| {
            scene.write(&sentence, &one.binding, &one.act, &check)
        });
        hits.push(judge.hit(
            &oracle::IDENTITY_GAINED,
            Severity::Critical,
            Subject::of(table),
            Command::Update,
            ContextState::Bound,
            sentence,
            evidence,
            Vec::new(),
        ));
    }
    hits
}
