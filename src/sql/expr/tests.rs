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
    let deep = "(".repeat(100_000);
    for text in [
        "",
        ")(",
        "SELECT",
        "'",
        "$$",
        "\u{0}",
        "a = = b",
        "CASE WHEN",
        "é'$a$",
        &deep,
    ] {
        let _ = (of_expression(text), of_plpgsql(text));
    }
}

#[test]
fn operators_of_one_rank_go_from_left_to_right() {
    let found = only_comparison("tenant_id = (current_setting('request.jwt.claims')::jsonb -> 'a' ->> 'b')");
    assert_eq!(found.right.kind, setting("request.jwt.claims", &["a", "b"]));
}

#[test]
fn rows_are_compared_column_by_column() {
    let facts = of_expression("(a, b) IN (SELECT m.x, m.y FROM m)");
    let pairs: Vec<(&OperandKind, &OperandKind)> = facts
        .comparisons
        .iter()
        .map(|c| (&c.left.kind, &c.right.kind))
        .collect();
    assert_eq!(pairs.len(), 2, "{facts:?}");
    let name = |kind: &OperandKind| match kind {
        OperandKind::Column(c) => c.name.clone(),
        other => format!("{other:?}"),
    };
    assert_eq!((name(pairs[1].0), name(pairs[1].1)), ("b".to_owned(), "y".to_owned()));
}

#[test]
fn aliases_mean_what_their_own_query_says() {
    let facts = of_expression("EXISTS (SELECT 1 FROM a t WHERE t.x = 1) AND EXISTS (SELECT 1 FROM b t WHERE t.y = 2)");
    let relations: Vec<Option<&str>> = facts
        .comparisons
        .iter()
        .map(|c| match &c.left.kind {
            OperandKind::Column(c) => c.relation.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(relations, [Some("a"), Some("b")]);
}

#[test]
fn variables_of_a_body_carry_what_they_were_given() {
    let facts = of_plpgsql(
        "DECLARE c json := current_setting('my.claims', true); v uuid; BEGIN v := c ->> 'org'; \
         PERFORM 1 FROM doc d WHERE d.tenant_id = v; END",
    );
    let found = facts.comparisons.iter().find(|c| c.op == "=").expect("it is compared");
    assert_eq!(found.right.kind, setting("my.claims", &["org"]));
}

#[test]
fn statements_made_at_run_time_are_read() {
    let facts = of_plpgsql(
        "BEGIN EXECUTE format('SELECT * FROM %I WHERE tenant_id = %L', 'doc', current_setting('app.t')); END",
    );
    assert!(facts.relations.iter().any(|r| r.name == "doc"), "{facts:?}");
    let found = facts.comparisons.iter().find(|c| c.op == "=").expect("it is compared");
    assert_eq!(found.right.kind, setting("app.t", &[]));
}

#[test]
fn a_column_may_be_a_condition_by_itself() {
    let wanted = |text: &str| -> Vec<String> {
        let facts = of_query(text);
        let literal = |c: &Comparison| match (c.left.kind(), c.right.kind()) {
            (OperandKind::Column(column), OperandKind::Literal(text)) => Some(format!("{} {text}", column.name)),
            _ => None,
        };
        facts.comparisons.iter().filter_map(literal).collect()
    };
    assert_eq!(
        wanted("SELECT 1 FROM member m WHERE m.active AND NOT m.removed"),
        ["active true", "removed false"]
    );
    assert_eq!(wanted("SELECT 1 FROM member WHERE (active)"), ["active true"]);
    assert_eq!(
        wanted("SELECT NOT EXISTS (SELECT 1 FROM setting s WHERE s.locked) OR x = y"),
        ["locked false"]
    );
    assert_eq!(wanted("SELECT 1 FROM doc WHERE is_public OR owner = 1"), ["owner 1"]);
    assert_eq!(wanted("SELECT 1 FROM doc WHERE shown = other"), [] as [&str; 0]);
}
