//! A PostgreSQL inside the process: the crate oliphaunt-wasix, behind a unix socket.
//!
//! Owns the instance's thread, the socket and who may connect; `cache` owns where the runtime unpacks itself, `seed`
//! the initialised cluster, `wire` the little protocol needed here. Leaves out everything about schemas and roles.
//! oliphaunt-wasix 0.3.2 has no socket server; its `session` module takes and gives protocol messages, which is enough.
//!
//! Measured with 0.3.2 on Debian 12, 2 cores, in a debug build with the optimised packages of Cargo.toml:
//!
//! - PostgreSQL 18.4 for wasm32, C.UTF-8, no ICU data. Works as any user, root too. Nothing is downloaded or compiled at
//!   run time. glibc on x86_64 or aarch64, and macOS on aarch64, have machine code in the crate; others do not start.
//! - Start: 0.3 to 0.4 s; 1.2 to 1.6 s for the first of a process, 6 s for the first of a user, when the runtime is unpacked
//!   to the cache (65 MB) and initdb runs. The data is in memory only. An instance takes 45 MB, beside 190 MB for all.
//!   Instances of one process do not know of each other, and live in it at the same time.
//! - 5,000 probes (a transaction of five statements in a message) and 3,000 policy mutants a second, but **errors are
//!   dear**: 4 to 8 ms each where libgcc is older than 13, as on Debian 12 (the unwinder searches a list, which is shorter
//!   with fewer extensions), 20 ms out of a trigger; 0.3 to 0.6 ms with libgcc 14. One caught by PL/pgSQL costs the same.
//! - **Each error that reaches the client wears out the session**, which is why the connection is closed with 57P02 after
//!   [`ERRORS_PER_CONNECTION`], or sooner if they came from deep down. Connect again: 0.3 s, committed data stays.
//!   Errors caught by PL/pgSQL wear out nothing.
//! - An endless recursion (500 levels of PL/pgSQL and more) and ROLLBACK in a procedure, at the next statement, kill the
//!   backend: XX000, then the socket closes. Connect again here too. "infinite recursion detected in policy" is an error
//!   as usual.
//! - **Nothing interrupts a statement**: statement_timeout, idle_in_transaction_session_timeout,
//!   pg_cancel_backend and pg_terminate_backend do nothing, and cancel requests are not answered.
//!   [`Embedded::stop`] then leaves the thread behind.
//! - SET ROLE, SET LOCAL ROLE, SET (LOCAL) SESSION AUTHORIZATION, savepoints, ROLLBACK TO, set_config, row security, MERGE,
//!   CREATE DATABASE, COPY, CREATE INDEX CONCURRENTLY and advisory locks are as on a native server, but RESET SESSION
//!   AUTHORIZATION, SET SESSION AUTHORIZATION DEFAULT and DISCARD ALL do not come back to the superuser:
//!   `SET SESSION AUTHORIZATION postgres` does. Nobody else can log in; ALTER ROLE or DATABASE ... SET is kept but
//!   never applied; inet_client_addr() is not NULL; COPY ... PROGRAM is not there, and files are the instance's own.

use std::fs::Permissions;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use oliphaunt_wasix::Extension;
use oliphaunt_wasix::session::{
    PostgresConfig, PreparedDatabase, ProtocolPumpOutcome, ProtocolSession, ProtocolStream, StartupConfig,
    postgres_config_with_extension_startup, resolve_extension_set, startup_error_response_output,
};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub use cache::cache_fallback;
use wire::{Inbox, Startup, Step, Watch};

mod cache;
mod seed;
mod wire;

const USER: &str = "postgres";
const DATABASE: &str = "postgres";
/// How many errors a connection may meet, a syntax error counting five times: instead of the next, it is closed with
/// 57P02.
///
/// Every error that reaches the client leaves up to 1.4 kB on WebAssembly's stack of 8 MB, and 5.7 kB out of the parser.
/// Beyond the stack's end lie PostgreSQL's own data. Where other errors use it up sooner, `max_stack_depth` notices; the
/// parser does not look at that.
pub const ERRORS_PER_CONNECTION: usize = 5_000;

/// What the parser and the scanner raise by themselves.
const PARSER_ERRORS: &[&[u8]] = &[b"42601", b"0A000", b"22021", b"22025", b"42602", b"42622"];

/// Names the socket, `.s.PGSQL.5432`; no TCP port is opened.
const PORT: u16 = 5432;
/// How long [`Embedded::stop`] waits for a statement that is still running.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a client may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);
/// How long a client waits for one that may be about to leave, and for the backend of one that has left.
const GRACE: Duration = Duration::from_millis(500);
const LEAVING: Duration = Duration::from_secs(10);
/// Longer paths do not fit `sockaddr_un` on every system.
const LONGEST_SOCKET_PATH: usize = 100;

const EXTENSIONS: &[Extension] = &[
    Extension::BTREE_GIN,
    Extension::BTREE_GIST,
    Extension::CITEXT,
    Extension::FUZZYSTRMATCH,
    Extension::HSTORE,
    Extension::INTARRAY,
    Extension::LTREE,
    Extension::PG_TRGM,
    Extension::PGCRYPTO,
    Extension::TABLEFUNC,
    Extension::UNACCENT,
    Extension::UUID_OSSP,
    oliphaunt_extension_vector::VECTOR,
];

/// The names of the extensions that an instance can have, besides plpgsql.
#[must_use]
pub fn extension_names() -> Vec<&'static str> {
    EXTENSIONS.iter().map(|extension| extension.sql_name()).collect()
}

/// What a native server has where the embedded runtime would set something else, and a size that suits many instances.
const SETTINGS: &[(&str, &str)] = &[
    ("search_path", "\"$user\", public"),
    ("allow_system_table_mods", "off"),
    ("shared_buffers", "16MB"),
    // WebAssembly's own stack has 8 MB. An endless recursion meets the end of `STACK` long before.
    ("max_stack_depth", "7500kB"),
];

/// The stack of the machine code: bounds recursion, and with it the time that an error from its depth takes.
const STACK: usize = 4 << 20;

const BUSY: (&str, &str) = (
    "53300",
    "the embedded PostgreSQL serves one connection at a time, and that is in use",
);
const STOPPED: (&str, &str) = ("57P01", "the embedded PostgreSQL was stopped");
const WORN_OUT: &str = "the embedded PostgreSQL has met more errors than one connection to it can bear: connect again";

/// Why no embedded PostgreSQL could be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The system has no home or cache folder for this user.
    #[error("find a cache folder for the embedded PostgreSQL (set HOME or XDG_CACHE_HOME)")]
    NoCache,
    /// The runtime must be unpacked once, and cannot be.
    #[error("write to the embedded PostgreSQL's cache {} (set XDG_CACHE_HOME to a folder that is writable)", folder.display())]
    Cache {
        /// The folder that was tried.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket, its folder or a thread could not be made.
    #[error("open a socket for the embedded PostgreSQL")]
    Socket(#[source] io::Error),
    /// The WebAssembly runtime or PostgreSQL refused to start.
    #[error("start the embedded PostgreSQL")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The thread of the instance ended without a word.
    #[error("start the embedded PostgreSQL: its thread panicked")]
    Panicked,
}

/// One embedded PostgreSQL instance, which serves one connection at a time.
#[derive(Debug)]
pub struct Embedded {
    folder: TempDir,
    seat: Arc<Seat>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Embedded {
    /// Starts an instance with an empty database in memory, and every extension of [`extension_names`] at hand.
    ///
    /// # Errors
    ///
    /// When the runtime cannot be unpacked to its cache, or anything else keeps the instance from starting.
    pub async fn start() -> Result<Self, EmbeddedError> {
        Self::launch(EXTENSIONS.to_vec()).await
    }

    /// Starts an instance that has only these extensions at hand, and what they need; unknown names are passed over.
    ///
    /// Each one less saves time at the start and, with the older unwinders, at every error.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_with(extensions: &[&str]) -> Result<Self, EmbeddedError> {
        let mut wanted = EXTENSIONS.to_vec();
        wanted.retain(|extension| extensions.contains(&extension.sql_name()));
        Self::launch(wanted).await
    }

    async fn launch(extensions: Vec<Extension>) -> Result<Self, EmbeddedError> {
        let cache = cache::writable()?;
        let folder = socket_folder().map_err(EmbeddedError::Socket)?;
        let listener = UnixListener::bind(socket(folder.path())).map_err(EmbeddedError::Socket)?;
        let (inside, clients) = mpsc::channel();
        let (tell_ready, ready) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        let seat = Arc::new(Seat {
            occupant: Mutex::new(Occupant::Nobody),
            changed: Condvar::new(),
        });
        let embedded = Self {
            folder,
            seat: Arc::clone(&seat),
            ended: Some(ended),
        };
        spawn("embedded-postgres", {
            let seat = Arc::clone(&seat);
            move || {
                // Dropped last, whatever happens: `stop` waits for it.
                let _tell_ended = tell_ended;
                let _stopped = StopOnDrop(&seat);
                run(&cache, &extensions, tell_ready, &clients, &seat);
            }
        })?;
        ready.await.unwrap_or(Err(EmbeddedError::Panicked))?;
        spawn("embedded-postgres-door", move || keep_door(&listener, &seat, &inside))?;
        Ok(embedded)
    }

    /// How to connect: over a unix socket that only this user can reach, as the superuser `postgres`.
    ///
    /// One connection at a time: a second is refused with SQLSTATE 53300 after half a second. The next may come when the
    /// last was closed; it finds what was committed, in a session as fresh as on a native server. Set another
    /// [`database`](PgConnectOptions::database) to work in one that was made with CREATE DATABASE.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.folder.path())
            .port(PORT)
            .username(USER)
            .database(DATABASE)
            .ssl_mode(PgSslMode::Disable)
            .application_name("tenantproof")
    }

    /// Hangs up on the client, ends the instance and removes its folder.
    ///
    /// Returns after two seconds even if a statement runs on; its thread then lives until it ends by itself or the
    /// process does.
    pub async fn stop(mut self) {
        self.close();
        if let Some(ended) = self.ended.take() {
            let _ = tokio::time::timeout(PATIENCE, ended).await;
        }
    }

    fn close(&self) {
        self.seat.change(Occupant::Stopped);
        // Wakes the door keeper, which then sees that there is nothing to guard.
        let _ = UnixStream::connect(socket(self.folder.path()));
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

fn spawn(name: &str, life: impl FnOnce() + Send + 'static) -> Result<(), EmbeddedError> {
    thread::Builder::new()
        .name(name.into())
        .spawn(life)
        .map(drop)
        .map_err(EmbeddedError::Socket)
}

/// Hangs up when the instance's thread ends, by a panic too.
struct StopOnDrop<'a>(&'a Seat);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.change(Occupant::Stopped);
    }
}

/// Who has the one connection.
#[derive(Debug)]
enum Occupant {
    Nobody,
    /// A client, whose socket this is.
    Client(UnixStream),
    /// A client that has left; its backend is being put away.
    Leaver,
    /// Nobody any more: the instance was stopped.
    Stopped,
}

/// The one place at the instance, which clients take in turn.
#[derive(Debug)]
struct Seat {
    occupant: Mutex<Occupant>,
    changed: Condvar,
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, Occupant> {
        self.occupant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place for a client, or says why it cannot have it.
    fn take(&self, client: &UnixStream) -> io::Result<Result<(), (&'static str, &'static str)>> {
        let socket = client.try_clone()?;
        let asked = Instant::now();
        let mut occupant = self.lock();
        loop {
            let patience = match *occupant {
                Occupant::Nobody => {
                    *occupant = Occupant::Client(socket);
                    return Ok(Ok(()));
                }
                Occupant::Stopped => return Ok(Err(STOPPED)),
                Occupant::Client(_) => GRACE,
                Occupant::Leaver => LEAVING,
            };
            let Some(left) = patience.checked_sub(asked.elapsed()) else {
                return Ok(Err(BUSY));
            };
            occupant = self
                .changed
                .wait_timeout(occupant, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn change(&self, next: Occupant) {
        let mut occupant = self.lock();
        // The client's socket has other handles, which would keep it open.
        if let Occupant::Client(socket) = &*occupant {
            let _ = socket.shutdown(Shutdown::Both);
        }
        if !matches!(*occupant, Occupant::Stopped) {
            *occupant = next;
        }
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        matches!(*self.lock(), Occupant::Stopped)
    }
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    startup: Startup,
}

/// Lets clients in one after the other, and tells all others why they may not.
fn keep_door(listener: &UnixListener, seat: &Arc<Seat>, inside: &mpsc::Sender<Client>) {
    for stream in listener.incoming() {
        if seat.is_stopped() {
            return;
        }
        let Ok(stream) = stream else { continue };
        // A client that connects and says nothing must not keep the next from its answer.
        let (seat, inside) = (Arc::clone(seat), inside.clone());
        let greeting = thread::Builder::new().spawn(move || {
            let _ = admit(stream, &seat, &inside);
        });
        drop(greeting);
    }
}

fn admit(mut stream: UnixStream, seat: &Seat, inside: &mpsc::Sender<Client>) -> io::Result<()> {
    stream.set_read_timeout(Some(GREETING))?;
    stream.set_write_timeout(Some(GREETING))?;
    let Some(startup) = wire::greet(&mut stream)? else {
        return Ok(());
    };
    if let Some(user) = startup.parameter("user").filter(|user| user != USER) {
        let message = format!("the embedded PostgreSQL lets only \"{USER}\" log in, not \"{user}\"");
        return stream.write_all(&wire::fatal("28000", &message));
    }
    if let Err((code, message)) = seat.take(&stream)? {
        return stream.write_all(&wire::fatal(code, message));
    }
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    if inside.send(Client { stream, startup }).is_err() {
        seat.change(Occupant::Stopped);
    }
    Ok(())
}

/// The life of an instance, on its own thread: the runtime blocks, and must be used and dropped where it was made.
fn run(
    cache: &Path,
    extensions: &[Extension],
    ready: oneshot::Sender<Result<(), EmbeddedError>>,
    clients: &mpsc::Receiver<Client>,
    seat: &Seat,
) {
    let started = seed::prepare(cache).and_then(|prepared| {
        let cluster = Cluster {
            prepared,
            extensions: resolve_extension_set(extensions)?,
        };
        let backend = cluster.open(StartupConfig::default())?;
        Ok((cluster, backend))
    });
    let (mut cluster, first) = match started {
        Ok(started) => started,
        Err(error) => {
            let _ = ready.send(Err(EmbeddedError::Start(error.into())));
            return;
        }
    };
    let mut backend = Some(first);
    // Otherwise `start` was given up, and nobody will come.
    if ready.send(Ok(())).is_ok() {
        while let Ok(client) = clients.recv() {
            cluster.attend(client, &mut backend);
            seat.change(Occupant::Leaver);
            put_away(backend.take());
            seat.change(Occupant::Nobody);
        }
    }
    put_away(backend.take());
    let _ = cluster.prepared.release();
}

/// The files of an instance, on which one backend after the other works.
struct Cluster {
    prepared: PreparedDatabase,
    extensions: Vec<Extension>,
}

impl Cluster {
    /// Serves a client with a backend of its own: what the last one set is gone, as on a native server.
    fn attend(&self, mut client: Client, backend: &mut Option<ProtocolSession>) {
        let mut login = StartupConfig::default();
        if let Some(database) = client.startup.parameter("database") {
            login.database = database;
        }
        if login.database != DATABASE {
            put_away(backend.take());
        }
        let served = match backend.take().map_or_else(|| self.open(login), Ok) {
            Ok(opened) => serve(backend.insert(opened), &mut client),
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            let failed = || {
                wire::fatal(
                    "XX000",
                    &format!("the embedded PostgreSQL failed, connect again: {error:#}"),
                )
            };
            let answer = startup_error_response_output(&error).map_or_else(failed, <[u8]>::to_vec);
            let _ = client.stream.write_all(&answer);
        }
    }

    fn open(&self, login: StartupConfig) -> anyhow::Result<ProtocolSession> {
        // The same for all: this is a setting of the process.
        wasmer_vm::set_stack_size(STACK);
        let mut config = PostgresConfig::default();
        for (name, value) in SETTINGS {
            config.insert(*name, *value);
        }
        let config = postgres_config_with_extension_startup(config, &self.extensions)?;
        self.prepared
            .runtime()?
            .open_with_extensions(config, login, &self.extensions)
    }
}

fn put_away(backend: Option<ProtocolSession>) {
    if let Some(mut backend) = backend {
        // One that died keeps what it holds, by its own design; what it had committed is replayed by the next.
        let _ = backend.shutdown();
    }
}

fn serve(backend: &mut ProtocolSession, client: &mut Client) -> anyhow::Result<()> {
    let greeting = backend.startup_with_packet(&client.startup.0)?;
    client.stream.write_all(&greeting.output)?;
    if !greeting.accepted {
        return Ok(());
    }
    // Otherwise a rolled back SET LOCAL SESSION AUTHORIZATION would leave the session with the lesser user.
    backend.send_buffered(&wire::query("SET SESSION AUTHORIZATION postgres"))?;
    let mut outlet = Outlet {
        stream: client.stream.try_clone()?,
        watch: Watch::default(),
        errors: Arc::default(),
    };
    backend.attach_protocol_stream(outlet.again()?)?;
    let mut inbox = Inbox::default();
    loop {
        match inbox.step()? {
            Step::Terminate => return Ok(()),
            Step::Read => {
                if !inbox.read(&mut client.stream)? {
                    return Ok(());
                }
            }
            Step::Send(messages) => {
                match backend.send_with_connection_protocol_pump(&messages, || inbox.take())? {
                    ProtocolPumpOutcome::Buffered(answer) => outlet.write_all(&answer)?,
                    // A COPY let the backend read and write the socket itself, which it did until the end.
                    ProtocolPumpOutcome::Streamed => return Ok(()),
                }
            }
        }
    }
}

/// The client's socket, as the backend uses it from a COPY on, and as we write to it before.
struct Outlet {
    stream: UnixStream,
    watch: Watch,
    errors: Arc<AtomicUsize>,
}

impl Outlet {
    fn again(&self) -> io::Result<Self> {
        let (stream, errors) = (self.stream.try_clone()?, Arc::clone(&self.errors));
        Ok(Self {
            stream,
            watch: Watch::default(),
            errors,
        })
    }

    /// Whether what the backend says can no longer be relied on. An endless recursion never comes to 54001: it meets the
    /// end of [`STACK`]. So that is the answer of a session that has lost its stack to errors, to whatever it is asked.
    fn is_worn_out(&mut self, bytes: &[u8]) -> bool {
        let codes = self.watch.errors(bytes);
        let weight = |code: &Vec<u8>| if PARSER_ERRORS.contains(&code.as_slice()) { 5 } else { 1 };
        let now: usize = codes.iter().map(weight).sum();
        let before = self.errors.fetch_add(now, Ordering::Relaxed);
        before + now > ERRORS_PER_CONNECTION || codes.iter().any(|code| code == b"54001")
    }
}

impl io::Read for Outlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl io::Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_worn_out(bytes) {
            self.stream.write_all(&wire::fatal("57P02", WORN_OUT))?;
            self.stream.shutdown(Shutdown::Both)?;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl ProtocolStream for Outlet {
    fn read_ready(&mut self) -> io::Result<bool> {
        // Reads block, and there is nothing else to do meanwhile.
        Ok(true)
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// A new folder that only this user can enter.
fn socket_folder() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("tenantproof-")
        .permissions(Permissions::from_mode(0o700));
    let folder = builder.tempdir()?;
    if socket(folder.path()).as_os_str().len() > LONGEST_SOCKET_PATH {
        return builder.tempdir_in("/tmp");
    }
    Ok(folder)
}
