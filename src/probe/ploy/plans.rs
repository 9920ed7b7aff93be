//! Plans that are kept: what an IMMUTABLE function returned for one tenant is a constant in the plan that the next one runs.

use super::{By, Ploy, Sign, Step};
use crate::model::{Function, RelationKind, Volatility};
use crate::probe::judge::Subject;
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::sql::expr;

pub(super) fn ploys(trial: &Trial<'_>) -> Vec<Ploy> {
    let depends = |f: &&Function| {
        f.volatility == Volatility::Immutable && {
            let facts = expr::of_body(f);
            !facts.settings.is_empty() || !facts.relations.is_empty() || f.body.to_lowercase().contains("current_user")
        }
    };
    let mut ploys = Vec::new();
    for function in trial.catalog.functions.iter().filter(depends) {
        for query in trial.queries {
            let Some(relation) = trial.catalog.relation(query.relation) else {
                continue;
            };
            let calls = |text: &str| text.contains(&format!("{}(", function.name.name));
            let asks = relation
                .policies
                .iter()
                .flat_map(|p| [p.using.as_deref(), p.check.as_deref()])
                .flatten()
                .chain(relation.definition.as_deref())
                .any(calls);
            if !asks || relation.kind == RelationKind::Sequence {
                continue;
            }
            let read = "SELECT pg_catalog.set_config('proof.shown', coalesce(pg_temp.proof_read(), ''), false)";
            ploys.push(Ploy::new(
                &oracle::PLAN_KEEPS_CONTEXT,
                Subject::of_function(function),
                format!(
                    "reads another tenant's rows of {} by a plan that was made for that tenant: the function is IMMUTABLE and depends on the session",
                    relation.name
                ),
                vec![
                    Step::new(
                        By::Superuser,
                        format!(
                            "CREATE FUNCTION pg_temp.proof_read() RETURNS text LANGUAGE plpgsql AS $proof$ BEGIN RETURN (SELECT pg_catalog.string_agg(q::text, ' ') FROM ({}) AS q); END $proof$",
                            query.sql
                        ),
                    ),
                    Step::new(By::Superuser, "SET LOCAL plan_cache_mode = force_generic_plan"),
                    Step::new(By::B, read),
                    Step::new(By::A, read),
                ],
                Sign::ForeignText,
            ));
            break;
        }
    }
    ploys
}
