//! The embedded server behaves as the rest of the crate needs a server to behave.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnection, PgDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tenantproof::pg::embedded::{ERRORS_PER_CONNECTION, Embedded, extension_names};

async fn connect(server: &Embedded) -> PgConnection {
    server
        .connect_options()
        .connect()
        .await
        .expect("the first connection is let in")
}

async fn text(connection: &mut PgConnection, sql: &str) -> String {
    let row = connection.fetch_one(AssertSqlSafe(sql)).await.expect(sql);
    row.get::<String, _>(0)
}

/// The SQLSTATE of an error that came from the server.
fn code(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.downcast_ref::<PgDatabaseError>().code().to_owned(),
        other => panic!("no error of the server: {other}"),
    }
}

#[tokio::test]
async fn row_security_judges_a_role_within_savepoints() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    connection
        .execute(
            "CREATE TABLE note (id int PRIMARY KEY, owner text);
             ALTER TABLE note ENABLE ROW LEVEL SECURITY;
             CREATE ROLE app;
             GRANT SELECT, INSERT ON note TO app;
             CREATE POLICY own ON note USING (owner = current_setting('app.tenant', true));
             INSERT INTO note VALUES (1, 'a'), (2, 'b');",
        )
        .await
        .expect("several statements in one message");
    let mut transaction = connection.begin().await.expect("begins");
    sqlx::query("SELECT set_config('app.tenant', $1, true)")
        .bind("a")
        .execute(&mut *transaction)
        .await
        .expect("binds");
    transaction
        .execute("SET LOCAL ROLE app; SAVEPOINT s")
        .await
        .expect("sets the role");
    assert_eq!(
        text(&mut transaction, "SELECT string_agg(id::text, ',') FROM note").await,
        "1"
    );
    let refused = transaction
        .execute("INSERT INTO note VALUES (3, 'b')")
        .await
        .expect_err("the policy refuses");
    assert_eq!(code(&refused), "42501");
    transaction
        .execute("ROLLBACK TO s")
        .await
        .expect("rolls back to the savepoint");
    let ids: Vec<i32> = sqlx::query_scalar("SELECT id FROM note")
        .fetch_all(&mut *transaction)
        .await
        .expect("prepares and reads");
    assert_eq!(ids, [1]);
    transaction.rollback().await.expect("rolls back");
    assert_eq!(text(&mut connection, "SELECT current_user::text").await, "postgres");
    server.stop().await;
}

#[tokio::test]
async fn session_authorization_is_left_as_on_a_native_server() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    connection.execute("CREATE ROLE app").await.expect("creates");
    connection
        .execute("BEGIN; SET LOCAL SESSION AUTHORIZATION app")
        .await
        .expect("sets");
    assert_eq!(text(&mut connection, "SELECT session_user::text").await, "app");
    assert!(
        connection.execute("SET ROLE postgres").await.is_err(),
        "as after a real login"
    );
    connection.execute("ROLLBACK").await.expect("rolls back");
    assert_eq!(text(&mut connection, "SELECT session_user::text").await, "postgres");
    connection.execute("SET SESSION AUTHORIZATION app").await.expect("sets");
    connection
        .execute("SET SESSION AUTHORIZATION postgres")
        .await
        .expect("comes back");
    assert_eq!(text(&mut connection, "SELECT session_user::text").await, "postgres");
    server.stop().await;
}

#[tokio::test]
async fn copy_in_is_followed_by_ordinary_statements() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    connection
        .execute("CREATE TABLE t (i int, x text)")
        .await
        .expect("creates");
    for round in 1..=2 {
        let mut copy = connection
            .copy_in_raw("COPY t FROM STDIN")
            .await
            .expect("starts a copy");
        for i in 0..1000 {
            copy.send(format!("{i}\t{}\n", "x".repeat(500)).into_bytes())
                .await
                .expect("sends");
        }
        assert_eq!(copy.finish().await.expect("ends the copy"), 1000, "round {round}");
    }
    let mut wrong = connection
        .copy_in_raw("COPY t FROM STDIN")
        .await
        .expect("starts a copy");
    wrong.send(b"no number\tx\n".as_slice()).await.expect("sends");
    assert_eq!(code(&wrong.finish().await.expect_err("not an int")), "22P02");
    let aborted = connection
        .copy_in_raw("COPY t FROM STDIN")
        .await
        .expect("starts a copy");
    aborted.abort("changed my mind").await.expect("aborts");
    assert_eq!(
        code(&connection.execute("SELECT 1/0").await.expect_err("divides")),
        "22012"
    );
    let rows = sqlx::query("SELECT i, x FROM t WHERE i >= $1")
        .bind(0)
        .fetch_all(&mut connection)
        .await
        .expect("reads");
    assert_eq!(rows.len(), 2000);
    connection.close().await.expect("closes");
    server.stop().await;
}

#[tokio::test]
async fn results_of_several_megabytes_arrive_whole() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    let rows = sqlx::query("SELECT i, repeat('x', 1000) FROM generate_series(1, 8000) i")
        .fetch_all(&mut connection)
        .await
        .expect("reads");
    assert_eq!(rows.len(), 8000);
    let whole = text(&mut connection, "SELECT repeat('y', 20000000)").await;
    assert_eq!(whole.len(), 20_000_000);
    let long = format!("SELECT length('{}')::text", "z".repeat(3_000_000));
    assert_eq!(text(&mut connection, &long).await, "3000000");
    server.stop().await;
}

#[tokio::test]
async fn second_connection_is_refused_at_once() {
    let server = Embedded::start().await.expect("starts");
    let mut first = connect(&server).await;
    let asked = Instant::now();
    let refused = server.connect_options().connect().await.expect_err("refused");
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert_eq!(code(&refused), "53300");
    assert!(refused.to_string().contains("serves one connection"), "{refused}");
    assert_eq!(text(&mut first, "SELECT 'still here'").await, "still here");

    first.close().await.expect("closes");
    server.stop().await;
}

#[tokio::test]
async fn next_connection_finds_the_data_and_none_of_the_settings() {
    let server = Embedded::start().await.expect("starts");
    let mut first = connect(&server).await;
    first
        .execute("CREATE TABLE kept (i int); CREATE TEMP TABLE gone (i int); SET app.tenant = 'a'; CREATE ROLE app")
        .await
        .expect("creates");
    first.execute("BEGIN; SET LOCAL ROLE app").await.expect("begins");
    drop(first);
    let mut second = connect(&server).await;
    assert_eq!(text(&mut second, "SELECT current_user::text").await, "postgres");
    let state = "SELECT (current_setting('app.tenant', true) IS NULL)::text
        || (to_regclass('kept') IS NOT NULL)::text || (to_regclass('gone') IS NULL)::text";
    assert_eq!(text(&mut second, state).await, "truetruetrue");
    second.close().await.expect("closes");
    for _ in 0..3 {
        connect(&server).await.close().await.expect("closes");
    }
    server.stop().await;
}

#[tokio::test]
async fn only_the_superuser_is_let_in_and_to_any_database() {
    let server = Embedded::start().await.expect("starts");
    let refused = server
        .connect_options()
        .username("app")
        .connect()
        .await
        .expect_err("refused");
    assert_eq!(code(&refused), "28000");
    let refused = server
        .connect_options()
        .database("other")
        .connect()
        .await
        .expect_err("refused");
    assert_eq!(code(&refused), "3D000");
    connect(&server)
        .await
        .execute("CREATE DATABASE other")
        .await
        .expect("creates");
    let mut other = server
        .connect_options()
        .database("other")
        .connect()
        .await
        .expect("is let in");
    assert_eq!(text(&mut other, "SELECT current_database()::text").await, "other");
    server.stop().await;
}

#[tokio::test]
async fn instances_live_side_by_side() {
    let (one, two) = tokio::join!(Embedded::start(), Embedded::start());
    let (one, two) = (one.expect("starts"), two.expect("starts"));
    let (mut first, mut second) = (connect(&one).await, connect(&two).await);
    first
        .execute("CREATE TABLE only_here (i int); CREATE ROLE only_here")
        .await
        .expect("creates");
    let seen = "SELECT count(*)::text FROM pg_roles WHERE rolname = 'only_here'";
    assert_eq!(text(&mut first, seen).await, "1");
    assert_eq!(text(&mut second, seen).await, "0");
    let slow = "SELECT count(*)::text FROM generate_series(1, 300000)";
    let (a, b) = tokio::join!(text(&mut first, slow), text(&mut second, slow));
    assert_eq!((a.as_str(), b.as_str()), ("300000", "300000"));
    one.stop().await;
    assert_eq!(text(&mut second, "SELECT 'alive'").await, "alive");
    two.stop().await;
}

#[tokio::test]
async fn disconnecting_within_a_transaction_ends_the_instance() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    connection
        .execute("BEGIN; CREATE TABLE t (i int)")
        .await
        .expect("begins");
    drop(connection);
    let asked = Instant::now();
    server.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn disconnecting_within_a_copy_ends_the_instance() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    connection
        .execute("BEGIN; CREATE TABLE t (i int)")
        .await
        .expect("begins");
    let mut copy = connection
        .copy_in_raw("COPY t FROM STDIN")
        .await
        .expect("starts a copy");
    copy.send(b"1\n".as_slice()).await.expect("sends");
    std::mem::forget(copy);
    drop(connection);
    let asked = Instant::now();
    server.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn stop_removes_the_socket_and_hangs_up() {
    let server = Embedded::start().await.expect("starts");
    let folder = server.connect_options().get_socket().cloned().expect("has a socket");
    let mode = std::os::unix::fs::PermissionsExt::mode(&folder.metadata().expect("exists").permissions());
    assert_eq!(mode & 0o777, 0o700);
    let mut connection = connect(&server).await;
    server.stop().await;
    assert!(!folder.exists());
    assert!(connection.execute("SELECT 1").await.is_err());
}

#[tokio::test]
async fn stop_does_not_wait_for_an_endless_statement() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    // Ends by itself some time after the test: a statement cannot be interrupted, and its thread outlives `stop`.
    let endless = tokio::spawn(async move {
        connection
            .execute("SELECT count(*) FROM generate_series(1, 15000000)")
            .await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    server.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(endless.await.expect("runs").is_err(), "the client was hung up on");
}

#[tokio::test]
async fn endless_recursion_ends_the_connection_and_keeps_the_data() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    connection
        .execute(
            "CREATE FUNCTION recurse(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN recurse(i + 1); END $$;
             CREATE TABLE kept (i int)",
        )
        .await
        .expect("creates");
    let died = tokio::time::timeout(Duration::from_secs(20), connection.execute("SELECT recurse(1)")).await;
    assert_eq!(code(&died.expect("in time").expect_err("dies")), "XX000");
    assert!(connection.execute("SELECT 1").await.is_err(), "hung up");
    let mut next = connect(&server).await;
    assert_eq!(
        text(&mut next, "SELECT (to_regclass('kept') IS NOT NULL)::text").await,
        "true"
    );
    server.stop().await;
}

#[tokio::test]
async fn too_many_errors_end_the_connection_rather_than_lie() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    // So that it comes to that sooner.
    connection.execute("SET max_stack_depth = '200kB'").await.expect("sets");
    let mut errors = 0;
    loop {
        let error = connection.execute("SELECT 1/0").await.expect_err("fails");
        match code(&error).as_str() {
            "22012" => errors += 1,
            "57P02" => break,
            other => panic!("{other} after {errors} errors"),
        }
    }
    assert!(errors > 50, "{errors}");
    let mut next = connect(&server).await;
    assert_eq!(code(&next.execute("SELECT 1/0").await.expect_err("fails")), "22012");
    server.stop().await;
}

#[tokio::test]
async fn the_parser_cannot_wear_a_session_out_unnoticed() {
    let server = Embedded::start_with(&[]).await.expect("starts");
    let mut connection = connect(&server).await;
    for _ in 0..ERRORS_PER_CONNECTION / 5 {
        assert_eq!(code(&connection.execute("SELEC").await.expect_err("fails")), "42601");
    }
    assert_eq!(
        code(&connection.execute("SELEC").await.expect_err("is closed")),
        "57P02"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_common_extensions_can_be_created() {
    let server = Embedded::start().await.expect("starts");
    let mut connection = connect(&server).await;
    let names = extension_names();
    for name in [
        "vector",
        "pgcrypto",
        "uuid-ossp",
        "citext",
        "pg_trgm",
        "ltree",
        "hstore",
        "btree_gist",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    for name in names {
        connection
            .execute(AssertSqlSafe(format!("CREATE EXTENSION \"{name}\"")))
            .await
            .expect(name);
    }
    assert_eq!(
        text(&mut connection, "SELECT ('[1,2]'::vector <-> '[1,3]')::text").await,
        "1"
    );
    assert_eq!(
        text(&mut connection, "SELECT length(uuid_generate_v4()::text)::text").await,
        "36"
    );
    assert_eq!(
        text(&mut connection, "SELECT left(crypt('a', gen_salt('bf', 4)), 3)").await,
        "$2a"
    );
    server.stop().await;
}

#[tokio::test]
async fn only_the_wanted_extensions_are_at_hand() {
    let server = Embedded::start_with(&["citext", "no_such_extension"])
        .await
        .expect("starts");
    let mut connection = connect(&server).await;
    connection.execute("CREATE EXTENSION citext").await.expect("creates");
    assert_eq!(
        code(
            &connection
                .execute("CREATE EXTENSION hstore")
                .await
                .expect_err("is not there")
        ),
        "0A000"
    );
    server.stop().await;
}
