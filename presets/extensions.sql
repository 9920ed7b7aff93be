-- Extensions that a schema wants: the real one where the server has it, else a stub with objects of the same names, so that
-- what uses them loads. The schema tenantproof_load holds the helpers; the loader drops it when it is done.

create schema if not exists tenantproof_load;

-- For CREATE EXTENSION x WITH SCHEMA y the loader runs: select tenantproof_load.extension('x', 'y').
create table if not exists tenantproof_load.log (at timestamptz default clock_timestamp(), what text);

create or replace function tenantproof_load.extension(ext text, into_schema text default null)
returns void language plpgsql as $fn$
declare
  home text := into_schema;
begin
  if exists (select from pg_extension where extname = ext) then
    return;
  end if;
  -- real pg_cron and pg_net want shared_preload_libraries: always stubbed
  if ext not in ('pg_cron', 'pg_net', 'pgsodium', 'supabase_vault')
     and exists (select from pg_available_extensions where name = ext) then
    if home is not null then
      execute format('create schema if not exists %I', home);
      execute format('create extension if not exists %I with schema %I cascade', ext, home);
    else
      execute format('create extension if not exists %I cascade', ext);
    end if;
    return;
  end if;
  insert into tenantproof_load.log(what) values (format('extension %s: stub', ext));
  if ext in ('vector', 'pgvector') then
    if to_regtype('public.vector') is null and to_regtype('extensions.vector') is null then
      perform tenantproof_load.stub_vector(coalesce(home, 'public'));
    end if;
  elsif ext = 'pg_cron' then perform tenantproof_load.stub_cron();
  elsif ext = 'pg_net' then perform tenantproof_load.stub_net();
  elsif ext = 'pgmq' then perform tenantproof_load.stub_pgmq();
  elsif ext = 'pgsodium' then perform tenantproof_load.stub_pgsodium();
  elsif ext = 'http' then perform tenantproof_load.stub_http(coalesce(home, 'public'));
  elsif ext = 'pgjwt' then perform tenantproof_load.stub_pgjwt(coalesce(home, 'extensions'));
  elsif ext = 'pg_jsonschema' then perform tenantproof_load.stub_jsonschema(coalesce(home, 'extensions'));
  elsif ext = 'pg_uuidv7' then perform tenantproof_load.stub_uuidv7(coalesce(home, 'public'));
  end if;  -- others (pg_graphql, wrappers, plpgsql_check, index_advisor ...): nothing to make
end $fn$;

-- vector: text in a coat, with pgvector's type names, operators and typmod
create or replace function tenantproof_load.stub_vector(s text) returns void language plpgsql as $fn$
declare
  t text;
  op text;
begin
  execute format('create schema if not exists %I', s);
  foreach t in array array['vector', 'halfvec', 'sparsevec'] loop
    execute format($q$create type %1$I.%2$I$q$, s, t);
    execute format($q$create function %1$I.%2$s_in(cstring, oid, integer) returns %1$I.%2$I
      language internal immutable strict parallel safe as 'textin'$q$, s, t);
    execute format($q$create function %1$I.%2$s_out(%1$I.%2$I) returns cstring
      language internal immutable strict parallel safe as 'textout'$q$, s, t);
    execute format($q$create function %1$I.%2$s_typmod_in(cstring[]) returns integer
      language internal immutable strict parallel safe as 'varchartypmodin'$q$, s, t);
    execute format($q$create function %1$I.%2$s_typmod_out(integer) returns cstring
      language internal immutable strict parallel safe as 'varchartypmodout'$q$, s, t);
    execute format($q$create type %1$I.%2$I (input = %1$I.%2$s_in, output = %1$I.%2$s_out,
      typmod_in = %1$I.%2$s_typmod_in, typmod_out = %1$I.%2$s_typmod_out,
      internallength = variable, alignment = int4, storage = extended)$q$, s, t);
    execute format($q$create cast (text as %1$I.%2$I) with inout as assignment$q$, s, t);
    execute format($q$create function %1$I.%2$s_distance(a %1$I.%2$I, b %1$I.%2$I) returns float8
      language sql immutable strict parallel safe
      as 'select case when a::text = b::text then 0::float8 else 1::float8 end'$q$, s, t);
    foreach op in array array['<->', '<=>', '<#>', '<+>'] loop
      execute format($q$create operator %1$I.%3$s (leftarg = %1$I.%2$I, rightarg = %1$I.%2$I,
        function = %1$I.%2$s_distance)$q$, s, t, op);
    end loop;
  end loop;
  foreach t in array array['real', 'float8', 'integer', 'numeric'] loop
    execute format($q$create function %1$I.array_to_vector(%2$s[], integer, boolean) returns %1$I.vector
      language sql immutable strict parallel safe
      return ('[' || array_to_string($1, ',') || ']')::%1$I.vector$q$, s, t);
    execute format($q$create cast (%2$s[] as %1$I.vector)
      with function %1$I.array_to_vector(%2$s[], integer, boolean) as assignment$q$, s, t);
  end loop;
  execute format($q$create function %1$I.cosine_distance(a %1$I.vector, b %1$I.vector) returns float8
    language sql immutable strict parallel safe return %1$I.vector_distance(a, b)$q$, s);
  execute format($q$create function %1$I.l2_distance(a %1$I.vector, b %1$I.vector) returns float8
    language sql immutable strict parallel safe return %1$I.vector_distance(a, b)$q$, s);
  execute format($q$create function %1$I.inner_product(a %1$I.vector, b %1$I.vector) returns float8
    language sql immutable strict parallel safe return %1$I.vector_distance(a, b)$q$, s);
  execute format($q$create function %1$I.vector_dims(a %1$I.vector) returns integer
    language sql immutable strict parallel safe
    as 'select coalesce(array_length(string_to_array(a::text, '',''), 1), 0)'$q$, s);
end $fn$;

-- ALTER EXTENSION x SET SCHEMA y
create or replace function tenantproof_load.move_extension(ext text, into_schema text)
returns void language plpgsql as $fn$
declare
  home oid := (select typnamespace from pg_type where typname = 'vector' and typtype = 'b');
  o record;
begin
  if exists (select from pg_extension where extname = ext) then
    execute format('alter extension %I set schema %I', ext, into_schema);
  elsif ext in ('vector', 'pgvector') and home is not null and home <> into_schema::regnamespace then
    for o in select p.oid::regprocedure as f from pg_proc p where p.pronamespace = home
             and p.proname ~ '^(vector|halfvec|sparsevec)_(in|out|typmod_in|typmod_out|distance|dims)$|^(array_to_vector|cosine_distance|l2_distance|inner_product)$' loop
      execute format('alter function %s set schema %I', o.f, into_schema);
    end loop;
    for o in select p.oid::regoperator as f from pg_operator p where p.oprnamespace = home
             and p.oprname in ('<->', '<=>', '<#>', '<+>') loop
      execute format('alter operator %s set schema %I', o.f, into_schema);
    end loop;
    for o in select t.oid::regtype as f from pg_type t where t.typnamespace = home
             and t.typname in ('vector', 'halfvec', 'sparsevec') loop
      execute format('alter type %s set schema %I', o.f, into_schema);
    end loop;
  end if;
end $fn$;

-- DROP EXTENSION x CASCADE
create or replace function tenantproof_load.drop_extension(ext text)
returns void language plpgsql as $fn$
declare
  home name := (select n.nspname from pg_type t join pg_namespace n on n.oid = t.typnamespace
                where t.typname = 'vector' and t.typtype = 'b');
begin
  if exists (select from pg_extension where extname = ext) then
    execute format('drop extension %I cascade', ext);
  elsif ext in ('vector', 'pgvector') and home is not null then
    execute format('drop type %1$I.vector, %1$I.halfvec, %1$I.sparsevec cascade', home);
  end if;
end $fn$;

create or replace function tenantproof_load.stub_cron() returns void language plpgsql as $fn$
begin
  create schema if not exists cron;
  create table if not exists cron.job (
    jobid bigserial primary key, schedule text not null, command text not null,
    nodename text not null default 'localhost', nodeport integer not null default 5432,
    database text not null default current_database(), username text not null default current_user,
    active boolean not null default true, jobname text unique);
  create table if not exists cron.job_run_details (
    jobid bigint, runid bigserial primary key, job_pid integer, database text, username text,
    command text, status text, return_message text,
    start_time timestamptz, end_time timestamptz);
  create or replace function cron.schedule(job_name text, schedule text, command text)
  returns bigint language plpgsql as $b$
  declare id bigint;
  begin
    delete from cron.job j where j.jobname = job_name;
    insert into cron.job(jobname, schedule, command) values ($1, $2, $3) returning jobid into id;
    return id;
  end $b$;
  create or replace function cron.schedule(schedule text, command text)
  returns bigint language plpgsql as $b$
  declare id bigint;
  begin
    insert into cron.job(schedule, command) values ($1, $2) returning jobid into id;
    return id;
  end $b$;
  create or replace function cron.unschedule(job_id bigint) returns boolean language sql
    as 'delete from cron.job where jobid = $1; select true';
  create or replace function cron.unschedule(job_name text) returns boolean language sql
    as 'delete from cron.job where jobname = $1; select true';
  create or replace function cron.alter_job(job_id bigint, schedule text default null,
    command text default null, database text default null, username text default null,
    active boolean default null) returns void language sql
    as 'update cron.job j set schedule = coalesce($2, j.schedule), command = coalesce($3, j.command),
        active = coalesce($6, j.active) where j.jobid = $1';
  grant usage on schema cron to postgres;
end $fn$;

create or replace function tenantproof_load.stub_net() returns void language plpgsql as $fn$
begin
  create schema if not exists net;
  create table if not exists net.http_request_queue (
    id bigserial primary key, method text, url text, headers jsonb, body bytea,
    timeout_milliseconds integer);
  create table if not exists net._http_response (
    id bigint, status_code integer, content_type text, headers jsonb, content text,
    timed_out boolean, error_msg text, created timestamptz default now());
  create or replace function net.http_get(url text, params jsonb default '{}', headers jsonb default '{}',
    timeout_milliseconds integer default 5000) returns bigint language sql security definer
    as 'insert into net.http_request_queue(method, url, headers, timeout_milliseconds)
        values (''GET'', $1, $3, $4) returning id';
  create or replace function net.http_post(url text, body jsonb default '{}', params jsonb default '{}',
    headers jsonb default '{"Content-Type": "application/json"}',
    timeout_milliseconds integer default 5000) returns bigint language sql security definer
    as 'insert into net.http_request_queue(method, url, headers, body, timeout_milliseconds)
        values (''POST'', $1, $4, convert_to($2::text, ''UTF8''), $5) returning id';
  create or replace function net.http_delete(url text, params jsonb default '{}', headers jsonb default '{}',
    timeout_milliseconds integer default 5000, body jsonb default null)
    returns bigint language sql security definer
    as 'insert into net.http_request_queue(method, url, headers, timeout_milliseconds)
        values (''DELETE'', $1, $3, $4) returning id';
  grant usage on schema net to postgres, anon, authenticated, service_role;
end $fn$;

create or replace function tenantproof_load.stub_http(s text) returns void language plpgsql as $fn$
begin
  execute format('create schema if not exists %I', s);
  if to_regtype(format('%I.http_response', s)) is not null then return; end if;
  execute format('create domain %1$I.http_method as text', s);
  execute format('create type %1$I.http_header as (field varchar, value varchar)', s);
  execute format('create type %1$I.http_response as (status integer, content_type varchar,
    headers %1$I.http_header[], content varchar)', s);
  execute format('create type %1$I.http_request as (method %1$I.http_method, uri varchar,
    headers %1$I.http_header[], content_type varchar, content varchar)', s);
  execute format($q$create function %1$I.http(request %1$I.http_request) returns %1$I.http_response
    language sql as 'select row(200, ''text/plain'', null, ''stub'')::%1$I.http_response'$q$, s);
  execute format($q$create function %1$I.http_header(field varchar, value varchar) returns %1$I.http_header
    language sql as 'select row($1, $2)::%1$I.http_header'$q$, s);
  execute format($q$create function %1$I.http_get(uri varchar) returns %1$I.http_response
    language sql as 'select row(200, ''text/plain'', null, ''stub'')::%1$I.http_response'$q$, s);
  execute format($q$create function %1$I.http_post(uri varchar, content varchar, content_type varchar)
    returns %1$I.http_response
    language sql as 'select row(200, ''text/plain'', null, ''stub'')::%1$I.http_response'$q$, s);
end $fn$;

create or replace function tenantproof_load.stub_pgjwt(s text) returns void language plpgsql as $fn$
begin
  execute format('create schema if not exists %I', s);
  execute format($q$create or replace function %1$I.sign(payload json, secret text, algorithm text default 'HS256')
    returns text language sql immutable as 'select ''stub.'' || md5($1::text || $2) || ''.'' || $3'$q$, s);
  execute format($q$create or replace function %1$I.verify(token text, secret text, algorithm text default 'HS256')
    returns table(header json, payload json, valid boolean) language sql immutable
    as 'select ''{}''::json, ''{}''::json, false'$q$, s);
  execute format($q$create or replace function %1$I.url_encode(data bytea) returns text language sql immutable
    as 'select translate(encode($1, ''base64''), E''+/=\n'', ''-_'')'$q$, s);
end $fn$;

create or replace function tenantproof_load.stub_jsonschema(s text) returns void language plpgsql as $fn$
begin
  execute format('create schema if not exists %I', s);
  execute format($q$create or replace function %1$I.json_matches_schema(schema json, instance json)
    returns boolean language sql immutable as 'select true'$q$, s);
  execute format($q$create or replace function %1$I.jsonb_matches_schema(schema json, instance jsonb)
    returns boolean language sql immutable as 'select true'$q$, s);
  execute format($q$create or replace function %1$I.jsonschema_is_valid(schema json)
    returns boolean language sql immutable as 'select true'$q$, s);
end $fn$;

create or replace function tenantproof_load.stub_uuidv7(s text) returns void language plpgsql as $fn$
begin
  execute format($q$create or replace function %1$I.uuid_generate_v7() returns uuid
    language sql volatile as 'select gen_random_uuid()'$q$, s);
end $fn$;

create or replace function tenantproof_load.stub_pgmq() returns void language plpgsql as $fn$
begin
  create schema if not exists pgmq;
  if to_regtype('pgmq.message_record') is not null then return; end if;
  create type pgmq.message_record as (msg_id bigint, read_ct integer, enqueued_at timestamptz,
    vt timestamptz, message jsonb);
  create table pgmq.meta (queue_name varchar unique not null, is_partitioned boolean not null default false,
    is_unlogged boolean not null default false, created_at timestamptz not null default now());
  create function pgmq.create(queue_name text) returns void language plpgsql as $b$
  begin
    if exists (select from pgmq.meta m where m.queue_name = $1) then return; end if;
    execute format('create table pgmq.%I (msg_id bigserial primary key, read_ct int not null default 0,
      enqueued_at timestamptz not null default now(), vt timestamptz not null default now(),
      message jsonb)', 'q_' || lower($1));
    execute format('create table pgmq.%I (msg_id bigint primary key, read_ct int not null default 0,
      enqueued_at timestamptz not null default now(), archived_at timestamptz not null default now(),
      vt timestamptz not null default now(), message jsonb)', 'a_' || lower($1));
    insert into pgmq.meta(queue_name) values ($1);
  end $b$;
  create function pgmq.create_non_partitioned(queue_name text) returns void language sql as 'select pgmq.create($1)';
  create function pgmq.create_unlogged(queue_name text) returns void language sql as 'select pgmq.create($1)';
  create function pgmq.send(queue_name text, msg jsonb, delay integer default 0) returns setof bigint
  language plpgsql as $b$
  begin
    return query execute format('insert into pgmq.%I(message, vt) values ($1, now() + $2 * interval ''1 second'')
      returning msg_id', 'q_' || lower($1)) using $2, $3;
  end $b$;
  create function pgmq.send_batch(queue_name text, msgs jsonb[], delay integer default 0) returns setof bigint
  language plpgsql as $b$
  begin
    return query execute format('insert into pgmq.%I(message, vt) select unnest($1), now() + $2 * interval ''1 second''
      returning msg_id', 'q_' || lower($1)) using $2, $3;
  end $b$;
  create function pgmq.read(queue_name text, vt integer, qty integer, conditional jsonb default '{}')
  returns setof pgmq.message_record language plpgsql as $b$
  begin
    return query execute format('select msg_id, read_ct, enqueued_at, vt, message from pgmq.%I
      order by msg_id limit $1', 'q_' || lower($1)) using $3;
  end $b$;
  create function pgmq.pop(queue_name text) returns setof pgmq.message_record language plpgsql as $b$
  begin
    return query execute format('delete from pgmq.%1$I where msg_id = (select min(msg_id) from pgmq.%1$I)
      returning msg_id, read_ct, enqueued_at, vt, message', 'q_' || lower($1));
  end $b$;
  create function pgmq.delete(queue_name text, msg_id bigint) returns boolean language plpgsql as $b$
  begin
    execute format('delete from pgmq.%I where msg_id = $1', 'q_' || lower($1)) using $2;
    return found;
  end $b$;
  create function pgmq.archive(queue_name text, msg_id bigint) returns boolean language plpgsql as $b$
  begin
    execute format('delete from pgmq.%I where msg_id = $1', 'q_' || lower($1)) using $2;
    return found;
  end $b$;
  create function pgmq.set_vt(queue_name text, msg_id bigint, vt integer) returns setof pgmq.message_record
  language plpgsql as $b$
  begin
    return query execute format('update pgmq.%I set vt = now() + $2 * interval ''1 second'' where msg_id = $1
      returning msg_id, read_ct, enqueued_at, vt, message', 'q_' || lower($1)) using $2, $3;
  end $b$;
  create function pgmq.drop_queue(queue_name text) returns boolean language plpgsql as $b$
  begin
    execute format('drop table if exists pgmq.%I', 'q_' || lower($1));
    execute format('drop table if exists pgmq.%I', 'a_' || lower($1));
    delete from pgmq.meta m where m.queue_name = $1;
    return true;
  end $b$;
  create function pgmq.list_queues() returns setof pgmq.meta language sql as 'select * from pgmq.meta';
end $fn$;

create or replace function tenantproof_load.stub_pgsodium() returns void language plpgsql as $fn$
begin
  create schema if not exists pgsodium;
  create table if not exists pgsodium.key (id uuid primary key default gen_random_uuid(),
    status text default 'valid', created timestamptz default now(), expires timestamptz,
    key_type text default 'aead-det', key_id bigserial, key_context bytea default 'pgsodium',
    name text unique, associated_data text default '', raw_key bytea, raw_key_nonce bytea,
    parent_key uuid, comment text);
  create or replace view pgsodium.valid_key as
    select id, name, status, key_type, key_id, key_context, created, expires, associated_data
    from pgsodium.key where status = 'valid';
  create or replace function pgsodium.create_key(key_type text default 'aead-det', name text default null,
    raw_key bytea default null) returns pgsodium.key language sql
    as 'insert into pgsodium.key(key_type, name, raw_key) values ($1, $2, $3) returning *';
  create or replace function pgsodium.crypto_aead_det_encrypt(message bytea, additional bytea, key_uuid uuid,
    nonce bytea default null) returns bytea language sql immutable as 'select $1';
  create or replace function pgsodium.crypto_aead_det_decrypt(message bytea, additional bytea, key_uuid uuid,
    nonce bytea default null) returns bytea language sql immutable as 'select $1';
  create or replace function pgsodium.crypto_aead_det_noncegen() returns bytea language sql volatile
    as 'select decode(md5(random()::text), ''hex'')';
end $fn$;