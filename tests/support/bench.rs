//! A server for tests, schemas loaded on it, verified, and evidence replayed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tenantproof::pg::conn::Conn;
use tenantproof::pg::{Provider, Scratch, Server, ServerChoice, ServerOptions};
use tenantproof::run::load::{self, LoadOptions};
use tenantproof::run::target;
use tenantproof::run::verify::{Outcome, Request, VerifyError, verify};
use tenantproof::sql::script;

/// A running server.
pub struct Bench {
    server: Server,
}

impl Bench {
    /// The server of this provider; what keeps it from starting is a failure of the test.
    pub async fn start(choice: ServerChoice) -> Self {
        let options = ServerOptions {
            choice: choice.clone(),
            version: None,
        };
        match Server::start(&options).await {
            Ok(server) => Self { server },
            Err(error) => panic!("no {choice} server: {error}"),
        }
    }

    /// The machine's own server, or the embedded one where there is none. Says which.
    pub async fn any() -> Self {
        for choice in [ServerChoice::Local, ServerChoice::Embedded] {
            let options = ServerOptions {
                choice: choice.clone(),
                version: None,
            };
            match Server::start(&options).await {
                Ok(server) => {
                    println!("runs on the {choice} server, PostgreSQL {}", server.version());
                    return Self { server };
                }
                Err(error) => println!("passed over {choice}: {error}"),
            }
        }
        panic!("neither a local nor the embedded server starts, so nothing can be tested");
    }

    /// Which provider it is.
    pub fn provider(&self) -> Provider {
        self.server.kind()
    }

    /// A scratch database with these files loaded.
    pub async fn load(&self, schema: &[PathBuf]) -> Result<Scratch, String> {
        let scratch = self.server.scratch().await.map_err(|e| e.to_string())?;
        let mut conn = self.connect(&scratch).await;
        let steps = script::read_paths(schema).map_err(|e| e.to_string())?;
        let loaded = load::load(&mut conn, &steps, LoadOptions::default()).await;
        conn.close().await;
        loaded.map_err(|e| e.to_string())?;
        Ok(scratch)
    }

    /// Loads and verifies.
    pub async fn verify(&self, schema: &[PathBuf], request: &Request) -> Result<Outcome, String> {
        let scratch = self.load(schema).await?;
        let request = Request {
            roles_before: scratch.roles_before().clone(),
            ..request.clone()
        };
        let mut conn = self.connect(&scratch).await;
        let outcome: Result<Outcome, VerifyError> = verify(&mut conn, &request, &|_| ()).await;
        conn.close().await;
        scratch.drop_now().await.map_err(|e| e.to_string())?;
        outcome.map_err(|e| format!("{e:?}"))
    }

    /// Runs an evidence script on a fresh database with the schema: its last word.
    pub async fn replay(&self, schema: &[PathBuf], evidence: &str) -> String {
        let scratch = self.load(schema).await.expect("the schema loads");
        let mut conn = self.connect(&scratch).await;
        let mut last = String::from("(nothing)");
        for step in script::read_text("evidence.sql", evidence).expect("evidence is SQL") {
            let outcome = conn.run(&step.text).await.expect("the connection lives");
            let word = outcome
                .results
                .last()
                .and_then(|r| r.rows.last())
                .and_then(|row| row.first().cloned());
            if let Some(word) = word {
                last = word.unwrap_or_default();
            }
        }
        conn.close().await;
        scratch.drop_now().await.expect("the database goes");
        last
    }

    /// Runs statements in a database of their own.
    pub async fn run(&self, sql: &str) {
        let scratch = self.server.scratch().await.expect("a scratch database");
        let mut conn = self.connect(&scratch).await;
        conn.query(sql).await.expect("the statements are right");
        conn.close().await;
        scratch.drop_now().await.expect("the database goes");
    }

    /// Drops the roles that schemas made: they outlive databases, and what one schema gave them would show in the next.
    pub async fn drop_roles(&self) {
        self.run(
            "DO $$ DECLARE r text; BEGIN
               FOR r IN SELECT quote_ident(rolname) FROM pg_roles
                        WHERE rolname !~ '^pg_' AND oid <> 10 AND rolname <> current_user LOOP
                 BEGIN
                   EXECUTE 'DROP ROLE ' || r;
                 EXCEPTION WHEN dependent_objects_still_exist OR object_in_use THEN NULL;
                 END;
               END LOOP;
             END $$",
        )
        .await;
    }

    /// Stops the server.
    pub async fn stop(self) {
        self.server.stop().await;
    }

    /// A connection to a loaded database.
    pub async fn connect(&self, scratch: &Scratch) -> Conn {
        Conn::open(&scratch.bounded_options(), Duration::from_secs(120))
            .await
            .expect("the scratch database takes a connection")
    }
}

/// A path in the project.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The request of the reference schema's target file.
pub fn reference() -> Request {
    let file = target::read(&path("tenantproof.toml")).expect("the project's target file is right");
    Request {
        sessions: file.session,
        tenancy: file.tenancy,
        schemas: file.target.schemas,
        ..request()
    }
}

/// A request with the command's defaults.
pub fn request() -> Request {
    Request {
        seed: 1,
        cases: 16,
        max_vacuous: 25.0,
        today: "2026-11-24".to_owned(),
        ..Request::default()
    }
}
