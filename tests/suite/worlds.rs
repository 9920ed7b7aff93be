//! Universes fill schemas that nobody here has seen: awkward but correct ones, each of one family of difficulties.

use std::collections::BTreeMap;

use tenantproof::model::{CellVerdict, Cells, Session, Tenancy, Verdict};
use tenantproof::world::keys::{KeyType, common, pairs};
use tenantproof::world::{Class, Classes, Grower, Universe};

use crate::bench::{Bench, path, request};

/// Files, each a schema with a role `app_user` and the settings `app.tenant_id` and `app.user_id`.
fn schemas() -> Vec<String> {
    let chosen = std::env::var("WORLDS").ok();
    ["types", "checks", "keys", "partitions", "triggers", "lookups"]
        .into_iter()
        .filter(|name| chosen.as_deref().is_none_or(|c| c == *name))
        .map(str::to_owned)
        .collect()
}

fn session() -> Session {
    Session {
        name: "member".to_owned(),
        role: "app_user".to_owned(),
        attacker: tenantproof::model::Attacker::Api,
        settings: BTreeMap::from([
            ("app.tenant_id".to_owned(), "{tenant}".to_owned()),
            ("app.user_id".to_owned(), "{user}".to_owned()),
        ]),
        setup: Vec::new(),
    }
}

/// Tables without a row, with the reason, in two universes that are grown one after the other.
async fn unfilled(bench: &Bench, schema: &str) -> Vec<String> {
    let scratch = bench
        .load(&[path(&format!("tests/support/worlds/{schema}.sql"))])
        .await
        .unwrap_or_else(|e| panic!("{schema}: {e}"));
    let mut conn = bench.connect(&scratch).await;
    let catalog = tenantproof::introspect::read_catalog(&mut conn)
        .await
        .expect("the catalog is read");
    let session = session();
    let classes = Classes::infer(&catalog, std::slice::from_ref(&session), &Tenancy::default());
    let bindings: Vec<(String, String)> = session.settings.clone().into_iter().collect();
    let key_type = |class| {
        classes
            .key_type(&catalog, class)
            .map_or(KeyType::Uuid, |t| KeyType::of(&t))
    };
    let (tenant, user) = (key_type(Class::Tenant), key_type(Class::User));
    let pair = pairs(tenant, user, &[]).remove(0);
    conn.query("BEGIN").await.expect("a transaction");
    let before = conn.statements();
    let grower = Grower {
        catalog: &catalog,
        classes: &classes,
        common: None,
        bindings: &bindings,
        rival: None,
        like: None,
    };
    let nobody = grower
        .grow(&mut conn, common(tenant, user), |_| false)
        .await
        .expect("the server answers");
    let grower = Grower {
        common: Some(&nobody),
        ..grower
    };
    let a = grower
        .grow(&mut conn, pair.a.clone(), |_| true)
        .await
        .expect("the server answers");
    let grower = Grower {
        rival: Some(&pair.a),
        ..grower
    };
    let b = grower
        .grow(&mut conn, pair.b.clone(), |_| true)
        .await
        .expect("the server answers");
    let rows = a.rows.len() + b.rows.len();
    println!(
        "{schema}: {} tables, {rows} rows, {} messages",
        catalog.tables().count(),
        conn.statements() - before
    );
    let mut empty = Vec::new();
    for (name, universe) in [("A", &a), ("B", &b)] {
        let tell = |(oid, reason): &(u32, String)| {
            let table = catalog.relation(*oid).map_or_else(String::new, |t| t.name.to_string());
            format!("{schema}: {table} of {name}: {reason}")
        };
        empty.extend(universe.unfilled.iter().map(tell));
        for table in catalog.tables().filter(|t| !t.is_partition) {
            // What is inserted is there, unless somebody moved it.
            let only = if table.partition_key.is_some() { "" } else { "ONLY " };
            let count = conn
                .query(&format!("SELECT count(*) FROM {only}{}", table.name))
                .await
                .expect("a count");
            let is_routed = table.triggers.iter().any(|t| t.contains("route_"));
            if count[0][0][0].as_deref() == Some("0") && !is_routed {
                empty.push(format!("{schema}: {} holds nothing", table.name));
            }
            if !universe.candidates.contains_key(&table.oid) {
                println!(
                    "{schema}: {} of {name}: no further row would fit, nor take the place of another",
                    table.name
                );
            }
        }
    }
    for table in catalog.tables().filter(|t| t.is_partition && t.partition_key.is_none()) {
        let count = conn
            .query(&format!("SELECT count(*) FROM {}", table.name))
            .await
            .expect("a count");
        if count[0][0][0].as_deref() == Some("0") {
            println!("{schema}: partition {} holds nothing", table.name);
        }
    }
    replay(&mut conn, schema, [&nobody, &a, &b]).await;
    conn.close().await;
    scratch.drop_now().await.expect("the database goes");
    empty
}

/// The statements that made the rows make them again, in an empty schema and one transaction, as evidence does.
async fn replay(conn: &mut tenantproof::pg::conn::Conn, schema: &str, universes: [&Universe; 3]) {
    conn.query("ROLLBACK").await.expect("the transaction ends");
    for universe in universes {
        conn.query("BEGIN; SET CONSTRAINTS ALL DEFERRED")
            .await
            .expect("a transaction");
        let rows = universe.rows.iter().map(|r| &r.insert).filter(|i| !i.starts_with("--"));
        for statement in rows.chain(&universe.setup) {
            if let Err(error) = conn.query(statement).await {
                panic!("{schema}: evidence does not run: {error} [{statement}]");
            }
        }
        conn.query("COMMIT")
            .await
            .unwrap_or_else(|e| panic!("{schema}: evidence does not commit: {e}"));
    }
}

#[tokio::test]
async fn every_table_of_every_schema_gets_a_row_in_both_universes() {
    let bench = Bench::any().await;
    let mut empty = Vec::new();
    for schema in schemas() {
        empty.extend(unfilled(&bench, &schema).await);
    }
    bench.stop().await;
    assert_eq!(empty, Vec::<String>::new());
}

#[tokio::test]
async fn correct_schemas_are_isolated_with_few_vacuous_cells() {
    let bench = Bench::any().await;
    let mut faults = Vec::new();
    for schema in schemas() {
        let mut wanted = request();
        wanted.sessions = vec![session()];
        let file = path(&format!("tests/support/worlds/{schema}.sql"));
        let outcome = match bench.verify(&[file], &wanted).await {
            Ok(outcome) => outcome,
            Err(error) => {
                faults.push(format!("{schema}: {error}"));
                continue;
            }
        };
        let cells = Cells::count(&outcome.coverage);
        println!(
            "{schema}: {:?}, {cells:?}, {} messages, {} ms",
            outcome.verdict, outcome.statements, outcome.elapsed_ms
        );
        for cell in outcome.coverage.iter().filter(|c| c.verdict == CellVerdict::Vacuous) {
            println!(
                "  vacuous: {} {} {:?}: {:?}",
                cell.object, cell.command, cell.state, cell.reason
            );
        }
        for finding in &outcome.findings {
            println!(
                "  {} {} {}: {}",
                finding.severity, finding.rule, finding.object, finding.message
            );
        }
        for note in &outcome.notes {
            println!("  {note}");
        }
        if outcome.verdict != Verdict::Isolated || cells.vacuous_percent() > 10.0 {
            faults.push(format!(
                "{schema}: {:?}, {:.1} % vacuous",
                outcome.verdict,
                cells.vacuous_percent()
            ));
        }
    }
    bench.stop().await;
    assert_eq!(faults, Vec::<String>::new());
}
