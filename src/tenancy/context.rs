//! The tenant of the running task.
//!
//! A context is set for the length of a future and is gone afterwards, however that future ends: returned, failed,
//! panicked, dropped. It follows awaits, because it belongs to the future and not to a thread. Nothing here knows a database;
//! whoever needs a tenant asks [`TenantContext::current`] and passes the refusal on.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

use super::id::{TenantId, UserId};

tokio::task_local! {
    static CURRENT: TenantContext;
}

/// No tenant is set for the running task: what was asked for is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("find the tenant of this task: none is set; run it in `with_tenant`, and start tasks with `tenancy::spawn`")]
pub struct NoTenant;

/// On whose behalf a task works, and so as which role of the database.
///
/// ```
/// use tenantproof::tenancy::{Access, UserId};
/// let ada = UserId::random();
/// assert_eq!((Access::Admin(ada).user(), Access::Service.user()), (Some(ada), None));
/// assert_eq!(Access::Member(ada).role(), "tenantproof_member");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A member of the tenant.
    Member(UserId),
    /// An administrator of the tenant. The database checks that this user is one.
    Admin(UserId),
    /// The server itself, for one tenant: imports, migrations, usage. Made by
    /// [`Service::context`](super::Service::context) alone.
    Service,
}

impl Access {
    /// The user, where there is one.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::Member(user) | Self::Admin(user) => Some(user),
            Self::Service => None,
        }
    }

    /// The role of the database that statements run as.
    pub fn role(self) -> &'static str {
        match self {
            Self::Member(_) => "tenantproof_member",
            Self::Admin(_) => "tenantproof_admin",
            Self::Service => "tenantproof_service",
        }
    }
}

/// Who a task works for. Cheap to clone.
///
/// ```
/// use tenantproof::tenancy::{TenantContext, TenantId, UserId, with_tenant};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let acme = TenantContext::member(TenantId::random(), UserId::random());
/// let seen = with_tenant(acme.clone(), async { TenantContext::current() }).await;
/// assert_eq!(seen.unwrap().tenant(), acme.tenant());
/// assert!(TenantContext::current().is_err()); // and outside there is none
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TenantContext(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    tenant: TenantId,
    access: Access,
    claims: Option<Value>,
}

impl TenantContext {
    /// A member's request.
    pub fn member(tenant: TenantId, user: UserId) -> Self {
        Self::with_access(tenant, Access::Member(user))
    }

    /// An administrator's request.
    pub fn admin(tenant: TenantId, user: UserId) -> Self {
        Self::with_access(tenant, Access::Admin(user))
    }

    pub(super) fn with_access(tenant: TenantId, access: Access) -> Self {
        Self(Arc::new(Inner {
            tenant,
            access,
            claims: None,
        }))
    }

    /// The same with the claims of a verified token, which transactions bind as `request.jwt.claims`. Policies refuse
    /// claims that name another tenant or user than the context does.
    pub fn with_claims(self, claims: Value) -> Self {
        Self(Arc::new(Inner {
            tenant: self.0.tenant,
            access: self.0.access,
            claims: Some(claims),
        }))
    }

    /// The context of the running task.
    ///
    /// # Errors
    ///
    /// [`NoTenant`] outside of [`with_tenant`], also in tasks started with plain `tokio::spawn`.
    pub fn current() -> Result<Self, NoTenant> {
        CURRENT.try_with(Clone::clone).map_err(|_| NoTenant)
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.0.tenant
    }

    /// As what its statements run.
    pub fn access(&self) -> Access {
        self.0.access
    }

    /// The user, where it is not the server itself.
    pub fn user(&self) -> Option<UserId> {
        self.0.access.user()
    }

    /// Claims of the token that the request came with.
    pub fn claims(&self) -> Option<&Value> {
        self.0.claims.as_ref()
    }

    fn span(&self) -> tracing::Span {
        match self.user() {
            Some(user) => tracing::info_span!("tenant", tenant_id = %self.tenant(), user_id = %user),
            None => tracing::info_span!("tenant", tenant_id = %self.tenant(), service = true),
        }
    }
}

/// Without the claims: they are the user's.
impl fmt::Debug for TenantContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantContext")
            .field("tenant", &self.tenant())
            .field("access", &self.access())
            .finish_non_exhaustive()
    }
}

/// Runs a future with this tenant; a tracing span carries the tenant with it. Scopes nest: the outer context is back when
/// this returns, fails, panics or is dropped.
pub async fn with_tenant<F: Future>(context: TenantContext, future: F) -> F::Output {
    future.in_tenant(context).await
}

/// A future that runs with a tenant.
pub type InTenant<F> = tokio::task::futures::TaskLocalFuture<TenantContext, Instrumented<F>>;

/// The same as a method of any future, so that a function's whole result can be wrapped.
///
/// ```
/// use tenantproof::tenancy::{FutureExt as _, NoTenant, TenantContext, TenantId, UserId};
///
/// async fn greeting() -> Result<String, NoTenant> {
///     Ok(format!("for {}", TenantContext::current()?.tenant()))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let acme = TenantContext::member(TenantId::random(), UserId::random());
/// assert!(greeting().in_tenant(acme).await.is_ok());
/// assert_eq!(greeting().await, Err(NoTenant));
/// # }
/// ```
pub trait FutureExt: Future + Sized {
    /// Runs it with this tenant.
    fn in_tenant(self, context: TenantContext) -> InTenant<Self> {
        let span = context.span();
        CURRENT.scope(context, self.instrument(span))
    }
}

impl<F: Future> FutureExt for F {}

/// Runs a closure that does not await with this tenant.
pub fn with_tenant_sync<T>(context: TenantContext, run: impl FnOnce() -> T) -> T {
    let span = context.span();
    CURRENT.sync_scope(context, || span.in_scope(run))
}

/// Starts a task that goes on with the tenant of this one; plain `tokio::spawn` starts one without.
///
/// # Errors
///
/// [`NoTenant`] where this task has none; nothing is started then.
pub fn spawn<F>(future: F) -> Result<JoinHandle<F::Output>, NoTenant>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let context = TenantContext::current()?;
    Ok(tokio::spawn(future.in_tenant(context)))
}

/// Starts a closure on a thread where it may block, with the tenant of this task.
///
/// # Errors
///
/// [`NoTenant`] where this task has none; nothing is started then.
pub fn spawn_blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, NoTenant> {
    let context = TenantContext::current()?;
    Ok(tokio::task::spawn_blocking(move || with_tenant_sync(context, run)))
}
