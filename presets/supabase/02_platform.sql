-- An imitation of a Supabase project's database. It gives a plain PostgreSQL 15+ the schemas, tables, helper functions and
-- default privileges that migrations of such projects expect, so that their row-level security can be loaded and probed
-- without the platform. The roles are in 01_roles.sql, extensions in ../extensions.sql.
--
-- What is true to the platform: auth.uid()/jwt()/role()/email() reading request.jwt.claims (and the older
-- request.jwt.claim.* settings), RLS on auth.* and storage.*, what anon/authenticated/service_role are granted on schema
-- public (everything, by default privileges), search_path, realtime publication. What is a stub: GoTrue, Storage, Realtime
-- and Vault keep no behaviour of their own; pg_net, pg_cron, pgmq, pgsodium, pg_graphql, wrappers and vector are replaced
-- by objects of the same names where the real extension is not installed.

set client_min_messages = warning;

-------------------------------------------------------------------------------
-- schemas, search path, default privileges
-------------------------------------------------------------------------------
create schema if not exists extensions;
create schema if not exists auth authorization supabase_auth_admin;
create schema if not exists storage authorization supabase_storage_admin;
create schema if not exists graphql;
create schema if not exists graphql_public;
create schema if not exists realtime;
create schema if not exists _realtime;
create schema if not exists vault;
create schema if not exists supabase_functions;
create schema if not exists supabase_migrations;

do $$ begin
  execute format('alter database %I set search_path to "$user", public, extensions', current_database());
end $$;
set search_path to public, extensions;

grant usage on schema public, extensions, auth, storage, realtime, graphql, graphql_public
  to postgres, anon, authenticated, service_role;
grant all on schema public, extensions, auth, storage, realtime, vault, graphql, graphql_public,
  supabase_functions to postgres;
grant usage on schema vault to service_role;
grant all on schema extensions to dashboard_user;
grant usage, create on schema public to supabase_auth_admin, supabase_storage_admin;

-- everything made later in schema public by whoever runs the migrations is open to the
-- API roles unless RLS or a revoke says otherwise: the platform's default
do $$
declare
  maker text;
  kind text;
begin
  foreach maker in array array[current_user, 'postgres', 'supabase_admin'] loop
    foreach kind in array array['tables', 'functions', 'sequences'] loop
      execute format(
        'alter default privileges for role %I in schema public grant all on %s to postgres, anon, authenticated, service_role',
        maker, kind);
      execute format(
        'alter default privileges for role %I in schema graphql_public grant all on %s to postgres, anon, authenticated, service_role',
        maker, kind);
      execute format(
        'alter default privileges for role %I in schema storage grant all on %s to postgres, anon, authenticated, service_role',
        maker, kind);
      execute format(
        'alter default privileges for role %I in schema extensions grant all on %s to postgres with grant option',
        maker, kind);
    end loop;
  end loop;
end $$;

-------------------------------------------------------------------------------

-- what a new project has from the start
select tenantproof_load.extension('uuid-ossp', 'extensions');
select tenantproof_load.extension('pgcrypto', 'extensions');
select tenantproof_load.extension('pg_stat_statements', 'extensions');
select tenantproof_load.extension('pgjwt', 'extensions');

grant execute on all functions in schema extensions to anon, authenticated, service_role;

-------------------------------------------------------------------------------
-- auth
-------------------------------------------------------------------------------
do $$ begin
  if to_regtype('auth.aal_level') is null then
    create type auth.factor_type as enum ('totp', 'webauthn', 'phone');
    create type auth.factor_status as enum ('unverified', 'verified');
    create type auth.aal_level as enum ('aal1', 'aal2', 'aal3');
    create type auth.code_challenge_method as enum ('s256', 'plain');
    create type auth.one_time_token_type as enum ('confirmation_token', 'reauthentication_token',
      'recovery_token', 'email_change_token_new', 'email_change_token_current', 'phone_change_token');
  end if;
end $$;

create table if not exists auth.instances (id uuid primary key, uuid uuid, raw_base_config text,
  created_at timestamptz, updated_at timestamptz);

create table if not exists auth.users (
  instance_id uuid,
  id uuid primary key default gen_random_uuid(),
  aud varchar(255),
  role varchar(255),
  email varchar(255),
  encrypted_password varchar(255),
  email_confirmed_at timestamptz,
  invited_at timestamptz,
  confirmation_token varchar(255),
  confirmation_sent_at timestamptz,
  recovery_token varchar(255),
  recovery_sent_at timestamptz,
  email_change_token_new varchar(255),
  email_change varchar(255),
  email_change_sent_at timestamptz,
  last_sign_in_at timestamptz,
  raw_app_meta_data jsonb,
  raw_user_meta_data jsonb,
  is_super_admin boolean,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  phone text unique,
  phone_confirmed_at timestamptz,
  phone_change text default '',
  phone_change_token varchar(255) default '',
  phone_change_sent_at timestamptz,
  confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
  email_change_token_current varchar(255) default '',
  email_change_confirm_status smallint default 0,
  banned_until timestamptz,
  reauthentication_token varchar(255) default '',
  reauthentication_sent_at timestamptz,
  is_sso_user boolean not null default false,
  deleted_at timestamptz,
  is_anonymous boolean not null default false
);
create unique index if not exists users_email_partial_key on auth.users (email) where (is_sso_user = false);

create table if not exists auth.identities (
  provider_id text not null,
  user_id uuid not null references auth.users on delete cascade,
  identity_data jsonb not null,
  provider text not null,
  last_sign_in_at timestamptz,
  created_at timestamptz,
  updated_at timestamptz,
  email text generated always as (lower(identity_data ->> 'email')) stored,
  id uuid primary key default gen_random_uuid(),
  unique (provider_id, provider)
);
create table if not exists auth.sessions (
  id uuid primary key, user_id uuid not null references auth.users on delete cascade,
  created_at timestamptz, updated_at timestamptz, factor_id uuid, aal auth.aal_level,
  not_after timestamptz, refreshed_at timestamp, user_agent text, ip inet, tag text);
create table if not exists auth.refresh_tokens (
  instance_id uuid, id bigserial primary key, token varchar(255) unique, user_id varchar(255),
  revoked boolean, created_at timestamptz, updated_at timestamptz, parent varchar(255),
  session_id uuid references auth.sessions on delete cascade);
create table if not exists auth.mfa_factors (
  id uuid primary key, user_id uuid not null references auth.users on delete cascade,
  friendly_name text, factor_type auth.factor_type not null, status auth.factor_status not null,
  created_at timestamptz not null, updated_at timestamptz not null, secret text, phone text,
  last_challenged_at timestamptz, web_authn_credential jsonb, web_authn_aaguid uuid);
create table if not exists auth.mfa_challenges (
  id uuid primary key, factor_id uuid not null references auth.mfa_factors on delete cascade,
  created_at timestamptz not null, verified_at timestamptz, ip_address inet not null, otp_code text,
  web_authn_session_data jsonb);
create table if not exists auth.mfa_amr_claims (
  session_id uuid not null references auth.sessions on delete cascade, created_at timestamptz not null,
  updated_at timestamptz not null, authentication_method text not null, id uuid primary key);
create table if not exists auth.audit_log_entries (
  instance_id uuid, id uuid primary key, payload json, created_at timestamptz,
  ip_address varchar(64) not null default '');
create table if not exists auth.sso_providers (
  id uuid primary key, resource_id text, created_at timestamptz, updated_at timestamptz);
create table if not exists auth.sso_domains (
  id uuid primary key, sso_provider_id uuid not null references auth.sso_providers on delete cascade,
  domain text not null, created_at timestamptz, updated_at timestamptz);
create table if not exists auth.saml_providers (
  id uuid primary key, sso_provider_id uuid not null references auth.sso_providers on delete cascade,
  entity_id text not null unique, metadata_xml text not null, metadata_url text, attribute_mapping jsonb,
  created_at timestamptz, updated_at timestamptz, name_id_format text);
create table if not exists auth.flow_state (
  id uuid primary key, user_id uuid, auth_code text not null,
  code_challenge_method auth.code_challenge_method not null, code_challenge text not null,
  provider_type text not null, provider_access_token text, provider_refresh_token text,
  created_at timestamptz, updated_at timestamptz, authentication_method text not null,
  auth_code_issued_at timestamptz);
create table if not exists auth.one_time_tokens (
  id uuid primary key, user_id uuid not null references auth.users on delete cascade,
  token_type auth.one_time_token_type not null, token_hash text not null, relates_to text not null,
  created_at timestamp not null default now(), updated_at timestamp not null default now());
create table if not exists auth.schema_migrations (version varchar(255) primary key);

-- the request's claims: all of them as JSON in request.jwt.claims; PostgREST before v9
-- set each in request.jwt.claim.<name>, which still has precedence here as on the platform
create or replace function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim', true), ''),
                  nullif(current_setting('request.jwt.claims', true), ''))::jsonb
$$;
create or replace function auth.uid() returns uuid language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                  nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
create or replace function auth.role() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
                  nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')::text
$$;
create or replace function auth.email() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.email', true), ''),
                  nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')::text
$$;

do $$
declare t record;
begin
  for t in select c.relname, c.relkind from pg_class c
           where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r' loop
    execute format('alter table auth.%I owner to supabase_auth_admin', t.relname);
    execute format('alter table auth.%I enable row level security', t.relname);
  end loop;
  for t in select p.oid::regprocedure as f from pg_proc p where p.pronamespace = 'auth'::regnamespace loop
    execute format('alter function %s owner to supabase_auth_admin', t.f);
  end loop;
end $$;
grant all on all tables in schema auth to postgres, dashboard_user;
grant all on all sequences in schema auth to postgres, dashboard_user;
grant execute on all functions in schema auth to public;

-------------------------------------------------------------------------------
-- storage
-------------------------------------------------------------------------------
do $$ begin
  if to_regtype('storage.buckettype') is null then
    create type storage.buckettype as enum ('STANDARD', 'ANALYTICS', 'VECTOR');
  end if;
end $$;
create table if not exists storage.buckets (
  id text primary key, name text not null unique, owner uuid,
  created_at timestamptz default now(), updated_at timestamptz default now(),
  public boolean default false, avif_autodetection boolean default false,
  file_size_limit bigint, allowed_mime_types text[], owner_id text,
  type storage.buckettype not null default 'STANDARD');
create table if not exists storage.objects (
  id uuid primary key default gen_random_uuid(),
  bucket_id text references storage.buckets,
  name text, owner uuid,
  created_at timestamptz default now(), updated_at timestamptz default now(),
  last_accessed_at timestamptz default now(), metadata jsonb,
  path_tokens text[] generated always as (string_to_array(name, '/')) stored,
  version text, owner_id text, user_metadata jsonb, level integer);
create unique index if not exists bucketid_objname on storage.objects (bucket_id, name);
create table if not exists storage.migrations (id integer primary key, name varchar(100) not null unique,
  hash varchar(40) not null, executed_at timestamp default current_timestamp);
create table if not exists storage.s3_multipart_uploads (
  id text primary key, in_progress_size bigint not null default 0, upload_signature text not null,
  bucket_id text not null references storage.buckets, key text not null, version text not null,
  owner_id text, created_at timestamptz not null default now(), user_metadata jsonb);

create or replace function storage.foldername(name text) returns text[] language sql immutable as $$
  select (string_to_array(name, '/'))[1 : greatest(cardinality(string_to_array(name, '/')) - 1, 0)]
$$;
create or replace function storage.filename(name text) returns text language sql immutable as $$
  select (string_to_array(name, '/'))[cardinality(string_to_array(name, '/'))]
$$;
create or replace function storage.extension(name text) returns text language sql immutable as $$
  select reverse(split_part(reverse(storage.filename(name)), '.', 1))
$$;
create or replace function storage.get_size_by_bucket() returns table(size bigint, bucket_id text)
language sql stable as $$
  select sum((metadata ->> 'size')::bigint)::bigint, o.bucket_id from storage.objects o group by o.bucket_id
$$;
create or replace function storage.search(prefix text, bucketname text, limits integer default 100,
  levels integer default 1, offsets integer default 0, search text default '',
  sortcolumn text default 'name', sortorder text default 'asc')
returns table(name text, id uuid, updated_at timestamptz, created_at timestamptz,
  last_accessed_at timestamptz, metadata jsonb) language sql stable as $$
  select o.name, o.id, o.updated_at, o.created_at, o.last_accessed_at, o.metadata
  from storage.objects o where o.bucket_id = $2 and o.name like $1 || '%' limit $3 offset $5
$$;
create or replace function storage.allow_only_operation(expected text) returns boolean language sql stable as $$
  select coalesce(current_setting('storage.operation', true), '') = expected
$$;
create or replace function storage.operation() returns text language sql stable as $$
  select current_setting('storage.operation', true)
$$;

alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
alter table storage.migrations enable row level security;
alter table storage.s3_multipart_uploads enable row level security;
do $$
declare t record;
begin
  for t in select c.relname from pg_class c
           where c.relnamespace = 'storage'::regnamespace and c.relkind = 'r' loop
    execute format('alter table storage.%I owner to supabase_storage_admin', t.relname);
  end loop;
end $$;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role, postgres;
grant select on storage.s3_multipart_uploads to anon, authenticated;
grant all on all tables in schema storage to postgres, service_role;
grant execute on all functions in schema storage to public;

-------------------------------------------------------------------------------
-- realtime
-------------------------------------------------------------------------------
do $$ begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
end $$;
create table if not exists realtime.messages (
  topic text not null, extension text not null, payload jsonb, event text, private boolean default false,
  updated_at timestamp not null default now(), inserted_at timestamp not null default now(),
  id uuid not null default gen_random_uuid(), primary key (id, inserted_at));
alter table realtime.messages enable row level security;
create table if not exists realtime.subscription (
  id bigint generated always as identity primary key, subscription_id uuid not null,
  entity regclass not null, filters text[] not null default '{}', claims jsonb not null,
  created_at timestamp not null default now());
create or replace function realtime.topic() returns text language sql stable as $$
  select nullif(current_setting('realtime.topic', true), '')
$$;
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void language sql as $$
  insert into realtime.messages(payload, event, topic, private, extension)
  values ($1, $2, $3, $4, 'broadcast')
$$;
create or replace function realtime.broadcast_changes(topic_name text, event_name text, operation text,
  table_name text, table_schema text, new record, old record, level text default 'ROW')
returns void language plpgsql as $$
begin
  perform realtime.send(jsonb_build_object('operation', operation, 'table', table_name,
    'schema', table_schema), event_name, topic_name);
end $$;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;
grant all on all tables in schema realtime to postgres, dashboard_user;
alter table realtime.messages owner to supabase_realtime_admin;
grant usage on schema realtime to supabase_realtime_admin;

-------------------------------------------------------------------------------
-- vault, graphql, functions
-------------------------------------------------------------------------------
create table if not exists vault.secrets (
  id uuid primary key default gen_random_uuid(), name text unique, description text not null default '',
  secret text not null, key_id uuid, nonce bytea,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now());
create or replace view vault.decrypted_secrets as
  select id, name, description, secret, secret as decrypted_secret, key_id, nonce, created_at, updated_at
  from vault.secrets;
create or replace function vault.create_secret(new_secret text, new_name text default null,
  new_description text default '', new_key_id uuid default null) returns uuid
language sql security definer set search_path = '' as $$
  insert into vault.secrets(secret, name, description, key_id) values ($1, $2, $3, $4) returning id
$$;
create or replace function vault.update_secret(secret_id uuid, new_secret text default null,
  new_name text default null, new_description text default null, new_key_id uuid default null)
returns void language sql security definer set search_path = '' as $$
  update vault.secrets s set secret = coalesce($2, s.secret), name = coalesce($3, s.name),
    description = coalesce($4, s.description), updated_at = now() where s.id = $1
$$;
revoke all on all functions in schema vault from public;
grant execute on all functions in schema vault to postgres, service_role;
grant select, delete on vault.secrets, vault.decrypted_secrets to postgres, service_role;

create or replace function graphql_public.graphql("operationName" text default null, query text default null,
  variables jsonb default null, extensions jsonb default null) returns jsonb
language sql as $$ select jsonb_build_object('errors', jsonb_build_array('stub')) $$;

create table if not exists supabase_functions.hooks (
  id bigserial primary key, hook_table_id integer not null, hook_name text not null,
  created_at timestamptz not null default now(), request_id bigint);
create or replace function supabase_functions.http_request() returns trigger
language plpgsql security definer as $$ begin return new; end $$;
grant usage on schema supabase_functions to postgres, anon, authenticated, service_role;
create table if not exists supabase_migrations.schema_migrations (
  version text primary key, statements text[], name text);

reset client_min_messages;
