//! Schemas as people keep them: dumps without roles, migrations for a platform, functions that lean on a search path.

use std::process::Command;

use rstest::rstest;
use serde_json::Value;

use crate::providers::absent;

/// A tenant and its notes, for role `app`.
const NOTES: &str = "
CREATE TABLE tenant (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE note (id uuid PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES tenant, body text NOT NULL);
ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON tenant USING (id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY own ON note USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
GRANT SELECT ON tenant TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app;
";

/// Teams and their documents on the platform, with what its default privileges grant.
const TEAMS: &str = "
create table team (id uuid primary key default gen_random_uuid(), name text not null);
create table team_member (team_id uuid not null references team, user_id uuid not null references auth.users, primary key (team_id, user_id));
create table doc (id uuid primary key default gen_random_uuid(), team_id uuid not null references team, title text not null);
alter table team enable row level security;
alter table team_member enable row level security;
alter table doc enable row level security;
create policy mine on team_member for select to authenticated using (user_id = auth.uid());
create policy member on team for select to authenticated using (id in (select team_id from team_member where user_id = auth.uid()));
create policy member on doc for all to authenticated using (team_id in (select team_id from team_member where user_id = auth.uid()));
";

/// Runs `verify` on the local server; the exit code, the report and what was said on stderr.
fn verify(schema: &str) -> (i32, Value, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("schema.sql");
    std::fs::write(&file, schema).expect("the schema is written");
    let output = Command::new(env!("CARGO_BIN_EXE_tenantproof"))
        .args(["verify", "--server", "local", "--format", "json", "--schema"])
        .arg(&file)
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), report, said)
}

/// `severity rule object` of the findings that are no mere information.
fn told(report: &Value) -> Vec<String> {
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().expect("a report");
    findings
        .iter()
        .filter(|f| f["severity"] != "info")
        .map(|f| format!("{} {} {}", word(f, "severity"), word(f, "rule"), word(f, "object")))
        .collect()
}

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

#[rstest]
#[case::role(
    NOTES.to_owned(),
    "role `app` is named and not made by the schema: it was made without any attribute"
)]
#[case::role_in_a_transaction(
    format!("BEGIN; {NOTES} COMMIT;"),
    "role `app` is named and not made by the schema"
)]
#[case::extension(
    format!("CREATE EXTENSION pg_graphql; COMMENT ON EXTENSION pg_graphql IS 'x'; {NOTES}"),
    "extension `pg_graphql` is not on this server"
)]
#[case::vector(
    format!("CREATE EXTENSION vector; {NOTES} ALTER TABLE note ADD e vector(3); CREATE INDEX ON note USING hnsw (e vector_l2_ops);"),
    "the index is of an extension that is a stub here"
)]
#[case::database(
    format!("CREATE DATABASE shop;\n\\connect shop\n{NOTES} GRANT CONNECT ON DATABASE shop TO app; ALTER DATABASE shop SET statement_timeout = '10s';"),
    "everything is loaded into one scratch database"
)]
#[case::rights_on_nothing(
    format!("{NOTES} GRANT SELECT ON no_such_table TO app;"),
    "was passed over: relation \\\"no_such_table\\\" does not exist"
)]
#[case::a_newer_dump(
    format!("SET no_such_timeout = 0; {NOTES}"),
    "was passed over: this server has no such setting"
)]
#[case::placeholders(
    NOTES.replace("app;", ":DATABASE_VISITOR;"),
    "placeholders such as `:DATABASE_OWNER` are read as names"
)]
#[case::a_type_of_an_extension(
    format!("{NOTES} ALTER TABLE note ADD title citext;"),
    "extension `citext` is used and not made by the schema"
)]
#[case::a_body(
    format!("{NOTES} CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS 'SELECT no_such_column FROM note'; REVOKE ALL ON FUNCTION broken() FROM PUBLIC;"),
    "the body was not checked"
)]
#[case::search_path(
    format!(
        "CREATE ROLE app; CREATE SCHEMA api; SET search_path = api; {NOTES} GRANT USAGE ON SCHEMA api TO app;
         CREATE FUNCTION note_count() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM note); END $$;"
    ),
    "requests are taken to run with search_path"
)]
#[case::platform(
    TEAMS.to_owned(),
    "preset `supabase` is loaded first, for the schema uses what that platform has"
)]
fn what_a_schema_leans_on_is_made_up_and_said(#[case] schema: String, #[case] note: &str) {
    if absent("local") {
        return;
    }
    let (code, report, said) = verify(&schema);
    assert_eq!(code, 0, "{said}{report:#}");
    assert_eq!(told(&report), [] as [&str; 0]);
    assert!(notes(&report).contains(note), "{}", notes(&report));
    assert_eq!(report["cells"]["vacuous"], 0, "{:#}", report["coverage"]);
}

#[test]
fn a_role_that_is_made_too_late_is_a_fault_of_the_schema() {
    if absent("local") {
        return;
    }
    let (code, _, said) = verify(&format!("{NOTES} CREATE ROLE app BYPASSRLS;"));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("role \"app\" does not exist"), "{said}");
}

#[rstest]
#[case::recursion(
    "create policy team on team_member for select to authenticated using (team_id in (select team_id from team_member where user_id = auth.uid()));",
    &["medium own-rows-unreachable public.team_member"]
)]
#[case::a_table_that_all_may_read_and_none_may_write(
    "create table country (code text primary key, name text not null); alter table country enable row level security;
     create policy anybody on country for select to authenticated using (true);",
    &[]
)]
#[case::a_role_that_users_give_themselves(
    "create table profile (id uuid primary key references auth.users, platform_role text not null default 'user');
     alter table profile enable row level security;
     create policy own on profile for all to authenticated using (id = auth.uid());
     create function is_supervisor() returns boolean language sql stable security definer set search_path = '' as
       $$ select exists (select from public.profile where id = auth.uid() and platform_role = 'supervisor') $$;
     create policy supervisor on doc for select to authenticated using (is_supervisor());",
    &["critical identity-gained public.profile"]
)]
#[case::what_users_write_into_their_token(
    "create policy claimed on doc for select to authenticated using (
       team_id = coalesce(auth.jwt() -> 'app_metadata' ->> 'team_id', auth.jwt() -> 'user_metadata' ->> 'team_id')::uuid);",
    &["critical identity-gained public.doc"]
)]
#[case::objects_by_folder(
    "create policy files on storage.objects for select to authenticated using (
       bucket_id = 'files' and ((storage.foldername(name))[1] in (select team_id::text from team_member where user_id = auth.uid())
         or (storage.foldername(name))[2] = 'thumbs'));",
    &["critical foreign-rows-readable storage.objects"]
)]
fn on_a_platform(#[case] more: &str, #[case] expected: &[&str]) {
    if absent("local") {
        return;
    }
    let (_, report, said) = verify(&format!("{TEAMS}{more}"));
    assert_eq!(told(&report), expected, "{said}{:#}", report["findings"]);
    // What the platform grants to everybody is said once.
    let truncates = report["findings"].to_string().matches("truncate-granted").count();
    assert_eq!(truncates, 1);
}
