//! Twelve ways to break the reference schema: each is found, named, and proved by a script that tells broken from right.

use rstest::rstest;
use tenantproof::model::{Severity, Verdict};

use crate::bench::{Bench, path, reference};

/// What a break says of itself in its first lines.
pub fn declared(text: &str, field: &str) -> String {
    let mark = format!("-- {field}: ");
    let line = text.lines().find_map(|l| l.strip_prefix(&mark));
    line.unwrap_or_else(|| panic!("the break declares `{field}`"))
        .trim()
        .to_owned()
}

#[rstest]
#[tokio::test]
async fn a_break_is_found_named_and_replayed(
    #[values(
        "01_policy_true",
        "02_owned_by_member",
        "03_check_true",
        "04_definer_unchecked",
        "05_view_as_owner",
        "06_truncate",
        "07_unique_without_tenant",
        "08_share_never_ends",
        "09_base_writable",
        "10_self_membership",
        "11_open_partition",
        "12_session_context"
    )]
    name: &str,
) {
    let bench = Bench::any().await;
    let right = vec![path("policies")];
    let file = path(&format!("tests/support/breaks/{name}.sql"));
    let text = std::fs::read_to_string(&file).expect("the break is there");
    let broken = vec![path("policies"), file];

    let outcome = bench
        .verify(&broken, &reference())
        .await
        .expect("the broken schema can be judged");
    let found: Vec<String> = outcome
        .findings
        .iter()
        .map(|f| format!("{} {} {}: {}", f.severity, f.rule, f.object, f.message))
        .collect();
    assert_eq!(outcome.verdict, Verdict::Violated, "{found:#?}");
    let object = declared(&text, "object");
    let kind = declared(&text, "kind");
    let finding = outcome
        .findings
        .iter()
        .filter(|f| f.severity >= Severity::Medium)
        .find(|f| f.object == object)
        .unwrap_or_else(|| panic!("{object} ({kind}) is named in {found:#?}"));
    let evidence = finding.evidence.as_deref().expect("a dynamic finding has evidence");
    assert_eq!(
        bench.replay(&broken, evidence).await,
        "VIOLATED",
        "{}\n{evidence}",
        finding.message
    );
    assert_eq!(
        bench.replay(&right, evidence).await,
        "HELD",
        "{}\n{evidence}",
        finding.message
    );
    bench.stop().await;
}
