//! Code that runs for others: triggers that a session attaches, functions that it shadows, functions that open requests and
//! lose what they set, tables that functions make at run time.

use super::{By, Ploy, Sign, Step, shows};
use crate::model::{Command, ContextState, Function, Severity};
use crate::probe::binding::identity_settings;
use crate::probe::call::{self, Taste};
use crate::probe::judge::Subject;
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::sql::{expr, quote};
use crate::world::grow::insert_statement;

/// A trigger of A's runs with each row that others write.
pub(super) fn triggers(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = Vec::new();
    for table in trial.catalog.tables().filter(|t| !t.is_partition) {
        let Some(privileges) = trial.privileges.relations.get(&table.oid) else {
            continue;
        };
        if !privileges.trigger {
            continue;
        }
        let Some(theirs) = trial.candidate(trial.b, table, &privileges.insert) else {
            continue;
        };
        let mut ploy = Ploy::new(
            &oracle::FOREIGN_ROWS_READABLE,
            Subject::of(table),
            "attaches a trigger that sees each row which other tenants write",
            vec![
                Step::new(
                    By::A,
                    "CREATE FUNCTION pg_temp.proof_spy() RETURNS trigger LANGUAGE plpgsql AS $proof$ BEGIN \
                     PERFORM pg_catalog.set_config('proof.shown', NEW::text, false); RETURN NULL; END $proof$",
                ),
                Step::new(
                    By::A,
                    format!(
                        "CREATE TRIGGER proof_spy AFTER INSERT ON {} FOR EACH ROW EXECUTE FUNCTION pg_temp.proof_spy()",
                        table.name
                    ),
                ),
                Step::new(By::B, insert_statement(table, &theirs)),
            ],
            Sign::Fact("coalesce(pg_catalog.current_setting('proof.shown', true), '') <> ''".to_owned()),
        );
        ploy.command = Command::Insert;
        ploys.push(ploy);
    }
    ploys
}

/// Types that an overload is tried with: the arguments that bodies pass most.
const TYPES: [&str; 10] = [
    "integer",
    "bigint",
    "smallint",
    "text",
    "uuid",
    "boolean",
    "numeric",
    "date",
    "timestamp with time zone",
    "jsonb",
];

/// A function of A's in a schema of the search path is called with the rights of a definer function's owner.
pub(super) fn shadows(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = Vec::new();
    let role = trial.as_a(ContextState::Bound).role;
    let definers =
        trial.catalog.functions.iter().filter(|f| {
            f.is_definer && f.owner != role && !f.is_trigger() && trial.privileges.functions.contains(&f.oid)
        });
    for function in definers {
        let path = function
            .settings
            .iter()
            .find_map(|s| s.strip_prefix("search_path="))
            .unwrap_or("public");
        let on_path = |schema: &&String| path.split(',').any(|p| p.trim().trim_matches('"') == **schema);
        let Some(schema) = trial.privileges.create_in.iter().find(on_path) else {
            continue;
        };
        let Some(call) = call::calls(trial, function)
            .into_iter()
            .find(|c| c.taste != Taste::Foreign)
        else {
            continue;
        };
        let facts = expr::of_body(function);
        let called = facts.calls.iter().filter(|c| c.schema.is_none());
        let shadowed = called.flat_map(|c| trial.catalog.find_functions(None, &c.name));
        for inner in shadowed.filter(|g| g.arguments.len() == 1 && !g.is_trigger()) {
            let mut steps: Vec<Step> = TYPES
                .iter()
                .filter(|t| **t != inner.arguments[0].type_name || inner.name.schema != **schema)
                .map(|argument| {
                    Step::new(
                        By::A,
                        format!(
                            "CREATE FUNCTION {}({argument}) RETURNS {} LANGUAGE plpgsql AS $proof$ BEGIN PERFORM \
                             pg_catalog.set_config('proof.shown', current_user, false); RETURN NULL; END $proof$",
                            quote::qualified(schema, &inner.name.name),
                            inner.result_type
                        ),
                    )
                })
                .collect();
            steps.push(Step::new(By::A, call.sql.clone()));
            let mut ploy = Ploy::new(
                &oracle::IDENTITY_GAINED,
                Subject::of_function(function),
                format!(
                    "creates a function {} in schema {schema}, which the body then calls with the owner's rights",
                    inner.name.name
                ),
                steps,
                Sign::Fact(shows(&function.owner)),
            );
            ploy.command = Command::Execute;
            ploys.push(ploy);
        }
    }
    ploys
}

/// A function that says who asks must say so each time: also the second time, and after another tenant.
pub(super) fn openers(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = Vec::new();
    for name in identity_settings(trial.session) {
        let value = |binding: crate::probe::binding::Binding| {
            binding.settings.into_iter().find(|(n, _)| n == name).map(|(_, v)| v)
        };
        let (Some(mine), Some(theirs)) = (value(trial.as_a(ContextState::Bound)), value(trial.as_b())) else {
            continue;
        };
        if mine == theirs {
            continue;
        }
        let opens = |f: &&Function| {
            f.body.contains("set_config") && f.body.contains(name) && !f.is_trigger() && f.arguments.len() == 1
        };
        for function in trial.catalog.functions.iter().filter(opens) {
            if !trial.privileges.functions.contains(&function.oid) {
                continue;
            }
            let argument = &function.arguments[0].type_name;
            // Each call starts from the state that the last one left: the request does not bind in between.
            let open = |keys: &[&String]| {
                let call = |key: &&String| format!("PERFORM {}({}::{argument});", function.name, quote::literal(key));
                let calls: Vec<String> = keys.iter().map(call).collect();
                Step::new(By::Unbound, format!("DO $proof$ BEGIN {} END $proof$", calls.join(" ")))
            };
            let mut ploy = Ploy::new(
                &oracle::CONTEXT_LOST,
                Subject::of_function(function),
                format!("opens a request with `{name}` for one tenant and is left with another's"),
                vec![open(&[&mine, &theirs, &mine])],
                Sign::Fact(format!(
                    "pg_catalog.current_setting({}, true) = {}",
                    quote::literal(name),
                    quote::literal(&theirs)
                )),
            );
            ploy.control = vec![open(&[&mine])];
            ploy.command = Command::Execute;
            ploys.push(ploy);
        }
    }
    ploys
}

/// A table that a function makes belongs to the role that tenants share.
pub(super) fn tables_at_run_time(trial: &Trial<'_>) -> Vec<Ploy> {
    let makes = |f: &&Function| {
        let body = f.body.to_lowercase();
        let words: Vec<&str> = body.split_whitespace().collect();
        let creates = words
            .windows(2)
            .any(|w| w[0].ends_with("create") && (w[1] == "table" || w[1] == "unlogged"))
            || words
                .windows(2)
                .any(|w| w[0].ends_with("create") && w[1] == "materialized");
        creates && !f.is_trigger() && trial.privileges.functions.contains(&f.oid)
    };
    let mut ploys = Vec::new();
    for function in trial.catalog.functions.iter().filter(makes) {
        let calls = call::calls(trial, function);
        let Some(call) = calls.iter().find(|c| c.taste == Taste::Foreign).or(calls.first()) else {
            continue;
        };
        let steps = vec![
            Step::new(
                By::Superuser,
                "SELECT pg_catalog.set_config('proof.known', (SELECT pg_catalog.string_agg(oid::text, ' ') FROM pg_catalog.pg_class), false)",
            ),
            Step::new(By::B, call.sql.clone()),
            Step::new(
                By::A,
                "DO $proof$ DECLARE made record; content text; BEGIN FOR made IN SELECT oid::pg_catalog.regclass AS name FROM pg_catalog.pg_class \
                 WHERE relkind IN ('r', 'm') AND relpersistence <> 't' AND oid::text <> ALL (pg_catalog.string_to_array(pg_catalog.current_setting('proof.known'), ' ')) \
                 LOOP EXECUTE pg_catalog.format('SELECT pg_catalog.string_agg(t::text, '' '') FROM %s AS t', made.name) INTO content; \
                 PERFORM pg_catalog.set_config('proof.shown', coalesce(pg_catalog.current_setting('proof.shown', true), '') || coalesce(content, ''), false); \
                 END LOOP; END $proof$",
            ),
        ];
        let mut ploy = Ploy::new(
            &oracle::FOREIGN_ROWS_READABLE,
            Subject::of_function(function),
            "reads the table that the function made for another tenant",
            steps,
            Sign::ForeignText,
        );
        ploy.severity = Severity::High;
        ploy.command = Command::Execute;
        ploys.push(ploy);
    }
    ploys
}
