//! The server's own work: the register of tenants, and one tenant at a time without a user.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::bind::{Identity, Isolation};
use super::{Store, StoreError, TenantTransaction};
use crate::tenancy::context::{Access, FutureExt as _, TenantContext};
use crate::tenancy::id::{TenantId, UserId};

/// A tenant as the register has it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tenant {
    /// Its key.
    pub id: TenantId,
    /// Its name in addresses; unique.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// The tenant it inherits configuration from.
    pub base: Option<TenantId>,
    /// `active` or `suspended`.
    pub status: String,
}

/// A tenant to be made.
///
/// ```
/// use tenantproof::tenancy::{NewTenant, TenantId};
/// let base = TenantId::random();
/// let acme = NewTenant { display_name: "Acme Ltd".into(), ..NewTenant::named("acme").inheriting(base) };
/// assert_eq!((acme.slug.as_str(), acme.base), ("acme", Some(base)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// Its key; [`TenantId::random`] where it has none yet.
    pub id: TenantId,
    /// Its name in addresses; unique, not empty.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// The tenant it inherits configuration from.
    pub base: Option<TenantId>,
}

impl NewTenant {
    /// With a random key, named by its slug, without a base.
    pub fn named(slug: &str) -> Self {
        Self {
            id: TenantId::random(),
            slug: slug.to_owned(),
            display_name: slug.to_owned(),
            base: None,
        }
    }

    /// The same, inheriting from a base tenant.
    pub fn inheriting(self, base: TenantId) -> Self {
        Self {
            base: Some(base),
            ..self
        }
    }
}

/// What the server does on nobody's behalf. From [`Store::service`].
///
/// It is the database role `tenantproof_service`: bound to one tenant it reaches that tenant's rows and no others; bound to
/// none, the register of tenants and nothing else.
///
/// ```no_run
/// use tenantproof::tenancy::{NewTenant, Store, StoreError, UserId};
///
/// # async fn f(store: &Store) -> Result<(), StoreError> {
/// let service = store.service();
/// let acme = service.create_tenant(NewTenant::named("acme")).await?;
/// let ada = UserId::random();
/// service.add_member(acme.id, ada, "ada@example.com", true).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Service {
    store: Store,
}

impl Service {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    /// A context for the server's own work for one tenant.
    pub fn context(&self, tenant: TenantId) -> TenantContext {
        TenantContext::with_access(tenant, Access::Service)
    }

    /// Opens a transaction for a tenant, as the server.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    pub async fn begin(&self, tenant: TenantId) -> Result<TenantTransaction, StoreError> {
        self.store.begin().in_tenant(self.context(tenant)).await
    }

    /// Opens a transaction for no tenant: it reads the register of tenants and their revisions, and nothing else.
    ///
    /// # Errors
    ///
    /// As [`Store::begin`].
    pub async fn begin_register(&self) -> Result<TenantTransaction, StoreError> {
        self.store.open(Identity::Register, Isolation::ReadCommitted).await
    }

    /// All tenants, by slug.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let mut tx = self.begin_register().await?;
        let rows =
            sqlx::query("SELECT id, slug, display_name, base_tenant_id, status FROM public.tenants ORDER BY slug, id")
                .fetch_all(&mut *tx)
                .await
                .map_err(|source| StoreError::of("list the tenants", source))?;
        tx.commit().await?;
        rows.iter().map(read).collect()
    }

    /// The tenant with this slug or key.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn find(&self, name: &str) -> Result<Option<Tenant>, StoreError> {
        let mut tx = self.begin_register().await?;
        let row = sqlx::query(
            "SELECT id, slug, display_name, base_tenant_id, status FROM public.tenants WHERE slug = $1 OR id::text = lower($1)
             ORDER BY slug = $1 DESC LIMIT 1",
        )
        .bind(name)
        .fetch_optional(&mut *tx)
        .await
        .map_err(|source| StoreError::of("look up a tenant", source))?;
        tx.commit().await?;
        row.as_ref().map(read).transpose()
    }

    /// Makes a tenant.
    ///
    /// # Errors
    ///
    /// When the slug or key is taken, or the base is not there (SQLSTATE 23505, 23503 of [`StoreError::code`]).
    pub async fn create_tenant(&self, new: NewTenant) -> Result<Tenant, StoreError> {
        let mut tx = self.begin(new.id).await?;
        let row = sqlx::query(
            "INSERT INTO public.tenants (id, slug, display_name, base_tenant_id) VALUES ($1, $2, $3, $4)
             RETURNING id, slug, display_name, base_tenant_id, status",
        )
        .bind(new.id.uuid())
        .bind(&new.slug)
        .bind(&new.display_name)
        .bind(new.base.map(TenantId::uuid))
        .fetch_one(&mut *tx)
        .await
        .map_err(|source| StoreError::of("make the tenant", source))?;
        // A new tenant has nothing to migrate.
        sqlx::query(
            "INSERT INTO public.tenant_schema_states (tenant_id, version)
             SELECT $1, version FROM public.configuration_schema_versions ORDER BY version DESC LIMIT 1",
        )
        .bind(new.id.uuid())
        .execute(&mut *tx)
        .await
        .map_err(|source| StoreError::of("make the tenant", source))?;
        tx.commit().await?;
        read(&row)
    }

    /// Lets a tenant inherit from another one, or from none.
    ///
    /// # Errors
    ///
    /// When a circle would close (SQLSTATE 23000) or the base is not there.
    pub async fn set_base(&self, tenant: TenantId, base: Option<TenantId>) -> Result<(), StoreError> {
        self.update(
            tenant,
            "UPDATE public.tenants SET base_tenant_id = $2 WHERE id = $1",
            |query| query.bind(base.map(TenantId::uuid)),
        )
        .await
    }

    /// Suspends a tenant, which ends what its members may do at once, or takes it up again.
    ///
    /// # Errors
    ///
    /// When the tenant is not there.
    pub async fn set_suspended(&self, tenant: TenantId, suspended: bool) -> Result<(), StoreError> {
        let status = if suspended { "suspended" } else { "active" };
        self.update(tenant, "UPDATE public.tenants SET status = $2 WHERE id = $1", |query| {
            query.bind(status)
        })
        .await
    }

    /// Deletes a tenant and everything that is its own.
    ///
    /// # Errors
    ///
    /// When the tenant is not there, or others inherit from it (SQLSTATE 23503).
    pub async fn delete_tenant(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.update(tenant, "DELETE FROM public.tenants WHERE id = $1", |query| query)
            .await
    }

    /// Makes a user, where it is new, and a member or administrator of the tenant.
    ///
    /// # Errors
    ///
    /// When another user has this address (SQLSTATE 23505), or the tenant is not there.
    pub async fn add_member(&self, tenant: TenantId, user: UserId, email: &str, admin: bool) -> Result<(), StoreError> {
        let mut tx = self.begin(tenant).await?;
        let doing = "add a member to the tenant";
        // Users are reached by their own key alone, so the transaction says which one it works on.
        sqlx::query("SELECT pg_catalog.set_config('app.user_id', $1, true)")
            .bind(user.to_string())
            .execute(&mut *tx)
            .await
            .map_err(|source| StoreError::of(doing, source))?;
        sqlx::query("INSERT INTO public.users (id, email) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
            .bind(user.uuid())
            .bind(email)
            .execute(&mut *tx)
            .await
            .map_err(|source| StoreError::of(doing, source))?;
        sqlx::query(
            "INSERT INTO public.memberships (tenant_id, user_id, role) VALUES ($1, $2, $3)
             ON CONFLICT (tenant_id, user_id) DO UPDATE SET role = EXCLUDED.role, status = 'active'",
        )
        .bind(tenant.uuid())
        .bind(user.uuid())
        .bind(if admin { "admin" } else { "member" })
        .execute(&mut *tx)
        .await
        .map_err(|source| StoreError::of(doing, source))?;
        tx.commit().await
    }

    async fn update(
        &self,
        tenant: TenantId,
        statement: &'static str,
        bind: impl for<'q> FnOnce(Statement<'q>) -> Statement<'q>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin(tenant).await?;
        let done = bind(sqlx::query(statement).bind(tenant.uuid()))
            .execute(&mut *tx)
            .await
            .map_err(|source| StoreError::of("change the tenant", source))?;
        if done.rows_affected() == 0 {
            return Err(StoreError::of("find the tenant", sqlx::Error::RowNotFound));
        }
        tx.commit().await
    }
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn read(row: &PgRow) -> Result<Tenant, StoreError> {
    let of = |source| StoreError::of("read a tenant", source);
    Ok(Tenant {
        id: row.try_get::<uuid::Uuid, _>("id").map_err(of)?.into(),
        slug: row.try_get("slug").map_err(of)?,
        display_name: row.try_get("display_name").map_err(of)?,
        base: row
            .try_get::<Option<uuid::Uuid>, _>("base_tenant_id")
            .map_err(of)?
            .map(TenantId::from),
        status: row.try_get("status").map_err(of)?,
    })
}
