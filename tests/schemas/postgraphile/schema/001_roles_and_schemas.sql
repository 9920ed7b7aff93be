-- Roles, schemas, extensions.
--
-- PostGraphile connects as app_authenticator, which owns nothing and inherits nothing. Each request runs in a
-- transaction that becomes one of app_anonymous / app_member / app_manager and carries the claims of the JWT
-- as one setting per claim (jwt.claims.user_id, jwt.claims.organization_id).

do $$
declare
  r text;
begin
  foreach r in array array['app_database_owner', 'app_anonymous', 'app_member', 'app_manager', 'app_support'] loop
    if not exists (select 1 from pg_catalog.pg_roles where rolname = r) then
      execute format('create role %I nologin', r);
    end if;
  end loop;
  if not exists (select 1 from pg_catalog.pg_roles where rolname = 'app_authenticator') then
    create role app_authenticator login noinherit;
  end if;
end
$$;

grant app_anonymous, app_member, app_manager to app_authenticator;
grant app_member to app_manager;
-- app_support is used by the back office, which has a connection of its own; it is not a role of the API.

revoke all on schema public from public;
grant usage on schema public to app_database_owner, app_authenticator, app_anonymous, app_member, app_manager, app_support;

create extension if not exists pgcrypto with schema public;
create extension if not exists citext with schema public;
create extension if not exists btree_gist with schema public;

create schema app_public authorization app_database_owner;
create schema app_hidden authorization app_database_owner;
create schema app_private authorization app_database_owner;

comment on schema app_public is 'Exposed by PostGraphile.';
comment on schema app_hidden is 'Usable by request roles (policies, defaults), but not exposed.';
comment on schema app_private is 'Secrets and plumbing. No grants, ever.';

grant usage on schema app_public to app_anonymous, app_member, app_manager, app_support;
grant usage on schema app_hidden to app_anonymous, app_member, app_manager, app_support;

alter default privileges for role app_database_owner revoke execute on functions from public;
