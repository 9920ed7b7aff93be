//! Settings of tenants: layers over the database, cached, and fresh again after a change, also of another process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenantproof::tenancy::{
    Cache, CacheOptions, Change, FutureExt as _, Layers, NewTenant, Pooler, SWITCH, Settings, SettingsError,
    SettingsSource, Store, StoreError, StoreOptions, TenantContext,
};

use crate::tenancy_support::{Home, House, LOGIN, PgBouncer, Redis, absent};

/// So long that nothing that is waited for here comes from it.
const NEVER: Duration = Duration::from_secs(3_600);

fn on() -> Layers {
    Layers::new().environment([(SWITCH, "true")])
}

async fn set(store: &Store, home: &Home, key: &str, value: impl Into<serde_json::Value>) {
    let changes = [Change::set(key, value)];
    store
        .configurations()
        .apply_tenant_configuration_changes(&changes)
        .in_tenant(home.admin())
        .await
        .unwrap();
}

/// Waits until a question has this answer; it is a failure when it never does.
async fn until<T: PartialEq + std::fmt::Debug>(wanted: T, mut ask: impl AsyncFnMut() -> T) {
    let started = Instant::now();
    loop {
        let found = ask().await;
        if found == wanted {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{found:?} stays, {wanted:?} was to come"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn tenants_count_where_the_switch_says_so() {
    let house = House::new().await;
    let store = house.store().await;
    let base = house.tenant(&store, "base").await;
    let heir = Home::new(&store, NewTenant::named("heir").inheriting(base.id)).await;
    set(&store, &base, "cache.ttl_seconds", 60).await;
    set(&store, &heir, "search.enabled", true).await;
    let file = || Layers::new().file_text("app.toml", "[cache]\nttl_seconds = 120\n[search]\nmax_results = 7");
    let off = SettingsSource::<Settings>::new(store.clone(), file()).unwrap();
    let settings = off.for_current_tenant().in_tenant(heir.member()).await.unwrap();
    assert_eq!(
        (
            settings.cache_ttl_seconds,
            settings.search_enabled,
            settings.search_max_results
        ),
        (120, false, 7)
    );
    let source = SettingsSource::<Settings>::new(store.clone(), file().environment([(SWITCH, "true")])).unwrap();
    let settings = source.for_current_tenant().in_tenant(heir.member()).await.unwrap();
    assert_eq!(
        (
            settings.cache_ttl_seconds,
            settings.search_enabled,
            settings.search_max_results
        ),
        (60, true, 7)
    );
    let settings = source.for_current_tenant().in_tenant(base.admin()).await.unwrap();
    assert!(!settings.search_enabled);
    assert!(matches!(
        source.for_current_tenant().await,
        Err(SettingsError::Store(StoreError::NoTenant(_)))
    ));
    assert!(matches!(
        SettingsSource::<Settings>::new(store.clone(), Layers::new().environment([(SWITCH, "on")])),
        Err(SettingsError::Switch { .. })
    ));
    assert!(matches!(
        Settings::for_current_tenant().await,
        Err(SettingsError::NotInstalled)
    ));
    source.install();
    assert_eq!(
        Settings::for_current_tenant()
            .in_tenant(heir.member())
            .await
            .unwrap()
            .cache_ttl_seconds,
        60
    );
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_names_tenant_key_value_and_origin() {
    let house = House::new().await;
    let store = house.store().await;
    let home = house.tenant(&store, "a").await;
    let source = SettingsSource::<Settings>::new(store.clone(), on()).unwrap();
    for (key, value, word) in [
        ("cache.ttl_seconds", "\"soon\"", "number"),
        ("cache.ttl_seconds", "0", "from 1 to 604800 seconds"),
        ("documents.retention_days", "1.5", "whole number"),
        ("cache.tll_seconds", "5", "did you mean"),
        ("database.url", "\"postgres://u:s3cret@h/d\"", "may not override"),
    ] {
        house
            .sql(&format!("DELETE FROM tenant_configurations; INSERT INTO tenant_configurations (tenant_id, key, value) VALUES ('{}', '{key}', '{value}')", home.id))
            .await;
        let error = source
            .for_current_tenant()
            .in_tenant(home.member())
            .await
            .unwrap_err()
            .to_string();
        for part in [key, word, &home.id.to_string(), "own"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
        assert!(!error.contains("s3cret"), "{error}");
    }
    // A failure is not cached.
    house.sql("DELETE FROM tenant_configurations").await;
    assert_eq!(
        source
            .for_current_tenant()
            .in_tenant(home.member())
            .await
            .unwrap()
            .cache_ttl_seconds,
        300
    );
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn many_who_ask_at_once_wait_for_one_load() {
    let house = House::new().await;
    let store = house.store().await;
    let home = house.tenant(&store, "a").await;
    let source = SettingsSource::<Settings>::with_intervals(store.clone(), on(), NEVER, NEVER).unwrap();
    let before = store.usage().total(home.id, tenantproof::tenancy::Metric::Operations);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.for_current_tenant().await.unwrap() }.in_tenant(home.member()))
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    assert!(all.iter().all(|s| Arc::ptr_eq(s, &all[0])));
    let loads = store.usage().total(home.id, tenantproof::tenancy::Metric::Operations) - before;
    assert_eq!(loads, 1);
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn a_change_is_seen_by_notification_by_polling_and_by_age() {
    let house = House::new().await;
    let store = house.store().await;
    let base = house.tenant(&store, "base").await;
    let heir = Home::new(&store, NewTenant::named("heir").inheriting(base.id)).await;
    let ttl = |source: &SettingsSource<Settings>| {
        let (source, context) = (source.clone(), heir.member());
        async move {
            source
                .for_current_tenant()
                .in_tenant(context)
                .await
                .unwrap()
                .cache_ttl_seconds
        }
    };
    // By notification alone: own changes, the base's, another base, a lock.
    let source = SettingsSource::<Settings>::with_intervals(store.clone(), on(), NEVER, NEVER).unwrap();
    let watch = source.watch();
    // The watch listens before it looks for the first time, so from here on nothing is missed.
    until(1, async || house.count(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{LOGIN}' AND datname = current_database() AND query LIKE 'LISTEN%'")).await).await;
    assert_eq!(ttl(&source).await, 300);
    set(&store, &heir, "cache.ttl_seconds", 10).await;
    until(10, async || ttl(&source).await).await;
    set(&store, &base, "cache.ttl_seconds", 20).await;
    let lock = [Change::lock("cache.ttl_seconds", "")];
    store
        .configurations()
        .apply_tenant_configuration_changes(&lock)
        .in_tenant(base.admin())
        .await
        .unwrap();
    until(20, async || ttl(&source).await).await;
    store.service().set_base(heir.id, None).await.unwrap();
    until(10, async || ttl(&source).await).await;
    // The listening connection is lost, and comes back.
    house
        .sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{LOGIN}' AND datname = current_database()"))
        .await;
    set(&store, &heir, "cache.ttl_seconds", 11).await;
    until(11, async || ttl(&source).await).await;
    drop(watch);
    // By polling alone, as behind a pooler.
    if !absent("pgbouncer", "pgbouncer") {
        let pgbouncer = PgBouncer::start(&house, 2);
        let pooled = Store::connect(StoreOptions::new(pgbouncer.options(&house)).pooler(Pooler::Transaction))
            .await
            .unwrap();
        let source =
            SettingsSource::<Settings>::with_intervals(pooled.clone(), on(), Duration::from_millis(20), NEVER).unwrap();
        let watch = source.watch();
        assert_eq!(ttl(&source).await, 11);
        set(&store, &heir, "cache.ttl_seconds", 12).await;
        until(12, async || ttl(&source).await).await;
        drop(watch);
        pooled.close().await;
    }
    // By age alone: nobody watches.
    let source =
        SettingsSource::<Settings>::with_intervals(store.clone(), on(), NEVER, Duration::from_millis(50)).unwrap();
    let before = ttl(&source).await;
    set(&store, &heir, "cache.ttl_seconds", before + 1).await;
    until(before + 1, async || ttl(&source).await).await;
    // And by hand: with the tenant's cached values.
    let source = SettingsSource::<Settings>::with_intervals(store.clone(), on(), NEVER, NEVER).unwrap();
    let cache = Cache::in_process(CacheOptions::default());
    cache.drop_settings_of(&source);
    let before = ttl(&source).await;
    set(&store, &heir, "cache.ttl_seconds", before + 1).await;
    assert_eq!(ttl(&source).await, before, "nobody watches this one");
    cache.invalidate_tenant().in_tenant(heir.member()).await.unwrap();
    assert_eq!(ttl(&source).await, before + 1);
    store.close().await;
    house.stop().await;
}

/// Another process with a store, settings and a cache, asked over its input.
struct Other {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Other {
    fn start(house: &House, redis: &Redis, home: &Home) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "tenancy::settings::another_process",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("TENANTPROOF_TEST_DATABASE", house.url(LOGIN))
            .env("TENANTPROOF_TEST_REDIS", redis.url())
            .env("TENANTPROOF_TEST_TENANT", format!("{} {}", home.id, home.user))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ask = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut other = Self { child, ask, answers };
        other.next("READY");
        other
    }

    fn next(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.answers.read_line(&mut line).unwrap() > 0,
                "the other process ended"
            );
            if let Some((_, answer)) = line.split_once(word) {
                return answer.trim().to_owned();
            }
        }
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.ask, "{question}").unwrap();
        self.next("ANSWER")
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what the other process runs.
#[tokio::test]
#[ignore = "the child process of other tests"]
async fn another_process() {
    let Ok(url) = std::env::var("TENANTPROOF_TEST_DATABASE") else {
        return;
    };
    let store = Store::connect(StoreOptions::from_url(&url).unwrap()).await.unwrap();
    let cache = Cache::redis(
        &std::env::var("TENANTPROOF_TEST_REDIS").unwrap(),
        CacheOptions::default(),
    )
    .await
    .unwrap();
    let tenant = std::env::var("TENANTPROOF_TEST_TENANT").unwrap();
    let (tenant, user) = tenant.split_once(' ').unwrap();
    let context = TenantContext::member(tenant.parse().unwrap(), user.parse().unwrap());
    let source = SettingsSource::<Settings>::with_intervals(store, on(), NEVER, NEVER).unwrap();
    let _watch = source.watch();
    println!("\nREADY");
    async {
        while let Some(line) = tokio::task::spawn_blocking(|| std::io::stdin().lines().next())
            .await
            .unwrap()
        {
            let answer = match line.unwrap().as_str() {
                "settings" => source.for_current_tenant().await.unwrap().cache_ttl_seconds.to_string(),
                "cached" => format!("{:?}", cache.get::<String>("title", "1").await.unwrap()),
                "load" => {
                    let load = || async { Ok::<_, tenantproof::tenancy::CacheError>(Some("of the other".to_owned())) };
                    format!("{:?}", cache.get_or_load("title", "1", load).await.unwrap())
                }
                "invalidate" => format!("{:?}", cache.invalidate_tenant().await),
                other => panic!("{other}"),
            };
            println!("\nANSWER {answer}");
        }
    }
    .in_tenant(context)
    .await;
}

#[tokio::test]
async fn two_processes_see_one_anothers_changes() {
    if absent("redis-server", "redis-server") {
        return;
    }
    let house = House::new().await;
    let store = house.store().await;
    let home = house.tenant(&store, "a").await;
    let redis = Redis::start();
    let mut other = Other::start(&house, &redis, &home);
    assert_eq!(other.ask("settings"), "300");
    set(&store, &home, "cache.ttl_seconds", 42).await;
    until("42".to_owned(), async || other.ask("settings")).await;

    let cache = Cache::redis(&redis.url(), CacheOptions::default()).await.unwrap();
    cache
        .put("title", "1", &"of this one")
        .in_tenant(home.member())
        .await
        .unwrap();
    assert_eq!(other.ask("cached"), "Some(Some(\"of this one\"))");
    cache.invalidate_tenant().in_tenant(home.member()).await.unwrap();
    assert_eq!(other.ask("cached"), "None");
    assert_eq!(other.ask("load"), "Some(\"of the other\")");
    let seen = cache
        .get::<String>("title", "1")
        .in_tenant(home.member())
        .await
        .unwrap();
    assert_eq!(seen, Some(Some("of the other".to_owned())));
    assert_eq!(other.ask("invalidate"), "Ok(())");
    assert_eq!(
        cache
            .get::<String>("title", "1")
            .in_tenant(home.member())
            .await
            .unwrap(),
        None
    );
    drop(other);
    store.close().await;
    house.stop().await;
}
