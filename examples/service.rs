//! A service of the kind the tenancy system is for: documents come in, are split and embedded in the background, and are
//! asked about, each step in its tenant's context.
//!
//! `cargo run --example service` starts a scratch PostgreSQL with the reference schema, a Redis where one is installed,
//! two tenants, and the service on http://127.0.0.1:8080; it prints tokens and curl lines to try. With `DATABASE_URL` (a
//! login fit for a pool), `REDIS_URL` and `JWT_SECRET` it runs on what is there instead.
//!
//! | | |
//! | --- | --- |
//! | `POST /documents` | ingestion: takes a document, answers 202, splits and embeds it in a task of the tenant |
//! | `GET /documents?after=SLUG` | the tenant's documents, page by page |
//! | `GET /search?q=TEXT` | query: by meaning and by words, within the tenant |
//! | `POST /agent` | a step of an agent: tool calls that reach the tenant's documents and configuration and nothing else |
//! | `GET /metrics` | counters a tenant, for Prometheus |

#[path = "service/embedding.rs"]
mod embedding;
#[path = "service/scratch.rs"]
mod scratch;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenantproof::tenancy::{
    self, Cache, CacheError, CacheOptions, Chunk, ConfigurationError, Document, DocumentId, Hit, JwtAlgorithm,
    JwtVerifier, Layers, NewDocument, NoTenant, Reach, SWITCH, SettingsError, SettingsSource, Store, StoreError,
    StoreOptions, TenantContext, TenantLayer,
};

use embedding::{Embedder, Hashed};

/// What every handler works with; none of it belongs to a tenant.
#[derive(Clone)]
struct App {
    store: Store,
    cache: Cache,
    settings: SettingsSource,
    embedder: Arc<dyn Embedder>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scratch = match std::env::var("DATABASE_URL") {
        Ok(_) => None,
        Err(_) => Some(scratch::start().await?),
    };
    let variable = |name: &str| std::env::var(name).ok();
    let options = match &scratch {
        Some(scratch) => StoreOptions::new(scratch.login.clone()),
        None => StoreOptions::from_url(&variable("DATABASE_URL").unwrap_or_default())?,
    };
    let store = Store::connect(options.max_connections(10).deadline(Duration::from_secs(20))).await?;
    let redis = variable("REDIS_URL").or_else(|| scratch.as_ref().and_then(|s| s.redis_url.clone()));
    let cache = match &redis {
        Some(url) => Cache::redis(url, CacheOptions::default()).await?,
        None => Cache::in_process(CacheOptions::default()),
    };
    cache.count_in(store.usage());
    let settings = SettingsSource::new(
        store.clone(),
        Layers::new().process_environment().environment([(SWITCH, "true")]),
    )?;
    cache.drop_settings_of(&settings);
    let _fresh = settings.watch();
    let secret = variable("JWT_SECRET").unwrap_or_else(|| scratch::SECRET.to_owned());
    let verifier = JwtVerifier::new(JwtAlgorithm::Hs256, secret.as_bytes(), "authenticated")?;
    let app = App {
        store: store.clone(),
        cache,
        settings,
        embedder: Arc::new(Hashed),
    };
    let router = Router::new()
        .route("/documents", post(ingest).get(list))
        .route("/search", get(search))
        .route("/agent", post(agent))
        .layer(TenantLayer::jwt(verifier))
        // Below the layer: what follows has no tenant.
        .route("/metrics", get(metrics))
        .with_state(app.clone());
    let address = variable("ADDRESS").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    if let Some(scratch) = &scratch {
        scratch.introduce(&store, &listener.local_addr()?.to_string()).await?;
    }
    tokio::spawn(flush(app.clone()));
    resume(&app)
        .await
        .map_err(|failure| format!("take up what was left: {failure:?}"))?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    // What is still to be counted, if the database is there.
    let _ = tokio::time::timeout(Duration::from_secs(2), store.usage().flush(&store)).await;
    store.close().await;
    if let Some(scratch) = scratch {
        scratch.stop().await;
    }
    Ok(())
}

/// Usage goes to the database now and then; what fails is written the next time.
async fn flush(app: App) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        if let Err(error) = app.store.usage().flush(&app.store).await {
            eprintln!("usage was not written: failed to {error}");
        }
    }
}

// Stage 1: ingestion.

/// What a client sends.
#[derive(Deserialize)]
struct Ingest {
    slug: String,
    #[serde(default)]
    title: String,
    body: String,
}

/// Keeps the document, then splits and embeds it in a task that goes on with the tenant. Once 202 is answered it is kept:
/// a task that dies is taken up again by [`resume`].
async fn ingest(State(app): State<App>, Json(new): Json<Ingest>) -> Result<Response, Failure> {
    let (slug, body) = (new.slug, new.body);
    let documents = app.store.documents();
    let document = app
        .store
        .run(|| async {
            let new = NewDocument {
                slug: slug.clone(),
                title: new.title.clone(),
                body: body.clone(),
                metadata: json!({"embedded": false}),
                ..NewDocument::default()
            };
            documents.add(new).await
        })
        .await?;
    app.cache
        .invalidate_kind("search")
        .await
        .unwrap_or_else(|_| eprintln!("Redis will be told later"));
    let id = document.id;
    tenancy::spawn(async move {
        if let Err(error) = embed(&app, document).await {
            eprintln!("a document was not embedded yet: failed to {error:?}");
        }
    })?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "slug": slug}))).into_response())
}

// Stage 2: embedding.

/// Splits and embeds one document of the current tenant.
async fn embed(app: &App, document: Document) -> Result<(), Failure> {
    let size = app.settings.for_current_tenant().await?.documents_chunk_characters as usize;
    let chunks: Vec<Chunk> = split(&document.body, size)
        .into_iter()
        .map(|content| Chunk {
            embedding: Some(app.embedder.embed(&content)),
            content,
        })
        .collect();
    let documents = app.store.documents();
    let done = tenancy::DocumentChanges {
        metadata: Some(json!({"embedded": true})),
        ..Default::default()
    };
    app.store.run(|| documents.set_chunks(document.id, &chunks)).await?;
    app.store.run(|| documents.update(document.id, done.clone())).await?;
    app.cache
        .invalidate_kind("search")
        .await
        .unwrap_or_else(|_| eprintln!("Redis will be told later"));
    Ok(())
}

/// At white space, into parts of so many characters at most.
fn split(text: &str, size: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in text.split_whitespace() {
        let last = parts.last_mut().expect("there is one");
        if !last.is_empty() && last.chars().count() + word.chars().count() >= size {
            parts.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    parts
}

/// Takes up what a former process did not finish, tenant by tenant, as the server.
async fn resume(app: &App) -> Result<(), Failure> {
    use futures_util::TryStreamExt as _;
    let service = app.store.service();
    for tenant in service.tenants().await? {
        let work = async {
            let mut documents = std::pin::pin!(app.store.documents().stream());
            while let Some(document) = documents.try_next().await? {
                if document.metadata["embedded"] == json!(false) {
                    embed(app, document).await?;
                }
            }
            Ok::<_, Failure>(())
        };
        tenancy::with_tenant(service.context(tenant.id), work).await?;
    }
    Ok(())
}

// Stage 3: query.

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: String,
}

async fn list(State(app): State<App>, Query(page): Query<Page>) -> Result<Json<Vec<Document>>, Failure> {
    let documents = app.store.documents();
    Ok(Json(app.store.run(|| documents.list(&page.after, 100)).await?))
}

#[derive(Deserialize)]
struct Question {
    q: String,
}

/// What a search finds: cached for the tenant, and forgotten with its next document.
async fn search(State(app): State<App>, Query(question): Query<Question>) -> Result<Json<Vec<Found>>, Failure> {
    Ok(Json(found(&app, &question.q).await?))
}

#[derive(Serialize, Deserialize)]
struct Found {
    tenant: String,
    document: DocumentId,
    content: String,
    score: f64,
}

impl From<Hit> for Found {
    fn from(hit: Hit) -> Self {
        Self {
            tenant: hit.tenant.to_string(),
            document: hit.document,
            content: hit.content,
            score: hit.score,
        }
    }
}

/// By meaning, then by words what meaning did not find; at most as many as the tenant's settings say.
async fn found(app: &App, question: &str) -> Result<Vec<Found>, Failure> {
    let most = app.settings.for_current_tenant().await?.search_max_results as u32;
    let documents = app.store.documents();
    let load = || async {
        let vector = app.embedder.embed(question);
        let mut hits = app
            .store
            .run(|| documents.search_vector(&vector, Reach::Own, most))
            .await?;
        for hit in app
            .store
            .run(|| documents.search_text(question, Reach::Own, most))
            .await?
        {
            if hits.len() < most as usize
                && !hits
                    .iter()
                    .any(|h| (h.document, h.ordinal) == (hit.document, hit.ordinal))
            {
                hits.push(hit);
            }
        }
        Ok::<_, Failure>(Some(hits.into_iter().map(Found::from).collect::<Vec<_>>()))
    };
    Ok(app
        .cache
        .get_or_load("search", question, load)
        .await?
        .unwrap_or_default())
}

// Stage 4: an agent's step.

/// What an agent wants done. It names no tenant: there is no way to.
#[derive(Deserialize)]
#[serde(tag = "tool", rename_all = "snake_case")]
enum ToolCall {
    /// Look something up.
    Search { query: String },
    /// Read a document.
    Read { slug: String },
    /// Ask what is configured.
    Configuration { key: String },
    /// Keep a note as a document.
    Note { slug: String, text: String },
}

async fn agent(State(app): State<App>, Json(calls): Json<Vec<ToolCall>>) -> Result<Json<Vec<Value>>, Failure> {
    let mut results = Vec::new();
    for call in calls {
        results.push(match call {
            ToolCall::Search { query } => json!(found(&app, &query).await?),
            ToolCall::Read { slug } => json!(app.store.documents().find(&slug).await?),
            ToolCall::Configuration { key } => json!(app.store.configurations().get(&key).await?.filter(|e| !e.secret)),
            ToolCall::Note { slug, text } => {
                let note = NewDocument {
                    title: slug.clone(),
                    slug,
                    body: text,
                    metadata: json!({"by": "agent", "embedded": false}),
                    ..NewDocument::default()
                };
                let note = app.store.documents().add(note).await?;
                let id = note.id;
                embed(&app, note).await?;
                json!(id)
            }
        });
    }
    Ok(Json(results))
}

/// Not for tenants: a deployment keeps this route inside.
async fn metrics(State(app): State<App>) -> String {
    app.store.usage().prometheus()
}

/// What goes wrong, as an answer: no more than a client may know.
#[derive(Debug)]
enum Failure {
    Store(StoreError),
    Configuration(ConfigurationError),
    Settings(SettingsError),
    Cache(#[expect(dead_code, reason = "printed by Debug")] CacheError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NoTenant> for Failure {
    fn from(error: NoTenant) -> Self {
        Self::Store(error.into())
    }
}

impl From<ConfigurationError> for Failure {
    fn from(error: ConfigurationError) -> Self {
        Self::Configuration(error)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let store = match &self {
            Self::Store(error)
            | Self::Configuration(ConfigurationError::Store(error))
            | Self::Settings(SettingsError::Store(error)) => Some(error),
            Self::Configuration(_) | Self::Settings(_) | Self::Cache(_) => None,
        };
        let status = match (store, store.and_then(StoreError::code).as_deref()) {
            (_, Some("23505")) => StatusCode::CONFLICT,
            (_, Some("42501")) => StatusCode::FORBIDDEN,
            (_, Some(code)) if code.starts_with("22") || code.starts_with("23") => StatusCode::UNPROCESSABLE_ENTITY,
            (Some(error), _) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let tenant = TenantContext::current()
            .map(|c| c.tenant().to_string())
            .unwrap_or_default();
        if status.is_server_error() {
            eprintln!("a request of tenant {tenant} failed: {self:?}");
        }
        status.into_response()
    }
}
