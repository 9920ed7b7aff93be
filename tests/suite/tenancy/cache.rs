//! The cache: whose values they are, when they stop counting, and what happens without Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tenantproof::tenancy::{
    Cache, CacheError, CacheOptions, CacheScope, FutureExt as _, Metric, TenantContext, TenantId, Usage, UserId,
    cache_key,
};

use crate::tenancy_support::{Redis, absent};

fn tenant() -> TenantContext {
    TenantContext::member(TenantId::random(), UserId::random())
}

async fn got(cache: &Cache, context: &TenantContext, kind: &str, id: &str) -> Option<Option<String>> {
    cache.get::<String>(kind, id).in_tenant(context.clone()).await.unwrap()
}

async fn put(cache: &Cache, context: &TenantContext, kind: &str, id: &str, value: &str) {
    cache.put(kind, id, &value).in_tenant(context.clone()).await.unwrap();
}

/// What holds of every back end.
async fn behaves(cache: &Cache) {
    let (a, b) = (tenant(), tenant());
    let some = |text: &str| Some(Some(text.to_owned()));
    assert!(matches!(
        cache.get::<String>("k", "1").await,
        Err(CacheError::NoTenant(_))
    ));
    assert!(matches!(cache.invalidate_tenant().await, Err(CacheError::NoTenant(_))));
    // The same names are different values for different tenants, and kinds and identifiers do not run together.
    put(cache, &a, "k", "1", "a's").await;
    put(cache, &b, "k", "1", "b's").await;
    put(cache, &a, "k/1", "", "slash").await;
    put(cache, &a, "", "k/1", "other slash").await;
    put(cache, &a, "k:1", "%", "colon").await;
    assert_eq!(got(cache, &a, "k", "1").await, some("a's"));
    assert_eq!(got(cache, &b, "k", "1").await, some("b's"));
    assert_eq!(got(cache, &a, "k/1", "").await, some("slash"));
    assert_eq!(got(cache, &a, "", "k/1").await, some("other slash"));
    assert_eq!(got(cache, &a, "k:1", "%").await, some("colon"));
    // By value, by kind of a tenant, by kind, by tenant.
    cache.remove("k/1", "").in_tenant(a.clone()).await.unwrap();
    assert_eq!(got(cache, &a, "k/1", "").await, None);
    cache.invalidate_kind("k").in_tenant(a.clone()).await.unwrap();
    assert_eq!(
        (got(cache, &a, "k", "1").await, got(cache, &b, "k", "1").await),
        (None, some("b's"))
    );
    assert_eq!(got(cache, &a, "k:1", "%").await, some("colon"));
    put(cache, &a, "k", "1", "again").await;
    cache.invalidate(CacheScope::Kind("k".into())).await.unwrap();
    assert_eq!(
        (got(cache, &a, "k", "1").await, got(cache, &b, "k", "1").await),
        (None, None)
    );
    put(cache, &b, "k", "1", "b's").await;
    cache.invalidate_tenant().in_tenant(a.clone()).await.unwrap();
    assert_eq!(got(cache, &a, "k:1", "%").await, None);
    assert_eq!(got(cache, &b, "k", "1").await, some("b's"));

    // One load for many, and one for each tenant.
    let loads = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let (cache, loads) = (cache.clone(), loads.clone());
            let context = if n % 2 == 0 { a.clone() } else { b.clone() };
            let work = async move {
                let load = || async {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok::<_, CacheError>(Some(TenantContext::current()?.tenant()))
                };
                let found = cache.get_or_load("flight", "1", load).await.unwrap();
                assert_eq!(found, Some(TenantContext::current().unwrap().tenant()));
            };
            tokio::spawn(work.in_tenant(context))
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    // The leader is cancelled: somebody else loads.
    let leader = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache
                .get_or_load::<String, _, CacheError>("flight", "2", std::future::pending)
                .await
        }
        .in_tenant(a.clone())
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let waiter = tokio::spawn({
        let cache = cache.clone();
        async move {
            cache
                .get_or_load("flight", "2", || async { Ok::<_, CacheError>(Some("mine".to_owned())) })
                .await
        }
        .in_tenant(a.clone())
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    leader.abort();
    assert_eq!(waiter.await.unwrap().unwrap().as_deref(), Some("mine"));
    // A failed load is the leader's own and is not kept.
    let failed = cache
        .get_or_load::<String, _, Failed>("flight", "3", || async { Err(Failed) })
        .in_tenant(a.clone())
        .await;
    assert_eq!(failed, Err(Failed));
    assert_eq!(got(cache, &a, "flight", "3").await, None);
    // That there is nothing is remembered.
    let nothing = || async { Ok::<Option<String>, CacheError>(None) };
    assert_eq!(
        cache
            .get_or_load("flight", "4", nothing)
            .in_tenant(a.clone())
            .await
            .unwrap(),
        None
    );
    assert_eq!(got(cache, &a, "flight", "4").await, Some(None));

    // A value that was being loaded when its scope was invalidated does not count afterwards, and who asks then does
    // not get it either.
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let receiver = Arc::new(tokio::sync::Mutex::new(Some(receiver)));
    let slow = tokio::spawn({
        let cache = cache.clone();
        async move {
            let load = || async {
                let receiver = receiver.lock().await.take().unwrap();
                receiver.await.unwrap();
                Ok::<_, CacheError>(Some("old".to_owned()))
            };
            cache.get_or_load("race", "1", load).await
        }
        .in_tenant(a.clone())
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    cache.invalidate_kind("race").in_tenant(a.clone()).await.unwrap();
    let fresh = async {
        cache
            .get_or_load("race", "1", || async { Ok::<_, CacheError>(Some("new".to_owned())) })
            .await
    };
    let fresh = tokio::time::timeout(Duration::from_secs(20), fresh.in_tenant(a.clone())).await;
    let fresh = fresh.expect("who asks after the invalidation does not wait for the load before it");
    assert_eq!(fresh.unwrap().as_deref(), Some("new"));
    sender.send(()).unwrap();
    assert_eq!(slow.await.unwrap().unwrap().as_deref(), Some("old"));
    let now = got(cache, &a, "race", "1").await;
    assert_ne!(now, some("old"), "it was loaded before the invalidation");
}

#[derive(Debug, PartialEq)]
struct Failed;

impl From<CacheError> for Failed {
    fn from(_: CacheError) -> Self {
        Self
    }
}

#[tokio::test]
async fn in_the_process_it_behaves() {
    behaves(&Cache::in_process(CacheOptions::default())).await;
}

#[tokio::test]
async fn in_redis_it_behaves_and_values_pass_between_caches() {
    if absent("redis-server", "redis-server") {
        return;
    }
    let redis = Redis::start();
    behaves(&Cache::redis(&redis.url(), CacheOptions::default()).await.unwrap()).await;
    let (one, two) = (
        Cache::redis(&redis.url(), CacheOptions::default()).await.unwrap(),
        Cache::redis(&redis.url(), CacheOptions::default()).await.unwrap(),
    );
    let other_prefix = Cache::redis(
        &redis.url(),
        CacheOptions {
            prefix: "another".into(),
            ..CacheOptions::default()
        },
    )
    .await
    .unwrap();
    let a = tenant();
    put(&one, &a, "k", "1", "v").await;
    assert_eq!(got(&two, &a, "k", "1").await, Some(Some("v".into())));
    assert_eq!(got(&other_prefix, &a, "k", "1").await, None);
    two.invalidate_kind("k").in_tenant(a.clone()).await.unwrap();
    assert_eq!(got(&one, &a, "k", "1").await, None);
    // The key is the documented one.
    put(&one, &a, "k", "1", "v").await;
    let mut bare = bare(&redis).await;
    let key = cache_key("tenantproof", &a.tenant().to_string(), "k/1");
    let there: bool = redis::cmd("EXISTS").arg(&key).query_async(&mut bare).await.unwrap();
    assert!(there, "{key}");
}

async fn bare(redis: &Redis) -> redis::aio::MultiplexedConnection {
    redis::Client::open(redis.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap()
}

#[tokio::test]
async fn values_expire() {
    let options = CacheOptions {
        ttl: Duration::from_millis(60),
        negative_ttl: Duration::ZERO,
        ..CacheOptions::default()
    };
    let mut caches = vec![Cache::in_process(options.clone())];
    let redis = (!absent("redis-server", "redis-server")).then(Redis::start);
    if let Some(redis) = &redis {
        caches.push(Cache::redis(&redis.url(), options).await.unwrap());
    }
    for cache in caches {
        let a = tenant();
        put(&cache, &a, "k", "1", "v").await;
        let started = Instant::now();
        while got(&cache, &a, "k", "1").await.is_some() {
            assert!(started.elapsed() < Duration::from_secs(20), "it never expires");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let nothing = || async { Ok::<Option<String>, CacheError>(None) };
        cache.get_or_load("k", "2", nothing).in_tenant(a.clone()).await.unwrap();
        assert_eq!(got(&cache, &a, "k", "2").await, None, "zero: not remembered");
    }
}

#[tokio::test]
async fn one_tenant_cannot_push_out_anothers_values() {
    let options = CacheOptions {
        max_bytes: 20_000,
        ..CacheOptions::default()
    };
    let mut caches = vec![Cache::in_process(options.clone())];
    let redis = (!absent("redis-server", "redis-server")).then(Redis::start);
    if let Some(redis) = &redis {
        caches.push(Cache::redis(&redis.url(), options).await.unwrap());
    }
    for cache in &caches {
        let (quiet, greedy) = (tenant(), tenant());
        for n in 0..10 {
            put(cache, &quiet, "hot", &n.to_string(), "v").await;
        }
        let large = "x".repeat(1_000);
        for n in 0..500 {
            put(cache, &greedy, "flood", &n.to_string(), &large).await;
        }
        for n in 0..10 {
            assert!(
                got(cache, &quiet, "hot", &n.to_string()).await.is_some(),
                "{n} is still there"
            );
        }
        let mut kept = 0;
        for n in 0..500 {
            kept += usize::from(got(cache, &greedy, "flood", &n.to_string()).await.is_some());
        }
        // In the process, what is over the bound goes a little later.
        assert!(kept < 200, "the greedy one is kept within its bound: {kept}");
        put(cache, &greedy, "flood", "huge", &"x".repeat(50_000)).await;
    }
    if let Some(redis) = &redis {
        let mut bare = bare(redis).await;
        let keys: usize = redis::cmd("DBSIZE").query_async(&mut bare).await.unwrap();
        assert!(keys < 60, "{keys} keys are left in Redis");
    }
}

#[tokio::test]
async fn a_corrupted_value_is_a_miss_and_is_counted() {
    if absent("redis-server", "redis-server") {
        return;
    }
    let redis = Redis::start();
    let cache = Cache::redis(&redis.url(), CacheOptions::default()).await.unwrap();
    let usage = Usage::default();
    cache.count_in(&usage);
    let a = tenant();
    let mut bare = bare(&redis).await;
    let key = cache_key("tenantproof", &a.tenant().to_string(), "k/1");
    for (n, cut) in [("short", 3), ("torn", 27)] {
        put(&cache, &a, "k", "1", "value").await;
        let bytes: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut bare).await.unwrap();
        redis::cmd("SET")
            .arg(&key)
            .arg(&bytes[..cut])
            .query_async::<()>(&mut bare)
            .await
            .unwrap();
        let loaded = cache
            .get_or_load("k", "1", || async { Ok::<_, CacheError>(Some("loaded".to_owned())) })
            .in_tenant(a.clone())
            .await;
        assert_eq!(loaded.unwrap().as_deref(), Some("loaded"), "{n}");
    }
    // Another type than it was written as.
    put(&cache, &a, "k", "2", "text").await;
    assert_eq!(cache.get::<u64>("k", "2").in_tenant(a.clone()).await.unwrap(), None);
    assert_eq!(cache.stats().corrupted, 3);
    assert_eq!(usage.total(a.tenant(), Metric::CacheMisses), 3);
    assert!(usage.total(a.tenant(), Metric::Bytes) > 0);
}

#[tokio::test]
async fn without_redis_the_database_answers_and_missed_invalidations_are_made_good() {
    if absent("redis-server", "redis-server") {
        return;
    }
    let redis = Redis::start();
    let cache = Cache::redis(&redis.url(), CacheOptions::default()).await.unwrap();
    let a = tenant();
    put(&cache, &a, "k", "1", "v").await;
    assert!(got(&cache, &a, "k", "1").await.is_some());
    // It does not answer, and does not die: its values are still there when it comes back.
    let mut pause = bare(&redis).await;
    redis::cmd("CLIENT")
        .arg("PAUSE")
        .arg(1_500)
        .arg("ALL")
        .query_async::<()>(&mut pause)
        .await
        .unwrap();
    let load = || async { Ok::<_, CacheError>(Some("from the database".to_owned())) };
    let found = cache.get_or_load("k", "1", load).in_tenant(a.clone()).await.unwrap();
    assert_eq!(found.as_deref(), Some("from the database"));
    assert!(cache.stats().degraded > 0);
    assert!(
        cache.invalidate_kind("k").in_tenant(a.clone()).await.is_err(),
        "it could not be told"
    );
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < Duration::from_secs(20), "it never comes back");
        let before = cache.stats();
        let found = got(&cache, &a, "k", "1").await;
        assert_eq!(found, None, "it was invalidated meanwhile");
        if cache.stats().degraded == before.degraded {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Killed and started again, empty.
    redis.kill();
    let found = cache.get_or_load("k", "2", load).in_tenant(a.clone()).await.unwrap();
    assert_eq!(found.as_deref(), Some("from the database"));
    redis.restart();
    let started = Instant::now();
    while got(&cache, &a, "k", "2").await.is_none() {
        assert!(started.elapsed() < Duration::from_secs(20), "it never comes back");
        cache.get_or_load("k", "2", load).in_tenant(a.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A service starts also while Redis is down.
    redis.kill();
    let late = Cache::redis(&redis.url(), CacheOptions::default()).await.unwrap();
    assert_eq!(
        late.get_or_load("k", "3", load).in_tenant(a).await.unwrap().as_deref(),
        Some("from the database")
    );
    assert!(matches!(
        Cache::redis("nonsense", CacheOptions::default()).await,
        Err(CacheError::Url(_))
    ));
}
