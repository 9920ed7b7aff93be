//! Counters that tenants share: what they tell, and who may turn them back.

use super::{By, Ploy, Sign, Step};
use crate::model::{Column, Command, Relation, RelationKind, Severity};
use crate::probe::judge::Subject;
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::sql::quote;
use crate::world::grow::insert_statement;

/// The distance between two numbers of A's own rows is what others made in between.
pub(super) fn gaps(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = Vec::new();
    for table in trial.catalog.tables().filter(|t| !t.is_partition) {
        let Some(privileges) = trial.privileges.relations.get(&table.oid) else {
            continue;
        };
        let Some(column) = table
            .columns
            .iter()
            .find(|c| c.is_serial() && privileges.select.contains(&c.name))
        else {
            continue;
        };
        if trial.classes.is_shared(table.oid) {
            continue;
        }
        let columns: Vec<String> = privileges
            .insert
            .iter()
            .filter(|c| **c != column.name)
            .cloned()
            .collect();
        let (Some(mine), Some(theirs)) = (
            trial.candidate(trial.a, table, &columns),
            trial.candidate(trial.b, table, &columns),
        ) else {
            continue;
        };
        let take = |name: &str| {
            Step::new(
                By::A,
                format!(
                    "WITH made AS ({} RETURNING {}) SELECT pg_catalog.set_config('proof.{name}', {1}::text, false) FROM made",
                    insert_statement(table, &mine),
                    quote::ident(&column.name)
                ),
            )
        };
        let delete = Step::new(
            By::Superuser,
            format!(
                "DELETE FROM {} WHERE {}::text = pg_catalog.current_setting('proof.first')",
                table.name,
                quote::ident(&column.name)
            ),
        );
        let steps = vec![
            take("first"),
            delete,
            Step::new(By::B, insert_statement(table, &theirs)),
            take("second"),
        ];
        let subject = sequence(trial, table, column).map_or_else(|| Subject::of(table), Subject::of);
        let mut ploy = Ploy::new(
            &oracle::VOLUME_COUNTED_BY_SEQUENCE,
            subject,
            format!(
                "reads in column {} of {} how many rows other tenants made between two of its own",
                column.name, table.name
            ),
            steps,
            Sign::Fact(
                "pg_catalog.current_setting('proof.second', true)::numeric - pg_catalog.current_setting('proof.first', true)::numeric > 1"
                    .to_owned(),
            ),
        );
        ploy.severity = Severity::Low;
        ploy.command = Command::Insert;
        ploys.push(ploy);
    }
    ploys
}

/// A counter that A may look at moves with B's rows.
pub(super) fn looks(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys = Vec::new();
    for table in trial
        .catalog
        .tables()
        .filter(|t| !t.is_partition && !trial.classes.is_shared(t.oid))
    {
        for column in table.columns.iter().filter(|c| c.is_serial()) {
            let Some(sequence) = sequence(trial, table, column) else {
                continue;
            };
            let may = |oid: u32| trial.privileges.relations.get(&oid);
            let Some(theirs) = may(table.oid).and_then(|p| {
                let columns: Vec<String> = p.insert.iter().filter(|c| **c != column.name).cloned().collect();
                trial.candidate(trial.b, table, &columns)
            }) else {
                continue;
            };
            if may(sequence.oid).is_none_or(|p| p.select.is_empty()) {
                continue;
            }
            let look = |name: &str| {
                Step::new(
                    By::A,
                    format!(
                        "SELECT pg_catalog.set_config('proof.{name}', (SELECT last_value || ' ' || is_called FROM {}), false)",
                        sequence.name
                    ),
                )
            };
            let mut ploy = Ploy::new(
                &oracle::VOLUME_COUNTED_BY_SEQUENCE,
                Subject::of(sequence),
                "reads a counter that each row of another tenant moves",
                vec![look("first"), Step::new(By::B, insert_statement(table, &theirs)), look("second")],
                Sign::Fact(
                    "pg_catalog.current_setting('proof.second', true) <> pg_catalog.current_setting('proof.first', true)".to_owned(),
                ),
            );
            ploy.severity = Severity::Low;
            ploys.push(ploy);
        }
    }
    ploys
}

/// The sequence behind a column.
fn sequence<'a>(trial: &Trial<'a>, table: &Relation, column: &Column) -> Option<&'a Relation> {
    let by_default = column.default.as_deref().and_then(|d| {
        let name = d.strip_prefix("nextval('")?.split('\'').next()?;
        Some(match name.rsplit_once('.') {
            Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
            None => (None, name.to_owned()),
        })
    });
    let (schema, name) = by_default.unwrap_or_else(|| {
        (
            Some(table.name.schema.clone()),
            format!("{}_{}_seq", table.name.name, column.name),
        )
    });
    trial
        .catalog
        .find_relation(schema.as_deref(), name.trim_matches('"'))
        .filter(|r| r.kind == RelationKind::Sequence)
}

/// Who may set the counter can make everybody's inserts fail.
pub(super) fn resets(trial: &Trial<'_>) -> Vec<Ploy> {
    let sequences = trial.catalog.relations.iter().filter(|r| {
        r.kind == RelationKind::Sequence && trial.privileges.relations.get(&r.oid).is_some_and(|p| p.usage)
    });
    sequences
        .map(|sequence| {
            let name = quote::literal(&sequence.name.to_string());
            let mut ploy = Ploy::new(
                &oracle::SHARED_SEQUENCE_WRITABLE,
                Subject::of(sequence),
                "sets the counter that the other tenants draw from, so that their inserts collide",
                vec![
                    Step::new(
                        By::Superuser,
                        format!(
                            "SELECT pg_catalog.set_config('proof.was', last_value || ' ' || is_called, false), pg_catalog.set_config('proof.now', (last_value + 1)::text, false) FROM {}",
                            sequence.name
                        ),
                    ),
                    Step::new(
                        By::A,
                        format!("SELECT pg_catalog.setval({name}, pg_catalog.current_setting('proof.now')::bigint, true)"),
                    ),
                ],
                Sign::Fact(format!(
                    "(SELECT last_value::text FROM {}) = pg_catalog.current_setting('proof.now', true)",
                    sequence.name
                )),
            );
            ploy.severity = Severity::Medium;
            ploy.command = Command::Usage;
            ploy.put_back = vec![format!(
                "SELECT pg_catalog.setval({name}, pg_catalog.split_part(pg_catalog.current_setting('proof.was'), ' ', 1)::bigint, pg_catalog.split_part(pg_catalog.current_setting('proof.was'), ' ', 2)::boolean)"
            )];
            ploy
        })
        .collect()
}
