//! What a session sees in other forms of its request, and what of it is another tenant's.

use std::collections::BTreeMap;

use super::queries;
use crate::model::Severity;
use crate::model::catalog::Privileges;
use crate::pg::conn::{Conn, ConnError};
use crate::probe::guise::{self, Guise};
use crate::probe::judge::{Hit, Judge};
use crate::probe::observe::{self, Query, Seen};
use crate::probe::trial::Trial;

/// What the session sees in another form of its request.
#[derive(Debug)]
pub(super) struct Disguised {
    guise: Guise,
    /// Of the role it takes, where it takes one.
    privileges: Option<Privileges>,
    queries: Vec<Query>,
    seen: Vec<Seen>,
}

/// Looks at everything in every other form that the session's request can take.
pub(super) async fn look(
    conn: &mut Conn,
    trial: &Trial<'_>,
    of_roles: &BTreeMap<String, Privileges>,
    own: &[Query],
) -> Result<Vec<Disguised>, ConnError> {
    let mut all = Vec::new();
    for guise in guise::guises(trial) {
        let privileges = guise.binding.set_role.as_ref().and_then(|r| of_roles.get(r)).cloned();
        let queries = privileges
            .as_ref()
            .map_or_else(|| own.to_vec(), |p| queries(trial.catalog, p));
        let seen = observe::observe(conn, &guise.binding, &queries).await?;
        all.push(Disguised {
            guise,
            privileges,
            queries,
            seen,
        });
    }
    Ok(all)
}

/// Rows of B that show in another form and not in the session's own.
pub(super) fn judge(judge: &Judge<'_>, disguised: &[Disguised], plain: &BTreeMap<u32, Seen>) -> Vec<Hit> {
    let trial = judge.trial;
    let mut hits = Vec::new();
    for form in disguised {
        let privileges = form.privileges.as_ref().unwrap_or(trial.privileges);
        let as_formed = Trial::new(
            trial.catalog,
            trial.classes,
            trial.session,
            privileges,
            trial.common,
            trial.a,
            trial.b,
            trial.worlds,
            &form.queries,
        );
        let nothing = Seen::Rows(Vec::new());
        for (query, seen) in form.queries.iter().zip(&form.seen) {
            let Some(relation) = trial.catalog.relation(query.relation) else {
                continue;
            };
            let before = plain.get(&query.relation).unwrap_or(&nothing);
            let foreign = as_formed.foreign_among(relation, &seen.beyond(before));
            if foreign.is_empty() {
                continue;
            }
            let what = format!("{} reads {} rows of another tenant", form.guise.how, foreign.len());
            let oracle = form.guise.oracle;
            let by = &form.guise.binding;
            hits.push(judge.reads(oracle, Severity::Critical, relation, query, by, &what));
        }
    }
    hits
}
