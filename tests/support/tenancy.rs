//! What tests of the tenancy system stand on: a server with the reference schema, a login fit for a pool, tenants; Redis and
//! PgBouncer as private processes on sockets in folders of their own.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tenantproof::pg::{Scratch, Server, ServerChoice, ServerOptions};
use tenantproof::run::load::{self, LoadOptions};
use tenantproof::sql::script;
use tenantproof::tenancy::{NewTenant, Store, StoreOptions, TenantContext, TenantId, UserId};

use crate::bench::path;
use crate::providers::say;

/// What the pool logs in as.
pub const LOGIN: &str = "tenancy_app";

struct Shared {
    server: Server,
    original: Scratch,
}

/// The server that all of these tests share, with a database to copy. It has a thread of its own, for tests' runtimes
/// come and go; it ends with the process.
fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                sender.send(start().await).expect("somebody waits");
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().expect("the server of the tenancy tests starts")
    })
}

async fn start() -> Shared {
    let options = ServerOptions {
        choice: ServerChoice::Local,
        version: None,
    };
    let server = Server::start(&options)
        .await
        .unwrap_or_else(|e| panic!("the tenancy tests need a local PostgreSQL: failed to {e}"));
    let original = server.scratch().await.expect("a database");
    let mut conn = tenantproof::pg::conn::Conn::open(&original.connect_options(), Duration::from_secs(60))
        .await
        .expect("connects");
    let steps = script::read_paths(&[path("policies")]).expect("the schema reads");
    load::load(&mut conn, &steps, LoadOptions::default())
        .await
        .expect("the schema loads");
    conn.query(&format!(
        "CREATE ROLE {LOGIN} LOGIN NOINHERIT IN ROLE tenantproof_member, tenantproof_admin, tenantproof_service"
    ))
    .await
    .expect("the login is made");
    conn.close().await;
    Shared { server, original }
}

/// One copy at a time: nobody may be connected to the original.
static COPYING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A database with the reference schema, for one test.
pub struct House {
    scratch: Option<Scratch>,
}

impl House {
    /// A fresh one.
    pub async fn new() -> Self {
        let shared = tokio::task::spawn_blocking(shared).await.expect("the server starts");
        let _turn = COPYING.lock().await;
        let scratch = shared
            .server
            .copy(&shared.original)
            .await
            .expect("a copy of the schema");
        Self { scratch: Some(scratch) }
    }

    fn scratch(&self) -> &Scratch {
        self.scratch.as_ref().expect("the database is there")
    }

    /// How a service connects.
    pub fn options(&self) -> StoreOptions {
        StoreOptions::new(self.login())
            .max_connections(4)
            .deadline(Duration::from_secs(20))
    }

    /// The login's own options.
    pub fn login(&self) -> PgConnectOptions {
        self.scratch().connect_options().username(LOGIN)
    }

    /// A URL for other programs: of the login, or of the superuser.
    pub fn url(&self, user: &str) -> String {
        let options = self.scratch().connect_options();
        let socket = options
            .get_socket()
            .expect("a local server has a socket")
            .display()
            .to_string();
        format!(
            "postgres://{user}@localhost:{}/{}?host={}",
            options.get_port(),
            self.scratch().name(),
            socket.replace('/', "%2F")
        )
    }

    /// A store for it.
    pub async fn store(&self) -> Store {
        Store::connect(self.options()).await.expect("the store connects")
    }

    /// A superuser's connection, past the store.
    pub async fn superuser(&self) -> PgConnection {
        PgConnection::connect_with(&self.scratch().connect_options())
            .await
            .expect("connects")
    }

    /// Statements as the superuser.
    pub async fn sql(&self, sql: &str) {
        let mut connection = self.superuser().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        connection.close().await.expect("closes");
    }

    /// One number, as the superuser.
    pub async fn count(&self, sql: &str) -> i64 {
        let mut connection = self.superuser().await;
        let count = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        connection.close().await.expect("closes");
        count
    }

    /// Where it is: folder of the socket, port, name.
    pub fn place(&self) -> (PathBuf, u16, String) {
        let options = self.scratch().connect_options();
        let socket = options.get_socket().expect("a socket").clone();
        (socket, options.get_port(), self.scratch().name().to_owned())
    }

    /// A tenant with an administrator.
    pub async fn tenant(&self, store: &Store, slug: &str) -> Home {
        Home::new(store, NewTenant::named(slug)).await
    }

    /// Takes it away.
    pub async fn stop(mut self) {
        if let Some(scratch) = self.scratch.take() {
            scratch.drop_now().await.expect("the database goes");
        }
    }
}

/// A tenant and somebody who administers it.
#[derive(Debug, Clone)]
pub struct Home {
    pub id: TenantId,
    pub user: UserId,
    pub slug: String,
}

impl Home {
    pub async fn new(store: &Store, tenant: NewTenant) -> Self {
        let service = store.service();
        let slug = tenant.slug.clone();
        let id = service.create_tenant(tenant).await.expect("the tenant is made").id;
        let user = UserId::random();
        service
            .add_member(id, user, &format!("{user}@example.com"), true)
            .await
            .expect("the member is added");
        Self { id, user, slug }
    }

    /// As its administrator.
    pub fn admin(&self) -> TenantContext {
        TenantContext::admin(self.id, self.user)
    }

    /// As a member.
    pub fn member(&self) -> TenantContext {
        TenantContext::member(self.id, self.user)
    }
}

/// A program that is not there: the test says so and passes over, unless `TENANTPROOF_REQUIRE` names it.
#[track_caller]
pub fn absent(program: &str, package: &str) -> bool {
    let found = which(program).is_some();
    if found {
        return false;
    }
    let required = std::env::var("TENANTPROOF_REQUIRE").unwrap_or_default();
    assert!(
        !required.split_whitespace().any(|r| r == program),
        "{program} is required here and not installed"
    );
    let at = std::panic::Location::caller();
    say(&format!(
        "PASSED OVER {}:{}: needs {program} (apt-get install {package})",
        at.file(),
        at.line()
    ));
    true
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A program in a folder of its own that ends with us, however we end: a shell waits for the end of its input.
struct Kept {
    child: Child,
    folder: tempfile::TempDir,
}

impl Kept {
    /// `ready` is a socket in the folder.
    fn start(folder: tempfile::TempDir, uid: Option<u32>, program: &Path, arguments: &[String], ready: &Path) -> Self {
        const SCRIPT: &str =
            r#"exec 3<&0; "$@" </dev/null 3<&- & p=$!; { read -r _ <&3; kill -KILL "$p" 2>/dev/null; } & wait "$p""#;
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "kept"]);
        if let Some(uid) = uid {
            command.args(["setpriv", &format!("--reuid={uid}"), "--clear-groups"]);
        }
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        command
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the log twice"))
            .stderr(log);
        let child = command.spawn().expect("a shell starts");
        let kept = Self { child, folder };
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(ready).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{} does not start: {}",
                program.display(),
                std::fs::read_to_string(kept.folder.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        kept
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.end();
    }
}

/// A private Redis on a socket.
pub struct Redis {
    kept: Mutex<Option<Kept>>,
    folder: PathBuf,
}

impl Redis {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let kept = Self::run(folder);
        Self {
            kept: Mutex::new(Some(kept)),
            folder: path,
        }
    }

    fn run(folder: tempfile::TempDir) -> Kept {
        let socket = folder.path().join("redis.sock");
        let _ = std::fs::remove_file(&socket);
        let arguments: Vec<String> = ["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]
            .map(str::to_owned)
            .into_iter()
            .chain([
                socket.display().to_string(),
                "--dir".into(),
                folder.path().display().to_string(),
            ])
            .collect();
        let program = which("redis-server").expect("redis-server is installed");
        Kept::start(folder, None, &program, &arguments, &socket)
    }

    /// `redis+unix://...`
    pub fn url(&self) -> String {
        format!("redis+unix://{}/redis.sock", self.folder.display())
    }

    /// Kills it.
    pub fn kill(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_mut() {
            kept.end();
        }
    }

    /// Starts it again, empty, at the same place.
    pub fn restart(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Kept { .. }) = kept.as_ref() else { return };
        let mut old = kept.take().expect("it was started");
        old.end();
        let folder = std::mem::replace(&mut old.folder, tempfile::tempdir().expect("a folder"));
        drop(old);
        *kept = Some(Self::run(folder));
    }
}

/// PgBouncer in transaction mode before a database.
pub struct PgBouncer {
    kept: Kept,
}

impl PgBouncer {
    /// With so few server connections that clients have to share them.
    pub fn start(house: &House, servers: u32) -> Self {
        let (socket, port, name) = house.place();
        // The socket's folder is open to the server's account alone.
        let owner = std::fs::metadata(&socket).expect("the socket's folder").uid();
        let own = rustix_uid();
        let folder = tempfile::tempdir().expect("a folder");
        let users = folder.path().join("users.txt");
        std::fs::write(&users, format!("\"{LOGIN}\" \"\"\n")).expect("the users");
        let text = format!(
            "[databases]\n{name} = host={socket} port={port} dbname={name} user={LOGIN}\n\
             [pgbouncer]\nlisten_addr =\nunix_socket_dir = {dir}\nlisten_port = 6432\nauth_type = trust\nauth_file = {users}\n\
             pool_mode = transaction\ndefault_pool_size = {servers}\nmax_client_conn = 200\nlogfile =\npidfile =\n",
            socket = socket.display(),
            dir = folder.path().display(),
            users = users.display()
        );
        let configuration = folder.path().join("pgbouncer.ini");
        std::fs::write(&configuration, text).expect("the configuration");
        let uid = (own != owner).then_some(owner);
        if uid.is_some() {
            for file in [folder.path(), users.as_path(), configuration.as_path()] {
                std::os::unix::fs::chown(file, Some(owner), None).expect("root gives files away");
            }
        }
        let ready = folder.path().join(".s.PGSQL.6432");
        let program = which("pgbouncer").expect("pgbouncer is installed");
        let kept = Kept::start(folder, uid, &program, &[configuration.display().to_string()], &ready);
        Self { kept }
    }

    /// How to connect to the database through it.
    pub fn options(&self, house: &House) -> PgConnectOptions {
        house.login().socket(self.kept.folder.path()).port(6432)
    }
}

fn rustix_uid() -> u32 {
    std::fs::metadata("/proc/self").map(|m| m.uid()).unwrap_or_default()
}

/// The output of this crate's own command.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `tenantproof` with these arguments.
pub fn command(arguments: &[&str], input: &str) -> Ran {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenantproof"))
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    child
        .stdin
        .take()
        .expect("its input")
        .write_all(input.as_bytes())
        .expect("it reads");
    let mut stderr = String::new();
    let mut err = child.stderr.take().expect("its errors");
    let reader = std::thread::spawn(move || {
        let _ = err.read_to_string(&mut stderr);
        stderr
    });
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("its output")
        .read_to_string(&mut stdout)
        .expect("it is text");
    let code = child.wait().expect("it ends").code().unwrap_or(-1);
    Ran {
        code,
        stdout,
        stderr: reader.join().expect("read"),
    }
}
