//! `tenantproof tenants ...`, as an operator runs it.

use serde_json::{Value, json};
use tenantproof::tenancy::{Change, Chunk, FutureExt as _, Metric, NewDocument, NewTenant};

use super::configuration::version;
use crate::tenancy_support::{Home, House, LOGIN, Ran, command};

struct Operator {
    url: String,
}

impl Operator {
    fn run(&self, arguments: &[&str]) -> Ran {
        self.with_input(arguments, "")
    }

    fn with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut all = vec!["tenants"];
        all.extend(arguments);
        all.extend(["--database-url", &self.url]);
        command(&all, input)
    }

    #[track_caller]
    fn well(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        serde_json::from_str(&self.well(&all)).expect("it is JSON")
    }

    /// Fails with this code and a message that has all of these.
    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        for word in words {
            assert!(
                ran.stderr.contains(word),
                "{arguments:?}: `{word}` is not in: {}",
                ran.stderr
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_are_listed_shown_set_unset_and_compared() {
    let house = House::new().await;
    let store = house.store().await;
    let base = house.tenant(&store, "base").await;
    Home::new(&store, NewTenant::named("heir").inheriting(base.id)).await;
    let operator = Operator { url: house.url(LOGIN) };
    let listed = operator.json(&["list"]);
    assert_eq!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|t| &t["slug"])
            .collect::<Vec<_>>(),
        ["base", "heir"]
    );
    assert_eq!(
        (&listed[1]["base"], &listed[1]["schema_version"]),
        (&json!(base.id), &json!(2))
    );
    assert!(operator.well(&["list"]).contains("INHERITS FROM"));

    operator.well(&[
        "set",
        "base",
        "cache.ttl_seconds=60",
        "search.model=large",
        "--lock",
        "search.model",
        "--reason",
        "paid",
    ]);
    let shown = operator.json(&["show", "heir"]);
    assert_eq!(shown["cache.ttl_seconds"]["value"], json!(60));
    assert!(
        shown["cache.ttl_seconds"]["origin"]
            .as_str()
            .unwrap()
            .starts_with("inherited from"),
        "{shown}"
    );
    assert_eq!(shown["search.model"]["locked"], json!(true));
    let text = operator.well(&["show", "heir", "cache.ttl_seconds"]);
    assert!(
        text.contains("cache.ttl_seconds") && !text.contains("search.model"),
        "{text}"
    );
    operator.fails(
        &["set", "heir", "search.model=mine"],
        2,
        &["search.model", "locked by tenant", &base.id.to_string()],
    );
    operator.fails(
        &["set", "heir", "cache.ttl_seconds=soon"],
        2,
        &["cache.ttl_seconds", "\"soon\"", "number"],
    );
    operator.fails(&["set", "heir", "cache.tll=1"], 2, &["cache.tll", "no such key"]);
    operator.fails(&["set", "heir", "novalue"], 2, &["KEY=VALUE"]);
    operator.fails(&["set", "heir"], 2, &["KEY=VALUE"]);
    operator.fails(&["show", "nobody"], 2, &["nobody", "tenants list"]);
    operator.fails(&["show", "heir", "nothing"], 2, &["nothing"]);

    let dry = operator.json(&["set", "heir", "search.enabled=true", "--dry-run"]);
    assert_eq!(
        (&dry[0]["before"]["value"], &dry[0]["after"]["value"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        operator.json(&["show", "heir", "search.enabled"])["search.enabled"]["value"],
        json!(false)
    );
    operator.well(&["set", "heir", "search.enabled=true"]);
    let differs = operator.run(&["diff", "base", "heir", "--format", "json"]);
    assert_eq!(differs.code, 1, "{}", differs.stderr);
    let differs: Value = serde_json::from_str(&differs.stdout).unwrap();
    assert_eq!(
        differs
            .as_array()
            .unwrap()
            .iter()
            .map(|d| &d["key"])
            .collect::<Vec<_>>(),
        ["search.enabled"]
    );
    operator.fails(&["unset", "heir", "search.enabled"], 2, &["--yes"]);
    operator.well(&["unset", "heir", "search.enabled", "--yes"]);
    assert_eq!(operator.run(&["diff", "base", "heir"]).code, 0);

    // A superuser's login works as well, under row security all the same.
    let superuser = Operator {
        url: house.url("postgres"),
    };
    assert_eq!(superuser.json(&["show", "heir"]), operator.json(&["show", "heir"]));
    // Secrets are not shown.
    version(
        &house,
        3,
        json!({"mail.password": {"type": "string", "secret": true}}),
        json!([{"remove": "cache.ttl_seconds"}, {"remove": "search.model"}]),
    )
    .await;
    operator.well(&["migrate"]);
    let set = operator.well(&["set", "base", "mail.password=s3cret"]);
    assert!(
        !set.contains("s3cret") && !operator.well(&["show", "heir"]).contains("s3cret"),
        "{set}"
    );
    operator.fails(&["set", "base", "mail.password=5"], 2, &["(secret)"]);
    store.close().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_it_says_what_to_do_and_no_password() {
    let nowhere = Operator {
        url: "postgres://app:s3cret@localhost:1/app".into(),
    };
    let ran = nowhere.run(&["list"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("localhost:1") && !ran.stderr.contains("s3cret"),
        "{}",
        ran.stderr
    );
    Operator {
        url: "mysql://x".into(),
    }
    .fails(&["list"], 2, &["postgres://"]);
    let ran = command(&["tenants", "list"], "");
    assert!(ran.code == 2 && ran.stderr.contains("DATABASE_URL"), "{}", ran.stderr);
    let house = House::new().await;
    house.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    Operator {
        url: house.url("postgres"),
    }
    .fails(&["list"], 3, &["policies/"]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_tenants_is_found() {
    let house = House::new().await;
    let store = house.store().await;
    let base = house.tenant(&store, "base").await;
    let heir = Home::new(&store, NewTenant::named("heir").inheriting(base.id)).await;
    let operator = Operator { url: house.url(LOGIN) };
    assert!(operator.well(&["verify"]).contains("0 errors, 0 warnings, 0 notes"));
    let set = |home: &Home, changes: Vec<Change>| {
        let (configurations, context) = (store.configurations(), home.admin());
        async move {
            configurations
                .apply_tenant_configuration_changes(&changes)
                .in_tenant(context)
                .await
                .unwrap()
        }
    };
    set(&heir, vec![Change::set("search.model", "mine")]).await;
    set(&base, vec![Change::lock("search.model", "")]).await;
    version(
        &house,
        3,
        json!({"search.model": {"type": "string"}, "extra": {"type": "number"}}),
        json!([]),
    )
    .await;
    house
        .sql(&format!(
            "INSERT INTO tenant_configurations (tenant_id, key, value) VALUES ('{heir}', 'cache.ttl', '1'), ('{heir}', 'cache.ttl_seconds', '\"x\"'), ('{base}', 'extra', '1');
             INSERT INTO configuration_locks (tenant_id, key) VALUES ('{base}', 'nothing');
             UPDATE tenant_schema_states SET version = 3, pending_step = 'version 4: it rained' WHERE tenant_id = '{base}';
             DELETE FROM tenant_bases WHERE tenant_id = '{heir}' AND depth = 1;
             INSERT INTO share_consents (tenant_id, from_tenant_id) VALUES ('{heir}', gen_random_uuid());
             INSERT INTO cache_entries (tenant_id, kind, identifier, value, expires_at) VALUES ('{heir}', 'k', '1', '1', now() - interval '1 day')",
            heir = heir.id,
            base = base.id
        ))
        .await;
    let ran = operator.run(&["verify", "--format", "json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let found: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let found: Vec<String> = found
        .iter()
        .map(|p| format!("{} {}: {}", p["weight"], p["slug"], p["message"]))
        .collect();
    for wanted in [
        "\"error\" \"base\": \"its last migration failed: version 4: it rained",
        "\"error\" \"base\": \"`nothing` is locked",
        "\"note\" \"base\": \"`extra` is in the schema and no setting",
        "\"warning\" \"heir\": \"its configuration is of schema version 2; migrate it to 3",
        "\"error\" \"heir\": \"`cache.ttl` is set, and schema version 2 does not know it",
        "\"error\" \"heir\": \"`cache.ttl_seconds` = \\\"x\\\": it has to be of type number",
        "\"error\" \"heir\": \"tenant_bases does not agree",
        "and there is no such tenant",
        "1 cache entries have expired",
    ] {
        assert!(
            found
                .iter()
                .any(|p| p.contains(wanted) || p.replace("\\\"", "\"").contains(&wanted.replace("\\\"", "\""))),
            "{wanted} is not in {found:#?}"
        );
    }
    // Locked above, once the chain is whole again.
    store.service().set_base(heir.id, None).await.unwrap();
    store.service().set_base(heir.id, Some(base.id)).await.unwrap();
    let ran = operator.run(&["verify", "heir"]);
    assert!(
        ran.stdout.contains("locked by a base")
            && !ran.stdout.contains("tenant_bases")
            && !ran.stdout.contains("error base:"),
        "{}",
        ran.stdout
    );
    store.close().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_goes_out_and_comes_back_exactly() {
    let (house, other) = (House::new().await, House::new().await);
    let store = house.store().await;
    let home = house.tenant(&store, "acme").await;
    let strange = "tab\t, quote \" ' , backslash \\ , newline \n, Unicode \u{1F600}\u{202e}";
    let changes = [
        Change::set("search.model", strange),
        Change::set("cache.ttl_seconds", 60),
        Change::lock("search.model", strange),
    ];
    store
        .configurations()
        .apply_tenant_configuration_changes(&changes)
        .in_tenant(home.admin())
        .await
        .unwrap();
    for n in 0..230 {
        let chunks = vec![
            Chunk {
                content: strange.into(),
                embedding: Some(vec![0.1, -2.5e-7, 3.402_823_5e38]),
            },
            Chunk {
                content: String::new(),
                embedding: None,
            },
        ];
        let document = NewDocument {
            slug: format!("d{n:03}"),
            title: strange.into(),
            body: strange.into(),
            metadata: json!({"n": n, "s": [null, strange]}),
            chunks,
            id: None,
        };
        store.documents().add(document).in_tenant(home.member()).await.unwrap();
    }
    let (here, there) = (Operator { url: house.url(LOGIN) }, Operator { url: other.url(LOGIN) });
    let exported = here.well(&["export", "acme"]);
    assert_eq!(exported.lines().count(), 231);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acme.jsonl");
    here.well(&["export", "acme", "--output", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), exported);
    let dry = there.json(&["import", file.to_str().unwrap(), "--dry-run"]);
    assert_eq!(dry["documents"], json!(230));
    assert_eq!(there.json(&["list"]), json!([]));
    there.well(&["import", file.to_str().unwrap()]);
    assert_eq!(there.well(&["export", "acme"]), exported);
    assert_eq!(other.count("SELECT count(*) FROM document_chunks").await, 460);
    // Not over what is there, unless it is said and confirmed.
    there.fails(&["import", file.to_str().unwrap()], 2, &["replaced"]);
    there.fails(&["import", file.to_str().unwrap(), "--replace"], 2, &["--yes"]);
    there.well(&["set", "acme", "cache.ttl_seconds=1"]);
    let again = there.with_input(&["import", "-", "--replace", "--yes"], &exported);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(there.well(&["export", "acme"]), exported);
    // What is wrong is named by its line, and nothing of it stays.
    let broken: String = exported
        .lines()
        .enumerate()
        .map(|(n, l)| {
            if n == 200 {
                "{\"document\": 5}\n".to_owned()
            } else {
                format!("{l}\n")
            }
        })
        .collect();
    for (text, words) in [
        (broken.as_str(), vec!["line 201"]),
        ("", vec!["line 1", "first"]),
        ("{}", vec!["line 1"]),
        (exported.lines().nth(1).unwrap(), vec!["line 1", "first"]),
    ] {
        let ran = there.with_input(&["import", "-", "--replace", "--yes"], text);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "{}", ran.stderr);
        }
    }
    assert_eq!(there.well(&["export", "acme"]), exported);
    there.fails(&["import", "/nowhere"], 2, &["/nowhere"]);
    store.close().await;
    house.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_usage_and_shares_are_run() {
    let house = House::new().await;
    let store = house.store().await;
    let (a, b) = (house.tenant(&store, "a").await, house.tenant(&store, "b").await);
    let operator = Operator { url: house.url(LOGIN) };
    operator.well(&["set", "a", "cache.ttl_seconds=60"]);
    version(
        &house,
        3,
        json!({"ttl": {"type": "number"}}),
        json!([{"rename": {"from": "cache.ttl_seconds", "to": "ttl"}}]),
    )
    .await;
    let dry = operator.json(&["migrate", "--dry-run"]);
    assert_eq!(
        (&dry["migrated"], &dry["changed_values"], &dry["dry_run"]),
        (&json!(2), &json!(2), &json!(true))
    );
    assert!(operator.well(&["migrate", "a"]).contains("version 3: 1 migrated"));
    assert_eq!(operator.json(&["show", "a", "ttl"])["ttl"]["value"], json!(60));
    version(&house, 4, json!({}), json!([])).await;
    let failed = operator.run(&["migrate", "--jobs", "2"]);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(
        failed.stdout.contains("a: version 4") && failed.stdout.contains("1 migrated"),
        "{}",
        failed.stdout
    );

    store.usage().add(a.id, Metric::Rows, 5);
    store.usage().flush(&store).await.unwrap();
    assert_eq!(operator.json(&["usage", "a", "--days", "2"])["rows"], json!(5));
    assert_eq!(operator.json(&["usage", "b"]).get("rows"), None);

    let plan = store
        .documents()
        .add(NewDocument {
            slug: "plan".into(),
            ..NewDocument::default()
        })
        .in_tenant(a.member())
        .await
        .unwrap();
    let documents = store.documents();
    let read = || documents.get_shared(a.id, plan.id).in_tenant(b.member());
    operator.fails(&["share", "a", "plan", "b"], 2, &["has not agreed"]);
    operator.fails(&["share", "a", "nothing", "b"], 2, &["nothing"]);
    operator.fails(&["share", "a", "plan", "b", "--for", "soon"], 2, &["12h"]);
    operator.fails(&["unshare", "a", "plan", "b"], 2, &["not shared"]);
    assert!(
        operator
            .well(&["share", "a", "plan", "b", "--for", "12h", "--consent"])
            .contains("b may read `plan` of a until")
    );
    assert!(read().await.unwrap().is_some());
    operator.well(&["unshare", "a", "plan", "b"]);
    assert!(read().await.unwrap().is_none());
    store.close().await;
    house.stop().await;
}
