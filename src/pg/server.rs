//! The seam between those who need a PostgreSQL server and those who know where to get one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row};

use super::container::{Container, Engine, Pull};
use super::embedded::Embedded;
use super::error::ServerError;
use super::local::Local;
use super::scratch::{self, Scratch, Strategy};
use super::sweep::{self, Swept};
use super::url;

/// The oldest PostgreSQL supported: `security_invoker` views exist from 15.
pub(super) const MINIMUM_MAJOR: u32 = 15;

/// How servers of our own are set up. Nothing in them is to outlive them, and nothing but us is to move in them.
pub(super) const SETTINGS: [(&str, &str); 11] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    // Logical decoding is one of the ways rows leak; it costs nothing measurable here.
    ("wal_level", "logical"),
    ("autovacuum", "off"),
    ("jit", "off"),
    ("max_connections", "100"),
    // One transaction observes a whole schema: 1,000 tables with their indexes are more locks than the default holds.
    ("max_locks_per_transaction", "512"),
    ("checkpoint_timeout", "1h"),
    // Probes err by the thousand; the ready line, of level LOG, must still come.
    ("log_min_messages", "log"),
    ("timezone", "UTC"),
];

/// What the embedded server calls itself; asking it would take its one connection.
const EMBEDDED_VERSION: (&str, i32) = ("18.4", 180_004);

/// Dropping what is left on the user's server must not hold up the way out.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Where the scratch server is to come from.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum ServerChoice {
    /// A container, else local programs, else the embedded server.
    #[default]
    Auto,
    /// A container of our own.
    Container,
    /// The server programs installed on this machine, in a folder of our own.
    Local,
    /// PostgreSQL inside this process.
    Embedded,
    /// A server of the user's, on which scratch databases may be created.
    Url(String),
}

impl FromStr for ServerChoice {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        match text {
            "auto" => Ok(Self::Auto),
            "container" => Ok(Self::Container),
            "local" => Ok(Self::Local),
            "embedded" => Ok(Self::Embedded),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(Self::Url(url.to_owned())),
            other => Err(ServerError::UnknownChoice(other.to_owned())),
        }
    }
}

/// As on the command line; of a URL only where it points.
impl fmt::Display for ServerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Container => f.write_str("container"),
            Self::Local => f.write_str("local"),
            Self::Embedded => f.write_str("embedded"),
            Self::Url(text) => match text.parse::<PgConnectOptions>() {
                Ok(options) => write!(f, "postgres://{}", url::place(&options)),
                Err(_) => f.write_str("a URL that does not parse"),
            },
        }
    }
}

/// Like Display: a URL may hold a password.
impl fmt::Debug for ServerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who runs a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// A container engine.
    Container,
    /// Programs on this machine.
    Local,
    /// This process.
    Embedded,
    /// The user.
    Url,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Local => "local",
            Self::Embedded => "embedded",
            Self::Url => "url",
        })
    }
}

/// Which server to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerOptions {
    /// Where it comes from.
    pub choice: ServerChoice,
    /// An image's tag (`17`, `17.2-alpine`) or whole reference (`pgvector/pgvector:pg17`), or the version of local
    /// programs (`17`, `17.2`). The default is what is there.
    pub version: Option<String>,
}

/// A running server. Dropping it stops it, if less surely than [`Server::stop`] does.
#[derive(Debug)]
pub struct Server {
    kind: Provider,
    version: String,
    version_num: i32,
    passed_over: Vec<(Provider, String)>,
    swept: Swept,
    // None on the embedded server, where a connection is the whole of an instance.
    admin: Option<PgConnectOptions>,
    live: Ledger,
    running: Arc<Mutex<Option<Running>>>,
}

/// The scratch databases that are there now.
pub(super) type Ledger = Arc<Mutex<BTreeSet<String>>>;

/// What has to be ended.
#[derive(Debug)]
enum Running {
    Container(Box<Container>),
    Local(Local),
    /// An instance that is up and in no scratch's hands yet.
    Embedded(Option<Embedded>),
    Url {
        admin: Box<PgConnectOptions>,
        live: Ledger,
    },
}

impl Server {
    /// Starts a server, or reaches the one named, and sweeps up what killed runs left there.
    ///
    /// # Errors
    ///
    /// When the provider asked for has no server to offer, or none has: with the reason of each.
    pub async fn start(options: &ServerOptions) -> Result<Self, ServerError> {
        // The driver reads it, and has no way to forget it. On the user's server it is the user's wish.
        let has_options = std::env::var_os("PGOPTIONS").is_some_and(|options| !options.is_empty());
        if has_options && !matches!(options.choice, ServerChoice::Url(_)) {
            return Err(ServerError::ForeignOptions);
        }
        let mut swept = sweep::folders().await;
        let asked = options.version.as_deref();
        let mut server = match &options.choice {
            ServerChoice::Auto => Self::first_that_starts(asked, &mut swept).await?,
            ServerChoice::Container => Self::container(asked, Pull::IfMissing, &mut swept).await?,
            ServerChoice::Local => Self::local(asked).await?,
            ServerChoice::Embedded => Self::embedded(asked).await?,
            ServerChoice::Url(url) => Self::named(url, &mut swept).await?,
        };
        server.swept = swept;
        Ok(server)
    }

    async fn first_that_starts(asked: Option<&str>, swept: &mut Swept) -> Result<Self, ServerError> {
        let mut reasons = Vec::new();
        for provider in [Provider::Container, Provider::Local, Provider::Embedded] {
            let started = match provider {
                Provider::Container => Self::container(asked, Pull::Never, swept).await,
                Provider::Local => Self::local(asked).await,
                Provider::Embedded | Provider::Url => Self::embedded(asked).await,
            };
            match started {
                Ok(mut server) => {
                    server.passed_over = reasons;
                    return Ok(server);
                }
                Err(error) => reasons.push((provider, error.chain())),
            }
        }
        Err(ServerError::NoServer { reasons })
    }

    async fn container(asked: Option<&str>, pull: Pull, swept: &mut Swept) -> Result<Self, ServerError> {
        let engine = Engine::find().await?;
        swept.add(engine.sweep().await);
        let (container, options) = engine.start(asked, pull).await?;
        let connection = PgConnection::connect_with(&options).await;
        let at = url::place(&options);
        let connection = connection.map_err(|source| ServerError::Unreachable { at, source })?;
        Self::of(
            Provider::Container,
            Running::Container(Box::new(container)),
            options,
            connection,
        )
        .await
    }

    async fn local(asked: Option<&str>) -> Result<Self, ServerError> {
        let (local, options, connection) = Local::start(asked).await?;
        Self::of(Provider::Local, Running::Local(local), options, connection).await
    }

    async fn named(url: &str, swept: &mut Swept) -> Result<Self, ServerError> {
        let (admin, connection) = url::connect(url).await?;
        let live = Ledger::default();
        let running = Running::Url {
            admin: Box::new(admin.clone()),
            live: live.clone(),
        };
        let mut server = Self::of(Provider::Url, running, admin.clone(), connection).await?;
        server.live = live;
        let at = url::place(&admin);
        let connection = PgConnection::connect_with(&admin).await;
        let mut connection = connection.map_err(|source| ServerError::Unreachable { at, source })?;
        url::check_rights(&mut connection, &admin).await?;
        swept.add(sweep::databases(&mut connection, &admin).await);
        let _ = connection.close().await;
        Ok(server)
    }

    async fn embedded(asked: Option<&str>) -> Result<Self, ServerError> {
        let (version, version_num) = EMBEDDED_VERSION;
        let major = version.split('.').next().unwrap_or_default();
        if let Some(asked) = asked.filter(|asked| *asked != version && *asked != major) {
            return Err(ServerError::EmbeddedVersion {
                asked: asked.to_owned(),
                found: version,
            });
        }
        let instance = instance().await?;
        Ok(Self {
            kind: Provider::Embedded,
            version: version.into(),
            version_num,
            passed_over: Vec::new(),
            swept: Swept::default(),
            admin: None,
            live: Ledger::default(),
            running: Arc::new(Mutex::new(Some(Running::Embedded(Some(instance))))),
        })
    }

    async fn of(
        kind: Provider,
        running: Running,
        admin: PgConnectOptions,
        mut connection: PgConnection,
    ) -> Result<Self, ServerError> {
        let (at, user) = (url::place(&admin), admin.get_username().to_owned());
        let row = sqlx::query(include_str!("server/version.sql"))
            .fetch_one(&mut connection)
            .await;
        let version = row.and_then(|row| Ok((row.try_get::<i32, _>(0)?, row.try_get::<String, _>(1)?)));
        let (version_num, full) = version.map_err(|source| ServerError::Refused {
            at: at.clone(),
            user,
            source,
        })?;
        let _ = connection.close().await;
        // "15.18 (Debian 15.18-0+deb12u1)"
        let version = full.split(' ').next().unwrap_or_default().to_owned();
        if version_num / 10_000 < MINIMUM_MAJOR as i32 {
            return Err(ServerError::TooOld { at, found: version });
        }
        Ok(Self {
            kind,
            version,
            version_num,
            passed_over: Vec::new(),
            swept: Swept::default(),
            admin: Some(admin),
            live: Ledger::default(),
            running: Arc::new(Mutex::new(Some(running))),
        })
    }

    /// Who runs it.
    pub fn kind(&self) -> Provider {
        self.kind
    }

    /// Its version, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its version as a number, such as 150018.
    pub fn version_num(&self) -> i32 {
        self.version_num
    }

    /// The providers that `auto` tried before this one, and why they did not serve.
    pub fn passed_over(&self) -> &[(Provider, String)] {
        &self.passed_over
    }

    /// What killed runs had left and the start removed.
    pub fn swept(&self) -> &Swept {
        &self.swept
    }

    /// Makes a fresh, empty database; on the embedded server, a fresh instance.
    ///
    /// # Errors
    ///
    /// When the server is gone or refuses.
    pub async fn scratch(&self) -> Result<Scratch, ServerError> {
        match &self.admin {
            Some(admin) => Scratch::create(admin, &self.live, self.strategy(), None).await,
            None => {
                let spare = match lock(&self.running).as_mut() {
                    Some(Running::Embedded(spare)) => spare.take(),
                    _ => None,
                };
                let instance = match spare {
                    Some(instance) => instance,
                    None => instance().await?,
                };
                Ok(Scratch::instance(instance))
            }
        }
    }

    /// Makes a database that is a copy of a scratch database, to which nobody may be connected at that moment.
    ///
    /// # Errors
    ///
    /// When somebody is connected to the original, and on the embedded server.
    pub async fn copy(&self, original: &Scratch) -> Result<Scratch, ServerError> {
        match &self.admin {
            Some(admin) => Scratch::create(admin, &self.live, self.strategy(), Some(original.name())).await,
            None => Err(ServerError::NoCopies),
        }
    }

    /// Copying files is the faster, but makes the whole server write a checkpoint, which a server of the user's shall not.
    fn strategy(&self) -> Strategy {
        match self.kind {
            Provider::Url => Strategy::WalLog,
            Provider::Container | Provider::Local | Provider::Embedded => Strategy::FileCopy,
        }
    }

    /// Ends the server; of a server of the user's, drops what is left of ours on it.
    pub async fn stop(self) {
        self.cleanup_handle().stop().await;
    }

    /// Ends the server from elsewhere, such as a handler of Ctrl-C.
    pub fn cleanup_handle(&self) -> CleanupHandle {
        CleanupHandle {
            running: self.running.clone(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A handle may live on; the server shall not.
        drop(lock(&self.running).take());
    }
}

async fn instance() -> Result<Embedded, ServerError> {
    Embedded::start()
        .await
        .map_err(|error| ServerError::Embedded(Box::new(error)))
}

/// Ends a [`Server`] that is in somebody else's hands.
#[derive(Debug, Clone)]
pub struct CleanupHandle {
    running: Arc<Mutex<Option<Running>>>,
}

impl CleanupHandle {
    /// Ends the server; does nothing where it has ended.
    pub async fn stop(&self) {
        let running = lock(&self.running).take();
        match running {
            Some(Running::Container(container)) => container.stop().await,
            Some(Running::Local(local)) => local.stop().await,
            Some(Running::Embedded(Some(instance))) => instance.stop().await,
            Some(Running::Url { admin, live }) => {
                let names = lock(&live).clone();
                let _ = tokio::time::timeout(STOP_LIMIT, scratch::drop_all(&admin, names)).await;
            }
            Some(Running::Embedded(None)) | None => {}
        }
    }
}

/// A panic elsewhere is no reason not to clean up.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_reads_and_shows_without_the_password() {
        for text in ["auto", "container", "local", "embedded"] {
            assert_eq!(text.parse::<ServerChoice>().unwrap().to_string(), text);
        }
        let choice: ServerChoice = "postgres://admin:s3cret@db.example:6543/postgres".parse().unwrap();
        assert_eq!(choice.to_string(), "postgres://db.example:6543");
        assert!(!format!("{choice:?}").contains("s3cret"));
        assert!("mysql://x".parse::<ServerChoice>().is_err());
    }
}
