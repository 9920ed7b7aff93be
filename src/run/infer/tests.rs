//! Inference on small catalogs: roles, settings and claims.

use serde_json::{Value, json};

use super::*;
use crate::model::{Function, Relation, Role};

/// A table with `uuid` columns, of which the first is the key; owned by `owner`, granted to and guarded for `policies`.
fn table(oid: u32, name: &str, columns: &[&str], policies: &[(&str, &str)]) -> Relation {
    let column = |name: &&str| {
        json!({"name": name, "type_name": "uuid", "base_type": "uuid", "category": "U", "labels": [], "domain_checks": [],
               "element_type": null, "not_null": true, "default": null, "generated": "no", "identity": "no",
               "max_length": null})
    };
    let policy = |(at, (role, using)): (usize, &(&str, &str))| {
        json!({"name": format!("p{at}"), "command": "*", "mode": "permissive", "roles": [role], "using": using,
               "check": null})
    };
    let grants: Vec<Value> = policies
        .iter()
        .map(|(role, _)| json!({"grantee": role, "privileges": ["SELECT"]}))
        .collect();
    let key = json!({"name": "pk", "is_primary": true, "is_exclusion": false, "columns": [columns[0]],
                     "has_expressions": false, "is_partial": false, "definition": ""});
    let relation = json!({
        "oid": oid, "schema": "public", "name": name, "kind": "r", "owner": "owner", "row_security": "enabled",
        "columns": columns.iter().map(column).collect::<Vec<_>>(), "keys": [key], "foreign_keys": [], "checks": [],
        "policies": policies.iter().enumerate().map(policy).collect::<Vec<_>>(), "options": [], "grants": grants,
        "definition": null, "parents": [], "is_partition": false, "partition_bound": null, "partition_key": null,
        "reads": [], "triggers": [],
    });
    serde_json::from_value(relation).expect("a relation")
}

fn function(oid: u32, name: &str, arguments: &[&str], language: &str, body: &str) -> Function {
    let argument = |name: &&str| json!({"name": name, "type_name": "text", "category": "S", "labels": []});
    serde_json::from_value(json!({
        "oid": oid, "schema": "public", "name": name, "arguments": arguments.iter().map(argument).collect::<Vec<_>>(),
        "kind": "f", "owner": "owner", "is_definer": false, "is_variadic": name.starts_with("variadic_"),
        "volatility": "s", "returns_set": false, "result_type": "uuid", "language": language, "body": body,
        "settings": [], "grants": [],
    }))
    .expect("a function")
}

fn role(name: &str) -> Role {
    serde_json::from_value(json!({
        "name": name, "superuser": false, "bypasses_row_security": name.contains("bypass"), "login": false,
        "inherit": !name.contains("gate"), "create_role": false, "member_of": [],
    }))
    .expect("a role")
}

fn catalog(roles: &[&str], relations: Vec<Relation>, functions: Vec<Function>) -> Catalog {
    Catalog {
        roles: roles.iter().map(|r| role(r)).collect(),
        relations,
        functions,
        ..Catalog::default()
    }
}

fn inferred(catalog: &Catalog) -> Vec<Session> {
    sessions(catalog, &BTreeSet::new()).0
}

/// The settings of the only session.
#[track_caller]
fn settings(catalog: &Catalog) -> BTreeMap<String, String> {
    let found = inferred(catalog);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].settings.clone()
}

fn one(using: &str, functions: Vec<Function>) -> Catalog {
    let doc = table(1, "doc", &["id", "tenant_id", "user_id"], &[("app", using)]);
    catalog(&["owner", "app"], vec![doc], functions)
}

fn pairs(wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
    wanted.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn a_setting_is_what_it_is_compared_with_whatever_its_name() {
    for (using, value) in [
        ("(tenant_id = current_setting('app.scope')::uuid)", "{tenant}"),
        ("(user_id = current_setting('app.scope')::uuid)", "{user}"),
        (
            "(tenant_id = ANY (string_to_array(current_setting('app.scope'), ',')::uuid[]))",
            "{tenant}",
        ),
        ("(tenant_id = ANY (current_setting('app.scope')::uuid[]))", "{{tenant}}"),
    ] {
        assert_eq!(
            settings(&one(using, Vec::new())),
            pairs(&[("app.scope", value)]),
            "{using}"
        );
    }
}

#[test]
fn helpers_are_followed_to_any_depth() {
    let functions = || {
        vec![
            function(11, "outer", &[], "sql", "SELECT middle()"),
            function(
                12,
                "middle",
                &[],
                "plpgsql",
                "DECLARE v text; BEGIN v := read('app.t'); RETURN v; END",
            ),
            function(
                13,
                "read",
                &["which"],
                "plpgsql",
                "BEGIN RETURN nullif(current_setting(which, true), '')::uuid; EXCEPTION WHEN OTHERS THEN RETURN NULL; END",
            ),
            function(
                14,
                "variadic_claim",
                &["setting", "path"],
                "sql",
                "SELECT current_setting(setting, true)::jsonb #>> path",
            ),
            function(
                15,
                "jwt",
                &[],
                "sql",
                "SELECT current_setting('request.jwt.claims', true)::jsonb",
            ),
        ]
    };
    let outer = one("(tenant_id = ( SELECT outer() AS o))", functions());
    assert_eq!(settings(&outer), pairs(&[("app.t", "{tenant}")]));
    let nested = one("(tenant_id = variadic_claim('my.doc', 'org', 'id'))", functions());
    assert_eq!(settings(&nested), pairs(&[("my.doc", r#"{"org":{"id":"{tenant}"}}"#)]));
    let claims = one(
        "(tenant_id = ((jwt() -> 'app_metadata' ->> 'org_id'))::uuid)",
        functions(),
    );
    assert_eq!(
        settings(&claims),
        pairs(&[(
            "request.jwt.claims",
            r#"{"app_metadata":{"org_id":"{tenant}"},"role":"app"}"#
        )])
    );
}

#[test]
fn what_a_platform_says_to_itself_is_no_identity() {
    let functions = vec![
        function(
            11,
            "operation",
            &[],
            "sql",
            "SELECT current_setting('storage.operation', true)",
        ),
        function(
            12,
            "email",
            &[],
            "sql",
            "SELECT current_setting('request.jwt.claims', true)::json ->> 'email'",
        ),
        function(
            13,
            "uid",
            &[],
            "sql",
            "SELECT (current_setting('request.jwt.claims', true)::json ->> 'sub')::uuid",
        ),
    ];
    assert_eq!(
        settings(&one("(user_id = uid())", functions)),
        pairs(&[(
            "request.jwt.claims",
            r#"{"email":"{email}","sub":"{user}","role":"app"}"#
        )])
    );
}

#[test]
fn a_switch_stays_unset() {
    let using = "((tenant_id = current_setting('app.tenant')::uuid) OR (current_setting('app.is_admin', true) = 'on'))";
    assert_eq!(settings(&one(using, Vec::new())), pairs(&[("app.tenant", "{tenant}")]));
}

#[test]
fn dynamic_sql_is_read_as_well() {
    let body = "BEGIN RETURN QUERY EXECUTE 'SELECT * FROM public.doc WHERE tenant_id = current_setting(''app.t'')::uuid \
                AND body LIKE ''%' || q || '%'''; END";
    let found = settings(&one("(true)", vec![function(11, "search", &["q"], "plpgsql", body)]));
    assert_eq!(found, pairs(&[("app.t", "{tenant}")]));
}

#[test]
fn roles_of_the_server_are_left_out_where_others_ask() {
    let asks = "(tenant_id = current_setting('app.t')::uuid)";
    let doc = table(
        1,
        "doc",
        &["id", "tenant_id"],
        &[
            ("app", asks),
            ("readers", asks),
            ("auditors", "true"),
            ("bypasser", asks),
            ("owner", asks),
            (
                "boss",
                "((pg_has_role(CURRENT_USER, 'boss'::name, 'MEMBER'::text)) OR (tenant_id = current_setting('app.t')::uuid))",
            ),
        ],
    );
    let all = ["owner", "app", "readers", "auditors", "bypasser", "boss"];
    let found: Vec<String> = inferred(&catalog(&all, vec![doc], Vec::new()))
        .into_iter()
        .map(|s| s.role)
        .collect();
    assert_eq!(found, ["app", "readers"]);
}

#[test]
fn a_role_is_kept_where_no_other_asks() {
    let asks = "(tenant_id = current_setting('app.t')::uuid)";
    for name in ["owner", "bypasser", "service"] {
        let doc = table(1, "doc", &["id", "tenant_id"], &[(name, asks)]);
        let found = inferred(&catalog(&["owner", "bypasser", "service"], vec![doc], Vec::new()));
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].role, name);
    }
}

#[test]
fn a_role_that_only_logs_in_leads_to_those_that_ask() {
    let asks = "(tenant_id = current_setting('app.t')::uuid)";
    let doc = table(
        1,
        "doc",
        &["id", "tenant_id"],
        &[("member", asks), ("anonymous", "false"), ("desk", asks)],
    );
    let mut catalog = catalog(&["owner", "member", "anonymous", "desk", "gate"], vec![doc], Vec::new());
    let gate = catalog
        .roles
        .iter_mut()
        .find(|r| r.name == "gate")
        .expect("it is there");
    gate.member_of = vec!["member".to_owned(), "anonymous".to_owned()];
    let found = inferred(&catalog);
    let roles: Vec<&str> = found.iter().map(|s| s.role.as_str()).collect();
    assert_eq!(roles, ["member", "anonymous"]);
    assert!(found[1].settings.is_empty(), "{found:?}");
}

#[test]
fn a_role_a_tenant_is_told_from_one_that_all_share() {
    let asks = "(tenant_id = CURRENT_USER)";
    let doc = |roles: &[&str]| {
        let policies: Vec<(&str, &str)> = roles.iter().map(|r| (*r, asks)).collect();
        table(1, "doc", &["id", "tenant_id"], &policies)
    };
    let two = catalog(&["owner", "anna", "bert"], vec![doc(&["anna", "bert"])], Vec::new());
    let found = inferred(&two);
    assert_eq!((found.len(), found[0].role.as_str()), (1, "{tenant}"));
    let shared = catalog(&["owner", "app"], vec![doc(&["app"])], Vec::new());
    assert_eq!(settings(&shared), pairs(&[(UNASKED, "{tenant}")]));
}

#[test]
fn two_ways_to_say_the_same_have_sessions_of_their_own() {
    let using = "(tenant_id = coalesce(current_setting('app.t', true), \
                 (current_setting('request.jwt.claims', true)::json ->> 'org'))::uuid)";
    let found = inferred(&one(using, Vec::new()));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].settings, pairs(&[("app.t", "{tenant}")]));
    assert_eq!(
        found[1].settings,
        pairs(&[("request.jwt.claims", r#"{"org":"{tenant}","role":"app"}"#)])
    );
}

#[test]
fn nothing_that_says_who_asks_gives_no_identity() {
    let found = inferred(&one("(true)", Vec::new()));
    assert!(found.iter().all(|s| s.settings.is_empty()), "{found:?}");
}
