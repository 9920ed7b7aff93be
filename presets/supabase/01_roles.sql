-- Roles of a Supabase project, with the platform's attributes. May be run again; roles that are there stay as they are.

do $$
declare r record;
begin
  -- several databases of one cluster may run this at once: one at a time here
  perform pg_advisory_xact_lock(55406);
  for r in
    select * from (values
      ('anon',                     'nologin noinherit'),
      ('authenticated',            'nologin noinherit'),
      ('service_role',             'nologin noinherit bypassrls'),
      ('authenticator',            'login noinherit'),
      ('supabase_admin',           'login superuser createdb createrole replication bypassrls'),
      ('supabase_auth_admin',      'login noinherit createrole'),
      ('supabase_storage_admin',   'login noinherit createrole'),
      ('supabase_realtime_admin',  'nologin noinherit'),
      ('supabase_functions_admin', 'login noinherit createrole'),
      ('supabase_replication_admin', 'login replication'),
      ('supabase_read_only_user',  'login bypassrls'),
      ('supabase_etl_admin',       'login replication'),
      ('dashboard_user',           'nologin createdb createrole replication'),
      ('pgbouncer',                'login'),
      ('pgsodium_keyholder',       'nologin'),
      ('pgsodium_keyiduser',       'nologin'),
      ('pgsodium_keymaker',        'nologin'),
      ('postgres',                 'login createdb createrole replication bypassrls')
    ) as t(name, attrs)
  loop
    if not exists (select from pg_roles where rolname = r.name) then
      execute format('create role %I %s', r.name, r.attrs);
    end if;
  end loop;
  grant anon, authenticated, service_role to authenticator;
  if current_user <> 'postgres' then
    grant anon, authenticated, service_role to postgres;
  end if;
  -- as the platform does, so that a migration run by "postgres" may act as them
  if not (select rolsuper from pg_roles where rolname = 'postgres') then
    grant supabase_auth_admin, supabase_storage_admin, supabase_realtime_admin to postgres;
  end if;
  grant pg_read_all_data to supabase_read_only_user;
end $$;
