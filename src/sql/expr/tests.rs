//! What the facts of expressions are, as tables.

use super::*;

#[track_caller]
fn only_comparison(text: &str) -> Comparison {
    let facts = of_expression(text);
    assert_eq!(facts.comparisons.len(), 1, "{facts:?}");
    facts.comparisons[0].clone()
}

fn setting(name: &str, path: &[&str]) -> OperandKind {
    OperandKind::Setting(SettingRead {
        name: name.to_owned(),
        path: path.iter().map(|p| (*p).to_owned()).collect(),
        cast: None,
    })
}

#[test]
fn settings_are_seen_through_casts_and_nullif() {
    let found = only_comparison("(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)");
    assert_eq!(found.op, "=");
    assert!(
        matches!(&found.right.kind, OperandKind::Setting(s) if s.name == "app.tenant_id" && s.cast.as_deref() == Some("uuid"))
    );
    assert!(matches!(&found.left.kind, OperandKind::Column(c) if c.name == "tenant_id"));
}

#[test]
fn places_in_json_settings_have_a_path() {
    let found = only_comparison(
        "(tenant_id = (((current_setting('request.jwt.claims'::text, true))::jsonb -> 'app_metadata'::text) ->> 'tenant_id'::text))",
    );
    assert_eq!(
        found.right.kind,
        setting("request.jwt.claims", &["app_metadata", "tenant_id"])
    );
    let found = only_comparison("x = (current_setting('request.jwt.claims')::json #>> '{a,b}')");
    assert_eq!(found.right.kind, setting("request.jwt.claims", &["a", "b"]));
}

#[test]
fn aliases_lead_to_relations() {
    let facts = of_expression("EXISTS (SELECT 1 FROM app.member m WHERE m.user_id = (SELECT auth.uid() AS uid))");
    let found = &facts.comparisons[0];
    assert!(matches!(&found.left.kind, OperandKind::Column(c) if c.relation.as_deref() == Some("app.member")));
    assert!(matches!(&found.right.kind, OperandKind::Call(c) if c.name == "uid"));
}

#[test]
fn lists_nulls_and_negations_are_told_apart() {
    assert_eq!(
        only_comparison("state = ANY (ARRAY['a'::text, 'b'::text])").right.kind,
        OperandKind::Literals(vec!["a".into(), "b".into()])
    );
    assert_eq!(only_comparison("deleted_at IS NULL").op, "IS NULL");
    assert_eq!(only_comparison("(deleted_at IS NOT NULL)").op, "IS NOT NULL");
    assert!(!only_comparison("NOT (a = 'x')").positive);
}

#[test]
fn plpgsql_bodies_give_their_statements() {
    let facts = of_plpgsql(
        "DECLARE n int := 1; BEGIN IF p_tenant <> current_setting('app.t') THEN RAISE EXCEPTION 'no'; END IF; RETURN QUERY SELECT * FROM doc d WHERE d.tenant_id = p_tenant; END",
    );
    assert!(facts.settings.iter().any(|s| s.name == "app.t"));
    assert!(facts.relations.iter().any(|r| r.name == "doc"));
}

#[test]
fn nonsense_gives_no_panic() {
    for text in ["", ")(", "SELECT", "'", "$$", "\u{0}", "a = = b", "CASE WHEN"] {
        let _ = (of_expression(text), of_plpgsql(text));
    }
}
