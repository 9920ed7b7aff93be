//! The one pool of connections, and transactions on it that work for a tenant.
//!
//! Nothing gets a connection without saying for whom: [`Store::begin`] takes the tenant of the running task,
//! [`Service`] is the separately named way for the server's own work. Statements are ordinary sqlx.

mod bind;
mod error;
mod service;

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _, Transaction};
use tracing::Instrument as _;

use super::context::{Access, TenantContext};
use super::id::TenantId;
use super::usage::Usage;
use bind::{Identity, Isolation};
pub use error::StoreError;
pub(super) use error::code;
use error::{Kind, kind};
pub use service::{NewTenant, Service, Tenant};

/// How long the first connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What stands between the store and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooler {
    /// Nothing, or a pooler in session mode: statements are prepared once a connection.
    #[default]
    None,
    /// A pooler in transaction mode that does not keep track of prepared statements (PgBouncer before 1.21, Supavisor on
    /// port 6543): a connection's server changes between transactions, so statements are prepared anew in each. Costs a
    /// round trip a statement.
    Transaction,
}

/// How to connect. Passwords are not shown.
///
/// ```
/// use std::time::Duration;
/// use tenantproof::tenancy::{Pooler, StoreOptions};
///
/// let options = StoreOptions::from_url("postgres://app:secret@db.example:6543/app")?
///     .pooler(Pooler::Transaction)
///     .max_connections(20)
///     .deadline(Duration::from_secs(5));
/// assert!(!format!("{options:?}").contains("secret"));
/// # Ok::<(), tenantproof::tenancy::StoreError>(())
/// ```
#[derive(Clone)]
pub struct StoreOptions {
    connect: PgConnectOptions,
    pooler: Pooler,
    max_connections: u32,
    deadline: Duration,
    login: Login,
}

/// Whether the login is held to be fit for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    Checked,
    Operator,
}

impl StoreOptions {
    /// From `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    ///
    /// When it does not parse.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(StoreError::Url(sqlx::Error::Configuration(
                "it names no PostgreSQL".into(),
            )));
        }
        PgConnectOptions::from_str(url).map(Self::new).map_err(StoreError::Url)
    }

    /// From the driver's own options.
    pub fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            pooler: Pooler::None,
            max_connections: 10,
            deadline: Duration::from_secs(10),
            login: Login::Checked,
        }
    }

    /// What stands between; default nothing.
    pub fn pooler(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
        self
    }

    /// Most connections; default 10.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How long a statement may take, and a unit of work with all its retries; default 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// For an operator's tool and not for a service: also a superuser or an owner may log in. Each transaction still runs as
    /// the role it is bound to, under row security.
    pub fn operator(mut self) -> Self {
        self.login = Login::Operator;
        self
    }

    fn place(&self) -> String {
        match self.connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.connect.get_host(), self.connect.get_port()),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("at", &self.place())
            .field("login", &self.connect.get_username())
            .field("pooler", &self.pooler)
            .field("max_connections", &self.max_connections)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The database, as tenants see it. Cheap to clone; clones share one pool.
///
/// ```no_run
/// use tenantproof::tenancy::{Store, StoreError, StoreOptions, TenantContext, with_tenant};
///
/// # async fn f(acme: TenantContext) -> Result<(), StoreError> {
/// let store = Store::connect(StoreOptions::from_url("postgres://app@localhost/app")?).await?;
/// let titles: Vec<String> = with_tenant(acme, async {
///     let mut tx = store.begin().await?; // one round trip: transaction, role, tenant, user
///     let titles = sqlx::query_scalar("SELECT title FROM documents").fetch_all(&mut *tx).await?;
///     tx.commit().await?;
///     Ok::<_, StoreError>(titles) // this tenant's: the policies see to it
/// })
/// .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    shared: Arc<Shared>,
}

struct Shared {
    options: StoreOptions,
    usage: Usage,
    retries: AtomicU64,
    has_pgvector: tokio::sync::OnceCell<bool>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Connects, and checks that the login is fit for it: it may become the roles of requests, and has no rights itself
    /// that would make a forgotten context harmful.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, the schema is not there, or the login may too much or too little.
    pub async fn connect(options: StoreOptions) -> Result<Self, StoreError> {
        let mut connect = options.connect.clone();
        if options.pooler == Pooler::Transaction {
            connect = connect.statement_cache_capacity(0).extra_float_digits(None);
        }
        // By itself first: the pool would try again and again, and say in the end only that it was too late.
        let unreachable = |source| StoreError::Unreachable {
            at: options.place(),
            source,
        };
        let mut first = match tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(&connect)).await {
            Ok(connected) => connected.map_err(unreachable)?,
            Err(_) => return Err(unreachable(sqlx::Error::PoolTimedOut)),
        };
        check_login(&mut first, options.login).await?;
        let _ = first.close().await;
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.deadline)
            // The driver pings a connection when it comes back; a server that goes away in between is met by `begin`.
            .test_before_acquire(false)
            .connect_lazy_with(connect);
        Ok(Self {
            pool,
            shared: Arc::new(Shared {
                options,
                usage: Usage::default(),
                retries: AtomicU64::new(0),
                has_pgvector: tokio::sync::OnceCell::new(),
            }),
        })
    }

    /// Opens a transaction that works for the tenant of the running task.
    ///
    /// One round trip sets role, tenant, user and claims, all of which end with the transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoTenant`] without a context; when the database stays away for as long as the deadline.
    pub async fn begin(&self) -> Result<TenantTransaction, StoreError> {
        let identity = Identity::Tenant(TenantContext::current()?);
        self.open(identity, Isolation::ReadCommitted).await
    }

    /// The same, serializable: failures of serialization are transient, and [`Store::run`] tries again.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    pub async fn begin_serializable(&self) -> Result<TenantTransaction, StoreError> {
        let identity = Identity::Tenant(TenantContext::current()?);
        self.open(identity, Isolation::Serializable).await
    }

    /// The server's own way in, named apart so that a search for its name finds every use.
    pub fn service(&self) -> Service {
        Service::new(self.clone())
    }

    /// What each tenant used.
    pub fn usage(&self) -> &Usage {
        &self.shared.usage
    }

    /// Does a unit of work, and again where another transaction or a lost connection was in the way, until the deadline. What
    /// it does outside of its transaction has to bear being done again.
    ///
    /// ```no_run
    /// # use tenantproof::tenancy::{Store, StoreError};
    /// # async fn f(store: &Store) -> Result<(), StoreError> {
    /// store
    ///     .run(|| async {
    ///         let mut tx = store.begin_serializable().await?;
    ///         sqlx::query("UPDATE documents SET title = upper(title)").execute(&mut *tx).await?;
    ///         tx.commit().await
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The work's own; [`StoreError::Deadline`] where it did not end in time. A commit whose outcome is unknown is not
    /// tried again.
    pub async fn run<T, F, E>(&self, mut work: impl FnMut() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Transient + From<StoreError>,
    {
        let limit = self.shared.options.deadline;
        let all = async {
            let mut pause = Backoff::default();
            loop {
                match work().await {
                    Err(error) if error.is_transient() => {
                        self.shared.retries.fetch_add(1, Ordering::Relaxed);
                        pause.wait().await;
                    }
                    ended => return ended,
                }
            }
        };
        match tokio::time::timeout(limit, all).await {
            Ok(ended) => ended,
            Err(_) => Err(StoreError::Deadline {
                doing: "do a unit of work",
                limit,
            }
            .into()),
        }
    }

    /// How often [`Store::run`] had to begin again.
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }

    /// Waits for transactions to end and closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) fn pooler(&self) -> Pooler {
        self.shared.options.pooler
    }

    pub(super) fn has_pgvector(&self) -> &tokio::sync::OnceCell<bool> {
        &self.shared.has_pgvector
    }

    pub(super) fn connect_options(&self) -> PgConnectOptions {
        self.shared.options.connect.clone()
    }

    async fn open(&self, identity: Identity, isolation: Isolation) -> Result<TenantTransaction, StoreError> {
        let limit = self.shared.options.deadline;
        let started = Instant::now();
        let mut pause = Backoff::default();
        loop {
            let (pool, statement) = (
                self.pool.clone(),
                identity.opening(isolation, self.shared.options.pooler, limit),
            );
            let opening: Opened = Box::pin(async move { pool.begin_with(AssertSqlSafe(statement)).await });
            match (Opening { future: Some(opening) }).await {
                Ok(inner) => {
                    return Ok(TenantTransaction {
                        inner: Some(inner),
                        usage: self.shared.usage.clone(),
                        tenant: identity.tenant(),
                        started,
                    });
                }
                // Nothing has been done yet, so a server that was restarted, or is about to be there, is waited for.
                Err(error) if kind(&error) == Kind::Lost && started.elapsed() < limit => {
                    tracing::debug!(%error, "a connection was lost; taking another");
                    pause.wait().await;
                }
                Err(error) if kind(&error) == Kind::Lost => {
                    return Err(StoreError::Unreachable {
                        at: self.shared.options.place(),
                        source: error,
                    });
                }
                Err(error) => return Err(StoreError::of("open a transaction for the tenant", error)),
            }
        }
    }
}

/// Whether work that failed may be done again.
pub trait Transient {
    /// Whether the same work may go through, and nothing of it has been done.
    fn is_transient(&self) -> bool;
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        StoreError::is_transient(self)
    }
}

/// Growing pauses, with a little chance so that two who collided do not collide again.
#[derive(Default)]
struct Backoff(u32);

impl Backoff {
    async fn wait(&mut self) {
        let step = 2_u64.saturating_pow(self.0.min(8));
        self.0 += 1;
        let chance = uuid::Uuid::new_v4().as_u128() as u64 % (step + 1);
        tokio::time::sleep(Duration::from_millis(step + chance)).await;
    }
}

type Opened = Pin<Box<dyn Future<Output = Result<Transaction<'static, Postgres>, sqlx::Error>> + Send>>;

/// Waits for a transaction to open. Dropped halfway, it goes on elsewhere and rolls back: a connection that went back to
/// the pool in between would have an open transaction that the driver does not know of.
struct Opening {
    future: Option<Opened>,
}

impl Future for Opening {
    type Output = Result<Transaction<'static, Postgres>, sqlx::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Pending;
        };
        let ended = std::task::ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(ended)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.future.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { drop(future.await) }.in_current_span());
        }
    }
}

/// A transaction that works for one tenant; a connection for sqlx's statements. Dropped without [`commit`] it is rolled
/// back.
///
/// [`commit`]: TenantTransaction::commit
#[derive(Debug)]
pub struct TenantTransaction {
    inner: Option<Transaction<'static, Postgres>>,
    usage: Usage,
    tenant: Option<TenantId>,
    started: Instant,
}

impl TenantTransaction {
    /// Makes what was done last.
    ///
    /// # Errors
    ///
    /// When a constraint or another transaction is in the way (nothing was done then), or
    /// [`StoreError::Uncertain`] where the connection was lost.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let Some(inner) = self.inner.take() else { return Ok(()) };
        match inner.commit().await {
            Ok(()) => Ok(()),
            Err(error) if kind(&error) == Kind::Lost => Err(StoreError::Uncertain(error)),
            Err(error) => Err(StoreError::of("commit", error)),
        }
    }

    /// Undoes what was done. Dropping does the same, a little later.
    ///
    /// # Errors
    ///
    /// When the connection is lost; the server undoes it then.
    pub async fn rollback(mut self) -> Result<(), StoreError> {
        let Some(inner) = self.inner.take() else { return Ok(()) };
        inner
            .rollback()
            .await
            .map_err(|source| StoreError::of("roll back", source))
    }
}

impl Drop for TenantTransaction {
    fn drop(&mut self) {
        if let Some(tenant) = self.tenant {
            self.usage.record_operation(tenant, self.started.elapsed());
        }
    }
}

// INVARIANT: `inner` is there until `commit` or `rollback`, which take the whole.
impl Deref for TenantTransaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.inner
            .as_ref()
            .expect("the transaction is open until it is consumed")
    }
}

impl DerefMut for TenantTransaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.inner
            .as_mut()
            .expect("the transaction is open until it is consumed")
    }
}

async fn check_login(connection: &mut PgConnection, check: Login) -> Result<(), StoreError> {
    // The simple protocol: outside of a transaction, a pooler may send the two halves of a prepared one to two servers.
    let row = sqlx::raw_sql(include_str!("store/login.sql"))
        .fetch_one(connection)
        .await
        .map_err(|source| StoreError::of("look at the login", source))?;
    let read = |column: &str| {
        row.try_get::<bool, _>(column)
            .map_err(|e| StoreError::of("look at the login", e))
    };
    let login: String = row
        .try_get("login")
        .map_err(|e| StoreError::of("look at the login", e))?;
    if !read("has_schema")? {
        return Err(StoreError::NoSchema);
    }
    let faults = [
        ("superuser", "is a superuser"),
        ("bypasses", "passes row security by"),
        ("inherits", "reads tenants without becoming a role of requests"),
    ];
    for (column, why) in faults {
        if check == Login::Checked && read(column)? {
            return Err(StoreError::TooMighty { login, why });
        }
    }
    let user = super::id::UserId::from(uuid::Uuid::nil());
    for (column, access) in [
        ("member", Access::Member(user)),
        ("admin", Access::Admin(user)),
        ("service", Access::Service),
    ] {
        if !read(column)? {
            return Err(StoreError::NotAMember {
                login,
                role: access.role(),
            });
        }
    }
    Ok(())
}
