//! Servers of every provider: they start, hand out scratch databases, and leave nothing.

#[path = "servers/killed.rs"]
mod killed;
#[path = "servers/named.rs"]
mod named;
#[path = "servers/roles.rs"]
mod roles;

use std::time::Instant;

use rstest::rstest;
use sqlx::{Connection, PgConnection, Row};
use tenantproof::pg::{Provider, Server, ServerChoice, ServerError, ServerOptions};

use crate::child::Holder;
use crate::providers::absent;
use crate::traces;

async fn start(choice: &str) -> Server {
    let options = ServerOptions {
        choice: choice.parse().unwrap(),
        version: None,
    };
    Server::start(&options).await.unwrap()
}

async fn connect(options: sqlx::postgres::PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(&options).await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap();
}

async fn texts(connection: &mut PgConnection, sql: &'static str) -> Vec<String> {
    let rows = sqlx::query(sql).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Databases of ours, seen from a scratch database on the same server.
async fn databases(connection: &mut PgConnection) -> Vec<String> {
    texts(
        connection,
        "SELECT datname::text FROM pg_database WHERE datname LIKE 'tenantproof%' ORDER BY 1",
    )
    .await
}

#[rstest]
#[case::local("local", Provider::Local)]
#[case::container("container", Provider::Container)]
#[tokio::test]
async fn a_server_starts_hands_out_databases_and_leaves_nothing(#[case] choice: &str, #[case] kind: Provider) {
    if absent(choice) {
        return;
    }
    let begun = Instant::now();
    let server = start(choice).await;
    eprintln!("{choice}: start {:?}", begun.elapsed());
    assert_eq!(server.kind(), kind);
    assert!(server.version_num() >= 150_000);
    let (major, _) = server.version().split_once('.').unwrap();
    assert_eq!(major, (server.version_num() / 10_000).to_string());

    let begun = Instant::now();
    let (one, two) = (server.scratch().await.unwrap(), server.scratch().await.unwrap());
    eprintln!("{choice}: two scratch databases {:?}", begun.elapsed());
    assert_ne!(one.name(), two.name());
    assert!(one.roles_before().contains("postgres"));
    let mut in_one = connect(one.connect_options()).await;
    let mut in_two = connect(two.connect_options()).await;
    run(&mut in_one, "CREATE TABLE only_here ()").await;
    let tables = "SELECT relname::text FROM pg_class WHERE relname = 'only_here'";
    assert_eq!(texts(&mut in_one, tables).await.len(), 1);
    assert!(texts(&mut in_two, tables).await.is_empty());
    for (setting, value) in [
        ("fsync", "off"),
        ("wal_level", "logical"),
        ("lc_collate", "C."),
        ("server_encoding", "UTF8"),
    ] {
        let row = sqlx::query("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut in_one)
            .await
            .unwrap();
        assert!(
            row.get::<String, _>(0).starts_with(value),
            "{setting} is {}",
            row.get::<String, _>(0)
        );
    }

    // With a session on it, and once without being told.
    let begun = Instant::now();
    one.drop_now().await.unwrap();
    eprintln!("{choice}: drop_now {:?}", begun.elapsed());
    assert_eq!(databases(&mut in_two).await, [two.name()]);
    let name = two.name().to_owned();
    drop(two);
    let witness = server.scratch().await.unwrap();
    let mut in_witness = connect(witness.connect_options()).await;
    assert!(!databases(&mut in_witness).await.contains(&name));

    let begun = Instant::now();
    server.stop().await;
    eprintln!("{choice}: stop {:?}", begun.elapsed());
    assert!(in_witness.ping().await.is_err(), "the server is still there");
}

#[tokio::test]
async fn a_copy_holds_what_the_original_holds() {
    if absent("local") {
        return;
    }
    let server = start("local").await;
    let original = server.scratch().await.unwrap();
    let mut connection = connect(original.connect_options()).await;
    run(&mut connection, "CREATE TABLE t AS SELECT 42 AS n").await;
    assert!(
        matches!(server.copy(&original).await, Err(ServerError::Scratch { .. })),
        "somebody is connected"
    );
    connection.close().await.unwrap();
    let copy = server.copy(&original).await.unwrap();
    let mut connection = connect(copy.connect_options()).await;
    assert_eq!(texts(&mut connection, "SELECT n::text FROM t").await, ["42"]);
}

#[tokio::test]
async fn what_force_does_not_drop_is_cleared_away() {
    if absent("local") {
        return;
    }
    let server = start("local").await;
    let (scratch, witness) = (server.scratch().await.unwrap(), server.scratch().await.unwrap());
    let mut connection = connect(scratch.connect_options()).await;
    run(
        &mut connection,
        &format!("ALTER DATABASE {} IS_TEMPLATE true", scratch.name()),
    )
    .await;
    run(
        &mut connection,
        "SELECT pg_create_logical_replication_slot('left', 'test_decoding')",
    )
    .await;
    run(
        &mut connection,
        "CREATE SUBSCRIPTION s CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)",
    )
    .await;
    scratch.drop_now().await.unwrap();
    let mut connection = connect(witness.connect_options()).await;
    assert_eq!(databases(&mut connection).await, [witness.name()]);
}

#[rstest]
#[case::local("local")]
#[case::container("container")]
#[tokio::test]
async fn a_handle_ends_a_server_in_other_hands(#[case] choice: &str) {
    if absent(choice) {
        return;
    }
    let server = start(choice).await;
    let scratch = server.scratch().await.unwrap();
    let handle = server.cleanup_handle();
    let begun = Instant::now();
    handle.stop().await;
    eprintln!("{choice}: stop by handle {:?}", begun.elapsed());
    assert!(PgConnection::connect_with(&scratch.connect_options()).await.is_err());
    let begun = Instant::now();
    handle.stop().await;
    drop(scratch);
    server.stop().await;
    assert!(
        begun.elapsed().as_millis() < 500,
        "ending what has ended took {:?}",
        begun.elapsed()
    );
}

#[rstest]
#[case::local("local")]
#[case::container("container")]
fn a_process_that_ends_well_leaves_nothing(#[case] choice: &str) {
    if absent(choice) {
        return;
    }
    let mut holder = Holder::spawn(Holder::command(choice));
    let pid = holder.pid();
    assert!(holder.report().starts_with("READY"));
    assert_eq!(traces::processes(pid).is_empty(), choice == "container");
    assert_eq!(traces::folders(pid).is_empty(), choice == "container");
    assert_eq!(traces::containers(pid).is_empty(), choice == "local");
    holder.finish();
    assert_eq!(traces::processes(pid), [""; 0]);
    assert_eq!(traces::folders(pid), [""; 0]);
    assert_eq!(traces::containers(pid), [""; 0]);
}

#[rstest]
#[case::local("local")]
#[case::container("container")]
fn dropping_is_enough_even_without_a_runtime(#[case] choice: &str) {
    if absent(choice) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(1)
        .build()
        .unwrap();
    let (server, scratch) = runtime.block_on(async {
        let server = start(choice).await;
        let scratch = server.scratch().await.unwrap();
        (server, scratch)
    });
    drop(runtime);
    let options = scratch.connect_options();
    drop(scratch);
    drop(server);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert!(
        runtime.block_on(PgConnection::connect_with(&options)).is_err(),
        "the server is still there"
    );
    if let Some(folder) = options.get_socket() {
        assert!(!folder.exists());
    }
}

#[rstest]
#[case::local("local", [30, 60, 100, 150, 200])]
#[case::container("container", [50, 200, 500, 900, 1500])]
fn a_start_that_is_given_up_leaves_nothing(#[case] choice: &str, #[case] moments: [u64; 5]) {
    if absent(choice) {
        return;
    }
    for moment in moments {
        let mut holder = Holder::spawn(Holder::command_that_gives_up(choice, moment));
        let pid = holder.pid();
        assert!(holder.child.wait().unwrap().success());
        let left = [traces::processes(pid), traces::folders(pid), traces::containers(pid)].concat();
        assert_eq!(left, [""; 0], "given up after {moment} ms");
    }
}

#[test]
fn auto_prefers_a_container_and_tells_what_it_passed_over() {
    if absent("container") {
        return;
    }
    let mut holder = Holder::spawn(Holder::command("auto"));
    assert!(
        holder.report().starts_with("READY container "),
        "an engine with an image is expected here"
    );
    holder.finish();

    let begun = Instant::now();
    let mut command = Holder::command("auto");
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let mut holder = Holder::spawn(command);
    let report = holder.report();
    assert!(report.starts_with("READY local "), "{report}");
    assert!(
        report.contains("container: use a container engine: none answers"),
        "{report}"
    );
    assert!(begun.elapsed().as_secs() < 5, "passing over took {:?}", begun.elapsed());
    holder.finish();
}

#[test]
fn an_engine_that_does_not_answer_is_passed_over() {
    if absent("container") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let begun = Instant::now();
    let mut command = Holder::command("auto");
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let mut holder = Holder::spawn(command);
    let report = holder.report();
    assert!(
        report.starts_with("READY local ") && report.contains("within 5 s"),
        "{report}"
    );
    assert!(begun.elapsed().as_secs() < 8, "passing over took {:?}", begun.elapsed());
    holder.finish();
}

#[tokio::test]
async fn a_missing_image_or_version_is_refused_quickly() {
    let begun = Instant::now();
    for choice in [ServerChoice::Container, ServerChoice::Local] {
        let options = ServerOptions {
            choice,
            version: Some("99".into()),
        };
        let error = Server::start(&options).await.unwrap_err();
        assert!(
            matches!(error, ServerError::NoImage { .. } | ServerError::NoSuchVersion { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("99"), "{error}");
    }
    assert!(begun.elapsed().as_secs() < 25, "refusing took {:?}", begun.elapsed());
}

#[rstest]
#[case::no_programs("PG_BIN", "/nowhere", "REFUSED failed to find PostgreSQL's server programs")]
#[case::somebody_elses_settings("PGOPTIONS", "-c search_path=elsewhere", "REFUSED failed to keep PGOPTIONS out")]
#[case::somebody_elses_server("PGHOST", "nowhere", "READY local")]
#[case::nowhere_to_keep("HOME", "", "READY local")]
fn the_environment_is_heeded_where_it_is_meant_for_us(#[case] name: &str, #[case] value: &str, #[case] expected: &str) {
    if absent("local") {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Holder::command("local");
    command
        .env_remove("XDG_CACHE_HOME")
        .env("TMPDIR", temporary.path())
        .env(name, value);
    let mut holder = Holder::spawn(command);
    let report = holder.report();
    assert!(report.starts_with(expected), "{report}");
}

#[test]
fn runs_at_once_share_what_initdb_made_and_mend_it_when_it_is_damaged() {
    if absent("local") {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let command = || {
        let mut command = Holder::command("local");
        command.env("XDG_CACHE_HOME", cache.path());
        command
    };
    let kept = || -> Vec<_> {
        let entries = std::fs::read_dir(cache.path().join("tenantproof")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let mut holders: Vec<Holder> = (0..3).map(|_| Holder::spawn(command())).collect();
    for holder in &mut holders {
        assert!(holder.report().starts_with("READY local "));
    }
    holders.into_iter().for_each(Holder::finish);
    assert_eq!(kept().len(), 1, "{:?}", kept());

    std::fs::remove_dir_all(kept()[0].join("global")).unwrap();
    let mut holder = Holder::spawn(command());
    assert!(holder.report().starts_with("READY local "));
    holder.finish();
    assert!(kept()[0].join("global").exists());
}

#[test]
fn a_user_without_rights_starts_a_local_server_too() {
    if absent("local") {
        return;
    }
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return; // every other test here is one by a user without rights
    }
    let temporary = tempfile::tempdir().unwrap();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(temporary.path(), everybody).unwrap();
    let mut command = Holder::command("local");
    command
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .env("HOME", "/nonexistent")
        .env("TMPDIR", temporary.path())
        .env_remove("XDG_CACHE_HOME");
    let mut holder = Holder::spawn(command);
    let (pid, report) = (holder.pid(), holder.report());
    assert!(report.starts_with("READY local "), "{report}");
    holder.kill();
    traces::gone_within(std::time::Duration::from_secs(20), "processes", || {
        traces::processes(pid)
    });
    traces::gone_within(std::time::Duration::from_secs(20), "folders", || traces::folders(pid));
}
