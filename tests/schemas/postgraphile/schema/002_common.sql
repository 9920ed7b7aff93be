-- Domains, enums and trigger functions everybody uses.
set role app_database_owner;

create domain app_public.url as text check (value ~ '^https?://\S+$');
create domain app_public.color as text check (value ~ '^#[0-9a-f]{6}$');
create domain app_public.cents as integer check (value between -100000000 and 100000000);
create domain app_public.microchip as text check (value ~ '^[0-9]{15}$');
create domain app_public.sku as text check (value ~ '^[A-Z0-9][A-Z0-9-]{1,31}$');

create type app_public.time_range as range (subtype = time);

create type app_public.member_role as enum ('owner', 'manager', 'veterinarian', 'nurse', 'receptionist');
create type app_public.membership_status as enum ('active', 'suspended', 'left');
create type app_public.animal_sex as enum ('male', 'female', 'unknown');
create type app_public.contact_channel as enum ('email', 'phone', 'sms', 'post', 'none');
create type app_public.appointment_status as enum ('requested', 'confirmed', 'arrived', 'done', 'cancelled', 'no_show');
create type app_public.visit_status as enum ('draft', 'signed', 'amended');
create type app_public.invoice_status as enum ('draft', 'issued', 'paid', 'void');
create type app_public.payment_method as enum ('cash', 'card', 'transfer', 'insurance');
create type app_public.product_kind as enum ('medication', 'vaccine', 'food', 'consumable', 'service');
create type app_public.movement_kind as enum ('delivery', 'dispense', 'waste', 'correction', 'return');
create type app_public.subject_kind as enum ('client', 'patient', 'visit', 'invoice');

-- What PostGraphile signs. Never stored.
create type app_public.jwt_token as (role text, user_id uuid, organization_id uuid, exp bigint);

create function app_private.tg__timestamps() returns trigger as $$
begin
  new.created_at = (case when tg_op = 'INSERT' then now() else old.created_at end);
  new.updated_at = (case when tg_op = 'UPDATE' and old.updated_at >= now()
                         then old.updated_at + interval '1 millisecond' else now() end);
  return new;
end;
$$ language plpgsql volatile set search_path to pg_catalog, public, pg_temp;
comment on function app_private.tg__timestamps() is
  'Should run on all tables with created_at and updated_at; makes them impossible to forge.';

-- Tags: lower case words, no duplicates, at most 20.
create function app_hidden.valid_tags(tags text[]) returns boolean as $$
  select cardinality(tags) <= 20
     and not exists (select 1 from unnest(tags) t where t is null or t !~ '^[a-z0-9][a-z0-9 _-]{0,39}$')
     and (select count(distinct t) from unnest(tags) t) = cardinality(tags);
$$ language sql immutable set search_path to pg_catalog, pg_temp;
grant execute on function app_hidden.valid_tags(text[]) to app_member;

create table app_private.job_queue (
  id bigint generated always as identity primary key,
  task text not null check (length(task) < 128),
  payload json not null default '{}',
  run_at timestamptz not null default now(),
  attempts smallint not null default 0,
  max_attempts smallint not null default 25,
  last_error text,
  locked_at timestamptz,
  locked_by text,
  created_at timestamptz not null default now()
);
alter table app_private.job_queue enable row level security;
create index on app_private.job_queue (run_at) where locked_at is null;

create function app_private.add_job(task text, payload json) returns void as $$
  insert into app_private.job_queue (task, payload) values (add_job.task, add_job.payload);
$$ language sql volatile;
comment on function app_private.add_job(text, json) is 'Called by our definer functions only.';

reset role;
