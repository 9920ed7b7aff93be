//! What needs a commit: whether identity that a function sets outlives its transaction, as it would on a pooled connection.
//!
//! Writes to the scratch database for good, so it comes last.

use crate::model::catalog::Privileges;
use crate::model::{Catalog, Command, ContextState, Function, FunctionKind, Session, Severity};
use crate::pg::conn::{Conn, ConnError};
use crate::probe::binding::{Binding, identity_settings};
use crate::probe::call::{self, Taste};
use crate::probe::judge::{Hit, Judge, Subject};
use crate::probe::oracle;
use crate::probe::trial::{Trial, Worlds};
use crate::sql::quote;
use crate::world::{Classes, Grower, KeyPair, Keys, Universe};

/// Calls what may set identity, commits, and looks at what is left.
pub async fn leftovers(
    conn: &mut Conn,
    catalog: &Catalog,
    classes: &Classes,
    sessions: &[(&Session, &Privileges)],
    pair: &KeyPair,
    common: &Keys,
    base_tenant: bool,
) -> Result<Vec<Hit>, ConnError> {
    let suspects = |privileges: &Privileges| -> Vec<&Function> {
        catalog
            .functions
            .iter()
            .filter(|f| {
                privileges.functions.contains(&f.oid)
                    && !f.is_trigger()
                    && matches!(f.kind, FunctionKind::Function | FunctionKind::Procedure)
            })
            .filter(|f| may_set(f))
            .collect()
    };
    let mut hits = Vec::new();
    if !sessions.iter().any(|(_, p)| !suspects(p).is_empty()) {
        return Ok(hits);
    }
    conn.query("BEGIN").await?;
    let grower = Grower {
        catalog,
        classes,
        common: None,
        bindings: &[],
        rival: None,
    };
    let shared = grower
        .grow(conn, common.clone(), |t| classes.is_shared(t.oid) || base_tenant)
        .await?;
    let grower = Grower {
        common: Some(&shared),
        ..grower
    };
    let a = grower.grow(conn, pair.a.clone(), |t| !classes.is_shared(t.oid)).await?;
    conn.query("COMMIT").await?;
    let nobody = Universe::new(pair.b.clone());
    let worlds = Worlds::default();
    for (session, privileges) in sessions {
        let trial = Trial::new(
            catalog,
            classes,
            session,
            privileges,
            &shared,
            &a,
            &nobody,
            &worlds,
            &[],
        );
        let seen = std::collections::BTreeMap::new();
        let judge = Judge {
            trial: &trial,
            seen_zero: &seen,
            purpose: "plain",
        };
        for function in suspects(privileges) {
            let own = call::calls(&trial, function)
                .into_iter()
                .filter(|c| c.taste != Taste::Foreign);
            for call in own.take(8) {
                let mut hit = None;
                for state in [ContextState::Unset, ContextState::Bound] {
                    let binding = trial.as_a(state);
                    hit = leftover(conn, &judge, function, &binding, &call.sql).await?;
                    if hit.is_some() {
                        break;
                    }
                }
                if let Some(hit) = hit {
                    hits.push(hit);
                    break;
                }
            }
        }
    }
    Ok(hits)
}

async fn leftover(
    conn: &mut Conn,
    judge: &Judge<'_>,
    function: &Function,
    binding: &Binding,
    sql: &str,
) -> Result<Option<Hit>, ConnError> {
    let superuser = conn.superuser().to_owned();
    let (limit, _) = conn.limits();
    let outcome = conn
        .run(&format!("BEGIN; {limit}{} {sql}; COMMIT", binding.sql()))
        .await?;
    if outcome.error.is_some() {
        conn.query("ROLLBACK").await?;
    }
    let names = identity_settings(judge.trial.session);
    let settings: String = names
        .iter()
        .map(|n| format!(", pg_catalog.current_setting({}, true)", quote::literal(n)))
        .collect();
    let left = conn
        .query(&format!("SELECT pg_catalog.current_setting('role'){settings}"))
        .await?;
    conn.query(&format!(
        "RESET ROLE; SET SESSION AUTHORIZATION {}; RESET ALL",
        quote::ident(&superuser)
    ))
    .await?;
    let row = left
        .into_iter()
        .next()
        .and_then(|r| r.into_iter().next())
        .unwrap_or_default();
    let role = row.first().cloned().flatten().unwrap_or_default();
    let setting = names
        .iter()
        .zip(row.iter().skip(1))
        .find(|(_, v)| v.as_deref().is_some_and(|v| !v.is_empty()));
    let (condition, what) = match setting {
        Some((name, _)) => (
            format!(
                "coalesce(pg_catalog.current_setting({}, true), '') <> ''",
                quote::literal(name)
            ),
            format!("leaves `{name}` set"),
        ),
        None if role != "none" && role != superuser => (
            "pg_catalog.current_setting('role') <> 'none'".to_owned(),
            format!("leaves role `{role}` set"),
        ),
        None => return Ok(None),
    };
    let subject = Subject::of_function(function);
    let sentence = format!(
        "{} {}: {what} after COMMIT, so the next request on the connection runs as this tenant",
        subject.object_type.word(),
        subject.object
    );
    let evidence = judge.scene(binding, 0, |scene| scene.outlives(&sentence, binding, sql, &condition));
    Ok(Some(judge.hit(
        &oracle::CONTEXT_OUTLIVES_TRANSACTION,
        Severity::Critical,
        subject,
        Command::Execute,
        ContextState::Unset,
        sentence,
        evidence,
        Vec::new(),
    )))
}

/// Whether the text of a function sets anything.
fn may_set(function: &Function) -> bool {
    let body = function.body.to_lowercase();
    body.contains("set_config")
        || body
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|w| w == "set" || w == "reset")
}
