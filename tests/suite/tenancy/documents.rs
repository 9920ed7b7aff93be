//! Documents, search, import, shares and usage.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tenantproof::tenancy::{
    Chunk, Document, DocumentChanges, DocumentId, FutureExt as _, Metric, NewDocument, Reach, ShareError, StoreError,
    TenantId,
};

use crate::tenancy_support::House;

fn document(slug: &str) -> NewDocument {
    NewDocument {
        slug: slug.into(),
        title: slug.to_uppercase(),
        body: format!("body of {slug}"),
        ..NewDocument::default()
    }
}

fn chunk(content: &str, embedding: &[f32]) -> Chunk {
    Chunk {
        content: content.into(),
        embedding: (!embedding.is_empty()).then(|| embedding.to_vec()),
    }
}

#[tokio::test]
async fn documents_are_added_read_listed_changed_and_deleted() {
    let house = House::new().await;
    let store = house.store().await;
    let (a, b) = (house.tenant(&store, "a").await, house.tenant(&store, "b").await);
    let documents = store.documents();
    let mut new = document("plan");
    new.metadata = json!({"by": "ada"});
    new.chunks = vec![chunk("one", &[1.0, 0.0]), chunk("two", &[])];
    let plan = documents.add(new.clone()).in_tenant(a.member()).await.unwrap();
    assert_eq!(
        (plan.tenant, plan.slug.as_str(), plan.metadata.clone()),
        (a.id, "plan", json!({"by": "ada"}))
    );
    assert_eq!(
        documents.get(plan.id).in_tenant(a.member()).await.unwrap().as_ref(),
        Some(&plan)
    );
    assert_eq!(
        documents.find("plan").in_tenant(a.member()).await.unwrap().as_ref(),
        Some(&plan)
    );
    assert_eq!(
        documents.chunks(plan.id).in_tenant(a.member()).await.unwrap(),
        new.chunks
    );
    // The same name for another tenant is another document; a key is no way to another tenant's.
    let theirs = documents.add(document("plan")).in_tenant(b.member()).await.unwrap();
    assert_eq!(documents.get(plan.id).in_tenant(b.member()).await.unwrap(), None);
    assert_eq!(
        documents.get_shared(a.id, plan.id).in_tenant(b.member()).await.unwrap(),
        None
    );
    assert!(
        documents
            .chunks(plan.id)
            .in_tenant(b.member())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(!documents.delete(plan.id).in_tenant(b.admin()).await.unwrap());
    let rename = DocumentChanges {
        title: Some("stolen".into()),
        ..DocumentChanges::default()
    };
    assert_eq!(
        documents
            .update(plan.id, rename.clone())
            .in_tenant(b.admin())
            .await
            .unwrap(),
        None
    );
    let hung = documents
        .set_chunks(plan.id, &[chunk("planted", &[])])
        .in_tenant(b.member())
        .await
        .unwrap_err();
    assert_eq!(hung.code().as_deref(), Some("23503"));
    assert_eq!(
        documents
            .add(document("plan"))
            .in_tenant(a.member())
            .await
            .unwrap_err()
            .code()
            .as_deref(),
        Some("23505")
    );
    assert_eq!(
        documents
            .add(document(""))
            .in_tenant(a.member())
            .await
            .unwrap_err()
            .code()
            .as_deref(),
        Some("23514")
    );
    assert!(matches!(
        documents.add(document("x")).await,
        Err(StoreError::NoTenant(_))
    ));

    let changed = documents
        .update(plan.id, rename)
        .in_tenant(a.member())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (changed.title.as_str(), changed.body.as_str()),
        ("stolen", "body of plan")
    );
    documents
        .set_chunks(plan.id, &[chunk("three", &[])])
        .in_tenant(a.member())
        .await
        .unwrap();
    assert_eq!(documents.chunks(plan.id).in_tenant(a.member()).await.unwrap().len(), 1);
    assert!(documents.delete(plan.id).in_tenant(a.member()).await.unwrap());
    assert!(!documents.delete(plan.id).in_tenant(a.member()).await.unwrap());
    assert_eq!(
        documents
            .get(theirs.id)
            .in_tenant(b.member())
            .await
            .unwrap()
            .unwrap()
            .title,
        "PLAN"
    );
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn lists_and_streams_go_page_by_page_and_keep_their_tenant() {
    let house = House::new().await;
    let store = house.store().await;
    let (a, b) = (house.tenant(&store, "a").await, house.tenant(&store, "b").await);
    let documents = store.documents();
    let many = stream::iter((0..450).map(|n| document(&format!("d{n:04}"))));
    let seen = std::sync::Mutex::new(Vec::new());
    let report = documents
        .import(many, |r| seen.lock().unwrap().push(r.documents))
        .in_tenant(a.member())
        .await
        .unwrap();
    assert_eq!(
        (report.documents, seen.into_inner().unwrap()),
        (450, vec![200, 400, 450])
    );
    documents.add(document("of-b")).in_tenant(b.member()).await.unwrap();
    let mut after = String::new();
    let mut listed = Vec::new();
    loop {
        let page = documents.list(&after, 100).in_tenant(a.member()).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.slug.clone();
        listed.extend(page.into_iter().map(|d| d.slug));
    }
    assert_eq!(listed.len(), 450);
    assert!(listed.is_sorted());
    // Made in a tenant's context, polled without one and in another's.
    let stream = async { documents.stream() }.in_tenant(a.member()).await;
    let all: Vec<Document> = stream.try_collect().in_tenant(b.member()).await.unwrap();
    assert_eq!(all.len(), 450);
    assert!(all.iter().all(|d| d.tenant == a.id));
    let nobody: Vec<_> = documents.stream().collect().await;
    assert!(matches!(nobody.as_slice(), [Err(StoreError::NoTenant(_))]));
    // Again does no harm; a bad one takes its batch with it, and those before it stay.
    let mut again: Vec<NewDocument> = (0..250).map(|n| document(&format!("d{n:04}"))).collect();
    again[0].title = "changed".into();
    again[240].slug = String::new();
    let failed = documents
        .import(stream::iter(again), |_| ())
        .in_tenant(a.member())
        .await
        .unwrap_err();
    assert_eq!(failed.code().as_deref(), Some("23514"));
    assert_eq!(
        documents
            .find("d0000")
            .in_tenant(a.member())
            .await
            .unwrap()
            .unwrap()
            .title,
        "changed"
    );
    assert_eq!(house.count("SELECT count(*) FROM documents").await, 451);
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn chunks_are_found_by_words_and_by_meaning_within_the_tenant() {
    let house = House::new().await;
    let store = house.store().await;
    let (a, b) = (house.tenant(&store, "a").await, house.tenant(&store, "b").await);
    let documents = store.documents();
    let add = |slug: &str, chunks: Vec<Chunk>| {
        documents.add(NewDocument {
            chunks,
            ..document(slug)
        })
    };
    add(
        "x",
        vec![
            chunk("the launch is in May", &[1.0, 0.0]),
            chunk("budget of the launch, the launch", &[0.0, 1.0]),
            chunk("other", &[1.0, 0.0, 0.0]),
        ],
    )
    .in_tenant(a.member())
    .await
    .unwrap();
    add(
        "y",
        vec![chunk("launch secrets", &[1.0, 0.0]), chunk("zero", &[0.0, 0.0])],
    )
    .in_tenant(b.member())
    .await
    .unwrap();
    let words = |query: &'static str| documents.search_text(query, Reach::OwnAndShared, 10);
    let found = words("launch").in_tenant(a.member()).await.unwrap();
    assert_eq!(found.iter().map(|h| h.ordinal).collect::<Vec<_>>(), [1, 0]);
    assert!(found.iter().all(|h| h.tenant == a.id));
    assert_eq!(words("\"in May\"").in_tenant(a.member()).await.unwrap().len(), 1);
    assert_eq!(words("launch -budget").in_tenant(a.member()).await.unwrap().len(), 1);
    assert_eq!(words("secrets").in_tenant(a.member()).await.unwrap(), []);
    assert_eq!(
        words("'; DROP TABLE documents; --")
            .in_tenant(a.member())
            .await
            .unwrap(),
        []
    );
    let near = documents
        .search_vector(&[0.9, 0.1], Reach::Own, 10)
        .in_tenant(a.member())
        .await
        .unwrap();
    assert_eq!(
        near.iter().map(|h| h.ordinal).collect::<Vec<_>>(),
        [0, 1],
        "lengths that differ are left out"
    );
    assert!((near[0].score - 0.9939).abs() < 0.001, "{near:?}");
    let zero = documents
        .search_vector(&[1.0, 0.0], Reach::Own, 10)
        .in_tenant(b.member())
        .await
        .unwrap();
    assert_eq!(zero.len(), 1, "a vector without a direction has no distance");
    assert_eq!(
        documents
            .search_vector(&[], Reach::Own, 10)
            .in_tenant(a.member())
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        documents
            .search_vector(&[1.0, 0.0], Reach::Own, 1)
            .in_tenant(a.member())
            .await
            .unwrap()
            .len(),
        1
    );
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn a_share_opens_one_document_to_one_tenant_for_a_time() {
    let house = House::new().await;
    let store = house.store().await;
    let (a, b, c) = (
        house.tenant(&store, "a").await,
        house.tenant(&store, "b").await,
        house.tenant(&store, "c").await,
    );
    let (documents, shares) = (store.documents(), store.shares());
    let plan = documents
        .add(NewDocument {
            chunks: vec![chunk("launch plan", &[1.0, 0.0])],
            ..document("plan")
        })
        .in_tenant(a.member())
        .await
        .unwrap();
    documents.add(document("private")).in_tenant(a.member()).await.unwrap();
    let hour = Duration::from_secs(3_600);
    // Not without the reader's consent; a tenant that is not there answers the same.
    for with in [b.id, TenantId::random()] {
        let refused = shares
            .share(plan.id, with, hour)
            .in_tenant(a.admin())
            .await
            .unwrap_err();
        assert!(matches!(refused, ShareError::NotAgreed { .. }), "{refused:?}");
    }
    shares.consent(a.id).in_tenant(b.admin()).await.unwrap();
    shares.consent(a.id).in_tenant(b.admin()).await.unwrap();
    shares.consent(TenantId::random()).in_tenant(b.admin()).await.unwrap();
    assert!(
        shares.consent(a.id).in_tenant(b.member()).await.is_err(),
        "an administrator's act"
    );
    assert!(
        shares.share(plan.id, b.id, hour).in_tenant(a.member()).await.is_err(),
        "an administrator's act"
    );
    let missing = shares
        .share(DocumentId::random(), b.id, hour)
        .in_tenant(a.admin())
        .await
        .unwrap_err();
    assert!(matches!(missing, ShareError::NoDocument { .. }), "{missing:?}");
    // Somebody else's document cannot be shared on.
    shares.consent(b.id).in_tenant(c.admin()).await.unwrap();
    let onward = shares.share(plan.id, c.id, hour).in_tenant(b.admin()).await;
    assert!(matches!(onward, Err(ShareError::NoDocument { .. })), "{onward:?}");

    let share = shares.share(plan.id, b.id, hour).in_tenant(a.admin()).await.unwrap();
    let read = || documents.get_shared(a.id, plan.id).in_tenant(b.member());
    assert_eq!(read().await.unwrap().unwrap().slug, "plan");
    assert_eq!(shares.received().in_tenant(b.member()).await.unwrap().len(), 1);
    assert_eq!(shares.received().in_tenant(c.member()).await.unwrap().len(), 0);
    assert_eq!(
        documents.get_shared(a.id, plan.id).in_tenant(c.member()).await.unwrap(),
        None
    );
    // One document, one direction, to read.
    let found = documents
        .search_text("launch", Reach::OwnAndShared, 10)
        .in_tenant(b.member())
        .await
        .unwrap();
    assert_eq!(found.iter().map(|h| h.tenant).collect::<Vec<_>>(), [a.id]);
    assert!(
        documents
            .search_text("launch", Reach::Own, 10)
            .in_tenant(b.member())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        documents
            .search_vector(&[1.0, 0.0], Reach::OwnAndShared, 10)
            .in_tenant(b.member())
            .await
            .unwrap()
            .len()
            == 1
    );
    assert!(
        documents.list("", 10).in_tenant(b.member()).await.unwrap().is_empty(),
        "it is no document of b's"
    );
    assert!(!documents.delete(plan.id).in_tenant(b.admin()).await.unwrap());
    // Over at once.
    assert!(shares.revoke(share.id).in_tenant(a.admin()).await.unwrap());
    assert_eq!(read().await.unwrap(), None);
    assert!(!shares.revoke(share.id).in_tenant(a.admin()).await.unwrap());
    assert!(!shares.given().in_tenant(a.member()).await.unwrap()[0].live);
    // Again, and until it ends by itself.
    shares
        .share(plan.id, b.id, Duration::from_millis(150))
        .in_tenant(a.admin())
        .await
        .unwrap();
    let started = Instant::now();
    while read().await.unwrap().is_some() {
        assert!(started.elapsed() < Duration::from_secs(20), "it never ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A consent that is taken back keeps new shares away.
    assert!(shares.withdraw_consent(a.id).in_tenant(b.admin()).await.unwrap());
    assert!(matches!(
        shares.share(plan.id, b.id, hour).in_tenant(a.admin()).await,
        Err(ShareError::NotAgreed { .. })
    ));
    // The server does it for tenants, one at a time.
    let service = store.service();
    shares.consent(a.id).in_tenant(service.context(b.id)).await.unwrap();
    shares
        .share(plan.id, b.id, hour)
        .in_tenant(service.context(a.id))
        .await
        .unwrap();
    assert!(read().await.unwrap().is_some());
    let refused = shares.share(plan.id, c.id, hour).in_tenant(service.context(a.id)).await;
    assert!(matches!(refused, Err(ShareError::NotAgreed { .. })), "{refused:?}");
    store.close().await;
    house.stop().await;
}

#[tokio::test]
async fn usage_is_counted_written_in_batches_and_shown() {
    let house = House::new().await;
    let store = house.store().await;
    let (a, b) = (house.tenant(&store, "a").await, house.tenant(&store, "b").await);
    for n in 0..3 {
        store
            .documents()
            .add(document(&format!("d{n}")))
            .in_tenant(a.member())
            .await
            .unwrap();
    }
    store.documents().list("", 10).in_tenant(a.member()).await.unwrap();
    let usage = store.usage();
    assert_eq!(usage.total(a.id, Metric::Rows), 3);
    assert_eq!(usage.total(a.id, Metric::Bytes), 30);
    assert!(usage.total(a.id, Metric::Operations) >= 4 && usage.total(a.id, Metric::OperationMicroseconds) > 0);
    assert_eq!(usage.total(b.id, Metric::Rows), 0);
    usage.flush(&store).await.unwrap();
    let written = usage.window(&store, a.id, 1).await.unwrap();
    assert_eq!(written["rows"], 3);
    assert_eq!(usage.window(&store, b.id, 1).await.unwrap().get("rows"), None);
    // What was written is not written again, what came since is added.
    usage.add(a.id, Metric::Rows, 4);
    usage.flush(&store).await.unwrap();
    usage.flush(&store).await.unwrap();
    assert_eq!(usage.window(&store, a.id, 30).await.unwrap()["rows"], 7);
    assert_eq!(usage.window(&store, a.id, 0).await.unwrap().len(), 0);
    // A tenant that is gone keeps the others from nothing.
    usage.add(TenantId::random(), Metric::Rows, 1);
    usage.add(b.id, Metric::Rows, 2);
    assert!(usage.flush(&store).await.is_err());
    assert_eq!(usage.window(&store, b.id, 1).await.unwrap()["rows"], 2);
    // Labels are bounded.
    for _ in 0..300 {
        usage.add(TenantId::random(), Metric::CacheHits, 1);
    }
    let text = usage.prometheus();
    let series = text
        .lines()
        .filter(|l| l.starts_with("tenantproof_cache_hits_total{"))
        .count();
    assert_eq!(series, 101);
    assert!(
        text.contains(&format!("tenantproof_rows_total{{tenant=\"{}\"}} 7", a.id)),
        "{text}"
    );
    assert!(text.contains("tenant=\"other\"") && text.ends_with("# EOF\n"), "{text}");
    store.close().await;
    house.stop().await;
}

/// pgvector is in the embedded server: its operator has to find what the SQL function finds, in the same order.
#[cfg(feature = "embedded")]
#[tokio::test]
async fn with_pgvector_the_same_is_found_as_without() {
    use crate::bench::{Bench, path};
    use tenantproof::pg::ServerChoice;

    let bench = Bench::start(ServerChoice::Embedded).await;
    let scratch = bench.load(&[path("policies")]).await.expect("the schema loads");
    let mut conn = bench.connect(&scratch).await;
    let tenant = "a0000000-0000-4000-8000-000000000000";
    conn.query("CREATE EXTENSION vector")
        .await
        .expect("the extension is there");
    conn.query(&format!(
        "INSERT INTO tenants (id, slug, display_name) VALUES ('{tenant}', 'a', 'A')"
    ))
    .await
    .unwrap();
    conn.query(&format!(
        "INSERT INTO documents (tenant_id, slug, title) VALUES ('{tenant}', 'd', 'd')"
    ))
    .await
    .unwrap();
    for (n, embedding) in ["{1,0}", "{0.5,0.5}", "{0,1}", "{-1,0}", "{0,0}", "{1,0,0}", "{3,1}"]
        .iter()
        .enumerate()
    {
        conn.query(&format!(
            "INSERT INTO document_chunks (tenant_id, document_id, ordinal, content, embedding) SELECT tenant_id, id, {n}, '{n}', '{embedding}' FROM documents"
        ))
        .await
        .unwrap();
    }
    let mut found = Vec::new();
    for has_pgvector in [true, false] {
        let statement = tenantproof::tenancy::vector_statement(has_pgvector)
            .replace("$1", "'{1,0.2}'")
            .replace("$2", "false")
            .replace("$3", &format!("'{tenant}'"))
            .replace("$4", "10");
        let outcome = conn.run(&statement).await.expect("the connection lives");
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let rows = outcome.results.last().expect("rows").rows.clone();
        let seen: Vec<(String, f64)> = rows
            .iter()
            .map(|row| (row[2].clone().unwrap(), row[4].clone().unwrap().parse::<f64>().unwrap()))
            .map(|(ordinal, score)| (ordinal, (score * 1e6).round() / 1e6))
            .collect();
        found.push(seen);
    }
    conn.close().await;
    scratch.drop_now().await.expect("it goes");
    bench.stop().await;
    assert_eq!(found[0], found[1]);
    assert_eq!(
        found[0].iter().map(|(o, _)| o.as_str()).collect::<Vec<_>>(),
        ["6", "0", "1", "2", "3"]
    );
}
