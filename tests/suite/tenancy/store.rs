//! Transactions that work for a tenant: bound in one message, ended with nothing left behind, also behind a pooler.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tenantproof::tenancy::{
    FutureExt as _, NewTenant, Pooler, Store, StoreError, StoreOptions, TenantContext, TenantId, UserId,
};

use crate::tenancy_support::{House, LOGIN, PgBouncer, absent};

async fn add_document(store: &Store, slug: &str) -> Result<(), StoreError> {
    let tenant = TenantContext::current()?.tenant();
    let mut tx = store.begin().await?;
    sqlx::query("INSERT INTO documents (tenant_id, slug, title) VALUES ($1, $2, $2)")
        .bind(tenant.uuid())
        .bind(slug)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

async fn slugs(store: &Store) -> Result<Vec<String>, StoreError> {
    let mut tx = store.begin().await?;
    let slugs = sqlx::query_scalar("SELECT slug FROM documents ORDER BY slug")
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(slugs)
}

#[tokio::test]
async fn without_a_context_nothing_is_opened() {
    let house = House::new().await;
    let store = house.store().await;
    assert!(matches!(store.begin().await, Err(StoreError::NoTenant(_))));
    // And what is not bound reaches nothing, though the pool's login is a member of all roles.
    let mut login = sqlx::PgPool::connect_with(house.login())
        .await
        .unwrap()
        .acquire()
        .await
        .unwrap()
        .detach();
    let refused = sqlx::query("SELECT * FROM documents")
        .fetch_all(&mut login)
        .await
        .unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().as_deref(), Some("42501"));
    drop(login);
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn each_tenant_sees_its_own_and_the_server_one_at_a_time() {
    let house = House::new().await;
    let store = house.store().await;
    let (a, b) = (house.tenant(&store, "a").await, house.tenant(&store, "b").await);
    add_document(&store, "of-a").in_tenant(a.member()).await.unwrap();
    add_document(&store, "of-b").in_tenant(b.member()).await.unwrap();
    assert_eq!(slugs(&store).in_tenant(a.member()).await.unwrap(), ["of-a"]);
    assert_eq!(slugs(&store).in_tenant(b.admin()).await.unwrap(), ["of-b"]);
    // A user who is a member elsewhere only.
    let stranger = TenantContext::admin(a.id, b.user);
    assert_eq!(
        slugs(&store).in_tenant(stranger.clone()).await.unwrap(),
        Vec::<String>::new()
    );
    let refused = add_document(&store, "planted").in_tenant(stranger).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    // The server for one tenant, and for none.
    let service = store.service();
    assert_eq!(slugs(&store).in_tenant(service.context(a.id)).await.unwrap(), ["of-a"]);
    let mut register = service.begin_register().await.unwrap();
    let all: Vec<String> = sqlx::query_scalar("SELECT slug FROM documents")
        .fetch_all(&mut *register)
        .await
        .unwrap();
    assert_eq!(all, Vec::<String>::new());
    register.rollback().await.unwrap();
    assert_eq!(service.tenants().await.unwrap().len(), 2);
    // Claims that name another tenant than the context does open neither.
    let claims = serde_json::json!({"sub": b.user, "app_metadata": {"tenant_id": b.id}});
    let torn = a.member().with_claims(claims);
    assert_eq!(slugs(&store).in_tenant(torn).await.unwrap(), Vec::<String>::new());
    let claims = serde_json::json!({"sub": a.user, "app_metadata": {"tenant_id": a.id}});
    assert_eq!(
        slugs(&store).in_tenant(a.member().with_claims(claims)).await.unwrap(),
        ["of-a"]
    );
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn a_login_that_may_too_much_or_too_little_is_refused_with_what_to_do() {
    let house = House::new().await;
    let (_, _, name) = house.place();
    let superuser = StoreOptions::new(house.login().username("postgres"));
    let error = Store::connect(superuser).await.unwrap_err().to_string();
    assert!(error.contains("superuser") && error.contains("NOINHERIT"), "{error}");
    house
        .sql(&format!(
            "CREATE ROLE weak_{name} LOGIN; CREATE ROLE heir_{name} LOGIN INHERIT IN ROLE tenantproof_member"
        ))
        .await;
    let weak = Store::connect(StoreOptions::new(house.login().username(&format!("weak_{name}"))))
        .await
        .unwrap_err()
        .to_string();
    assert!(weak.contains("GRANT tenantproof_member TO weak_"), "{weak}");
    let heir = Store::connect(StoreOptions::new(house.login().username(&format!("heir_{name}"))))
        .await
        .unwrap_err()
        .to_string();
    assert!(heir.contains("NOINHERIT"), "{heir}");
    let empty = Store::connect(StoreOptions::new(
        house.login().username("postgres").database("postgres"),
    ))
    .await;
    assert!(matches!(empty, Err(StoreError::NoSchema)), "{empty:?}");
    let nowhere = StoreOptions::from_url("postgres://app:s3cret@localhost:1/app")
        .unwrap()
        .deadline(Duration::from_millis(200));
    let error = format!("{:#?}", Store::connect(nowhere).await.unwrap_err());
    assert!(error.contains("localhost:1") && !error.contains("s3cret"), "{error}");
    assert!(matches!(StoreOptions::from_url("mysql://x"), Err(StoreError::Url(_))));
    house
        .sql(&format!("DROP ROLE weak_{name}; DROP ROLE heir_{name}"))
        .await;
    house.stop().await;
}

#[tokio::test]
async fn binding_costs_one_message_and_a_refused_one_leaves_the_connection_clean() {
    let house = House::new().await;
    let (_, _, name) = house.place();
    // A login of its own, whose rights change while the store runs.
    house
        .sql(&format!(
            "CREATE ROLE own_{name} LOGIN NOINHERIT IN ROLE tenantproof_member, tenantproof_admin, tenantproof_service"
        ))
        .await;
    let store = Store::connect(StoreOptions::new(house.login().username(&format!("own_{name}"))).max_connections(1))
        .await
        .unwrap();
    let a = house.tenant(&store, "a").await;
    house.sql(&format!("REVOKE tenantproof_member FROM own_{name}")).await;
    for _ in 0..3 {
        let refused = slugs(&store).in_tenant(a.member()).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }
    house.sql(&format!("GRANT tenantproof_member TO own_{name}")).await;
    assert_eq!(slugs(&store).in_tenant(a.member()).await.unwrap(), Vec::<String>::new());
    store.close().await;
    house.sql(&format!("DROP ROLE own_{name}")).await;
    house.stop().await;
}

#[tokio::test]
async fn a_transaction_dropped_anywhere_leaves_no_tenant_on_the_connection() {
    let house = House::new().await;
    // One connection, so that whoever comes next gets the one that was left.
    let store = Store::connect(house.options().max_connections(1)).await.unwrap();
    let (a, b) = (house.tenant(&store, "a").await, house.tenant(&store, "b").await);
    add_document(&store, "of-b").in_tenant(b.member()).await.unwrap();
    for step in 0..60_u64 {
        let limit = Duration::from_micros(step * 20);
        let work = async {
            let mut tx = store.begin().await?;
            sqlx::query("INSERT INTO documents (tenant_id, slug, title) VALUES ($1, 'torn', 'torn')")
                .bind(a.id.uuid())
                .execute(&mut *tx)
                .await?;
            sqlx::query("SELECT pg_sleep(0.002)").execute(&mut *tx).await?;
            tx.rollback().await
        };
        let _ = tokio::time::timeout(limit, work.in_tenant(a.member())).await;
        let found = slugs(&store).in_tenant(b.member()).await.unwrap();
        assert_eq!(found, ["of-b"], "after {limit:?}");
        let mut register = store.service().begin_register().await.unwrap();
        let tenant: String = sqlx::query_scalar("SELECT current_setting('app.tenant_id')")
            .fetch_one(&mut *register)
            .await
            .unwrap();
        assert_eq!(tenant, "");
        register.commit().await.unwrap();
    }
    assert_eq!(slugs(&store).in_tenant(a.member()).await.unwrap(), Vec::<String>::new());
    assert_eq!(
        house.count("SELECT count(*) FROM documents WHERE slug = 'torn'").await,
        0
    );
    // Cut off while it opens, at each of the points where it waits: the server has begun, and the driver does not know yet.
    for polls in 1..12 {
        {
            let mut opening = Box::pin(store.begin().in_tenant(a.member()));
            for _ in 0..polls {
                if futures_util::FutureExt::now_or_never(opening.as_mut()).is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        // Nobody takes the connection meanwhile, so only what was cut off can end the transaction.
        let open = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '{LOGIN}' AND datname = current_database() AND state LIKE 'idle in transaction%'"
        );
        let started = std::time::Instant::now();
        while house.count(&open).await > 0 {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "a transaction stays open after {polls} polls"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(slugs(&store).in_tenant(b.member()).await.unwrap(), ["of-b"]);
    }
    // A panic in the middle.
    let panicked = tokio::spawn({
        let store = store.clone();
        async move {
            let _tx = store.begin().await.unwrap();
            panic!("on purpose");
        }
        .in_tenant(a.member())
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(slugs(&store).in_tenant(b.member()).await.unwrap(), ["of-b"]);
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn serialization_failures_are_tried_again() {
    let house = House::new().await;
    let store = house.store().await;
    let a = house.tenant(&store, "a").await;
    add_document(&store, "counter").in_tenant(a.member()).await.unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = || async {
        begun.fetch_add(1, Ordering::Relaxed);
        let mut tx = store.begin_serializable().await?;
        let before: String = sqlx::query_scalar("SELECT body FROM documents WHERE slug = 'counter'")
            .fetch_one(&mut *tx)
            .await?;
        let next = before.parse::<u32>().unwrap_or(0) + 1;
        // Both have read before either writes.
        sqlx::query("SELECT pg_sleep(0.02)").execute(&mut *tx).await?;
        sqlx::query("UPDATE documents SET body = $1 WHERE slug = 'counter'")
            .bind(next.to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    };
    async {
        let (one, two) = tokio::join!(store.run(count), store.run(count));
        one.unwrap();
        two.unwrap();
    }
    .in_tenant(a.member())
    .await;
    assert_eq!(
        house
            .count("SELECT body::bigint FROM documents WHERE slug = 'counter'")
            .await,
        2
    );
    assert!(
        store.retries() >= 1 && begun.load(Ordering::Relaxed) >= 3,
        "one of them had to begin again"
    );
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn a_deadline_ends_statements_and_units_of_work() {
    let house = House::new().await;
    let store = Store::connect(house.options().deadline(Duration::from_millis(150)))
        .await
        .unwrap();
    let a = house.tenant(&store, "a").await;
    async {
        let mut tx = store.begin().await.unwrap();
        let cut = sqlx::query("SELECT pg_sleep(10)").execute(&mut *tx).await.unwrap_err();
        assert_eq!(StoreError::from(cut).code().as_deref(), Some("57014"));
        drop(tx);
        let late: Result<(), StoreError> = store.run(std::future::pending).await;
        assert!(matches!(late, Err(StoreError::Deadline { .. })), "{late:?}");
    }
    .in_tenant(a.member())
    .await;
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn connections_that_the_server_ended_are_replaced() {
    let house = House::new().await;
    let store = house.store().await;
    let a = house.tenant(&store, "a").await;
    for round in 0..3 {
        async {
            let (x, y, z) = tokio::join!(store.begin(), store.begin(), store.begin());
            drop((x.unwrap(), y.unwrap(), z.unwrap()));
        }
        .in_tenant(a.member())
        .await;
        house
            .sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{LOGIN}' AND datname = current_database()"))
            .await;
        store
            .run(|| {
                add_document(
                    &store,
                    if round == 0 {
                        "r0"
                    } else if round == 1 {
                        "r1"
                    } else {
                        "r2"
                    },
                )
            })
            .in_tenant(a.member())
            .await
            .unwrap();
    }
    assert_eq!(slugs(&store).in_tenant(a.member()).await.unwrap(), ["r0", "r1", "r2"]);
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn savepoints_inside_a_bound_transaction_keep_its_tenant() {
    use sqlx::Connection as _;
    let house = House::new().await;
    let store = house.store().await;
    let a = house.tenant(&store, "a").await;
    async {
        let mut tx = store.begin().await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        sqlx::query("INSERT INTO documents (tenant_id, slug, title) VALUES ($1, 'kept', '')")
            .bind(a.id.uuid())
            .execute(&mut *inner)
            .await
            .unwrap();
        inner.commit().await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        sqlx::query("INSERT INTO documents (tenant_id, slug, title) VALUES ($1, 'undone', '')")
            .bind(a.id.uuid())
            .execute(&mut *inner)
            .await
            .unwrap();
        inner.rollback().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(slugs(&store).await.unwrap(), ["kept"]);
    }
    .in_tenant(a.member())
    .await;
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn behind_pgbouncer_in_transaction_mode_tenants_share_servers_and_nothing_else() {
    if absent("pgbouncer", "pgbouncer") {
        return;
    }
    let house = House::new().await;
    let direct = house.store().await;
    let mut homes = Vec::new();
    for name in ["a", "b", "c", "d"] {
        homes.push(house.tenant(&direct, name).await);
    }
    let pgbouncer = PgBouncer::start(&house, 2);
    let options = StoreOptions::new(pgbouncer.options(&house))
        .pooler(Pooler::Transaction)
        .max_connections(8);
    let store = Store::connect(options).await.unwrap();
    // Somebody else leaves session-level settings on the servers they share.
    let mut careless = sqlx::PgConnection::connect_with(
        &pgbouncer
            .options(&house)
            .statement_cache_capacity(0)
            .extra_float_digits(None),
    )
    .await
    .unwrap();
    for _ in 0..4 {
        let leave = format!(
            "SELECT set_config('app.tenant_id', '{}', false), set_config('app.user_id', '{}', false)",
            homes[0].id, homes[0].user
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(leave))
            .execute(&mut careless)
            .await
            .unwrap();
    }
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (store, home) = (store.clone(), homes[task % 4].clone());
            tokio::spawn(async move {
                for round in 0..10 {
                    let slug = format!("{}-{task}-{round}", home.slug);
                    add_document(&store, &slug).in_tenant(home.member()).await.unwrap();
                    let seen = slugs(&store).in_tenant(home.member()).await.unwrap();
                    assert!(
                        seen.contains(&slug) && seen.iter().all(|s| s.starts_with(&home.slug)),
                        "{seen:?}"
                    );
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut register = store.service().begin_register().await.unwrap();
    let tenant: String = sqlx::query_scalar("SELECT current_setting('app.tenant_id')")
        .fetch_one(&mut *register)
        .await
        .unwrap();
    assert_eq!(tenant, "", "what was left there is not taken up");
    register.commit().await.unwrap();
    assert_eq!(house.count("SELECT count(*) FROM documents").await, 80);
    drop(careless);
    for store in [store, direct] {
        store.close().await;
    }
    drop(pgbouncer);
    house.stop().await;
}

use sqlx::Connection as _;

#[tokio::test]
async fn the_register_makes_changes_and_deletes_tenants() {
    let house = House::new().await;
    let store = house.store().await;
    let service = store.service();
    let base = house.tenant(&store, "base").await;
    let heir = service
        .create_tenant(NewTenant::named("heir").inheriting(base.id))
        .await
        .unwrap();
    let grandchild = service
        .create_tenant(NewTenant::named("grandchild").inheriting(heir.id))
        .await
        .unwrap();
    assert_eq!(service.find("heir").await.unwrap().unwrap().base, Some(base.id));
    assert_eq!(service.find(&heir.id.to_string()).await.unwrap().unwrap().slug, "heir");
    assert!(service.find("nobody").await.unwrap().is_none());
    // Circles, also through others.
    for (tenant, wanted) in [(base.id, heir.id), (base.id, grandchild.id), (base.id, base.id)] {
        let refused = service.set_base(tenant, Some(wanted)).await.unwrap_err();
        assert_eq!(refused.code().as_deref(), Some("23000"), "{refused:?}");
    }
    // Two changes at once that close a circle together.
    let (x, y) = (house.tenant(&store, "x").await, house.tenant(&store, "y").await);
    let (one, two) = tokio::join!(service.set_base(x.id, Some(y.id)), service.set_base(y.id, Some(x.id)));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(
        service
            .create_tenant(NewTenant::named("heir"))
            .await
            .unwrap_err()
            .code()
            .as_deref(),
        Some("23505")
    );
    assert_eq!(
        service
            .create_tenant(NewTenant::named("orphan").inheriting(TenantId::random()))
            .await
            .unwrap_err()
            .code()
            .as_deref(),
        Some("23503")
    );
    assert!(service.delete_tenant(base.id).await.is_err(), "others inherit from it");
    service.set_base(heir.id, None).await.unwrap();
    assert_eq!(
        house
            .count(&format!(
                "SELECT count(*) FROM tenant_bases WHERE tenant_id = '{}'",
                grandchild.id
            ))
            .await,
        2
    );
    service.delete_tenant(base.id).await.unwrap();
    assert!(service.delete_tenant(base.id).await.is_err(), "it is gone");
    assert!(service.set_suspended(TenantId::random(), true).await.is_err());
    // Suspension ends what members may do.
    let home = house.tenant(&store, "home").await;
    add_document(&store, "d").in_tenant(home.member()).await.unwrap();
    service.set_suspended(home.id, true).await.unwrap();
    assert_eq!(
        slugs(&store).in_tenant(home.member()).await.unwrap(),
        Vec::<String>::new()
    );
    let again = UserId::random();
    assert!(
        service
            .add_member(home.id, again, &format!("{}@example.com", home.user), false)
            .await
            .is_err(),
        "the address is taken"
    );
    store.close().await;
    house.stop().await;
}
