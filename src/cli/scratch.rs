//! A scratch database with the schema in it, for one subcommand, taken away again whatever happens.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use super::options::Resolved;
use super::{Exit, Failure};
use crate::pg::conn::Conn;
use crate::pg::{Provider, Server, ServerFacts};
use crate::run::load::{self, LoadOptions};

/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A loaded scratch database.
#[derive(Debug)]
pub struct Loaded {
    /// A connection that was never bound to a tenant.
    pub conn: Conn,
    /// What reports say of the server.
    pub facts: ServerFacts,
    /// Roles that were there before the schema.
    pub roles_before: BTreeSet<String>,
    /// What the reader should know of how the schema was loaded.
    pub notes: Vec<String>,
}

/// Starts a server, loads the schema, and runs `work` on it. On Ctrl-C or SIGTERM all of it is taken away at once.
pub async fn with_schema<F>(resolved: &Resolved, work: impl FnOnce(Loaded) -> F) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>>,
{
    let server = tokio::select! {
        server = Server::start(&resolved.server) => server.map_err(Failure::not_run)?,
        () = interrupted() => return Ok(Exit::Interrupted),
    };
    let handle = server.cleanup_handle();
    let ended = tokio::select! {
        ended = on_server(&server, resolved, work) => ended,
        () = interrupted() => Ok(Exit::Interrupted),
    };
    handle.stop().await;
    ended
}

async fn on_server<F>(server: &Server, resolved: &Resolved, work: impl FnOnce(Loaded) -> F) -> Result<Exit, Failure>
where
    F: Future<Output = Result<Exit, Failure>>,
{
    let scratch = server.scratch().await.map_err(Failure::not_run)?;
    let options = scratch.bounded_options();
    let roles_before = scratch.roles_before().clone();
    let guard = (server.kind() == Provider::Url).then_some(&scratch);
    let mut notes = resolved.notes.clone();
    // A new connection has the defaults of the database, and settings that were never set: each part is loaded on its own.
    let platform = LoadOptions {
        guard,
        ..LoadOptions::default()
    };
    let schema = LoadOptions {
        load_as: resolved.file.server.load_as.as_deref(),
        platform: !resolved.platform.is_empty(),
        ..platform
    };
    for (steps, load_options) in [(&resolved.platform, platform), (&resolved.steps, schema)] {
        if steps.is_empty() {
            continue;
        }
        let mut conn = Conn::open(&options, PATIENCE).await.map_err(Failure::not_run)?;
        let loaded = load::load(&mut conn, steps, load_options).await;
        conn.close().await;
        notes.extend(loaded.map_err(Failure::not_run)?);
    }
    let conn = Conn::open(&options, PATIENCE).await.map_err(Failure::not_run)?;
    let facts = ServerFacts {
        provider: server.kind().to_string(),
        version: server.version().to_owned(),
        passed_over: server
            .passed_over()
            .iter()
            .map(|(p, why)| (p.to_string(), why.clone()))
            .collect(),
    };
    let ended = work(Loaded {
        conn,
        facts,
        roles_before,
        notes,
    })
    .await;
    let dropped = scratch.drop_now().await;
    // What went wrong first says why; a server that went away lets nothing be dropped either.
    let ended = ended?;
    dropped.map_err(Failure::not_run)?;
    Ok(ended)
}

/// Returns when the user asks to stop.
async fn interrupted() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(_) => return std::future::pending().await,
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
