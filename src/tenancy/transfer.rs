//! A tenant as text and back: its place in the register, its own configuration, its documents with their chunks.
//!
//! One JSON object a line, the tenant's first, so that documents need not fit in memory at once. Importing what was exported
//! and exporting it again gives the same lines. Left out: members, for users belong to no tenant; shares and consents,
//! which are agreements with others; usage, history and audit trail, which tell of what happened elsewhere.

use std::collections::BTreeMap;

use futures_util::stream::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::configuration::{Change, ConfigurationError, Locks, Schema, write_configuration};
use super::context::{FutureExt as _, NoTenant};
use super::documents::{NewDocument, write_documents};
use super::id::TenantId;
use super::store::{Store, StoreError, Tenant};

/// The version of the format.
const FORMAT: u32 = 1;

/// Documents written by one statement.
const BATCH: usize = 200;

/// Why a tenant was not exported or imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// There is no such tenant.
    #[error("export tenant {0}: there is none with this key")]
    NoTenant(TenantId),
    /// The text is none of an export's.
    #[error("import line {line}: {reason}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The tenant is there and not empty.
    #[error("import tenant {0}: it has configuration or documents already; say that they are to be replaced")]
    NotEmpty(TenantId),
}

impl From<NoTenant> for TransferError {
    fn from(error: NoTenant) -> Self {
        Self::Store(error.into())
    }
}

/// One line of an export.
///
/// ```
/// use tenantproof::tenancy::{Line, parse_line};
/// let line = parse_line(1, r#"{"document": {"slug": "plan"}}"#)?;
/// assert!(matches!(line, Line::Document(d) if d.slug == "plan"));
/// assert!(parse_line(1, "{}").unwrap_err().to_string().contains("line 2"));
/// # Ok::<(), tenantproof::tenancy::TransferError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first.
    Tenant(Box<Header>),
    /// Each of the others.
    Document(NewDocument),
}

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub format: u32,
    /// Its key.
    pub id: TenantId,
    /// Its name in addresses.
    pub slug: String,
    /// What people call it.
    pub display_name: String,
    /// The tenant it inherits from, which has to be there where it is imported.
    pub base: Option<TenantId>,
    /// `active` or `suspended`.
    pub status: String,
    /// The version of the schema that its values are of.
    pub schema_version: Option<i32>,
    /// Its own values.
    pub values: BTreeMap<String, Value>,
    /// Its own locks and their reasons.
    pub locks: BTreeMap<String, String>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Values of the configuration.
    pub values: usize,
    /// Locks.
    pub locks: usize,
    /// Documents.
    pub documents: usize,
}

/// How to import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Whether what the tenant has is deleted first; otherwise it has to be empty.
    pub replace: bool,
    /// Whether it is all tried and nothing kept.
    pub dry_run: bool,
}

impl Store {
    /// The lines of a tenant's export; the server's work, so it needs no context.
    ///
    /// ```no_run
    /// # use futures_util::TryStreamExt as _;
    /// # use tenantproof::tenancy::{Store, TenantId, TransferError};
    /// # async fn f(store: &Store, acme: TenantId) -> Result<(), TransferError> {
    /// let mut lines = std::pin::pin!(store.export_tenant(acme).await?);
    /// while let Some(line) = lines.try_next().await? {
    ///     println!("{}", serde_json::to_string(&line).unwrap_or_default());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no such tenant; an item, when the database does not answer.
    pub async fn export_tenant(
        &self,
        tenant: TenantId,
    ) -> Result<impl Stream<Item = Result<Line, TransferError>> + Send + use<>, TransferError> {
        let service = self.service();
        let context = service.context(tenant);
        let row = service
            .find(&tenant.to_string())
            .await?
            .ok_or(TransferError::NoTenant(tenant))?;
        let header = self.header(row).in_tenant(context.clone()).await?;
        let (documents, all) = (
            self.documents(),
            async { self.documents().stream() }.in_tenant(context.clone()).await,
        );
        let lines = all.then(move |document| {
            let (documents, context) = (documents.clone(), context.clone());
            async move {
                let document = document?;
                let chunks = documents.chunks(document.id).in_tenant(context).await?;
                Ok(Line::Document(NewDocument {
                    id: Some(document.id),
                    slug: document.slug,
                    title: document.title,
                    body: document.body,
                    metadata: document.metadata,
                    chunks,
                }))
            }
        });
        let first = Ok(Line::Tenant(Box::new(header)));
        Ok(futures_util::stream::once(std::future::ready(first)).chain(lines))
    }

    async fn header(&self, row: Tenant) -> Result<Header, TransferError> {
        let of = |source| StoreError::of("read the tenant's own configuration", source);
        let mut tx = self.begin().await?;
        let values: Vec<(String, Value)> =
            sqlx::query_as("SELECT key, value FROM public.tenant_configurations WHERE tenant_id = $1")
                .bind(row.id.uuid())
                .fetch_all(&mut *tx)
                .await
                .map_err(of)?;
        let schema_version = sqlx::query_scalar("SELECT version FROM public.tenant_schema_states WHERE tenant_id = $1")
            .bind(row.id.uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(of)?;
        tx.commit().await?;
        Ok(Header {
            format: FORMAT,
            id: row.id,
            slug: row.slug,
            display_name: row.display_name,
            base: row.base,
            status: row.status,
            schema_version,
            values: values.into_iter().collect(),
            locks: self.configurations().locks().await?,
        })
    }

    /// Makes a tenant out of an export's lines: all of it or nothing. `progress` is told how many documents are written.
    ///
    /// # Errors
    ///
    /// When a line is wrong, the tenant is not empty, its base is not there, its slug is another tenant's, or a value is not
    /// what its version of the schema takes.
    pub async fn import_tenant(
        &self,
        lines: impl Stream<Item = Result<Line, TransferError>> + Send,
        options: ImportOptions,
        progress: impl Fn(usize) + Send,
    ) -> Result<Imported, TransferError> {
        let mut lines = std::pin::pin!(lines.enumerate());
        let header = match lines.next().await {
            Some((_, Ok(Line::Tenant(header)))) if header.format == FORMAT => *header,
            Some((_, Ok(Line::Tenant(header)))) => {
                return Err(wrong(
                    0,
                    format!("format {} is not known; this one knows {FORMAT}", header.format),
                ));
            }
            Some((_, Ok(Line::Document(_)))) => return Err(wrong(0, "the tenant has to come first".into())),
            Some((_, Err(error))) => return Err(error),
            None => return Err(wrong(0, "there is none; the tenant has to come first".into())),
        };
        let tenant = header.id;
        let of = |source| StoreError::of("import the tenant", source);
        let mut tx = self.service().begin(tenant).await?;
        if options.replace {
            for statement in [
                "DELETE FROM public.documents WHERE tenant_id = $1",
                "DELETE FROM public.tenant_configurations WHERE tenant_id = $1",
                "DELETE FROM public.configuration_locks WHERE tenant_id = $1",
            ] {
                sqlx::query(statement)
                    .bind(tenant.uuid())
                    .execute(&mut *tx)
                    .await
                    .map_err(of)?;
            }
        }
        let is_empty: bool = sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT FROM public.documents WHERE tenant_id = $1)
                AND NOT EXISTS (SELECT FROM public.tenant_configurations WHERE tenant_id = $1)
                AND NOT EXISTS (SELECT FROM public.configuration_locks WHERE tenant_id = $1)",
        )
        .bind(tenant.uuid())
        .fetch_one(&mut *tx)
        .await
        .map_err(of)?;
        if !is_empty {
            return Err(TransferError::NotEmpty(tenant));
        }
        sqlx::query(
            "INSERT INTO public.tenants (id, slug, display_name, base_tenant_id, status) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO UPDATE SET slug = EXCLUDED.slug, display_name = EXCLUDED.display_name,
               base_tenant_id = EXCLUDED.base_tenant_id, status = EXCLUDED.status",
        )
        .bind(tenant.uuid())
        .bind(&header.slug)
        .bind(&header.display_name)
        .bind(header.base.map(TenantId::uuid))
        .bind(&header.status)
        .execute(&mut *tx)
        .await
        .map_err(of)?;
        if let Some(version) = header.schema_version {
            sqlx::query(
                "INSERT INTO public.tenant_schema_states (tenant_id, version) VALUES ($1, $2)
                 ON CONFLICT (tenant_id) DO UPDATE SET version = EXCLUDED.version, pending_step = NULL",
            )
            .bind(tenant.uuid())
            .bind(version)
            .execute(&mut *tx)
            .await
            .map_err(of)?;
        }
        let values = header.values.iter().map(|(key, value)| Change::set(key, value.clone()));
        let locks = header.locks.iter().map(|(key, reason)| Change::lock(key, reason));
        write_configuration(
            &mut tx,
            tenant,
            &values.chain(locks).collect::<Vec<_>>(),
            Locks::Restore,
        )
        .await?;
        let mut done = Imported {
            values: header.values.len(),
            locks: header.locks.len(),
            documents: 0,
        };
        let mut batch = Vec::with_capacity(BATCH);
        while let Some((at, line)) = lines.next().await {
            match line? {
                Line::Document(document) => batch.push(document),
                Line::Tenant(_) => return Err(wrong(at, "a second tenant; import one at a time".into())),
            }
            if batch.len() == BATCH {
                write_documents(&mut tx, tenant, &batch).await?;
                done.documents += batch.len();
                batch.clear();
                progress(done.documents);
            }
        }
        write_documents(&mut tx, tenant, &batch).await?;
        done.documents += batch.len();
        progress(done.documents);
        let ended = if options.dry_run {
            tx.rollback().await
        } else {
            tx.commit().await
        };
        ended?;
        Ok(done)
    }

    /// The schema that a tenant's values are of.
    pub(super) async fn schema_of(&self, tenant: TenantId) -> Result<Schema, ConfigurationError> {
        self.configurations()
            .schema()
            .in_tenant(self.service().context(tenant))
            .await
    }
}

/// A line of an export, read from text. Lines count from 0 here, and from 1 in messages.
///
/// # Errors
///
/// When it is none, with its number.
pub fn parse_line(at: usize, text: &str) -> Result<Line, TransferError> {
    serde_json::from_str(text).map_err(|error| wrong(at, error.to_string()))
}

fn wrong(at: usize, reason: String) -> TransferError {
    TransferError::Line { line: at + 1, reason }
}
