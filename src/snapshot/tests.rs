use serde_json::{Value, json};

use super::*;
use crate::model::{Function, Relation, Role};

/// A relation; what `changes` leaves out is empty.
fn relation(name: &str, changes: Value) -> Relation {
    let mut value = json!({
        "oid": 1, "schema": "public", "name": name, "kind": "r", "owner": "app_owner", "row_security": "forced",
        "columns": [], "keys": [], "foreign_keys": [], "checks": [], "policies": [], "options": [], "grants": [],
        "definition": null, "parents": [], "is_partition": false, "partition_bound": null, "partition_key": null,
        "reads": [], "triggers": [],
    });
    merge(&mut value, changes);
    serde_json::from_value(value).expect("a relation")
}

fn function(name: &str, changes: Value) -> Function {
    let mut value = json!({
        "oid": 1, "schema": "public", "name": name, "arguments": [], "kind": "f", "owner": "app_owner",
        "is_definer": false, "volatility": "s", "returns_set": false, "result_type": "uuid", "language": "sql",
        "body": "SELECT 1", "settings": [], "grants": [],
    });
    merge(&mut value, changes);
    serde_json::from_value(value).expect("a function")
}

fn role(name: &str, changes: Value) -> Role {
    let mut value = json!({
        "name": name, "superuser": false, "bypasses_row_security": false, "login": false, "inherit": true,
        "create_role": false, "member_of": [],
    });
    merge(&mut value, changes);
    serde_json::from_value(value).expect("a role")
}

fn member(name: &str, of: &[&str]) -> Role {
    let memberships: Vec<Value> = of
        .iter()
        .map(|r| json!({"role": r, "inherits": true, "may_set_role": true, "is_admin": false}))
        .collect();
    role(name, json!({"member_of": of, "memberships": memberships}))
}

fn merge(value: &mut Value, changes: Value) {
    for (key, change) in changes.as_object().expect("an object") {
        value[key] = change.clone();
    }
}

#[track_caller]
fn page(catalog: &Catalog, name: &str) -> String {
    let files = render(catalog);
    let file = files.into_iter().find(|f| f.name == name);
    file.unwrap_or_else(|| panic!("no file {name}")).text
}

#[track_caller]
fn of_relation(relation: Relation) -> String {
    let name = super::name::of_relation(&relation.name);
    let catalog = Catalog {
        relations: vec![relation],
        ..Catalog::default()
    };
    page(&catalog, &name)
}

fn documents() -> Relation {
    relation(
        "documents",
        json!({
            "columns": [
                {"name": "tenant_id", "type_name": "uuid", "base_type": "uuid", "category": "U", "labels": [],
                 "domain_checks": [], "element_type": null, "not_null": true, "default": "public.f()",
                 "generated": "no", "identity": "no", "max_length": null},
            ],
            "keys": [
                {"name": "documents_slug", "is_primary": false, "is_exclusion": false, "columns": [], "has_expressions": true,
                 "is_partial": false, "definition": "CREATE UNIQUE INDEX documents_slug ON public.documents USING btree (lower(slug))"},
                {"name": "documents_pkey", "is_primary": true, "is_exclusion": false, "columns": ["tenant_id", "id"],
                 "has_expressions": false, "is_partial": false,
                 "definition": "CREATE UNIQUE INDEX documents_pkey ON public.documents USING btree (tenant_id, id)"},
            ],
            "foreign_keys": [
                {"name": "documents_parent", "columns": ["tenant_id", "parent"], "references": 1,
                 "referenced_columns": ["tenant_id", "id"], "on_delete": "n", "on_update": "a",
                 "on_delete_columns": ["parent"]},
            ],
            "checks": [{"name": "slug", "columns": ["slug"], "expression": "((slug <> ''::text) AND (length(slug) < 9))"}],
            "policies": [
                {"name": "write", "command": "w", "mode": "restrictive", "roles": ["app_user"], "using": "true", "check": null},
                {"name": "Read own", "command": "r", "mode": "permissive", "roles": ["b", "PUBLIC"],
                 "using": "((tenant_id = ( SELECT public.f() AS f)) OR shared)", "check": null},
            ],
            "grants": [
                {"grantee": "app_user", "privileges": ["DELETE", "SELECT", "UPDATE (title, body)"]},
                {"grantee": "PUBLIC", "privileges": ["SELECT"]},
            ],
            "triggers": ["CREATE TRIGGER touch BEFORE UPDATE ON public.documents FOR EACH ROW EXECUTE FUNCTION public.touch()"],
            "trigger_states": [{"name": "touch", "state": "DISABLE"}],
        }),
    )
}

#[test]
fn a_table_says_who_reaches_its_rows_and_what_reaches_past_its_policies() {
    assert_eq!(
        of_relation(documents()),
        "\
-- tenantproof snapshot 1
table public.documents
owner: app_owner
row security: forced

policies
  \"Read own\": permissive for SELECT to PUBLIC, b
    USING
      tenant_id = (SELECT public.f() AS f)
      OR shared
  write: restrictive for UPDATE to app_user
    USING
      true
    WITH CHECK as USING

grants
  PUBLIC: SELECT
  app_user: SELECT, DELETE
  app_user: UPDATE (title, body)

columns
  tenant_id uuid not null default public.f()

keys
  documents_pkey: primary key (tenant_id, id)
  documents_slug: unique (lower(slug))

foreign keys
  documents_parent: (tenant_id, parent) references public.documents (tenant_id, id) on delete set null (parent)

checks
  slug
    slug <> ''::text
    AND length(slug) < 9

triggers
  TRIGGER touch BEFORE UPDATE ON public.documents FOR EACH ROW EXECUTE FUNCTION public.touch()
  DISABLE TRIGGER touch
"
    );
}

#[test]
fn policies_without_effect_are_said_to_be() {
    let mut table = documents();
    table.row_security = crate::model::RowSecurity::Disabled;
    assert!(of_relation(table).contains("\npolicies (without effect: row security is disabled)\n"));
    assert!(of_relation(relation("t", json!({}))).contains("\npolicies (none: every row is refused)\n"));
}

#[test]
fn a_view_says_whose_rights_it_reads_with() {
    let view = |options: &[&str]| {
        of_relation(relation(
            "v",
            json!({"kind": "v", "row_security": "disabled", "options": options,
                   "definition": " SELECT t.a,\n    t.b\n   FROM public.t;"}),
        ))
    };
    assert_eq!(
        view(&["security_invoker=true", "security_barrier=true"]),
        "\
-- tenantproof snapshot 1
view public.v
owner: app_owner
reads as: who asks (security_invoker)
option: security_barrier=true

grants (none: the owner only)

definition
  SELECT
    a,
    b
  FROM public.t
"
    );
    assert!(view(&[]).contains("\nreads as: its owner\n"));
    assert!(view(&["security_invoker=false"]).contains("\nreads as: its owner\n"));
}

#[test]
fn a_partition_says_of_what_and_for_which_rows() {
    let mut partition = relation(
        "p",
        json!({"oid": 2, "is_partition": true, "parents": [1], "partition_bound": "FOR VALUES IN ('a')"}),
    );
    partition.row_security = crate::model::RowSecurity::Disabled;
    let catalog = Catalog {
        relations: vec![documents(), partition],
        ..Catalog::default()
    };
    assert!(page(&catalog, "public.p.txt").contains("\npartition of: public.documents FOR VALUES IN ('a')\n"));
}

#[test]
fn functions_show_rights_callers_and_body() {
    let catalog = Catalog {
        functions: vec![
            function(
                "t",
                json!({"result_type": "trigger", "language": "plpgsql", "volatility": "v", "body": ""}),
            ),
            function(
                "f",
                json!({
                    "is_definer": true, "is_leakproof": true, "settings": ["search_path=\"\""],
                    "arguments": [{"name": "x", "type_name": "text", "category": "S", "labels": []}],
                    "grants": [{"grantee": "PUBLIC", "privileges": ["EXECUTE"]}, {"grantee": "app_user", "privileges": ["EXECUTE"]}],
                    "body": "\n    SELECT\r\n\n      2  \n  ",
                }),
            ),
        ],
        ..Catalog::default()
    };
    assert_eq!(
        page(&catalog, "functions.txt"),
        "\
-- tenantproof snapshot 1

function public.f(text)
  runs as: its owner app_owner (SECURITY DEFINER)
  called by: PUBLIC, app_user
  returns: uuid
  language: sql, stable, leakproof
  set search_path = \"\"
  | SELECT
  |
  |   2

function public.t()
  runs as: who calls; owner app_owner
  called by: triggers only
  returns: trigger
  language: plpgsql, volatile
"
    );
}

#[test]
fn roles_are_those_of_the_schema_and_what_leads_to_them_and_from_them() {
    let catalog = Catalog {
        roles: vec![
            role(
                "postgres",
                json!({"superuser": true, "login": true, "is_server_superuser": true}),
            ),
            member("app_user", &["reader"]),
            role("reader", json!({"bypasses_row_security": true})),
            member("login", &["app_user", "postgres"]),
            role("app_owner", json!({"inherit": false})),
            member("stranger", &["reader"]),
        ],
        relations: vec![documents()],
        default_settings: vec![
            serde_json::from_value(json!({"role": "login", "settings": ["role=app_user"]})).unwrap(),
        ],
        ..Catalog::default()
    };
    assert_eq!(
        page(&catalog, "roles.txt"),
        "\
-- tenantproof snapshot 1

role app_owner
  attributes: NOLOGIN, NOINHERIT

role app_user
  attributes: NOLOGIN
  member of reader: has its privileges, may SET ROLE

role login
  attributes: NOLOGIN
  member of (superuser): has its privileges, may SET ROLE
  member of app_user: has its privileges, may SET ROLE
  set role = app_user

role reader
  attributes: BYPASSRLS, NOLOGIN
"
    );
}

#[test]
fn the_servers_superuser_has_the_same_name_everywhere() {
    let on = |superuser: &str| {
        render(&Catalog {
            roles: vec![role(superuser, json!({"superuser": true, "is_server_superuser": true}))],
            relations: vec![relation("t", json!({"owner": superuser}))],
            functions: vec![function("f", json!({"owner": superuser}))],
            ..Catalog::default()
        })
    };
    assert_eq!(on("postgres"), on("ci"));
}

#[test]
fn the_database_page_holds_what_belongs_to_no_object() {
    let catalog = Catalog {
        schemas: vec![
            serde_json::from_value(json!({"name": "public", "owner": "pg_database_owner",
                "grants": [{"grantee": "PUBLIC", "privileges": ["USAGE"]}]}))
            .unwrap(),
        ],
        default_privileges: vec![
            serde_json::from_value(json!({"role": "app_owner", "schema": "public", "objects": "r",
                "grants": [{"grantee": "app_user", "privileges": ["SELECT"]}]}))
            .unwrap(),
            serde_json::from_value(json!({"role": "app_owner", "schema": null, "objects": "f", "grants": []})).unwrap(),
        ],
        publications: vec![
            serde_json::from_value(json!({"name": "stream", "owner": "app_owner", "all_tables": false,
                "schemas": [], "operations": ["insert", "delete"],
                "tables": [{"schema": "public", "name": "documents", "columns": ["id"], "filter": "(shared AND (id > 0))"}]}))
            .unwrap(),
        ],
        ..Catalog::default()
    };
    assert_eq!(
        page(&catalog, "database.txt"),
        "\
-- tenantproof snapshot 1

schema public
  owner: pg_database_owner
  PUBLIC: USAGE

functions that app_owner makes anywhere
  (nobody else)

tables that app_owner makes in schema public, in addition
  app_user: SELECT

publication stream
  owner: app_owner
  operations: insert, delete
  table public.documents (id)
    WHERE
      shared
      AND id > 0
"
    );
}

#[test]
fn the_order_of_the_catalog_has_no_say() {
    let mut turned = documents();
    turned.policies.reverse();
    turned.grants.reverse();
    turned.keys.reverse();
    let other = relation("a", json!({"oid": 2}));
    let catalog = |relations| Catalog {
        relations,
        ..Catalog::default()
    };
    assert_eq!(
        render(&catalog(vec![documents(), other.clone()])),
        render(&catalog(vec![other, turned]))
    );
}

#[test]
fn a_condition_that_changes_is_one_line_of_the_diff() {
    let mut after = documents();
    after.policies[1].using = Some("((tenant_id = ( SELECT public.f() AS f)) OR public)".to_owned());
    let render = |relation| {
        render(&Catalog {
            relations: vec![relation],
            ..Catalog::default()
        })
    };
    let differences = compare(&render(documents()), &render(after));
    let [Difference::Changed { name, diff }] = differences.as_slice() else {
        panic!("{differences:?}");
    };
    assert_eq!(name, "public.documents.txt");
    assert_eq!(
        diff,
        "\
--- accepted/public.documents.txt
+++ current/public.documents.txt
@@ -7,7 +7,7 @@
   \"Read own\": permissive for SELECT to PUBLIC, b
     USING
       tenant_id = (SELECT public.f() AS f)
-      OR shared
+      OR public
   write: restrictive for UPDATE to app_user
     USING
       true
"
    );
}

#[test]
fn files_that_come_and_go_are_differences() {
    let file = |name: &str| SnapshotFile {
        name: name.to_owned(),
        text: format!("{HEADER}\n"),
    };
    assert_eq!(
        compare(&[file("a"), file("b")], &[file("c"), file("b")]),
        [
            Difference::Removed { name: "a".to_owned() },
            Difference::Added { name: "c".to_owned() },
        ]
    );
}
