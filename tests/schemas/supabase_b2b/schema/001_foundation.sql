-- Foundation: extensions, the private schema, and default privileges that start closed.

create schema if not exists extensions;
create extension if not exists pgcrypto with schema extensions;
create extension if not exists btree_gist with schema extensions;

-- Never exposed through the API. Holds RLS helpers and tables that no client may reach.
create schema if not exists private;
revoke all on schema private from public;
grant usage on schema private to authenticated, service_role;

-- The platform opens every new table and function in public to the API roles. We grant explicitly instead,
-- table by table, so take the defaults away before anything is created.
do $$
declare
  maker text;
begin
  foreach maker in array array[current_user::text, 'postgres', 'supabase_admin'] loop
    execute format('alter default privileges for role %I in schema public revoke all on tables from anon, authenticated', maker);
    execute format('alter default privileges for role %I in schema public revoke all on sequences from anon, authenticated', maker);
    execute format('alter default privileges for role %I in schema public revoke all on functions from anon, authenticated', maker);
    -- execute for PUBLIC is a database-wide default and can only be taken away database-wide
    execute format('alter default privileges for role %I revoke execute on functions from public', maker);
  end loop;
end
$$;

revoke create on schema public from public, anon, authenticated;

-- Query statistics are per database role, and all our users share one.
do $$
begin
  if to_regclass('extensions.pg_stat_statements') is not null then
    revoke all on extensions.pg_stat_statements from public, anon, authenticated;
    revoke all on extensions.pg_stat_statements_info from public, anon, authenticated;
  end if;
end
$$;

do $$
declare
  f regprocedure;
begin
  for f in
    select p.oid::regprocedure
    from pg_proc p
    where p.pronamespace = 'extensions'::regnamespace
      and p.proname like 'pg\_stat\_statements%'
  loop
    execute format('revoke all on function %s from public, anon, authenticated', f);
  end loop;
end
$$;

-- Generic triggers -----------------------------------------------------------

create function private.touch_updated_at()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end
$$;

-- keep_columns('a', 'b'): these columns are fixed once a row exists. They may only become null, which is what
-- "on delete set null" does when a member goes.
create function private.keep_columns()
returns trigger
language plpgsql
set search_path = ''
as $$
declare
  col text;
  was jsonb := to_jsonb(old);
  will jsonb := to_jsonb(new);
begin
  foreach col in array tg_argv loop
    if (will ->> col) is not null and (will ->> col) is distinct from (was ->> col) then
      raise exception 'column "%" of "%" cannot be changed', col, tg_table_name
        using errcode = 'insufficient_privilege';
    end if;
  end loop;
  return new;
end
$$;

-- uuid or null, never an error: policies must not fail on odd input
create function private.try_uuid(value text)
returns uuid
language sql
immutable
set search_path = ''
as $$
  select case
    when value ~ '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$' then value::uuid
  end
$$;
grant execute on function private.try_uuid(text) to authenticated, service_role;
