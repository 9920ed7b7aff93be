//! Conditions that run before another's rows are filtered out: a view that is the boundary but no security barrier, a function
//! marked LEAKPROOF that tells, statistics, row counts in EXPLAIN.

use super::{By, Ploy, Sign, Step};
use crate::model::{Relation, RelationKind, RowSecurity, Severity};
use crate::probe::judge::Subject;
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::sql::quote;
use crate::world::Class;

/// Tables whose EXPLAIN is compared: the channel is the same for all.
const MAX_EXPLAINED: usize = 8;

pub(super) fn ploys(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = Vec::new();
    for view in trial.catalog.relations.iter().filter(|r| r.kind == RelationKind::View) {
        if !view.is_security_barrier() {
            for column in texts(trial, view).into_iter().take(2) {
                ploys.push(peek(view, &column));
                ploys.push(cast(trial, view, &column));
            }
        }
    }
    ploys.extend(leakproof(trial));
    let explained = trial
        .catalog
        .tables()
        .filter(|t| t.row_security != RowSecurity::Disabled && !t.is_partition && !texts(trial, t).is_empty());
    ploys.extend(explained.take(MAX_EXPLAINED).map(explain));
    ploys
}

/// Text columns that the session may read.
fn texts(trial: &Trial<'_>, relation: &Relation) -> Vec<String> {
    let Some(privileges) = trial.privileges.relations.get(&relation.oid) else {
        return Vec::new();
    };
    let is_text = |name: &&String| {
        relation
            .column(name)
            .is_some_and(|c| c.category == "S" && trial.classes.class(relation.oid, name).is_none())
    };
    privileges.select.iter().filter(is_text).cloned().collect()
}

fn no_indexes() -> Vec<Step> {
    ["enable_indexscan", "enable_bitmapscan", "enable_indexonlyscan"]
        .iter()
        .map(|name| Step::new(By::A, format!("SET LOCAL {name} = off")))
        .collect()
}

/// A cheap function of the session's own is called before the view's condition.
fn peek(view: &Relation, column: &str) -> Ploy {
    let mut steps = no_indexes();
    steps.push(Step::new(
        By::A,
        "CREATE FUNCTION pg_temp.proof_peek(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $proof$ BEGIN \
         PERFORM pg_catalog.set_config('proof.shown', coalesce(pg_catalog.current_setting('proof.shown', true), '') || ' ' || value, false); \
         RETURN true; END $proof$",
    ));
    steps.push(Step::new(
        By::A,
        format!(
            "SELECT pg_catalog.count(*) FROM {} WHERE pg_temp.proof_peek({}::text)",
            view.name,
            quote::ident(column)
        ),
    ));
    filter_first(
        view,
        "with a function in its WHERE clause is shown rows that the view filters out",
        steps,
    )
}

/// A cast that fails quotes its argument, and is cheaper than the view's condition.
fn cast(trial: &Trial<'_>, view: &Relation, column: &str) -> Ploy {
    let own: Vec<String> = trial
        .a
        .rows
        .iter()
        .filter_map(|r| r.values.get(column).cloned().flatten())
        .map(|v| quote::literal(&v))
        .collect();
    let name = quote::ident(column);
    let guard = if own.is_empty() {
        format!("{name}::integer")
    } else {
        format!(
            "CASE WHEN {name} IN ({}) THEN 0 ELSE {name}::integer END",
            own.join(", ")
        )
    };
    let mut steps = no_indexes();
    steps.push(Step::error_shown(
        By::A,
        &format!("PERFORM pg_catalog.count(*) FROM {} WHERE {guard} = 0", view.name),
    ));
    filter_first(
        view,
        "with a cast in its WHERE clause gets an error that quotes a row which the view filters out",
        steps,
    )
}

fn filter_first(view: &Relation, how: &str, steps: Vec<Step>) -> Ploy {
    let mut ploy = Ploy::new(
        &oracle::FILTER_WITHOUT_BARRIER,
        Subject::of(view),
        how,
        steps,
        Sign::ForeignText,
    );
    ploy.severity = Severity::High;
    ploy
}

/// A function that is LEAKPROOF runs on statistics, which hold values of all tenants.
fn leakproof(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = Vec::new();
    for function in trial.catalog.functions.iter().filter(|f| f.is_leakproof) {
        for table in trial
            .catalog
            .tables()
            .filter(|t| t.row_security != RowSecurity::Disabled && !t.is_partition)
        {
            let Some(column) = texts(trial, table).into_iter().find(|c| {
                !table.keys.iter().any(|k| k.columns.contains(c))
                    && !table.foreign_keys.iter().any(|k| k.columns.contains(c))
            }) else {
                continue;
            };
            let Some(theirs) = trial
                .b
                .base(table.oid)
                .and_then(|r| r.values.get(&column).cloned().flatten())
            else {
                continue;
            };
            let tenant = trial.classes.columns_of(table, Class::Tenant);
            let Some(tenant) = tenant.first() else { continue };
            let long = format!("{theirs} {}", "x".repeat(200));
            let name = quote::ident(&column);
            let mut steps = vec![
                Step::new(
                    By::Superuser,
                    format!(
                        "UPDATE {} SET {name} = {} WHERE {}::text = {}",
                        table.name,
                        quote::literal(&long),
                        quote::ident(tenant),
                        quote::literal(&trial.b.keys.tenant)
                    ),
                ),
                Step::new(By::Superuser, format!("ANALYZE {}", table.name)),
            ];
            for operator in &function.operators {
                steps.push(Step::error_shown(
                    By::A,
                    &format!(
                        "EXECUTE {}",
                        quote::literal(&format!(
                            "EXPLAIN SELECT * FROM {} WHERE {name} {operator} 'x'",
                            table.name
                        ))
                    ),
                ));
            }
            if function.operators.is_empty() {
                let rest = ", 'x'".repeat(function.arguments.len().saturating_sub(1));
                steps.push(Step::error_shown(
                    By::A,
                    &format!(
                        "PERFORM pg_catalog.count(*) FROM {} WHERE {}({name}{rest})",
                        table.name, function.name
                    ),
                ));
            }
            let mut ploy = Ploy::new(
                &oracle::FOREIGN_VALUE_IN_ERROR,
                Subject::of_function(function),
                format!(
                    "is told values of {} by its error: it is LEAKPROOF and runs before row security",
                    table.name
                ),
                steps,
                Sign::Fact(super::shows(&theirs)),
            );
            ploy.severity = Severity::High;
            ploys.push(ploy);
            break;
        }
    }
    ploys
}

/// EXPLAIN ANALYZE counts the rows that row security removed.
fn explain(table: &Relation) -> Ploy {
    let query = format!(
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM {}",
        table.name
    );
    let run = format!(
        "DO $proof$ DECLARE line text; BEGIN FOR line IN EXECUTE {} LOOP PERFORM pg_catalog.set_config('proof.shown', \
         coalesce(pg_catalog.current_setting('proof.shown', true), '') || line, false); END LOOP; END $proof$",
        quote::literal(&query)
    );
    let mut ploy = Ploy::new(
        &oracle::ROWS_COUNTED_BY_EXPLAIN,
        Subject::of(table),
        "is told by EXPLAIN ANALYZE how many rows row security removed",
        no_indexes().into_iter().chain([Step::new(By::A, run)]).collect(),
        Sign::Differs,
    );
    ploy.severity = Severity::Info;
    ploy
}
