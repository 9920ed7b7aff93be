//! What the tenancy system costs: settings and cache hits, a bound transaction against the same statements by hand, Redis
//! against the bare client, an effective configuration, migrations.
//!
//! `cargo bench --no-default-features --bench tenancy`. Needs a local PostgreSQL; Redis where it is installed. `TENANTS` says
//! how many are migrated (10,000). What is compared is in groups of one name: the ratio of medians counts.

#[path = "../tests/support/bench.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod bench;
#[path = "../tests/support/providers.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod providers;
#[path = "../tests/support/tenancy.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod tenancy_support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use divan::Bencher;
use sqlx::Connection as _;
use tenantproof::tenancy::{
    Cache, CacheOptions, Change, FutureExt as _, Layers, Migrator, NewTenant, SWITCH, Settings, SettingsSource, Store,
    TenantContext, with_tenant,
};
use tokio::runtime::Runtime;

use tenancy_support::{Home, House, Redis};

/// What all of them stand on.
struct Ground {
    runtime: Runtime,
    house: House,
    store: Store,
    home: Home,
    heir: Home,
    redis: Redis,
}

fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (house, store, home, heir) = runtime.block_on(async {
            let house = House::new().await;
            let store = house.store().await;
            let home = house.tenant(&store, "a").await;
            house
                .sql("INSERT INTO documents (tenant_id, slug, title) SELECT t.id, 'd' || n, 'title' FROM tenants t, generate_series(1, 100) n")
                .await;
            // 200 keys over a chain of three.
            house
                .sql(
                    "INSERT INTO configuration_schema_versions (version, description, definition, steps)
                     SELECT 3, 'bench', jsonb_object_agg('key' || n, '{\"type\": \"number\", \"default\": 0}'::jsonb), '[]' FROM generate_series(1, 200) n",
                )
                .await;
            let base = house.tenant(&store, "base").await;
            let middle = Home::new(&store, NewTenant::named("middle").inheriting(base.id)).await;
            let heir = Home::new(&store, NewTenant::named("heir").inheriting(middle.id)).await;
            for (home, every) in [(&base, 1), (&middle, 2), (&heir, 3)] {
                let changes: Vec<Change> = (1..=200).filter(|n| n % every == 0).map(|n| Change::set(format!("key{n}"), n)).collect();
                let context = store.service().context(home.id);
                store.configurations().apply_tenant_configuration_changes(&changes).in_tenant(context).await.expect("set");
            }
            (house, store, home, heir)
        });
        Ground {
            runtime,
            house,
            store,
            home,
            heir,
            redis: Redis::start(),
        }
    })
}

fn main() {
    divan::main();
    if !std::env::args().any(|a| a == "--list" || a == "--test") {
        migrations();
    }
}

/// Settings of the current tenant, cached.
#[divan::bench]
fn settings_hit(bencher: Bencher) {
    let g = ground();
    let layers = Layers::new().environment([(SWITCH, "true")]);
    let hour = Duration::from_secs(3_600);
    // A tenant of the older version, whose keys are settings.
    let source = SettingsSource::<Settings>::with_intervals(g.store.clone(), layers, hour, hour).expect("layers");
    g.runtime
        .block_on(source.for_current_tenant().in_tenant(g.home.member()))
        .expect("settings");
    // Within one scope, as the many questions of one request are.
    scoped(bencher, g, g.home.member(), || async {
        drop(source.for_current_tenant().await.expect("settings"))
    });
}

#[divan::bench]
fn cache_get_in_process(bencher: Bencher) {
    let g = ground();
    let cache = Cache::in_process(CacheOptions::default());
    g.runtime
        .block_on(
            cache
                .put("kind", "1", &"a value of some length")
                .in_tenant(g.home.member()),
        )
        .expect("put");
    scoped(bencher, g, g.home.member(), || async {
        assert!(cache.get::<String>("kind", "1").await.expect("get").is_some())
    });
}

/// A hundred within a scope, so that starting the runtime for each does not count.
fn scoped<F: Future<Output = ()>>(bencher: Bencher, g: &Ground, context: TenantContext, work: impl Fn() -> F) {
    bencher
        .counter(divan::counter::ItemsCount::new(100_u32))
        .bench_local(|| {
            g.runtime.block_on(with_tenant(context.clone(), async {
                for _ in 0..100 {
                    work().await;
                }
            }));
        });
}

mod redis_get {
    use super::*;

    #[divan::bench(sample_count = 500)]
    fn bare_client(bencher: Bencher) {
        let g = ground();
        let mut connection = g.runtime.block_on(async {
            let client = redis::Client::open(g.redis.url()).expect("a URL");
            let mut connection = client.get_multiplexed_async_connection().await.expect("connects");
            redis::cmd("SET")
                .arg("bare")
                .arg("a value of some length")
                .query_async::<()>(&mut connection)
                .await
                .expect("set");
            connection
        });
        bencher.bench_local(|| {
            let value: Vec<u8> = g
                .runtime
                .block_on(redis::cmd("GET").arg("bare").query_async(&mut connection))
                .expect("get");
            value
        });
    }

    #[divan::bench(sample_count = 500)]
    fn cache(bencher: Bencher) {
        let g = ground();
        let cache = g
            .runtime
            .block_on(Cache::redis(&g.redis.url(), CacheOptions::default()))
            .expect("a URL");
        g.runtime
            .block_on(
                cache
                    .put("kind", "1", &"a value of some length")
                    .in_tenant(g.home.member()),
            )
            .expect("put");
        bencher.bench_local(|| {
            let found = g
                .runtime
                .block_on(cache.get::<String>("kind", "1").in_tenant(g.home.member()))
                .expect("get");
            assert!(found.is_some());
        });
    }
}

mod transaction {
    use super::*;

    const STATEMENT: &str = "SELECT slug FROM documents WHERE slug = $1";

    #[divan::bench(sample_count = 1000)]
    fn by_hand(bencher: Bencher) {
        let g = ground();
        let mut connection = g
            .runtime
            .block_on(sqlx::PgConnection::connect_with(&g.house.login()))
            .expect("connects");
        let (tenant, user) = (g.home.id.to_string(), g.home.user.to_string());
        bencher.bench_local(|| {
            g.runtime.block_on(async {
                let mut tx = connection.begin().await.expect("begins");
                sqlx::query(
                    "SELECT set_config('role', 'tenantproof_member', true), set_config('app.tenant_id', $1, true), set_config('app.user_id', $2, true)",
                )
                .bind(&tenant)
                .bind(&user)
                .execute(&mut *tx)
                .await
                .expect("binds");
                let slug: String = sqlx::query_scalar(STATEMENT).bind("d7").fetch_one(&mut *tx).await.expect("one");
                tx.commit().await.expect("commits");
                slug
            })
        });
    }

    /// The same through a pool, as a service has one.
    #[divan::bench(sample_count = 1000)]
    fn by_hand_in_a_pool(bencher: Bencher) {
        let g = ground();
        let pool = g.runtime.block_on(async {
            let options = sqlx::postgres::PgPoolOptions::new()
                .max_connections(4)
                .test_before_acquire(false);
            options.connect_with(g.house.login()).await.expect("connects")
        });
        let (tenant, user) = (g.home.id.to_string(), g.home.user.to_string());
        bencher.bench_local(|| {
            g.runtime.block_on(async {
                let mut tx = pool.begin().await.expect("begins");
                sqlx::query(
                    "SELECT set_config('role', 'tenantproof_member', true), set_config('app.tenant_id', $1, true), set_config('app.user_id', $2, true)",
                )
                .bind(&tenant)
                .bind(&user)
                .execute(&mut *tx)
                .await
                .expect("binds");
                let slug: String = sqlx::query_scalar(STATEMENT).bind("d7").fetch_one(&mut *tx).await.expect("one");
                tx.commit().await.expect("commits");
                slug
            })
        });
    }

    #[divan::bench(sample_count = 1000)]
    fn store(bencher: Bencher) {
        let g = ground();
        bencher.bench_local(|| {
            g.runtime.block_on(
                async {
                    let mut tx = g.store.begin().await.expect("begins");
                    let slug: String = sqlx::query_scalar(STATEMENT)
                        .bind("d7")
                        .fetch_one(&mut *tx)
                        .await
                        .expect("one");
                    tx.commit().await.expect("commits");
                    slug
                }
                .in_tenant(g.home.member()),
            )
        });
    }
}

/// 200 keys over a chain of three, in one query, its transaction included.
#[divan::bench(sample_count = 300)]
fn effective_configuration(bencher: Bencher) {
    let g = ground();
    bencher.bench_local(|| {
        let effective = g
            .runtime
            .block_on(g.store.configurations().effective().in_tenant(g.heir.member()))
            .expect("effective");
        assert_eq!(effective.len(), 200);
    });
}

/// Not by divan: once is enough, and takes its time.
fn migrations() {
    let g = ground();
    let tenants: usize = std::env::var("TENANTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    let report = g.runtime.block_on(async {
        g.house
            .sql(&format!(
                "INSERT INTO tenants (slug, display_name) SELECT 'many' || n, '' FROM generate_series(1, {tenants}) n;
                 INSERT INTO tenant_schema_states (tenant_id, version) SELECT id, 3 FROM tenants WHERE slug LIKE 'many%';
                 INSERT INTO tenant_configurations (tenant_id, key, value_type, value) SELECT id, 'key' || n, 'number', '1' FROM tenants, generate_series(1, 5) n WHERE slug LIKE 'many%';
                 INSERT INTO configuration_schema_versions (version, description, definition, steps)
                 SELECT 4, 'bench', jsonb_object_agg('key' || n, '{{\"type\": \"number\"}}'::jsonb) || '{{\"renamed\": {{\"type\": \"number\"}}}}', '[{{\"rename\": {{\"from\": \"key1\", \"to\": \"renamed\"}}}}]' FROM generate_series(1, 200) n;
                 ANALYZE"
            ))
            .await;
        let started = Instant::now();
        let report = Migrator::new(&g.store).parallelism(4).run(|_| ()).await.expect("migrates");
        (report, started.elapsed())
    });
    println!(
        "migrations: {} tenants, {} values changed, {} failed, in {:.1} s",
        report.0.migrated,
        report.0.changed_values,
        report.0.failed.len(),
        report.1.as_secs_f64()
    );
}
