//! Searching chunks by text and by meaning.
//!
//! Text: `websearch_to_tsquery` on the stored words, without a language. Meaning: cosine distance; with pgvector where the
//! extension is in the database, else by the SQL function `cosine_distance`. Both compare the query with every chunk that
//! the tenant may read: exact, and linear in the tenant's chunks, which row security has narrowed to before. An approximate
//! index would be read before row security and would lose results of small tenants.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Documents;
use crate::tenancy::context::TenantContext;
use crate::tenancy::id::{DocumentId, TenantId};
use crate::tenancy::store::StoreError;
use crate::tenancy::usage::Metric;

/// Most hits of one search.
const MAX_HITS: u32 = 1_000;

/// Which chunks are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The tenant's own.
    Own,
    /// Its own, and those of documents that others share with it.
    OwnAndShared,
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which document.
    pub document: DocumentId,
    /// Which of its chunks, from 0.
    pub ordinal: i32,
    /// Its text.
    pub content: String,
    /// How well it fits: rank of the text (greater is better), or 1 less the cosine distance (1 is the same direction).
    pub score: f64,
}

impl Documents {
    /// The chunks that hold these words, best first. Words, "phrases", `or` and `-not` mean what they do in web searches.
    ///
    /// # Errors
    ///
    /// Without a context; when the database does not answer.
    pub async fn search_text(&self, query: &str, reach: Reach, limit: u32) -> Result<Vec<Hit>, StoreError> {
        let tenant = Self::tenant()?;
        let statement = "
            SELECT c.tenant_id, c.document_id, c.ordinal, c.content, pg_catalog.ts_rank_cd(c.words, q.query)::float8 AS score
            FROM public.document_chunks AS c, pg_catalog.websearch_to_tsquery('simple', $1) AS q (query)
            WHERE c.words @@ q.query AND ($2 OR c.tenant_id = $3)
            ORDER BY score DESC, c.tenant_id = $3 DESC, c.document_id, c.ordinal LIMIT $4";
        let mut tx = self.store.begin().await?;
        let rows = sqlx::query(statement)
            .bind(query)
            .bind(reach == Reach::OwnAndShared)
            .bind(tenant.uuid())
            .bind(i64::from(limit.min(MAX_HITS)))
            .fetch_all(&mut *tx)
            .await;
        self.hits(tenant, rows, tx).await
    }

    /// The chunks whose embeddings point most in the direction of this one, best first. Chunks without an embedding, or
    /// with one of another length, are left out.
    ///
    /// # Errors
    ///
    /// Without a context; when the database does not answer.
    pub async fn search_vector(&self, embedding: &[f32], reach: Reach, limit: u32) -> Result<Vec<Hit>, StoreError> {
        let context = TenantContext::current()?;
        let mut tx = self.store.begin().await?;
        let has_pgvector = self.has_pgvector(&mut tx).await?;
        let rows = sqlx::query(vector_statement(has_pgvector))
            .bind(embedding)
            .bind(reach == Reach::OwnAndShared)
            .bind(context.tenant().uuid())
            .bind(i64::from(limit.min(MAX_HITS)))
            .fetch_all(&mut *tx)
            .await;
        self.hits(context.tenant(), rows, tx).await
    }

    async fn hits(
        &self,
        tenant: TenantId,
        rows: Result<Vec<PgRow>, sqlx::Error>,
        tx: crate::tenancy::store::TenantTransaction,
    ) -> Result<Vec<Hit>, StoreError> {
        let of = |source| StoreError::of("search the documents", source);
        let rows = rows.map_err(of)?;
        tx.commit().await?;
        self.store.usage().add(tenant, Metric::Rows, rows.len() as u64);
        let read = |row: &PgRow| {
            Ok(Hit {
                tenant: row.try_get::<uuid::Uuid, _>("tenant_id")?.into(),
                document: row.try_get::<uuid::Uuid, _>("document_id")?.into(),
                ordinal: row.try_get("ordinal")?,
                content: row.try_get("content")?,
                score: row.try_get("score")?,
            })
        };
        rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(of)
    }

    /// Asked of the database once.
    async fn has_pgvector(&self, tx: &mut sqlx::PgConnection) -> Result<bool, StoreError> {
        let ask = || async {
            sqlx::query_scalar("SELECT pg_catalog.to_regtype('vector') IS NOT NULL")
                .fetch_one(tx)
                .await
                .map_err(|source| StoreError::of("look for the extension vector", source))
        };
        self.store.has_pgvector().get_or_try_init(ask).await.copied()
    }
}

/// Parameters: the vector, whether shared ones count, the tenant, how many.
#[doc(hidden)]
pub fn vector_statement(has_pgvector: bool) -> &'static str {
    macro_rules! statement {
        ($distance:literal) => {
            concat!(
                "SELECT c.tenant_id, c.document_id, c.ordinal, c.content, 1 - d.distance AS score
                 FROM public.document_chunks AS c
                 CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.cardinality(c.embedding) = pg_catalog.cardinality($1::real[]) THEN ",
                $distance,
                " END AS distance) AS d
                 WHERE d.distance IS NOT NULL AND d.distance <> 'NaN' AND ($2 OR c.tenant_id = $3)
                 ORDER BY d.distance, c.tenant_id = $3 DESC, c.document_id, c.ordinal LIMIT $4"
            )
        };
    }
    if has_pgvector {
        statement!("c.embedding::vector <=> $1::real[]::vector")
    } else {
        statement!("public.cosine_distance(c.embedding, $1::real[])")
    }
}
