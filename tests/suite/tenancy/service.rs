//! The example service under load, with 50 tenants: every answer is checked for rows of others, Redis is killed and
//! PostgreSQL crashes in the middle, and no write that was acknowledged is lost.
//!
//! `SERVICE_LOAD_SECONDS=60 cargo test --test suite service_under_load -- --nocapture` is the long form; the short one is a
//! number of requests.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::providers::say;
use crate::tenancy_support::absent;

const TENANTS: usize = 50;
const WORKERS: usize = 8;

/// The example, running.
struct Service {
    child: Child,
    address: String,
    tokens: Vec<String>,
    redis: Option<String>,
    database: PgConnectOptions,
}

impl Service {
    fn start() -> Self {
        let suite = std::env::current_exe().expect("this test");
        let folder = suite
            .parent()
            .and_then(|deps| deps.parent())
            .expect("the target folder");
        let program = folder.join("examples/service");
        assert!(program.exists(), "{} is built with the tests", program.display());
        let mut child = Command::new(program)
            .env("TENANTS", TENANTS.to_string())
            .env("ADDRESS", "127.0.0.1:0")
            .env_remove("DATABASE_URL")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the example starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        // From here on it is ended, also where it does not come up.
        let mut service = Self {
            child,
            address: String::new(),
            tokens: Vec::new(),
            redis: None,
            database: PgConnectOptions::new_without_pgpass(),
        };
        for line in output.lines() {
            let line = line.expect("it is text");
            if let Some((_, token)) = line.split_once('=').filter(|(name, _)| name.starts_with("TOKEN_")) {
                service.tokens.push(token.to_owned());
            } else if let Some(pid) = line.strip_prefix("# Redis: process ") {
                service.redis = Some(pid.to_owned());
            } else if let Some(rest) = line.strip_prefix("# the database: psql -h ") {
                let words: Vec<&str> = rest.split(' ').collect();
                service.database = PgConnectOptions::new_without_pgpass()
                    .socket(words[0])
                    .username("postgres")
                    .database(words[3]);
            } else if let Some(address) = line.strip_prefix("# ready on http://") {
                assert_eq!(service.tokens.len(), TENANTS);
                service.address = address.to_owned();
                return service;
            }
        }
        panic!("the example ended before it was ready");
    }

    /// Status and JSON of an answer; none where the connection failed.
    async fn ask(&self, tenant: usize, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let work = async {
            let mut stream = tokio::net::TcpStream::connect(&self.address).await.ok()?;
            let body = body.map(Value::to_string).unwrap_or_default();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: service\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                self.tokens[tenant],
                body.len()
            );
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            let status = head.split(' ').nth(1)?.parse().ok()?;
            Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
        };
        tokio::time::timeout(Duration::from_secs(30), work).await.ok()?
    }

    /// Resident memory in MiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.trim()
            .split(' ')
            .next()
            .and_then(|kb| kb.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // As Ctrl-C: it takes its Redis and its server with it.
        let _ = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Seen {
    acknowledged: Mutex<BTreeSet<(usize, String)>>,
    requests: AtomicUsize,
    errors: AtomicUsize,
    /// Whether errors are to be expected: something was killed a moment ago.
    shaken: AtomicBool,
    faults: Mutex<Vec<String>>,
}

impl Seen {
    fn note(&self, what: &str, answer: &Option<(u16, Value)>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let is_good = matches!(answer, Some((200 | 202, _)));
        if !is_good {
            self.errors.fetch_add(1, Ordering::Relaxed);
            if !self.shaken.load(Ordering::Relaxed) {
                self.faults.lock().unwrap().push(format!("{what}: {answer:?}"));
            }
        }
    }

    /// Every text in an answer has to bear the tenant's mark and no other.
    fn check(&self, tenant: usize, what: &str, texts: &[&str]) {
        let mark = format!("mark-{tenant}-");
        for text in texts {
            if !text.contains(&mark) || text.matches("mark-").count() != text.matches(&mark).count() {
                self.faults
                    .lock()
                    .unwrap()
                    .push(format!("{what}: tenant {tenant} got `{text}`"));
            }
        }
    }
}

async fn work(service: &Service, seen: &Seen, worker: usize, round: usize) {
    let tenant = (worker * 7 + round) % TENANTS;
    let slug = format!("d-{worker}-{round}");
    let body = json!({"slug": slug, "title": "t", "body": format!("launch mark-{tenant}- number {round}")});
    let added = service.ask(tenant, "POST", "/documents", Some(&body)).await;
    seen.note("add", &added);
    if matches!(added, Some((202, _))) {
        seen.acknowledged.lock().unwrap().insert((tenant, slug));
    }
    for path in ["/search?q=launch", "/documents"] {
        let found = service.ask(tenant, "GET", path, None).await;
        seen.note(path, &found);
        if let Some((200, Value::Array(rows))) = &found {
            let texts: Vec<&str> = rows
                .iter()
                .filter_map(|r| r["content"].as_str().or(r["body"].as_str()))
                .collect();
            seen.check(tenant, path, &texts);
        }
    }
    let calls = json!([{"tool": "search", "query": "number"}, {"tool": "configuration", "key": "search.model"}]);
    let answer = service.ask(tenant, "POST", "/agent", Some(&calls)).await;
    seen.note("agent", &answer);
    if let Some((200, Value::Array(results))) = &answer {
        let texts: Vec<&str> = results[0]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|r| r["content"].as_str())
            .collect();
        seen.check(tenant, "agent", &texts);
    }
}

/// All documents of a tenant, page by page.
async fn everything(service: &Service, tenant: usize) -> BTreeSet<String> {
    let mut slugs = BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = service
            .ask(tenant, "GET", &format!("/documents?after={after}"), None)
            .await;
        let Some((200, Value::Array(rows))) = page else {
            panic!("the service has recovered: {page:?}")
        };
        let Some(last) = rows.last().and_then(|r| r["slug"].as_str()) else {
            return slugs;
        };
        after = last.to_owned();
        slugs.extend(rows.iter().filter_map(|r| r["slug"].as_str().map(str::to_owned)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_under_load_shows_nothing_foreign_and_loses_nothing() {
    if absent("redis-server", "redis-server") {
        return;
    }
    let service = Arc::new(tokio::task::spawn_blocking(Service::start).await.unwrap());
    let seen = Arc::new(Seen::default());
    let seconds: Option<u64> = std::env::var("SERVICE_LOAD_SECONDS").ok().and_then(|s| s.parse().ok());
    let started = Instant::now();
    // The first half undisturbed, then Redis dies, then PostgreSQL crashes.
    let rounds = 12;
    let is_over = move |round: usize, half: bool| match seconds {
        Some(seconds) => started.elapsed().as_secs() >= if half { seconds / 2 } else { seconds },
        None => round >= if half { rounds / 2 } else { rounds },
    };
    let run = |from: usize, half: bool| {
        let tasks: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (service, seen) = (service.clone(), seen.clone());
                tokio::spawn(async move {
                    let mut round = from;
                    while !is_over(round, half) {
                        work(&service, &seen, worker, round).await;
                        round += 1;
                    }
                    round
                })
            })
            .collect();
        async move {
            let mut last = from;
            for task in tasks {
                last = last.max(task.await.unwrap());
            }
            last
        }
    };
    let reached = run(0, true).await;
    let undisturbed = seen.requests.load(Ordering::Relaxed);
    let memory = service.memory();
    assert_eq!(*seen.faults.lock().unwrap(), Vec::<String>::new());
    assert_eq!(seen.errors.load(Ordering::Relaxed), 0, "undisturbed, nothing fails");

    seen.shaken.store(true, Ordering::Relaxed);
    let redis = service.redis.clone().expect("it has a Redis");
    assert!(Command::new("kill").args(["-KILL", &redis]).status().unwrap().success());
    let disturbed = run(reached, false);
    let crash = async {
        let mut connection = PgConnection::connect_with(&service.database).await.unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        // A backend that dies so takes all connections with it; the server recovers from its log.
        assert!(
            Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status()
                .unwrap()
                .success()
        );
    };
    tokio::join!(disturbed, crash);
    // It has recovered by itself: everything works, and everything that was acknowledged is there.
    seen.shaken.store(false, Ordering::Relaxed);
    for tenant in 0..TENANTS {
        work(&service, &seen, 1_000 + tenant, TENANTS * 1_000 + tenant).await;
    }
    assert_eq!(*seen.faults.lock().unwrap(), Vec::<String>::new());
    let acknowledged = seen.acknowledged.lock().unwrap().clone();
    for tenant in 0..TENANTS {
        let there = everything(&service, tenant).await;
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|(t, slug)| *t == tenant && !there.contains(slug))
            .collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    }
    say(&format!(
        "service: {} requests ({undisturbed} undisturbed) in {:.1} s, {} failed while Redis and PostgreSQL were down, {} writes acknowledged, none lost; memory {memory} MiB, then {} MiB",
        seen.requests.load(Ordering::Relaxed),
        started.elapsed().as_secs_f64(),
        seen.errors.load(Ordering::Relaxed),
        acknowledged.len(),
        service.memory()
    ));
}
