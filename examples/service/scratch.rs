//! A PostgreSQL with the reference schema, a Redis and two tenants, all of which go when the service ends.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use tenantproof::pg::conn::Conn;
use tenantproof::pg::{Scratch as Database, Server, ServerOptions};
use tenantproof::run::load::{self, LoadOptions};
use tenantproof::sql::script;
use tenantproof::tenancy::{NewTenant, Store, TenantId, UserId};

/// What tokens are signed with here. A real service has one of its own.
pub const SECRET: &str = "a secret of this example and no other, 32 bytes or more";

/// What has to be ended.
pub struct Scratch {
    server: Server,
    database: Database,
    redis: Option<Redis>,
    pub login: PgConnectOptions,
    pub redis_url: Option<String>,
}

type Error = Box<dyn std::error::Error>;

/// Starts it all.
pub async fn start() -> Result<Scratch, Error> {
    let options = ServerOptions {
        choice: std::env::var("SERVER").unwrap_or_else(|_| "local".into()).parse()?,
        version: None,
    };
    let server = Server::start(&options).await?;
    let database = server.scratch().await?;
    let mut conn = Conn::open(&database.connect_options(), Duration::from_secs(60)).await?;
    let policies = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    load::load(&mut conn, &script::read_paths(&[policies])?, LoadOptions::default()).await?;
    // Scratch servers acknowledge commits before they are written; what this one acknowledges shall outlive its crash.
    conn.query(
        "CREATE ROLE service_login LOGIN NOINHERIT IN ROLE tenantproof_member, tenantproof_admin, tenantproof_service;
         ALTER ROLE service_login SET synchronous_commit = on",
    )
    .await?;
    conn.close().await;
    let redis = start_redis();
    let redis_url = redis
        .as_ref()
        .map(|redis| format!("redis+unix://{}/redis.sock", redis.folder.path().display()));
    Ok(Scratch {
        login: database.connect_options().username("service_login"),
        server,
        database,
        redis,
        redis_url,
    })
}

/// A private Redis, and the shell that ends it with us, however we end.
struct Redis {
    shell: Child,
    pid: String,
    folder: tempfile::TempDir,
}

/// On a socket of its own; none where it is not installed.
fn start_redis() -> Option<Redis> {
    const SCRIPT: &str = r#"exec 3<&0; command -v redis-server >/dev/null || exit 1; redis-server "$@" </dev/null 3<&- >/dev/null & echo $!; read -r _ <&3; kill -KILL $! 2>/dev/null"#;
    let folder = tempfile::tempdir().ok()?;
    let mut shell = Command::new("sh")
        .args([
            "-c",
            SCRIPT,
            "redis",
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "no",
            "--unixsocket",
        ])
        .arg(folder.path().join("redis.sock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut pid = String::new();
    BufReader::new(shell.stdout.take()?).read_line(&mut pid).ok()?;
    let pid = pid.trim().to_owned();
    (!pid.is_empty()).then_some(Redis { shell, pid, folder })
}

/// A token as an identity provider would make it.
pub fn token(tenant: TenantId, user: UserId) -> Result<String, Error> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let claims = json!({"sub": user, "aud": "authenticated", "exp": now + 86_400, "app_metadata": {"tenant_id": tenant, "role": "admin"}});
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )?)
}

impl Scratch {
    /// Makes the tenants (`TENANTS` says how many) and prints what to try: lines that a shell runs as they are.
    pub async fn introduce(&self, store: &Store, address: &str) -> Result<(), Error> {
        let service = store.service();
        let many: usize = std::env::var("TENANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
        for n in 1..=many {
            let (tenant, user) = (
                service.create_tenant(NewTenant::named(&format!("tenant-{n}"))).await?,
                UserId::random(),
            );
            service
                .add_member(tenant.id, user, &format!("admin@tenant-{n}.example"), true)
                .await?;
            println!("TOKEN_{n}={}", token(tenant.id, user)?);
        }
        let (socket, name) = (
            self.login
                .get_socket()
                .map(|s| s.display().to_string())
                .unwrap_or_default(),
            self.database.name(),
        );
        println!("# the database: psql -h {socket} -U postgres {name}");
        if let Some(redis) = &self.redis {
            println!("# Redis: process {}", redis.pid);
        }
        println!(
            r#"curl -s http://{address}/documents -H "Authorization: Bearer $TOKEN_1" -H 'Content-Type: application/json' -d '{{"slug":"plan","title":"Plan","body":"We launch in May."}}'"#
        );
        println!(r#"curl -s "http://{address}/search?q=launch" -H "Authorization: Bearer $TOKEN_1""#);
        println!(
            r#"curl -s "http://{address}/search?q=launch" -H "Authorization: Bearer $TOKEN_2"   # another tenant: []"#
        );
        println!(
            r#"curl -s http://{address}/agent -H "Authorization: Bearer $TOKEN_1" -H 'Content-Type: application/json' -d '[{{"tool":"search","query":"launch"}},{{"tool":"configuration","key":"search.model"}},{{"tool":"note","slug":"todo","text":"Book a room."}}]'"#
        );
        println!("curl -s http://{address}/metrics");
        println!("# ready on http://{address}");
        Ok(())
    }

    /// Ends it all.
    pub async fn stop(mut self) {
        if let Some(redis) = self.redis.as_mut() {
            drop(redis.shell.stdin.take());
            let _ = redis.shell.wait();
        }
        let _ = self.database.drop_now().await;
        self.server.stop().await;
    }
}
