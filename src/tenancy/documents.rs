//! Documents of tenants and the chunks they are searched by.
//!
//! Every statement names the tenant, for the indexes begin with it; that no other rows are reached is the policies' doing.

mod import;
mod search;

use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::context::{FutureExt as _, TenantContext};
use super::id::{DocumentId, TenantId};
use super::store::{Store, StoreError};
use super::usage::Metric;
pub use import::ImportReport;
pub(super) use import::write_documents;
#[doc(hidden)]
pub use search::vector_statement;
pub use search::{Hit, Reach};

/// Documents that [`Documents::stream`] reads at once.
const PAGE: u32 = 200;

/// A document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Whose it is: the current tenant's, or one's that shares it.
    pub tenant: TenantId,
    /// Its key within its tenant.
    pub id: DocumentId,
    /// Its name, unique within its tenant.
    pub slug: String,
    /// Title.
    pub title: String,
    /// Text.
    pub body: String,
    /// Anything else.
    pub metadata: Value,
    /// When it was last changed, as ISO 8601.
    pub updated_at: String,
}

/// A document to be added.
///
/// ```
/// use tenantproof::tenancy::NewDocument;
/// let new: NewDocument = serde_json::from_str(r#"{"slug": "plan", "body": "We launch in May.", "chunks": [{"content": "We launch"}]}"#)?;
/// assert_eq!(new.chunks[0].embedding, None);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NewDocument {
    /// Its key; a random one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DocumentId>,
    /// Its name, unique within its tenant; not empty.
    pub slug: String,
    /// Title.
    #[serde(default)]
    pub title: String,
    /// Text.
    #[serde(default)]
    pub body: String,
    /// Anything else.
    #[serde(default)]
    pub metadata: Value,
    /// Parts it is searched by, in order.
    #[serde(default)]
    pub chunks: Vec<Chunk>,
}

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Chunk {
    /// Its text.
    pub content: String,
    /// What it means, as a vector; none until it was made.
    #[serde(default)]
    pub embedding: Option<Vec<f32>>,
}

/// Parts of a document to be changed; what is none stays.
///
/// ```
/// use tenantproof::tenancy::DocumentChanges;
/// let renamed = DocumentChanges { title: Some("Plan B".into()), ..DocumentChanges::default() };
/// assert_eq!(renamed.body, None); // stays
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DocumentChanges {
    /// Name.
    pub slug: Option<String>,
    /// Title.
    pub title: Option<String>,
    /// Text.
    pub body: Option<String>,
    /// Anything else.
    pub metadata: Option<Value>,
}

/// Documents of the current tenant. From [`Store::documents`].
///
/// ```no_run
/// use tenantproof::tenancy::{Chunk, NewDocument, Reach, Store, StoreError};
///
/// # async fn f(store: &Store) -> Result<(), StoreError> {
/// let documents = store.documents(); // in a tenant's context
/// let plan = documents
///     .add(NewDocument {
///         slug: "plan".into(),
///         title: "Plan".into(),
///         chunks: vec![Chunk { content: "We launch in May.".into(), embedding: Some(vec![0.1, 0.9]) }],
///         ..NewDocument::default()
///     })
///     .await?;
/// let hits = documents.search_text("launch", Reach::Own, 10).await?;
/// assert_eq!(hits[0].document, plan.id);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Documents {
    store: Store,
}

impl Store {
    /// Documents of the current tenant.
    pub fn documents(&self) -> Documents {
        Documents { store: self.clone() }
    }
}

/// The columns of a [`Document`].
macro_rules! columns {
    () => {
        r#"d.tenant_id, d.id, d.slug, d.title, d.body, d.metadata,
           pg_catalog.to_char(d.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS updated_at"#
    };
}

impl Documents {
    fn tenant() -> Result<TenantId, StoreError> {
        Ok(TenantContext::current()?.tenant())
    }

    /// Adds a document with its chunks.
    ///
    /// # Errors
    ///
    /// When the slug is taken (SQLSTATE 23505), the context is missing, or the database does not answer.
    pub async fn add(&self, new: NewDocument) -> Result<Document, StoreError> {
        let of = |source| StoreError::of("add the document", source);
        let context = TenantContext::current()?;
        let mut tx = self.store.begin().await?;
        let row = sqlx::query(concat!(
            "INSERT INTO public.documents AS d (tenant_id, slug, title, body, metadata, created_by, id)
             VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, pg_catalog.gen_random_uuid())) RETURNING ",
            columns!()
        ))
        .bind(context.tenant().uuid())
        .bind(&new.slug)
        .bind(&new.title)
        .bind(&new.body)
        .bind(object(&new.metadata))
        .bind(context.user().map(|user| user.uuid()))
        .bind(new.id.map(DocumentId::uuid))
        .fetch_one(&mut *tx)
        .await
        .map_err(of)?;
        let document = read(&row).map_err(of)?;
        import::write_chunks(&mut tx, context.tenant(), document.id, &new.chunks).await?;
        tx.commit().await?;
        let bytes = new.body.len() + new.chunks.iter().map(|c| c.content.len()).sum::<usize>();
        self.store.usage().add(context.tenant(), Metric::Bytes, bytes as u64);
        Ok(document)
    }

    /// One of the tenant's own documents.
    ///
    /// # Errors
    ///
    /// Without a context; when the database does not answer.
    pub async fn get(&self, id: DocumentId) -> Result<Option<Document>, StoreError> {
        self.get_of(Self::tenant()?, id).await
    }

    /// One of another tenant's documents, where it shares it with the current one and the share is live; asked of the
    /// database each time, so that a revoked share is over at once.
    ///
    /// # Errors
    ///
    /// As [`Documents::get`].
    pub async fn get_shared(&self, owner: TenantId, id: DocumentId) -> Result<Option<Document>, StoreError> {
        self.get_of(owner, id).await
    }

    async fn get_of(&self, owner: TenantId, id: DocumentId) -> Result<Option<Document>, StoreError> {
        let statement = concat!(
            "SELECT ",
            columns!(),
            " FROM public.documents AS d WHERE d.tenant_id = $1 AND d.id = $2"
        );
        let tenant = Self::tenant()?;
        let of = |source| StoreError::of("read the document", source);
        let mut tx = self.store.begin().await?;
        let row = sqlx::query(statement)
            .bind(owner.uuid())
            .bind(id.uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(of)?;
        tx.commit().await?;
        self.store.usage().add(tenant, Metric::Rows, u64::from(row.is_some()));
        row.as_ref().map(read).transpose().map_err(of)
    }

    /// The tenant's own document with this name.
    ///
    /// # Errors
    ///
    /// As [`Documents::get`].
    pub async fn find(&self, slug: &str) -> Result<Option<Document>, StoreError> {
        let page = self.page("d.slug = $2", slug, 1).await?;
        Ok(page.into_iter().next())
    }

    /// The tenant's own documents by name, beginning after one; an empty name begins at the first.
    ///
    /// # Errors
    ///
    /// As [`Documents::get`].
    pub async fn list(&self, after: &str, limit: u32) -> Result<Vec<Document>, StoreError> {
        self.page("d.slug > $2", after, limit).await
    }

    async fn page(&self, condition: &'static str, slug: &str, limit: u32) -> Result<Vec<Document>, StoreError> {
        let of = |source| StoreError::of("list the documents", source);
        let tenant = Self::tenant()?;
        let mut tx = self.store.begin().await?;
        let statement = format!(
            concat!(
                "SELECT ",
                columns!(),
                " FROM public.documents AS d WHERE d.tenant_id = $1 AND {} ORDER BY d.slug LIMIT $3"
            ),
            condition
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(tenant.uuid())
            .bind(slug)
            .bind(i64::from(limit))
            .fetch_all(&mut *tx)
            .await
            .map_err(of)?;
        tx.commit().await?;
        self.store.usage().add(tenant, Metric::Rows, rows.len() as u64);
        rows.iter().map(read).collect::<Result<_, _>>().map_err(of)
    }

    /// All of the tenant's own documents by name, read page by page: no transaction is open while the caller works on one. A
    /// document that is renamed meanwhile may be missed or seen twice.
    ///
    /// # Errors
    ///
    /// The first item, without a context; an item, when the database does not answer: the stream ends there.
    pub fn stream(&self) -> impl Stream<Item = Result<Document, StoreError>> + Send + use<> {
        let documents = self.clone();
        // The stream may be polled elsewhere: it keeps the tenant it was made for.
        let context = TenantContext::current().map_err(StoreError::from);
        stream::once(std::future::ready(context))
            .map_ok(move |context| {
                let documents = documents.clone();
                stream::try_unfold(Some(String::new()), move |after| {
                    let (documents, context) = (documents.clone(), context.clone());
                    async move {
                        let Some(after) = after else { return Ok(None) };
                        let page = documents.list(&after, PAGE).in_tenant(context).await?;
                        let next = (page.len() == PAGE as usize)
                            .then(|| page.last().map(|d| d.slug.clone()))
                            .flatten();
                        Ok::<_, StoreError>(Some((stream::iter(page).map(Ok), next)))
                    }
                })
                .try_flatten()
            })
            .try_flatten()
    }

    /// Changes one of the tenant's own documents; `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the new slug is taken (SQLSTATE 23505); otherwise as [`Documents::get`].
    pub async fn update(&self, id: DocumentId, changes: DocumentChanges) -> Result<Option<Document>, StoreError> {
        let of = |source| StoreError::of("change the document", source);
        let tenant = Self::tenant()?;
        let mut tx = self.store.begin().await?;
        let row = sqlx::query(concat!(
            "UPDATE public.documents AS d SET slug = coalesce($3, slug), title = coalesce($4, title), body = coalesce($5, body),
               metadata = coalesce($6, metadata)
             WHERE d.tenant_id = $1 AND d.id = $2 RETURNING ",
            columns!()
        ))
        .bind(tenant.uuid())
        .bind(id.uuid())
        .bind(changes.slug)
        .bind(changes.title)
        .bind(changes.body)
        .bind(changes.metadata)
        .fetch_optional(&mut *tx)
        .await
        .map_err(of)?;
        tx.commit().await?;
        row.as_ref().map(read).transpose().map_err(of)
    }

    /// Deletes one of the tenant's own documents with its chunks and shares; whether it was there.
    ///
    /// # Errors
    ///
    /// As [`Documents::get`].
    pub async fn delete(&self, id: DocumentId) -> Result<bool, StoreError> {
        let tenant = Self::tenant()?;
        let mut tx = self.store.begin().await?;
        let done = sqlx::query("DELETE FROM public.documents WHERE tenant_id = $1 AND id = $2")
            .bind(tenant.uuid())
            .bind(id.uuid())
            .execute(&mut *tx)
            .await
            .map_err(|source| StoreError::of("delete the document", source))?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// The chunks of one of the tenant's own documents, in order.
    ///
    /// # Errors
    ///
    /// As [`Documents::get`].
    pub async fn chunks(&self, id: DocumentId) -> Result<Vec<Chunk>, StoreError> {
        let tenant = Self::tenant()?;
        let mut tx = self.store.begin().await?;
        let rows: Vec<(String, Option<Vec<f32>>)> = sqlx::query_as(
            "SELECT content, embedding FROM public.document_chunks WHERE tenant_id = $1 AND document_id = $2 ORDER BY ordinal",
        )
        .bind(tenant.uuid())
        .bind(id.uuid())
        .fetch_all(&mut *tx)
        .await
        .map_err(|source| StoreError::of("read the chunks of the document", source))?;
        tx.commit().await?;
        self.store.usage().add(tenant, Metric::Rows, rows.len() as u64);
        Ok(rows
            .into_iter()
            .map(|(content, embedding)| Chunk { content, embedding })
            .collect())
    }

    /// Replaces the chunks of one of the tenant's own documents.
    ///
    /// # Errors
    ///
    /// When the document is not there (SQLSTATE 23503); otherwise as [`Documents::get`].
    pub async fn set_chunks(&self, id: DocumentId, chunks: &[Chunk]) -> Result<(), StoreError> {
        let tenant = Self::tenant()?;
        let mut tx = self.store.begin().await?;
        import::write_chunks(&mut tx, tenant, id, chunks).await?;
        tx.commit().await
    }
}

fn read(row: &PgRow) -> Result<Document, sqlx::Error> {
    Ok(Document {
        tenant: row.try_get::<uuid::Uuid, _>("tenant_id")?.into(),
        id: row.try_get::<uuid::Uuid, _>("id")?.into(),
        slug: row.try_get("slug")?,
        title: row.try_get("title")?,
        body: row.try_get("body")?,
        metadata: row.try_get("metadata")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// Nothing is an empty object.
fn object(metadata: &Value) -> Value {
    match metadata {
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    }
}
