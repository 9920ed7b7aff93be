//! Roles belong to the server: those a schema creates go with its scratch database, all others stay as they were.

use std::collections::BTreeSet;

use rstest::rstest;
use tenantproof::pg::{RoleChanges, ServerError};

use super::{connect, run, start, texts};
use crate::providers::absent;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const ROLES: &str = "SELECT rolname::text FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)' ORDER BY 1";

/// What the statements of one transaction create and alter, beside roles `old` and `older` that were there before.
#[rstest]
#[case::nothing("SELECT 1", &[], &[])]
#[case::only_tables("CREATE TABLE t ()", &[], &[])]
#[case::plain("CREATE ROLE new", &["new"], &[])]
#[case::quoted(r#"CREATE ROLE "ne""w 'x'""#, &[r#"ne"w 'x'"#], &[])]
#[case::in_a_block("DO $$ BEGIN CREATE ROLE new; EXCEPTION WHEN duplicate_object THEN NULL; END $$", &["new"], &[])]
#[case::after_a_failed_block(
    "DO $$ BEGIN CREATE ROLE gone; RAISE 'no'; EXCEPTION WHEN OTHERS THEN CREATE ROLE new; END $$", &["new"], &[])]
#[case::after_a_savepoint("CREATE TABLE t (); SAVEPOINT s; CREATE ROLE new; RELEASE s", &["new"], &[])]
#[case::rolled_back_to("SAVEPOINT s; CREATE ROLE new; ROLLBACK TO s", &[], &[])]
#[case::altered("ALTER ROLE old CREATEDB", &[], &["old"])]
#[case::altered_in_a_block("DO $$ BEGIN EXECUTE 'ALTER ROLE old LOGIN'; END $$", &[], &["old"])]
#[case::set_everywhere("ALTER ROLE old SET search_path = x", &[], &["old"])]
#[case::renamed("ALTER ROLE old RENAME TO new", &[], &["old"])]
#[case::dropped("DROP ROLE old", &[], &["old"])]
#[case::granted_to_new("CREATE ROLE new; GRANT old TO new", &["new"], &["old"])]
#[case::member_of_new("CREATE ROLE new; GRANT new TO old", &["new"], &["old"])]
#[case::granted_among_old("GRANT old TO older", &[], &["old", "older"])]
#[case::granted_here_only("CREATE TABLE t (); GRANT SELECT ON t TO old", &[], &[])]
#[tokio::test]
async fn a_transaction_s_roles_are_told_apart(#[case] sql: &str, #[case] created: &[&str], #[case] altered: &[&str]) {
    if absent("local") {
        return;
    }
    let server = start("local").await;
    let witness = server.scratch().await.unwrap();
    let mut other = connect(witness.connect_options()).await;
    run(&mut other, "CREATE ROLE old; CREATE ROLE older").await;

    let scratch = server.scratch().await.unwrap();
    let mut connection = connect(scratch.connect_options()).await;
    run(&mut connection, "BEGIN").await;
    // Somebody else is at work at the same time, before and after we have written anything.
    run(&mut other, "CREATE ROLE theirs").await;
    run(&mut connection, sql).await;
    run(&mut other, "CREATE ROLE theirs_too").await;
    let changes = scratch.note_created_roles(&mut connection).await.unwrap();
    assert_eq!(
        changes,
        RoleChanges {
            created: set(created),
            altered: set(altered)
        }
    );
    if !altered.is_empty() {
        run(&mut connection, "ROLLBACK").await;
    } else {
        run(&mut connection, "COMMIT").await;
        assert_eq!(
            scratch.stray_roles(&mut connection).await.unwrap(),
            set(&["theirs", "theirs_too"])
        );
    }
    scratch.drop_now().await.unwrap();
    assert_eq!(texts(&mut other, ROLES).await, ["old", "older", "theirs", "theirs_too"]);
}

#[tokio::test]
async fn roles_go_with_whatever_they_hold() {
    if absent("local") {
        return;
    }
    let server = start("local").await;
    let witness = server.scratch().await.unwrap();
    let mut other = connect(witness.connect_options()).await;
    let scratch = server.scratch().await.unwrap();
    let mut connection = connect(scratch.connect_options()).await;
    run(
        &mut connection,
        "BEGIN; CREATE ROLE a CREATEROLE; CREATE ROLE b; CREATE ROLE c; COMMENT ON ROLE c IS 'mine'",
    )
    .await;
    scratch.note_created_roles(&mut connection).await.unwrap();
    run(&mut connection, "COMMIT").await;
    let comments = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'c'";
    assert_eq!(
        texts(&mut connection, comments).await,
        [format!("{}\nmine", scratch.name())]
    );

    // A schema's own comment takes the mark away, and it comes back.
    run(&mut connection, "BEGIN; COMMENT ON ROLE c IS NULL").await;
    scratch.note_created_roles(&mut connection).await.unwrap();
    run(&mut connection, "COMMIT").await;
    assert_eq!(texts(&mut connection, comments).await, [scratch.name()]);

    run(
        &mut connection,
        "CREATE TABLE t (); ALTER TABLE t OWNER TO a; GRANT SELECT ON t TO b",
    )
    .await;
    run(
        &mut connection,
        "GRANT SET ON PARAMETER log_statement TO b; GRANT CONNECT ON DATABASE postgres TO c",
    )
    .await;
    run(
        &mut connection,
        "GRANT a TO b; GRANT b TO c; ALTER ROLE a SET search_path = x",
    )
    .await;
    assert_eq!(texts(&mut other, ROLES).await, ["a", "b", "c"]);
    scratch.drop_now().await.unwrap();
    assert_eq!(texts(&mut other, ROLES).await, [""; 0]);
}

#[tokio::test]
async fn a_role_that_others_depend_on_stays_with_what_it_owns() {
    if absent("local") {
        return;
    }
    let server = start("local").await;
    let witness = server.scratch().await.unwrap();
    // Where the roles are dropped from.
    let mut other = connect(witness.connect_options().database("postgres")).await;
    let scratch = server.scratch().await.unwrap();
    let mut connection = connect(scratch.connect_options()).await;
    run(&mut connection, "BEGIN; CREATE ROLE owner").await;
    scratch.note_created_roles(&mut connection).await.unwrap();
    run(&mut connection, "COMMIT").await;
    run(
        &mut other,
        "CREATE TABLE precious (); ALTER TABLE precious OWNER TO owner",
    )
    .await;
    run(&mut other, "GRANT SET ON PARAMETER log_statement TO owner").await;
    scratch.drop_now().await.unwrap();
    assert_eq!(texts(&mut other, ROLES).await, ["owner"]);
    assert_eq!(
        texts(
            &mut other,
            "SELECT relname::text FROM pg_class WHERE relname = 'precious'"
        )
        .await,
        ["precious"]
    );
}

#[tokio::test]
async fn noting_outside_of_a_transaction_is_an_error() {
    if absent("local") {
        return;
    }
    let server = start("local").await;
    let scratch = server.scratch().await.unwrap();
    let mut connection = connect(scratch.connect_options()).await;
    run(&mut connection, "CREATE ROLE unnoticed").await;
    let noted = scratch.note_created_roles(&mut connection).await;
    assert!(matches!(noted, Err(ServerError::NoTransaction)), "{noted:?}");
    assert_eq!(scratch.stray_roles(&mut connection).await.unwrap(), set(&["unnoticed"]));
}
