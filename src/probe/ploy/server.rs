//! What the server itself holds beyond tables: large objects, files, programs, statistics of sessions, labels of types.

use super::{By, Ploy, Sign, Step, shows};
use crate::model::{Column, ObjectType, Relation, Severity};
use crate::probe::judge::Subject;
use crate::probe::oracle;
use crate::probe::trial::Trial;
use crate::sql::quote;
use crate::world::Class;

pub(super) fn ploys(trial: &Trial<'_>) -> Vec<Ploy> {
    let mut ploys: Vec<Ploy> = large_objects(trial).into_iter().collect();
    ploys.extend(labels(trial));
    ploys.extend(activity(trial));
    if trial.privileges.server_files || trial.privileges.server_programs {
        ploys.extend(files(trial));
    }
    ploys
}

/// Large objects have no row security: what B stored, A may read by its number where one role made both.
fn large_objects(trial: &Trial<'_>) -> Option<Ploy> {
    let (table, holder) = trial.catalog.tables().find_map(|t| {
        let privileges = trial.privileges.relations.get(&t.oid)?;
        let holds = |c: &&Column| matches!(c.base_type.as_str(), "oid" | "lo") && privileges.select.contains(&c.name);
        Some((t, t.columns.iter().find(holds)?))
    })?;
    let secret = format!("{}-large-object", trial.b.keys.canary);
    let mut ploy = Ploy::new(
        &oracle::FOREIGN_ROWS_READABLE,
        Subject::of(table),
        "reads large objects of another tenant, which have no row security",
        vec![
            Step::new(
                By::B,
                format!(
                    "SELECT pg_catalog.lo_from_bytea(0, pg_catalog.convert_to({}, 'UTF8'))",
                    quote::literal(&secret)
                ),
            ),
            Step::shown(
                By::A,
                "SELECT pg_catalog.convert_from(pg_catalog.lo_get(oid), 'UTF8') FROM pg_catalog.pg_largeobject_metadata",
            ),
        ],
        Sign::Fact(format!(
            "{} AND (SELECT pg_catalog.pg_typeof(t.{})::text FROM (SELECT) AS nothing LEFT JOIN {} AS t ON true LIMIT 1) IN ('oid', 'lo')",
            shows(&secret),
            quote::ident(&holder.name),
            table.name
        )),
    );
    ploy.severity = Severity::High;
    Some(ploy)
}

/// Labels of an enum of tenants are in the catalog for all to read.
fn labels(trial: &Trial<'_>) -> Option<Ploy> {
    let key = &trial.b.keys.tenant;
    let column = trial.catalog.tables().find_map(|t| {
        let columns = trial.classes.columns_of(t, Class::Tenant);
        let column = columns
            .iter()
            .find_map(|c| t.column(c).filter(|c| c.labels.contains(key)))?;
        Some(column)
    })?;
    let name = if column.base_type.contains('.') {
        column.base_type.clone()
    } else {
        format!("public.{}", column.base_type)
    };
    let mut ploy = Ploy::new(
        &oracle::EXISTENCE_REVEALED,
        Subject {
            object: name.clone(),
            object_type: ObjectType::Type,
            route: None,
        },
        "reads the keys of all tenants from the labels of the type",
        vec![Step::shown(
            By::A,
            &format!(
                "SELECT enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = pg_catalog.to_regtype({})",
                quote::literal(&name)
            ),
        )],
        Sign::Fact(shows(key)),
    );
    ploy.severity = Severity::Low;
    Some(ploy)
}

/// Texts of statements: those of other roles by a privilege, those of the own role by default.
fn activity(trial: &Trial<'_>) -> Vec<Ploy> {
    let subject = Subject {
        object: "pg_catalog.pg_stat_activity".to_owned(),
        object_type: ObjectType::View,
        route: None,
    };
    // This backend belongs to the superuser who logged in: its text is another role's.
    let mut others = Ploy::new(
        &oracle::STATEMENTS_OF_OTHERS_SHOWN,
        subject.clone(),
        "reads the statements of other roles, constants included",
        vec![Step::shown(
            By::A,
            "SELECT query FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()",
        )],
        Sign::Fact(format!(
            "{} AND session_user <> {}",
            shows("proof.shown"),
            quote::literal(&trial.as_a(crate::model::ContextState::Bound).role)
        )),
    );
    others.severity = Severity::Medium;
    let mut ploys = vec![others];
    if !trial.session.role.contains('{') {
        let mut own = Ploy::new(
            &oracle::STATEMENTS_OF_OTHERS_SHOWN,
            subject,
            "shares its role with other tenants, and a role reads the statements of its own sessions",
            vec![Step::shown(
                By::A,
                "SELECT pg_catalog.count(*) > 0 FROM pg_catalog.pg_stat_activity",
            )],
            Sign::Fact(shows("t")),
        );
        own.severity = Severity::Info;
        ploys.push(own);
    }
    ploys
}

/// Files of the server hold all rows.
fn files(trial: &Trial<'_>) -> Vec<Ploy> {
    let readable = |t: &&Relation| {
        t.partition_key.is_none()
            && trial
                .privileges
                .relations
                .get(&t.oid)
                .is_some_and(|p| !p.select.is_empty())
            && !trial.classes.columns_of(t, Class::Tenant).is_empty()
    };
    let Some(table) = trial.catalog.tables().find(readable) else {
        return Vec::new();
    };
    let canary = &trial.b.keys.canary;
    let path = format!(
        "pg_catalog.pg_relation_filepath({})",
        quote::literal(&table.name.to_string())
    );
    let mut ploys = Vec::new();
    if trial.privileges.server_files {
        for read in ["pg_read_binary_file", "pg_read_file"] {
            let content = if read == "pg_read_file" {
                format!("pg_catalog.{read}({path})")
            } else {
                format!("pg_catalog.encode(pg_catalog.{read}({path}), 'escape')")
            };
            ploys.push(Ploy::new(
                &oracle::FOREIGN_ROWS_READABLE,
                Subject::of(table),
                format!("reads the table's file on the server by {read}"),
                vec![
                    Step::new(By::Superuser, "CHECKPOINT"),
                    Step::shown(By::A, &format!("SELECT {content}")),
                ],
                Sign::Fact(shows(canary)),
            ));
        }
    }
    if trial.privileges.server_programs {
        let program = format!("'grep -a -o {canary}[-a-z0-9]* ' || {path}");
        ploys.push(Ploy::new(
            &oracle::FOREIGN_ROWS_READABLE,
            Subject::of(table),
            "runs programs on the server by COPY FROM PROGRAM, which read the table's file",
            vec![
                Step::new(By::Superuser, "CHECKPOINT"),
                Step::new(By::A, "CREATE TEMPORARY TABLE proof_loot (line text)"),
                Step::new(
                    By::A,
                    format!("DO $proof$ BEGIN EXECUTE pg_catalog.format('COPY proof_loot FROM PROGRAM %L', {program}); END $proof$"),
                ),
                Step::shown(By::A, "SELECT line FROM proof_loot"),
            ],
            Sign::Fact(shows(canary)),
        ));
    }
    ploys
}
