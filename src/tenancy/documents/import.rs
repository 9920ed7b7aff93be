//! Many documents at once: a few hundred a transaction, by arrays rather than a statement each.

use std::collections::HashMap;

use futures_util::stream::{Stream, StreamExt as _};
use serde_json::Value;
use uuid::Uuid;

use super::{Chunk, Documents, NewDocument, object};
use crate::tenancy::id::{DocumentId, TenantId};
use crate::tenancy::store::{Store, StoreError, TenantTransaction};
use crate::tenancy::usage::Metric;

/// Documents in one transaction.
const BATCH: usize = 200;

/// What an import has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ImportReport {
    /// Documents that were added or replaced.
    pub documents: usize,
    /// Their chunks.
    pub chunks: usize,
}

impl Documents {
    /// Adds documents, and replaces those whose names are there, 200 in a transaction. `progress` is told after each.
    ///
    /// Doing it again does no harm, so an import that failed halfway is mended by repeating it.
    ///
    /// # Errors
    ///
    /// Without a context; when a batch is refused: it is not there then, those before it are. Two documents of one name in a
    /// batch are such a refusal (SQLSTATE 21000).
    pub async fn import(
        &self,
        documents: impl Stream<Item = NewDocument> + Send,
        progress: impl Fn(ImportReport) + Send,
    ) -> Result<ImportReport, StoreError> {
        let tenant = Self::tenant()?;
        let mut report = ImportReport::default();
        let mut batches = std::pin::pin!(documents.chunks(BATCH));
        while let Some(batch) = batches.next().await {
            let batch = &batch;
            let store = &self.store;
            store.run(|| write_batch(store, tenant, batch)).await?;
            report.documents += batch.len();
            report.chunks += batch.iter().map(|d| d.chunks.len()).sum::<usize>();
            let bytes: usize = batch
                .iter()
                .map(|d| d.body.len() + d.chunks.iter().map(|c| c.content.len()).sum::<usize>())
                .sum();
            store.usage().add(tenant, Metric::Bytes, bytes as u64);
            progress(report);
        }
        Ok(report)
    }
}

async fn write_batch(store: &Store, tenant: TenantId, batch: &[NewDocument]) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    write_documents(&mut tx, tenant, batch).await?;
    tx.commit().await
}

/// Adds documents, and replaces those whose names are there.
pub(in crate::tenancy) async fn write_documents(
    tx: &mut TenantTransaction,
    tenant: TenantId,
    batch: &[NewDocument],
) -> Result<(), StoreError> {
    let written: Vec<(Uuid, String)> = sqlx::query_as(
        "INSERT INTO public.documents AS d (tenant_id, id, slug, title, body, metadata)
         SELECT $1, coalesce(id, pg_catalog.gen_random_uuid()), slug, title, body, metadata
         FROM unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::uuid[]) AS n (slug, title, body, metadata, id)
         ON CONFLICT (tenant_id, slug) DO UPDATE SET title = EXCLUDED.title, body = EXCLUDED.body, metadata = EXCLUDED.metadata
         RETURNING d.id, d.slug",
    )
    .bind(tenant.uuid())
    .bind(batch.iter().map(|d| d.slug.as_str()).collect::<Vec<_>>())
    .bind(batch.iter().map(|d| d.title.as_str()).collect::<Vec<_>>())
    .bind(batch.iter().map(|d| d.body.as_str()).collect::<Vec<_>>())
    .bind(batch.iter().map(|d| object(&d.metadata)).collect::<Vec<Value>>())
    .bind(batch.iter().map(|d| d.id.map(DocumentId::uuid)).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await
    .map_err(|source| StoreError::of("import documents", source))?;
    let ids: HashMap<&str, Uuid> = written.iter().map(|(id, slug)| (slug.as_str(), *id)).collect();
    let mut rows = ChunkRows::default();
    for document in batch {
        if let Some(id) = ids.get(document.slug.as_str()) {
            rows.add(*id, &document.chunks);
        }
    }
    let ids: Vec<Uuid> = ids.into_values().collect();
    rows.replace(tx, tenant, &ids).await
}

/// Replaces the chunks of one document.
pub(super) async fn write_chunks(
    tx: &mut TenantTransaction,
    tenant: TenantId,
    document: DocumentId,
    chunks: &[Chunk],
) -> Result<(), StoreError> {
    let mut rows = ChunkRows::default();
    rows.add(document.uuid(), chunks);
    rows.replace(tx, tenant, &[document.uuid()]).await
}

/// Columns of chunks. Embeddings as text, for PostgreSQL has no arrays of arrays of different lengths.
#[derive(Default)]
struct ChunkRows<'a> {
    documents: Vec<Uuid>,
    ordinals: Vec<i32>,
    contents: Vec<&'a str>,
    embeddings: Vec<Option<String>>,
}

impl<'a> ChunkRows<'a> {
    fn add(&mut self, document: Uuid, chunks: &'a [Chunk]) {
        for (ordinal, chunk) in chunks.iter().enumerate() {
            self.documents.push(document);
            self.ordinals.push(i32::try_from(ordinal).unwrap_or(i32::MAX));
            self.contents.push(&chunk.content);
            self.embeddings.push(chunk.embedding.as_deref().map(array_text));
        }
    }

    async fn replace(
        &self,
        tx: &mut TenantTransaction,
        tenant: TenantId,
        documents: &[Uuid],
    ) -> Result<(), StoreError> {
        let of = |source| StoreError::of("write the chunks of documents", source);
        sqlx::query("DELETE FROM public.document_chunks WHERE tenant_id = $1 AND document_id = ANY ($2)")
            .bind(tenant.uuid())
            .bind(documents)
            .execute(&mut **tx)
            .await
            .map_err(of)?;
        if self.documents.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO public.document_chunks (tenant_id, document_id, ordinal, content, embedding)
             SELECT $1, document, ordinal, content, embedding::real[]
             FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::text[]) AS n (document, ordinal, content, embedding)",
        )
        .bind(tenant.uuid())
        .bind(&self.documents)
        .bind(&self.ordinals)
        .bind(&self.contents)
        .bind(&self.embeddings)
        .execute(&mut **tx)
        .await
        .map(drop)
        .map_err(of)
    }
}

fn array_text(vector: &[f32]) -> String {
    let mut text = String::from("{");
    for (n, value) in vector.iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(&value.to_string());
    }
    text.push('}');
    text
}
