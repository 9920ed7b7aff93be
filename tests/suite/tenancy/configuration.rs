//! Configurations: what holds, what may be changed, and how versions of the schema are migrated.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tenantproof::tenancy::{
    Change, ConfigurationError, Configurations, Expected, Fault, FutureExt as _, Migrator, NewTenant, Origin, Store,
    StoreError, TenantId,
};

use crate::tenancy_support::{Home, House};

/// A version of the schema that later ones are made from.
pub async fn version(house: &House, version: i32, definition: Value, steps: Value) {
    house
        .sql(&format!(
            "INSERT INTO configuration_schema_versions (version, description, definition, steps) VALUES ({version}, 'test', '{definition}', '{steps}')"
        ))
        .await;
}

async fn own(configurations: &Configurations, home: &Home, key: &str) -> Value {
    configurations
        .get(key)
        .in_tenant(home.admin())
        .await
        .unwrap()
        .unwrap()
        .value
}

#[tokio::test]
async fn a_value_is_own_inherited_or_a_default_and_says_so() {
    let house = House::new().await;
    let store = house.store().await;
    let base = house.tenant(&store, "base").await;
    let middle = Home::new(&store, NewTenant::named("middle").inheriting(base.id)).await;
    let heir = Home::new(&store, NewTenant::named("heir").inheriting(middle.id)).await;
    let other = house.tenant(&store, "other").await;
    let configurations = store.configurations();
    let apply = |home: &Home, changes: Vec<Change>| {
        let (configurations, context) = (configurations.clone(), home.admin());
        async move {
            configurations
                .apply_tenant_configuration_changes(&changes)
                .in_tenant(context)
                .await
        }
    };
    apply(
        &base,
        vec![
            Change::set("cache.ttl_seconds", 100),
            Change::set("search.model", "large"),
        ],
    )
    .await
    .unwrap();
    apply(&middle, vec![Change::set("search.model", "small")])
        .await
        .unwrap();
    apply(&heir, vec![Change::set("search.enabled", true)]).await.unwrap();
    let effective = configurations.effective().in_tenant(heir.member()).await.unwrap();
    let seen: Vec<(&str, &Value, Origin)> = effective
        .iter()
        .map(|(k, e)| (k.as_str(), &e.value, e.origin))
        .collect();
    assert_eq!(
        seen,
        [
            (
                "cache.ttl_seconds",
                &json!(100),
                Origin::Inherited {
                    tenant: base.id,
                    depth: 2
                }
            ),
            ("documents.retention_days", &json!(365), Origin::Default { version: 2 }),
            ("search.enabled", &json!(true), Origin::Own),
            (
                "search.model",
                &json!("small"),
                Origin::Inherited {
                    tenant: middle.id,
                    depth: 1
                }
            ),
        ]
    );
    // The server sees the same, another tenant none of it, and who inherits is not known to the base.
    let server = configurations
        .effective()
        .in_tenant(store.service().context(heir.id))
        .await
        .unwrap();
    assert_eq!(server, effective);
    let foreign = configurations.effective().in_tenant(other.admin()).await.unwrap();
    assert!(
        foreign.values().all(|e| matches!(e.origin, Origin::Default { .. })),
        "{foreign:?}"
    );
    assert_eq!(own(&configurations, &base, "search.enabled").await, json!(false));
    assert_eq!(
        configurations.get("nothing").in_tenant(heir.member()).await.unwrap(),
        None
    );

    // "Base says final": heirs cannot override, and what they had does not count.
    apply(&base, vec![Change::lock("search.model", "we pay for it")])
        .await
        .unwrap();
    let locked = configurations
        .get("search.model")
        .in_tenant(heir.member())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((locked.value, locked.locked), (json!("large"), true));
    let refused = apply(
        &heir,
        vec![
            Change::set("search.enabled", false),
            Change::set("search.model", "mine"),
        ],
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&refused, ConfigurationError::Locked { key, by, .. } if key == "search.model" && *by == base.id),
        "{refused:?}"
    );
    assert_eq!(
        own(&configurations, &heir, "search.enabled").await,
        json!(true),
        "all or nothing"
    );
    // The database says the same to who passes the library by.
    async {
        let mut tx = store.begin().await.unwrap();
        let refused = sqlx::query(
            "INSERT INTO tenant_configurations (tenant_id, key, value) VALUES ($1, 'search.model', '\"mine\"')",
        )
        .bind(heir.id.uuid())
        .execute(&mut *tx)
        .await
        .unwrap_err();
        assert_eq!(StoreError::from(refused).code().as_deref(), Some("42501"));
    }
    .in_tenant(heir.admin())
    .await;
    // Removing an override is allowed, and the base may still change its own.
    apply(&middle, vec![Change::unset("search.model")]).await.unwrap();
    apply(
        &base,
        vec![Change::set("search.model", "huge"), Change::unlock("search.model")],
    )
    .await
    .unwrap();
    assert_eq!(own(&configurations, &heir, "search.model").await, json!("huge"));
    apply(&heir, vec![Change::set("search.model", "mine")]).await.unwrap();
    assert_eq!(
        configurations.locks().in_tenant(base.admin()).await.unwrap(),
        BTreeMap::new()
    );
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn changes_are_checked_and_done_all_or_none() {
    let house = House::new().await;
    let store = house.store().await;
    let home = house.tenant(&store, "a").await;
    let configurations = store.configurations();
    let apply = |changes: Vec<Change>| {
        let (configurations, context) = (configurations.clone(), home.admin());
        async move {
            configurations
                .apply_tenant_configuration_changes(&changes)
                .in_tenant(context)
                .await
        }
    };
    let error = apply(vec![Change::set("search.model", "x"), Change::set("cache.ttl", 1)])
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConfigurationError::Invalid { key, fault: Fault::UnknownKey, .. } if key == "cache.ttl"),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(&home.id.to_string()) && error.to_string().contains("cache.ttl"),
        "{error}"
    );
    let error = apply(vec![Change::set("cache.ttl_seconds", "soon")]).await.unwrap_err();
    assert!(
        error.to_string().contains("\"soon\"") && error.to_string().contains("number"),
        "{error}"
    );
    let error = apply(vec![Change::set("search.model", "a"), Change::unset("search.model")])
        .await
        .unwrap_err();
    assert!(matches!(error, ConfigurationError::Twice { .. }), "{error:?}");
    assert_eq!(house.count("SELECT count(*) FROM tenant_configurations").await, 0);

    // Optimistic: what was read is what is changed.
    apply(vec![Change::set("search.model", "one").expecting(Expected::Absent)])
        .await
        .unwrap();
    let first = configurations
        .get("search.model")
        .in_tenant(home.admin())
        .await
        .unwrap()
        .unwrap()
        .version
        .unwrap();
    apply(vec![
        Change::set("search.model", "two").expecting(Expected::Version(first)),
    ])
    .await
    .unwrap();
    for stale in [
        Change::set("search.model", "three").expecting(Expected::Version(first)),
        Change::unset("search.model").expecting(Expected::Version(first)),
        Change::set("search.model", "three").expecting(Expected::Absent),
        Change::unset("search.enabled").expecting(Expected::Version(first)),
    ] {
        let error = apply(vec![Change::set("cache.ttl_seconds", 1), stale])
            .await
            .unwrap_err();
        assert!(matches!(error, ConfigurationError::Conflict { .. }), "{error:?}");
    }
    assert_eq!(own(&configurations, &home, "search.model").await, json!("two"));
    assert_eq!(own(&configurations, &home, "cache.ttl_seconds").await, json!(300));
    // Gone and made again is another version.
    apply(vec![Change::unset("search.model")]).await.unwrap();
    apply(vec![Change::set("search.model", "two")]).await.unwrap();
    assert!(
        apply(vec![Change::unset("search.model").expecting(Expected::Version(first))])
            .await
            .is_err()
    );

    // Two who expect nothing: one of them wins.
    let absent = |value: i32| {
        apply(vec![
            Change::set("documents.retention_days", value).expecting(Expected::Absent),
        ])
    };
    let (one, two) = tokio::join!(absent(1), absent(2));
    let lost = if one.is_ok() { two } else { one };
    assert!(matches!(lost, Err(ConfigurationError::Conflict { .. })), "{lost:?}");

    // A member may read and not write; without a context there is nothing.
    let refused = configurations
        .apply_tenant_configuration_changes(&[Change::set("search.enabled", true)])
        .in_tenant(home.member())
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ConfigurationError::Store(StoreError::Refused { .. })),
        "{refused:?}"
    );
    assert!(matches!(
        configurations.effective().await,
        Err(ConfigurationError::Store(StoreError::NoTenant(_)))
    ));

    // History and audit trail, with who did it.
    let history = configurations
        .history(Some("search.model"), 10)
        .in_tenant(home.member())
        .await
        .unwrap();
    let told: Vec<(&str, Option<Value>)> = history
        .iter()
        .map(|h| (h.command.as_str(), h.new_value.clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("INSERT", Some(json!("two"))),
            ("DELETE", None),
            ("UPDATE", Some(json!("two"))),
            ("INSERT", Some(json!("one")))
        ]
    );
    assert!(history.iter().all(|h| h.changed_by == Some(home.user)));
    assert!(
        house
            .count("SELECT count(*) FROM audit_log WHERE table_name = 'tenant_configurations'")
            .await
            >= 4
    );
    store.close().await;
    house.stop().await;
}

/// What one tenant of a chain has: values and locks by key.
type Level = (BTreeMap<u8, i32>, Vec<u8>);

/// The reference: chains from the tenant itself to its farthest base.
fn reference(chain: &[Level], key: u8) -> Option<(usize, i32)> {
    let values: Vec<(usize, i32)> = chain
        .iter()
        .enumerate()
        .filter_map(|(at, (values, _))| Some((at, *values.get(&key)?)))
        .collect();
    let farthest = values.last()?.0;
    // The farthest base that locked the key and has, or inherits, a value decides it.
    let lock = (1..chain.len())
        .filter(|at| chain[*at].1.contains(&key) && *at <= farthest)
        .max()
        .unwrap_or(0);
    values.into_iter().find(|(at, _)| *at >= lock)
}

#[test]
fn effective_values_are_those_of_the_reference_model() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::new());
    let store = runtime.block_on(house.store());
    let keys = json!({"k0": {"type": "number"}, "k1": {"type": "number"}, "k2": {"type": "number"}});
    runtime.block_on(version(&house, 3, keys, json!([])));
    let level = (
        prop::collection::btree_map(0_u8..3, 0..100, 0..4),
        prop::collection::vec(0_u8..3, 0..3),
    );
    let chains = prop::collection::vec(level, 1..5);
    let mut runner = TestRunner::new(Config {
        cases: 32,
        max_shrink_iters: 50,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&chains, |chain| {
        runtime.block_on(async {
            let mut base = None;
            let mut ids = Vec::new();
            for (values, locks) in chain.iter().rev() {
                let tenant = store.service().create_tenant(NewTenant { base, ..NewTenant::named(&TenantId::random().to_string()) }).await.unwrap();
                // As superuser, for a value may have been there before the lock.
                let mut sql = String::from("SELECT 1;");
                for (key, value) in values {
                    sql += &format!("INSERT INTO tenant_configurations (tenant_id, key, value_type, value) VALUES ('{}', 'k{key}', 'number', '{value}');", tenant.id);
                }
                for key in locks {
                    sql += &format!("INSERT INTO configuration_locks (tenant_id, key) VALUES ('{}', 'k{key}') ON CONFLICT DO NOTHING;", tenant.id);
                }
                house.sql(&sql).await;
                base = Some(tenant.id);
                ids.insert(0, tenant.id);
            }
            let context = store.service().context(ids[0]);
            let effective = store.configurations().effective().in_tenant(context).await.unwrap();
            for key in 0..3 {
                let found = effective.get(&format!("k{key}")).map(|e| {
                    let at = match e.origin {
                        Origin::Own => 0,
                        Origin::Inherited { tenant, depth } => {
                            assert_eq!(ids[depth as usize], tenant);
                            depth as usize
                        }
                        Origin::Default { .. } => panic!("no key has a default"),
                    };
                    (at, e.value.as_i64().unwrap() as i32)
                });
                prop_assert_eq!(found, reference(&chain, key), "k{} of {:?}", key, chain);
            }
            Ok(())
        })
    });
    runtime.block_on(async {
        store.close().await;
        house.stop().await;
    });
    outcome.unwrap();
}

async fn migrated(store: &Store) -> tenantproof::tenancy::Report {
    Migrator::new(store).run(|_| ()).await.unwrap()
}

#[tokio::test]
async fn migrations_go_from_version_to_version_and_a_failing_tenant_stops_nobody() {
    let house = House::new().await;
    let store = house.store().await;
    let mut homes = Vec::new();
    for slug in ["a", "b", "c"] {
        homes.push(house.tenant(&store, slug).await);
    }
    let configurations = store.configurations();
    let set = |home: &Home, changes: Vec<Change>| {
        let (configurations, context) = (configurations.clone(), home.admin());
        async move {
            configurations
                .apply_tenant_configuration_changes(&changes)
                .in_tenant(context)
                .await
                .unwrap()
        }
    };
    set(
        &homes[0],
        vec![
            Change::set("cache.ttl_seconds", 60),
            Change::set("search.model", "LARGE"),
            Change::lock("cache.ttl_seconds", "x"),
        ],
    )
    .await;
    set(
        &homes[1],
        vec![
            Change::set("search.model", "x"),
            Change::set("documents.retention_days", 7),
        ],
    )
    .await;
    set(&homes[2], vec![Change::set("cache.ttl_seconds", -5)]).await;
    version(
        &house,
        3,
        json!({"cache.seconds": {"type": "number", "minimum": 0}, "search.model": {"type": "string"}, "search.enabled": {"type": "boolean"},
               "documents.retention_days": {"type": "string"}}),
        json!([{"rename": {"from": "cache.ttl_seconds", "to": "cache.seconds"}}, {"custom": "lower"}, {"convert": {"key": "documents.retention_days", "to": "string"}}]),
    )
    .await;
    version(
        &house,
        4,
        json!({"cache.seconds": {"type": "number", "minimum": 0}, "model": {"type": "string"}, "tier": {"type": "string", "one_of": ["free", "paid"]}}),
        json!([{"rename": {"from": "search.model", "to": "model"}}, {"remove": "search.enabled"}, {"remove": "documents.retention_days"}, {"set": {"key": "tier", "value": "free"}}]),
    )
    .await;
    // Without the code that a step needs, every tenant fails and stays.
    let report = migrated(&store).await;
    assert_eq!((report.migrated, report.failed.len()), (0, 3), "{report:?}");
    assert!(report.failed[0].reason.contains("custom lower"), "{report:?}");
    let migrator = Migrator::new(&store).hook("lower", |values| {
        if let Some(Value::String(model)) = values.get_mut("search.model") {
            *model = model.to_lowercase();
        }
        Ok(())
    });
    // Dry: what would be, and nothing is.
    let before = house
        .count("SELECT hashtext(string_agg(c::text, ',' ORDER BY tenant_id, key))::bigint FROM tenant_configurations c")
        .await;
    let dry = migrator.clone().dry_run(true).run(|_| ()).await.unwrap();
    assert_eq!((dry.target, dry.migrated, dry.failed.len()), (4, 2, 1), "{dry:?}");
    assert_eq!(
        before,
        house
            .count(
                "SELECT hashtext(string_agg(c::text, ',' ORDER BY tenant_id, key))::bigint FROM tenant_configurations c"
            )
            .await
    );
    assert_eq!(
        house
            .count("SELECT max(version)::bigint FROM tenant_schema_states")
            .await,
        2
    );

    let report = migrator.run(|_| ()).await.unwrap();
    assert_eq!((report.migrated, report.unchanged), (2, 0), "{report:?}");
    let [failed] = report.failed.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!((failed.tenant, failed.version), (homes[2].id, 3));
    assert!(
        failed.reason.contains("cache.seconds") && failed.reason.contains("-5"),
        "{failed:?}"
    );
    assert_eq!(
        house
            .count("SELECT count(*) FROM tenant_schema_states WHERE pending_step LIKE 'version 3:%'")
            .await,
        1
    );
    let a = configurations.effective().in_tenant(homes[0].admin()).await.unwrap();
    let values: Vec<(&str, Value)> = a.iter().map(|(k, e)| (k.as_str(), e.value.clone())).collect();
    assert_eq!(
        values,
        [
            ("cache.seconds", json!(60)),
            ("model", json!("large")),
            ("tier", json!("free"))
        ]
    );
    let locks = configurations.locks().in_tenant(homes[0].admin()).await.unwrap();
    assert_eq!(locks.keys().map(String::as_str).collect::<Vec<_>>(), ["cache.seconds"]);
    // Those that are there are left alone; the mended one follows.
    set(&homes[2], vec![Change::set("cache.ttl_seconds", 5)]).await;
    let report = migrator.run(|_| ()).await.unwrap();
    assert_eq!(
        (report.migrated, report.unchanged, report.failed.len()),
        (1, 2, 0),
        "{report:?}"
    );
    assert_eq!(
        house
            .count("SELECT count(*) FROM tenant_schema_states WHERE version = 4 AND pending_step IS NULL")
            .await,
        3
    );
    assert_eq!(migrator.run(|_| ()).await.unwrap().unchanged, 3);
    // New tenants begin at the newest version.
    let fresh = house.tenant(&store, "fresh").await;
    assert_eq!(migrator.clone().only(fresh.id).run(|_| ()).await.unwrap().unchanged, 1);
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn a_migration_that_was_cut_short_goes_on_where_it_was() {
    let house = House::new().await;
    let store = house.store().await;
    for n in 0..40 {
        let home = house.tenant(&store, &format!("t{n:02}")).await;
        store
            .configurations()
            .apply_tenant_configuration_changes(&[Change::set("cache.ttl_seconds", n)])
            .in_tenant(home.admin())
            .await
            .unwrap();
    }
    for (n, key) in [(3, "x"), (4, "y")] {
        let before = if n == 3 { "cache.ttl_seconds" } else { "x" };
        version(
            &house,
            n,
            json!({key: {"type": "number"}}),
            json!([{"rename": {"from": before, "to": key}}]),
        )
        .await;
    }
    // Cut short after a few tenants, in the middle of others.
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let cut = {
        let migrator = Migrator::new(&store);
        tokio::spawn(async move {
            migrator
                .run(move |done| {
                    let _ = sender.send(done);
                })
                .await
        })
    };
    while receiver.recv().await.is_some_and(|done| done < 7) {}
    cut.abort();
    let _ = cut.await;
    let half = house
        .count("SELECT count(*) FROM tenant_schema_states WHERE version < 4")
        .await;
    assert!(half > 0, "it was cut short");
    // Whatever each has is whole: the key belongs to the version.
    let torn = "SELECT count(*) FROM tenant_schema_states s JOIN tenant_configurations c USING (tenant_id)
                WHERE c.key <> CASE s.version WHEN 2 THEN 'cache.ttl_seconds' WHEN 3 THEN 'x' ELSE 'y' END";
    assert_eq!(house.count(torn).await, 0);
    // Two at once, as two processes would.
    let (one, two) = tokio::join!(migrated(&store), migrated(&store));
    assert_eq!((one.failed.len(), two.failed.len()), (0, 0), "{one:?} {two:?}");
    assert_eq!(
        house
            .count("SELECT count(*) FROM tenant_configurations WHERE key = 'y'")
            .await,
        40
    );
    assert_eq!(house.count(torn).await, 0);
    store.close().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_meets_a_migration_waits_for_it_and_is_of_the_new_version() {
    let house = House::new().await;
    let store = house.store().await;
    let home = house.tenant(&store, "a").await;
    version(
        &house,
        3,
        json!({"ttl": {"type": "number"}}),
        json!([{"custom": "slowly"}]),
    )
    .await;
    let (entered, has_entered) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let migrator = Migrator::new(&store).hook("slowly", move |_| {
        entered.send(()).expect("somebody waits");
        released
            .lock()
            .expect("one at a time")
            .recv()
            .map_err(|e| e.to_string())
    });
    let migration = tokio::spawn(async move { migrator.run(|_| ()).await.unwrap() });
    tokio::task::spawn_blocking(move || has_entered.recv().expect("the step is reached"))
        .await
        .unwrap();
    let change = tokio::spawn({
        let configurations = store.configurations();
        async move {
            configurations
                .apply_tenant_configuration_changes(&[Change::set("cache.ttl_seconds", 5)])
                .await
        }
        .in_tenant(home.admin())
    });
    // It waits, or has gone past the migration.
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while !change.is_finished() && house.count(waiting).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    release.send(()).unwrap();
    assert_eq!(migration.await.unwrap().migrated, 1);
    let refused = change.await.unwrap().unwrap_err();
    assert!(
        matches!(
            &refused,
            ConfigurationError::Invalid {
                fault: Fault::UnknownKey,
                ..
            }
        ),
        "{refused:?}"
    );
    store.close().await;
    house.stop().await;
}
