//! What hangs, aborts, is locked or goes away is told honestly, and a database of the user's is left as it was.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rstest::rstest;
use tenantproof::model::{Cell, CellVerdict, Severity};
use tenantproof::pg::conn::Conn;
use tenantproof::pg::{Scratch, Server, ServerChoice, ServerOptions};
use tenantproof::run::load::{self, LoadOptions};
use tenantproof::run::verify::{Outcome, Request, VerifyError, verify};
use tenantproof::sql::script;

use crate::bench::request;
use crate::providers::absent;

/// A right schema, to which each test adds its trouble.
const NOTES: &str = "
CREATE ROLE robust_user;
CREATE TABLE public.note (tenant_id text NOT NULL, id int NOT NULL, body text, PRIMARY KEY (tenant_id, id));
ALTER TABLE public.note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.note USING (tenant_id = current_setting('app.tenant_id', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON public.note TO robust_user;
";

/// A second table like it.
const LETTERS: &str = "
CREATE TABLE public.letter (tenant_id text NOT NULL, id int NOT NULL, body text, PRIMARY KEY (tenant_id, id));
ALTER TABLE public.letter ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.letter USING (tenant_id = current_setting('app.tenant_id', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON public.letter TO robust_user;
";

struct Stage {
    server: Server,
    scratch: Scratch,
}

impl Stage {
    async fn new(schema: &str) -> Self {
        let options = ServerOptions {
            choice: ServerChoice::Local,
            version: None,
        };
        let server = Server::start(&options).await.expect("a local server");
        let scratch = server.scratch().await.expect("a scratch database");
        let stage = Self { server, scratch };
        let mut conn = stage.connect(Duration::from_secs(60)).await;
        let steps = script::read_text("schema.sql", schema).expect("SQL");
        let loaded = load::load(&mut conn, &steps, LoadOptions::default()).await;
        conn.close().await;
        loaded.expect("the schema loads");
        stage
    }

    async fn connect(&self, patience: Duration) -> Conn {
        Conn::open(&self.scratch.bounded_options(), patience)
            .await
            .expect("the scratch database takes a connection")
    }

    async fn verify(&self, patience: Duration) -> Result<Outcome, VerifyError> {
        let mut conn = self.connect(patience).await;
        let wanted = Request {
            roles_before: self.scratch.roles_before().clone(),
            ..request()
        };
        verify(&mut conn, &wanted, &|_| ()).await
    }

    async fn end(self) {
        self.scratch.drop_now().await.expect("the database goes");
        self.server.stop().await;
    }
}

const PATIENCE: Duration = Duration::from_secs(120);

fn cells<'o>(outcome: &'o Outcome, object: &str) -> Vec<&'o Cell> {
    outcome.coverage.iter().filter(|c| c.object == object).collect()
}

fn assert_vacuous(outcome: &Outcome, object: &str, because: &str) {
    let found = cells(outcome, object);
    assert!(!found.is_empty(), "{object} is in no cell: {:#?}", outcome.coverage);
    for cell in found {
        let reason = cell.reason.as_deref().unwrap_or_default();
        assert_eq!(cell.verdict, CellVerdict::Vacuous, "{cell:?}");
        assert!(reason.contains(because), "{cell:?}");
    }
}

/// The rest of the schema is judged as if nothing were.
fn assert_rest_is_judged(outcome: &Outcome) {
    let notes = cells(outcome, "public.note");
    assert!(notes.iter().any(|c| c.verdict == CellVerdict::Held), "{notes:#?}");
    assert!(notes.iter().all(|c| c.verdict != CellVerdict::Vacuous), "{notes:#?}");
    let alarms: Vec<_> = outcome
        .findings
        .iter()
        .filter(|f| f.severity >= Severity::Medium)
        .collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}

#[rstest]
#[case::sleeps(
    "CREATE FUNCTION public.slow() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(60)'",
    "public.slow()",
    "timed out"
)]
#[case::never_ends(
    "CREATE FUNCTION public.slow() RETURNS int LANGUAGE plpgsql AS 'BEGIN LOOP END LOOP; END'",
    "public.slow()",
    "timed out"
)]
#[case::recurses(
    "CREATE FUNCTION public.deep(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN public.deep(n + 1); END'",
    "public.deep(integer)",
    "54001"
)]
#[case::wants_all_memory(
    "CREATE FUNCTION public.big() RETURNS int LANGUAGE sql AS $$ SELECT length(repeat('x', 1073741820) || 'xxxxxxxxxx') $$",
    "public.big()",
    "54000"
)]
#[case::commits(
    "CREATE PROCEDURE public.ends() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'",
    "public.ends()",
    "2D000"
)]
#[case::cancels_itself(
    "CREATE FUNCTION public.cancels() RETURNS bool LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN true; END'",
    "public.cancels()",
    "timed out"
)]
#[tokio::test]
async fn a_function_that_does_not_return_is_never_held(#[case] sql: &str, #[case] object: &str, #[case] because: &str) {
    if absent("local") {
        return;
    }
    let stage = Stage::new(&format!("{NOTES}{sql};")).await;
    let outcome = stage.verify(PATIENCE).await.expect("the rest can be judged");
    assert_vacuous(&outcome, object, because);
    assert_rest_is_judged(&outcome);
    stage.end().await;
}

#[tokio::test]
async fn a_broken_link_to_another_database_is_never_held() {
    if absent("local") {
        return;
    }
    let sql = "DO $$ BEGIN CREATE EXTENSION dblink; EXCEPTION WHEN OTHERS THEN
        CREATE FUNCTION public.dblink_disconnect(text) RETURNS text LANGUAGE plpgsql AS
          'BEGIN RAISE ''connection not available'' USING ERRCODE = ''08003''; END'; END $$;
        CREATE FUNCTION public.far() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT public.dblink_disconnect('none') $$;";
    let stage = Stage::new(&format!("{NOTES}{sql}")).await;
    let outcome = stage.verify(PATIENCE).await.expect("the rest can be judged");
    assert_vacuous(&outcome, "public.far()", "08003");
    assert_rest_is_judged(&outcome);
    stage.end().await;
}

/// A trigger that hangs: no row can be made.
#[tokio::test]
async fn a_table_whose_trigger_hangs_is_never_held() {
    if absent("local") {
        return;
    }
    let trigger = "CREATE FUNCTION public.waits() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN new; END';
        CREATE TRIGGER waits BEFORE INSERT OR UPDATE ON public.letter FOR EACH ROW EXECUTE FUNCTION public.waits();";
    let stage = Stage::new(&format!("{NOTES}{LETTERS}{trigger}")).await;
    let outcome = stage.verify(PATIENCE).await.expect("the rest can be judged");
    let held: Vec<_> = cells(&outcome, "public.letter")
        .into_iter()
        .filter(|c| c.verdict == CellVerdict::Held)
        .collect();
    assert!(held.is_empty(), "{held:#?}");
    let told = |c: &&Cell| c.reason.as_deref().is_some_and(|r| r.contains("timed out"));
    assert!(
        cells(&outcome, "public.letter").iter().any(told),
        "{:#?}",
        outcome.coverage
    );
    assert!(
        outcome
            .notes
            .iter()
            .any(|n| n.contains("public.letter") && n.contains("57014")),
        "{:#?}",
        outcome.notes
    );
    assert_rest_is_judged(&outcome);
    stage.end().await;
}

#[tokio::test]
async fn a_table_that_another_connection_locks_is_never_held() {
    if absent("local") {
        return;
    }
    let stage = Stage::new(&format!("{NOTES}{LETTERS}")).await;
    let mut other = stage.connect(PATIENCE).await;
    other
        .query("BEGIN; LOCK TABLE public.letter IN SHARE MODE")
        .await
        .expect("nobody else has it");
    let outcome = stage.verify(PATIENCE).await.expect("the rest can be judged");
    other.query("ROLLBACK").await.expect("it lives");
    other.close().await;
    let granted = |c: &&Cell| c.verdict != CellVerdict::Denied;
    for cell in cells(&outcome, "public.letter").into_iter().filter(granted) {
        assert_eq!(cell.verdict, CellVerdict::Vacuous, "{cell:?}");
    }
    let told = cells(&outcome, "public.letter")
        .iter()
        .filter(|c| c.reason.as_deref().is_some_and(|r| r.contains("timed out")))
        .count();
    assert!(told >= 4, "{:#?}", cells(&outcome, "public.letter"));
    assert_rest_is_judged(&outcome);
    stage.end().await;
}

/// Not even its definition can be read.
#[tokio::test]
async fn a_table_that_is_locked_for_all_ends_the_run() {
    if absent("local") {
        return;
    }
    let stage = Stage::new(&format!("{NOTES}{LETTERS}")).await;
    let mut other = stage.connect(PATIENCE).await;
    other
        .query("BEGIN; LOCK TABLE public.letter IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("nobody else has it");
    let error = stage.verify(PATIENCE).await.expect_err("nothing can be judged");
    let cause = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(cause.contains("lock timeout"), "{error}: {cause}");
    other.close().await;
    stage.end().await;
}

const ABORTS: &str = "CREATE FUNCTION public.aborts() RETURNS bool LANGUAGE plpgsql SECURITY DEFINER AS
    'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN true; END';";

#[tokio::test]
async fn a_function_that_aborts_the_backend_ends_the_run_and_is_named() {
    if absent("local") {
        return;
    }
    let stage = Stage::new(&format!("{NOTES}{ABORTS}")).await;
    let error = stage.verify(PATIENCE).await.expect_err("nothing can be judged");
    let text = error.to_string();
    assert!(text.contains("57P01") && text.contains("public.aborts()"), "{text}");
    assert!(text.contains("nothing is judged"), "{text}");
    stage.end().await;
}

/// It swallows the cancellation, so only the end of its backend ends it.
#[tokio::test]
async fn a_function_that_no_timeout_ends_is_given_up_and_does_not_stay() {
    if absent("local") {
        return;
    }
    let deaf = "CREATE FUNCTION public.deaf() RETURNS int LANGUAGE plpgsql AS $$
        BEGIN LOOP BEGIN PERFORM pg_sleep(1); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;";
    let stage = Stage::new(&format!("{NOTES}{deaf}")).await;
    let error = stage
        .verify(Duration::from_secs(15))
        .await
        .expect_err("nothing can be judged");
    let text = error.to_string();
    assert!(text.contains("public.deaf()") && text.contains("15s"), "{text}");
    // The database goes although the backend is still busy in it.
    stage.end().await;
}

/// The binary, on a server named by URL.
fn command(folder: &Path, url: &str, schema: &str) -> Child {
    let file = folder.join(format!("{:x}.sql", schema.len()));
    std::fs::write(&file, schema).expect("written");
    Command::new(env!("CARGO_BIN_EXE_tenantproof"))
        .args(["verify", "--server", url, "--format", "json", "--schema"])
        .arg(&file)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs")
}

/// Exit code, standard output and standard error.
async fn end_of(child: Child) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(|| child.wait_with_output())
        .await
        .expect("it is waited for")
        .expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A server of ours as the user's: its connection for the test, the URL for the command, its data folder.
struct Named {
    server: Server,
    scratch: Scratch,
    conn: Conn,
    url: String,
    folder: std::path::PathBuf,
}

impl Named {
    async fn new() -> Self {
        let stage = Stage::new("").await;
        let conn = stage.connect(PATIENCE).await;
        let options = stage.scratch.connect_options();
        let folder = options.get_socket().expect("a socket").clone();
        let url = format!("postgres://postgres@localhost/postgres?host={}", folder.display());
        Self {
            server: stage.server,
            scratch: stage.scratch,
            conn,
            url,
            folder,
        }
    }

    /// The backend of a run that is in the middle of a statement with this text.
    async fn busy_with(&mut self, text: &str) -> String {
        let sql = format!(
            "SELECT pid::text FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%{text}%'"
        );
        for _ in 0..1_200 {
            let rows = self.conn.query(&sql).await.expect("the server lives");
            if let Some(pid) = rows[0].first().and_then(|r| r[0].clone()) {
                return pid;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no run came to `{text}`");
    }
}

/// Waits long enough for somebody to look.
const WAITS: &str = "CREATE FUNCTION public.waits_long() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(9)';";

#[rstest]
#[case::one_backend(false)]
#[case::the_whole_server(true)]
#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_is_exit_3(#[case] whole: bool) {
    if absent("local") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut named = Named::new().await;
    let run = command(folder.path(), &named.url, &format!("{NOTES}{WAITS}"));
    let pid = named.busy_with("waits_long()").await;
    if whole {
        let text = std::fs::read_to_string(named.folder.join("data/postmaster.pid")).expect("it runs");
        let postmaster = text.lines().next().expect("its first line is the pid").to_owned();
        // Immediate shutdown: what a crash looks like to its clients.
        let killed = Command::new("kill").args(["-QUIT", &postmaster]).status();
        assert!(killed.expect("kill runs").success());
    } else {
        let sql = format!("SELECT pg_terminate_backend({pid})");
        named.conn.query(&sql).await.expect("the server lives");
    }
    let (code, out, err) = end_of(run).await;
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.is_empty(), "{out}");
    assert!(
        err.contains("the server ended the connection; nothing is judged"),
        "{err}"
    );
    if !whole {
        named.conn.close().await;
        named.scratch.drop_now().await.expect("the database goes");
    }
    named.server.stop().await;
}

#[tokio::test]
async fn an_aborting_function_is_exit_3() {
    if absent("local") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let named = Named::new().await;
    let (code, out, err) = end_of(command(folder.path(), &named.url, &format!("{NOTES}{ABORTS}"))).await;
    assert_eq!(code, 3, "{out}{err}");
    assert!(out.is_empty() && err.contains("public.aborts()"), "{out}{err}");
    named.conn.close().await;
    named.scratch.drop_now().await.expect("the database goes");
    named.server.stop().await;
}

/// All that a database of the user's holds, and the server's roles: row versions tell every change.
async fn fingerprint(conn: &mut Conn) -> Vec<Option<String>> {
    let of = |catalog: &str, order: &str| {
        format!(
            "SELECT pg_catalog.string_agg(x.xmin || ' ' || x::text, E'\\n' ORDER BY x.{order}) FROM pg_catalog.{catalog} AS x"
        )
    };
    let mine = "WHERE x.oid >= 16384";
    let catalogs = [
        format!("{} {mine}", of("pg_class", "oid")),
        format!("{} {mine}", of("pg_proc", "oid")),
        format!("{} {mine}", of("pg_namespace", "oid")),
        of("pg_policy", "oid"),
        format!("{} WHERE x.attrelid >= 16384", of("pg_attribute", "attrelid, x.attnum")),
        of("pg_authid", "oid"),
        of("pg_auth_members", "roleid, x.member"),
        of("pg_db_role_setting", "setdatabase, x.setrole"),
        format!("{} WHERE x.datname NOT LIKE 'tenantproof_%'", of("pg_database", "oid")),
        "SELECT pg_catalog.string_agg(x.ctid || ' ' || x.xmin || ' ' || x.xmax || ' ' || x::text, E'\\n' ORDER BY x.ctid) FROM app.invoice AS x".to_owned(),
        "SELECT last_value || ' ' || is_called FROM app.invoice_id_seq".to_owned(),
    ];
    let rows = conn.query(&catalogs.join("; ")).await.expect("it can be read");
    rows.into_iter()
        .map(|mut r| r.pop().and_then(|mut row| row.pop()).flatten())
        .collect()
}

#[tokio::test]
async fn a_database_of_the_users_is_left_as_it_was() {
    if absent("local") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut named = Named::new().await;
    // Names that the schemas under test use, too.
    named
        .conn
        .query("CREATE ROLE theirs; CREATE ROLE boss")
        .await
        .expect("made");
    named
        .conn
        .query("GRANT theirs TO boss; ALTER ROLE theirs SET statement_timeout = '7s'")
        .await
        .expect("made");
    named.conn.query("CREATE DATABASE production").await.expect("made");
    let options = named.scratch.connect_options().database("production");
    let mut theirs = Conn::open(&options, PATIENCE).await.expect("it is there");
    theirs
        .query(
            "CREATE SCHEMA app; CREATE TABLE app.invoice (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, tenant_id text, total numeric);
             INSERT INTO app.invoice (tenant_id, total) SELECT 'acme', n FROM generate_series(1, 50) AS n;
             CREATE TABLE public.note (id int PRIMARY KEY); INSERT INTO public.note VALUES (1);
             ALTER TABLE app.invoice ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON app.invoice USING (tenant_id = current_setting('app.tenant_id', true));
             GRANT SELECT ON app.invoice TO theirs; ALTER DATABASE production SET work_mem = '5MB'",
        )
        .await
        .expect("made");
    let before = fingerprint(&mut theirs).await;
    assert!(before.iter().filter(|t| t.is_some()).count() >= 9, "{before:?}");
    let url = named.url.replace("/postgres?", "/production?");

    let open = NOTES.replace("ENABLE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY");
    let broken = format!("{NOTES} CREATE TABEL public.x ();");
    let grabs = format!("{NOTES} ALTER ROLE theirs SUPERUSER;");
    let grants = format!("{NOTES} GRANT robust_user TO theirs;");
    for (schema, expected) in [(NOTES.to_owned(), 0), (open, 1), (broken, 3), (grabs, 3), (grants, 3)] {
        let (code, out, err) = end_of(command(folder.path(), &url, &schema)).await;
        assert_eq!(code, expected, "{out}{err}");
        assert_eq!(
            fingerprint(&mut theirs).await,
            before,
            "after a run that ended with {code}"
        );
    }

    let mut killed = command(folder.path(), &url, &format!("{NOTES}{WAITS}"));
    named.busy_with("waits_long()").await;
    killed.kill().expect("it runs");
    let _ = killed.wait();
    let (code, out, err) = end_of(command(folder.path(), &url, NOTES)).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(
        fingerprint(&mut theirs).await,
        before,
        "after a run that was killed and one that swept up"
    );
    let left = named
        .conn
        .query("SELECT datname::text FROM pg_database WHERE datname LIKE 'tenantproof_%' ORDER BY 1")
        .await
        .expect("it can be read");
    let left: Vec<String> = left[0].iter().filter_map(|r| r[0].clone()).collect();
    assert_eq!(left, [named.scratch.name()], "scratch databases that are left");
    theirs.close().await;
    named.conn.close().await;
    named.scratch.drop_now().await.expect("the database goes");
    named.server.stop().await;
}
