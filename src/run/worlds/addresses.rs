//! Addresses that anybody can write down. An invitation waits for whoever has its address; where a session may write that
//! address into a row of its own, nothing has to open by it.

use super::Record;
use super::attempts::{callable, pick};
use crate::model::{Command, ContextState, Function, Relation, Severity, Volatility};
use crate::pg::conn::ConnError;
use crate::probe::attempt::{Act, Bench, Look};
use crate::probe::binding::Binding;
use crate::probe::call::{self, Taste};
use crate::probe::evidence::Check;
use crate::probe::judge::{Hit, Judge, Subject, named_columns, type_of};
use crate::probe::observe::{Query, Seen};
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::sql::quote;
use crate::world::grow::{insert_statement, key_condition};
use crate::world::{Class, GrownRow};

/// Most addresses of B that are claimed.
const MAX_ADDRESSES: usize = 3;
/// Most functions that are called once an address is claimed.
const MAX_FUNCTIONS: usize = 8;

/// What an address opened.
#[derive(Debug)]
pub(super) struct Opened {
    table: u32,
    column: String,
    act: Act,
    looker: Binding,
    query: Query,
}

/// Claims the addresses that wait in rows of B, and tries what they may open.
pub(super) async fn claims(
    bench: &mut Bench<'_>,
    trial: &Trial<'_>,
    record: &Record,
) -> Result<Vec<Opened>, ConnError> {
    let mut opened = Vec::new();
    let offers = offers(trial);
    if offers.is_empty() {
        return Ok(opened);
    }
    for table in trial.catalog.tables().filter(|t| !t.is_partition) {
        for (column, claims) in claimable(trial, table, &offers) {
            for (claim, holder) in claims {
                let found = opens(bench, trial, record, &claim, holder).await?;
                if let Some((act, looker, query)) = found {
                    opened.push(Opened {
                        table: table.oid,
                        column: column.clone(),
                        act,
                        looker,
                        query,
                    });
                    break;
                }
            }
        }
    }
    Ok(opened)
}

fn is_address(column: &str) -> bool {
    let column = column.to_lowercase();
    ["email", "e_mail", "phone"].iter().any(|word| column.contains(word)) && !column.ends_with("_id")
}

/// A row of B that an address waits in.
#[derive(Debug, Clone, Copy)]
struct Offer<'t> {
    table: &'t Relation,
    row: &'t GrownRow,
}

/// Addresses in rows of B's tenant.
fn offers<'t>(trial: &Trial<'t>) -> Vec<(String, Offer<'t>)> {
    let mut found: Vec<(String, Offer<'t>)> = Vec::new();
    for table in trial.catalog.tables() {
        if trial.classes.columns_of(table, Class::Tenant).is_empty() || trial.classes.is_root(table.oid) {
            continue;
        }
        for column in table.columns.iter().filter(|c| is_address(&c.name)) {
            for row in trial.b.rows_of(table.oid) {
                if let Some(Some(address)) = row.values.get(&column.name)
                    && *address != trial.b.keys.email
                    && !found.iter().any(|(known, _)| known == address)
                {
                    found.push((address.clone(), Offer { table, row }));
                }
            }
        }
    }
    // An invitation offers something; an address in other rows only says where somebody is.
    found.sort_by_key(|(_, offer)| !offer.table.name.name.contains("invit"));
    found.truncate(MAX_ADDRESSES);
    found
}

type Claims<'t> = Vec<(String, Offer<'t>)>;

/// Statements that put an address into a row of the session's user, by column.
fn claimable<'t>(trial: &Trial<'_>, table: &Relation, offers: &[(String, Offer<'t>)]) -> Vec<(String, Claims<'t>)> {
    let Some(privileges) = trial.privileges.relations.get(&table.oid) else {
        return Vec::new();
    };
    let is_users = !trial.classes.columns_of(table, Class::User).is_empty()
        && trial.classes.columns_of(table, Class::Tenant).is_empty();
    if !is_users {
        return Vec::new();
    }
    let own = trial.a.base(table.oid);
    let place = own.and_then(|row| key_condition(table.primary_key()?, row));
    let columns = table.columns.iter().filter(|c| is_address(&c.name));
    let mut found = Vec::new();
    for column in columns {
        let mut claims = Vec::new();
        for (address, holder) in offers.iter().filter(|(_, offer)| offer.table.oid != table.oid) {
            if let Some(place) = place.as_ref().filter(|_| privileges.update.contains(&column.name)) {
                let claim = format!(
                    "UPDATE {} SET {} = {} WHERE {place}",
                    table.name,
                    quote::ident(&column.name),
                    quote::literal(address)
                );
                claims.push((claim, *holder));
            } else if privileges.insert.contains(&column.name)
                && let Some(mut row) = trial.candidate(trial.a, table, &privileges.insert)
            {
                row.insert(column.name.clone(), Some(address.clone()));
                claims.push((insert_statement(table, &row), *holder));
            }
        }
        found.push((column.name.clone(), claims));
    }
    found
}

/// What shows once an address is claimed: by itself, or after a call that takes it for proven.
async fn opens(
    bench: &mut Bench<'_>,
    trial: &Trial<'_>,
    record: &Record,
    claim: &str,
    offer: Offer<'_>,
) -> Result<Option<(Act, Binding, Query)>, ConnError> {
    let holder = offer.table;
    let bound = trial.as_a(ContextState::Bound);
    let alone = Act::of(claim);
    let (accepted, shown) = look(bench, trial, record, &bound, &alone).await?;
    if let Some((looker, query)) = shown {
        return Ok(Some((alone, looker, query)));
    }
    if !accepted {
        return Ok(None);
    }
    for function in takers(trial, holder) {
        let exact = call::with_key(trial, function, holder, offer.row);
        let calls = call::calls(trial, function);
        let others = calls.into_iter().filter(|c| c.taste == Taste::Foreign).map(|c| c.sql);
        for call in exact.into_iter().chain(others).take(2) {
            let act = Act::of(format!("{claim};\n{call}"));
            if let (_, Some((looker, query))) = look(bench, trial, record, &bound, &act).await? {
                return Ok(Some((act, looker, query)));
            }
        }
    }
    Ok(None)
}

/// Runs an act and looks as the session, and as its user in B's tenant: whether it was accepted, and what showed.
async fn look(
    bench: &mut Bench<'_>,
    trial: &Trial<'_>,
    record: &Record,
    bound: &Binding,
    act: &Act,
) -> Result<(bool, Option<(Binding, Query)>), ConnError> {
    let intruder = trial.as_intruder();
    let asked: Vec<usize> = (0..record.queries.len()).collect();
    let queries = pick(&record.queries, &asked);
    let lookers = [
        Some((bound.clone(), &record.one)),
        intruder.map(|i| (i, &record.intruder)),
    ];
    let lookers: Vec<(Binding, &Vec<Seen>)> = lookers.into_iter().flatten().collect();
    let looks: Vec<Look<'_>> = lookers
        .iter()
        .map(|(binding, _)| Look {
            binding,
            queries: &queries,
            where_decided: false,
        })
        .collect();
    let effect = bench.attempt(bound, act, &[], &looks).await?;
    if effect.error.is_some() {
        return Ok((false, None));
    }
    for (which, ((looker, before), after)) in lookers.iter().zip(&effect.looked).enumerate() {
        for (at, after) in effect.asked(which, &asked).into_iter().zip(after) {
            let (Some(before), Some(query)) = (before.get(at), record.queries.get(at)) else {
                continue;
            };
            let Some(relation) = trial.catalog.relation(query.relation) else {
                continue;
            };
            let mut gained = trial.foreign_among(relation, &after.beyond(before));
            // Not what the act itself put there.
            gained.retain(|row| trial.has_stored_value(row, &act.sql));
            if !gained.is_empty() {
                return Ok((true, Some((looker.clone(), query.clone()))));
            }
        }
    }
    Ok((true, None))
}

/// Functions that may take an address that waits in a table: they, or what they call, name the table.
fn takers<'t>(trial: &Trial<'t>, holder: &Relation) -> Vec<&'t Function> {
    let mut found: Vec<&Function> = callable(trial)
        .into_iter()
        .filter(|f| f.volatility == Volatility::Volatile && f.body.contains(&holder.name.name))
        .collect();
    found.sort_by_key(|f| (!f.name.name.contains("accept"), f.arguments.len(), f.identity()));
    found.truncate(MAX_FUNCTIONS);
    found
}

/// One fault for each function that takes what a session writes down for who it is; else for the table that holds it.
pub(super) fn judge(judge: &Judge<'_>, opened: &[Opened]) -> Vec<Hit> {
    let trial = judge.trial;
    let mut hits = Vec::new();
    for one in opened {
        let (Some(table), Some(shown)) = (
            trial.catalog.relation(one.table),
            trial.catalog.relation(one.query.relation),
        ) else {
            continue;
        };
        let mut subject = believer(trial, table, &one.column).map_or_else(|| Subject::of(table), Subject::of_function);
        subject.route = Some((table.name.to_string(), type_of(table), Command::Update));
        let sentence = format!(
            "{} {}: session `{}` writes another's address into {} of {} and then reads rows of another tenant in {}",
            subject.object_type.word(),
            subject.object,
            trial.session.name,
            one.column,
            table.name,
            shown.name
        );
        let bound = trial.as_a(ContextState::Bound);
        let check = Check::SameView(&one.looker, named_columns(&one.query));
        let evidence = judge.scene(&bound, shown.oid, |scene| {
            scene.write(&sentence, &bound, &one.act, &check)
        });
        hits.push(judge.hit(
            &oracle::IDENTITY_GAINED,
            Severity::Critical,
            subject,
            Command::Update,
            ContextState::Bound,
            sentence,
            evidence,
            Vec::new(),
        ));
    }
    hits
}

/// The function that reads the column to tell who asks.
fn believer<'t>(trial: &Trial<'t>, table: &Relation, column: &str) -> Option<&'t Function> {
    let reads = |f: &&Function| {
        !f.is_trigger()
            && f.volatility != Volatility::Volatile
            && f.arguments.is_empty()
            && f.body.contains(&table.name.name)
            && f.body.contains(column)
    };
    trial
        .catalog
        .functions
        .iter()
        .filter(reads)
        .min_by_key(|f| (f.body.len(), f.identity()))
}
