//! The reference schema's effective access is under review: `snapshots/` holds what was accepted.

use std::time::Duration;

use tenantproof::introspect;
use tenantproof::pg::conn::Conn;
use tenantproof::run::snapshots;
use tenantproof::snapshot::{self, Difference, SnapshotFile};

use crate::bench::{Bench, path};

async fn render(extra: Option<&str>) -> Vec<SnapshotFile> {
    let bench = Bench::any().await;
    let scratch = bench
        .load(&[path("policies")])
        .await
        .expect("the reference schema loads");
    let mut conn = Conn::open(&scratch.connect_options(), Duration::from_secs(60))
        .await
        .expect("connects");
    if let Some(sql) = extra {
        conn.query(sql).await.expect("the change is right");
    }
    let catalog = introspect::read_catalog_canonically(&mut conn)
        .await
        .expect("the catalog can be read");
    conn.close().await;
    scratch.drop_now().await.expect("the database goes");
    bench.stop().await;
    snapshot::render(&catalog)
}

#[tokio::test]
async fn effective_access_is_as_accepted() {
    let files = render(None).await;
    // The whole through insta, for its review flow; the files one by one, as the command keeps them.
    let whole: String = files.iter().map(|f| format!("== {}\n{}\n", f.name, f.text)).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(path("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("reference-access", whole));
    let accepted = snapshots::read(&path("snapshots")).expect("the accepted files can be read");
    let differences = snapshot::compare(&accepted, &files);
    assert!(
        differences.is_empty(),
        "run `tenantproof snapshot --accept` after review: {differences:#?}"
    );
}

#[tokio::test]
async fn a_changed_policy_shows_as_the_line_that_changed() {
    let accepted = render(None).await;
    let changed = render(Some(
        "CREATE POLICY everybody ON public.documents FOR SELECT TO tenantproof_member USING (true)",
    ))
    .await;
    let differences = snapshot::compare(&accepted, &changed);
    let [Difference::Changed { name, diff }] = differences.as_slice() else {
        panic!("{differences:#?}")
    };
    assert_eq!(name, "public.documents.txt");
    assert!(
        diff.lines().any(|l| l.starts_with('+') && l.contains("everybody")),
        "{diff}"
    );
}
