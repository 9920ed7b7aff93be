//! Sharing: one tenant lets another, named tenant read one of its documents, for a time.
//!
//! Two parties agree: the reader consents to be given things by the owner, and the owner gives. The grant is a row that
//! the policies of documents and chunks look at in every query, so nothing is shared by knowing a key, and what is revoked or
//! expired is over with the next statement. What was shared is never cached.

use std::time::Duration;

use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::context::{Access, NoTenant, TenantContext};
use super::id::{DocumentId, TenantId};
use super::store::{Store, StoreError, code};

/// Why something was not shared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The other tenant has not consented, is not there, or who asks is no administrator: all three read the same, so
    /// that nothing is learnt about other tenants.
    #[error("share with tenant {with}: it has not agreed to take documents of {owner}, or you are no administrator")]
    NotAgreed {
        /// Who would give.
        owner: TenantId,
        /// Who would read.
        with: TenantId,
    },
    /// The document is not the tenant's.
    #[error("share document {document}: tenant {owner} has none with this key")]
    NoDocument {
        /// Who would give.
        owner: TenantId,
        /// What.
        document: DocumentId,
    },
}

impl From<NoTenant> for ShareError {
    fn from(error: NoTenant) -> Self {
        Self::Store(error.into())
    }
}

/// Names a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ShareId(Uuid);

/// A document that a tenant lets another one read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Its key.
    pub id: ShareId,
    /// Who gives.
    pub owner: TenantId,
    /// Who reads.
    pub with: TenantId,
    /// What.
    pub document: DocumentId,
    /// Until when, as ISO 8601.
    pub expires_at: String,
    /// Whether it can be read now.
    pub live: bool,
}

/// Shares of the current tenant, given and received. From [`Store::shares`]; changes are an administrator's.
///
/// ```no_run
/// use std::time::Duration;
/// use tenantproof::tenancy::{DocumentId, FutureExt as _, ShareError, Store, TenantContext};
///
/// # async fn f(store: &Store, acme: TenantContext, partner: TenantContext, plan: DocumentId) -> Result<(), ShareError> {
/// let shares = store.shares();
/// shares.consent(acme.tenant()).in_tenant(partner.clone()).await?;
/// let share = shares.share(plan, partner.tenant(), Duration::from_secs(86_400)).in_tenant(acme.clone()).await?;
/// let read = store.documents().get_shared(acme.tenant(), plan).in_tenant(partner.clone()).await?;
/// assert!(read.is_some());
/// shares.revoke(share.id).in_tenant(acme).await?; // over at once
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Shares {
    store: Store,
}

impl Store {
    /// Shares of the current tenant.
    pub fn shares(&self) -> Shares {
        Shares { store: self.clone() }
    }
}

macro_rules! columns {
    () => {
        r#"s.id, s.tenant_id, s.grantee_tenant_id, s.document_id,
           pg_catalog.to_char(s.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS expires_at,
           s.revoked_at IS NULL AND s.expires_at > pg_catalog.now() AS live"#
    };
}

impl Shares {
    /// Agrees to take documents of another tenant. Naming one that is not there has no effect and gets no other answer.
    ///
    /// # Errors
    ///
    /// Without a context; when the caller is no administrator.
    pub async fn consent(&self, from: TenantId) -> Result<(), ShareError> {
        self.run(
            "agree to take documents",
            "INSERT INTO public.share_consents (tenant_id, from_tenant_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            from.uuid(),
        )
        .await
        .map(drop)
    }

    /// Takes the consent back. What was shared before stays readable until the owner ends it.
    ///
    /// # Errors
    ///
    /// As [`Shares::consent`].
    pub async fn withdraw_consent(&self, from: TenantId) -> Result<bool, ShareError> {
        let statement = "DELETE FROM public.share_consents WHERE tenant_id = $1 AND from_tenant_id = $2";
        Ok(self.run("take back a consent", statement, from.uuid()).await? > 0)
    }

    /// Lets another tenant read a document for a time; where it is shared already, the time begins anew.
    ///
    /// # Errors
    ///
    /// When the other tenant has not agreed, or the document is not the tenant's own.
    pub async fn share(&self, document: DocumentId, with: TenantId, time: Duration) -> Result<Share, ShareError> {
        let owner = TenantContext::current()?.tenant();
        let mut tx = self.store.begin().await?;
        let row = sqlx::query(concat!(
            "INSERT INTO public.resource_shares AS s (tenant_id, document_id, grantee_tenant_id, expires_at)
             VALUES ($1, $2, $3, pg_catalog.now() + pg_catalog.make_interval(secs => $4))
             ON CONFLICT (tenant_id, document_id, grantee_tenant_id) DO UPDATE SET expires_at = EXCLUDED.expires_at, revoked_at = NULL
             RETURNING ",
            columns!()
        ))
        .bind(owner.uuid())
        .bind(document.uuid())
        .bind(with.uuid())
        .bind(time.as_secs_f64())
        .fetch_one(&mut *tx)
        .await
        .map_err(|source| match code(&source).as_deref() {
            Some("42501") => ShareError::NotAgreed { owner, with },
            Some("23503") => ShareError::NoDocument { owner, document },
            _ => StoreError::of("share the document", source).into(),
        })?;
        tx.commit().await?;
        Ok(read(&row)?)
    }

    /// Ends a share at once; whether it was there and live.
    ///
    /// # Errors
    ///
    /// As [`Shares::consent`].
    pub async fn revoke(&self, share: ShareId) -> Result<bool, ShareError> {
        let statement = "UPDATE public.resource_shares SET revoked_at = pg_catalog.now() WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL";
        Ok(self.run("end the share", statement, share.0).await? > 0)
    }

    /// What the tenant lets others read, live or not.
    ///
    /// # Errors
    ///
    /// Without a context; when the database does not answer.
    pub async fn given(&self) -> Result<Vec<Share>, ShareError> {
        self.list(concat!(
            "SELECT ",
            columns!(),
            " FROM public.resource_shares AS s WHERE s.tenant_id = $1 ORDER BY s.created_at, s.id"
        ))
        .await
    }

    /// What others let the tenant read now. The server itself reads nothing that is shared.
    ///
    /// # Errors
    ///
    /// Without a context; when the database does not answer.
    pub async fn received(&self) -> Result<Vec<Share>, ShareError> {
        if TenantContext::current()?.access() == Access::Service {
            return Ok(Vec::new());
        }
        let statement = concat!(
            "SELECT ",
            columns!(),
            " FROM public.resource_shares AS s WHERE s.grantee_tenant_id = $1 AND s.tenant_id <> $1
              AND s.revoked_at IS NULL AND s.expires_at > pg_catalog.now() ORDER BY s.created_at, s.id"
        );
        self.list(statement).await
    }

    async fn list(&self, statement: &'static str) -> Result<Vec<Share>, ShareError> {
        let tenant = TenantContext::current()?.tenant();
        let mut tx = self.store.begin().await?;
        let rows = sqlx::query(statement)
            .bind(tenant.uuid())
            .fetch_all(&mut *tx)
            .await
            .map_err(|source| StoreError::of("list the shares", source))?;
        tx.commit().await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn run(&self, doing: &'static str, statement: &'static str, other: Uuid) -> Result<u64, ShareError> {
        let tenant = TenantContext::current()?.tenant();
        let mut tx = self.store.begin().await?;
        let done = sqlx::query(statement)
            .bind(tenant.uuid())
            .bind(other)
            .execute(&mut *tx)
            .await
            .map_err(|source| StoreError::of(doing, source))?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

fn read(row: &PgRow) -> Result<Share, StoreError> {
    let share = || {
        Ok(Share {
            id: ShareId(row.try_get("id")?),
            owner: row.try_get::<Uuid, _>("tenant_id")?.into(),
            with: row.try_get::<Uuid, _>("grantee_tenant_id")?.into(),
            document: row.try_get::<Uuid, _>("document_id")?.into(),
            expires_at: row.try_get("expires_at")?,
            live: row.try_get("live")?,
        })
    };
    share().map_err(|source| StoreError::of("read a share", source))
}
