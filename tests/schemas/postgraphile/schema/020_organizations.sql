-- The tenant: a veterinary practice.
set role app_database_owner;

create table app_public.organizations (
  id uuid primary key default gen_random_uuid(),
  public_id text not null unique default encode(public.gen_random_bytes(8), 'hex'),
  name text not null check (length(name) between 2 and 200),
  country_code char(2) not null references app_public.countries,
  currency_code char(3) not null references app_public.currencies,
  owner_id uuid not null,
  logo_url app_public.url,
  website app_public.url,
  vat_number text check (vat_number ~ '^[A-Z0-9]{5,15}$'),
  time_zone text not null default 'Europe/Vienna',
  member_count integer not null default 0 check (member_count >= 0),
  support_access_until timestamptz,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
alter table app_public.organizations enable row level security;
comment on column app_public.organizations.public_id is 'In links to the booking page. Random: a name would tell which names are taken.';

create table app_public.organization_memberships (
  organization_id uuid not null references app_public.organizations on delete cascade,
  user_id uuid not null references app_public.users on delete cascade,
  role app_public.member_role not null default 'receptionist',
  status app_public.membership_status not null default 'active',
  job_title text check (length(job_title) <= 100),
  calendar_color app_public.color,
  notify_by app_public.contact_channel not null default 'email',
  joined_at timestamptz not null default now(),
  ends_on date,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, user_id),
  check (status <> 'left' or ends_on is not null)
);
alter table app_public.organization_memberships enable row level security;
create index on app_public.organization_memberships (user_id);
create unique index organization_memberships_one_owner on app_public.organization_memberships (organization_id) where role = 'owner';

-- The owner is a member. Both rows are made in one transaction.
alter table app_public.organizations add constraint organizations_owner_fkey
  foreign key (id, owner_id) references app_public.organization_memberships (organization_id, user_id) deferrable initially deferred;

-- What the token claims. Do not use in policies: use current_organization_id(), which believes nothing.
create function app_hidden.claimed_organization_id() returns uuid as $$
  select nullif(pg_catalog.current_setting('jwt.claims.organization_id', true), '')::uuid;
$$ language sql stable;
grant execute on function app_hidden.claimed_organization_id() to app_member, app_support;

create function app_hidden.current_organization_id() returns uuid as $$
  select m.organization_id
    from app_public.organization_memberships m
    join app_public.organizations o on o.id = m.organization_id
    join app_public.users u on u.id = m.user_id
   where m.organization_id = app_hidden.claimed_organization_id()
     and m.user_id = app_public.current_user_id()
     and m.status = 'active'
     and (m.ends_on is null or m.ends_on >= current_date)
     and o.archived_at is null
     and u.deactivated_at is null;
$$ language sql stable security definer set search_path to pg_catalog, public, pg_temp;
comment on function app_hidden.current_organization_id() is
  'The organization of the token, if the user still works there; otherwise NULL, which no row equals.';
grant execute on function app_hidden.current_organization_id() to app_member;

create function app_hidden.current_member_role() returns app_public.member_role as $$
  select m.role from app_public.organization_memberships m
   where m.organization_id = app_hidden.current_organization_id() and m.user_id = app_public.current_user_id();
$$ language sql stable security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_hidden.current_member_role() to app_member;

-- A token of role app_manager outlives a demotion, so the role is looked up too.
create function app_hidden.is_manager() returns boolean as $$
  select coalesce(app_hidden.current_member_role() in ('owner', 'manager'), false);
$$ language sql stable;
grant execute on function app_hidden.is_manager() to app_member;

create function app_hidden.is_clinical() returns boolean as $$
  select coalesce(app_hidden.current_member_role() in ('owner', 'manager', 'veterinarian', 'nurse'), false);
$$ language sql stable;
grant execute on function app_hidden.is_clinical() to app_member;

-- For the organization switcher.
create function app_hidden.my_organization_ids() returns setof uuid as $$
  select m.organization_id
    from app_public.organization_memberships m
    join app_public.organizations o on o.id = m.organization_id
    join app_public.users u on u.id = m.user_id
   where m.user_id = app_public.current_user_id()
     and m.status = 'active'
     and (m.ends_on is null or m.ends_on >= current_date)
     and o.archived_at is null
     and u.deactivated_at is null;
$$ language sql stable security definer rows 3 set search_path to pg_catalog, public, pg_temp;
grant execute on function app_hidden.my_organization_ids() to app_member;

-- Present and past: old notes are still signed by somebody.
create function app_hidden.colleague_ids() returns setof uuid as $$
  select m.user_id from app_public.organization_memberships m
   where m.organization_id = app_hidden.current_organization_id();
$$ language sql stable security definer rows 30 set search_path to pg_catalog, public, pg_temp;
grant execute on function app_hidden.colleague_ids() to app_member;

create policy select_colleagues on app_public.users for select to app_member using (id in (select app_hidden.colleague_ids()));

create policy select_member on app_public.organizations for select to app_member using (id in (select app_hidden.my_organization_ids()));
create policy update_manager on app_public.organizations for update to app_manager
  using (id = app_hidden.current_organization_id() and app_hidden.is_manager())
  with check (id = app_hidden.current_organization_id());
grant select on app_public.organizations to app_member;
grant update (name, logo_url, website, vat_number, time_zone) on app_public.organizations to app_manager;

create policy select_own on app_public.organization_memberships for select to app_member using (user_id = app_public.current_user_id());
create policy select_colleagues on app_public.organization_memberships for select to app_member
  using (organization_id = (select app_hidden.current_organization_id()));
-- Which columns is a matter of the grant below; role, status and the rest are changed by mutations.
create policy update_own on app_public.organization_memberships for update to app_member
  using (user_id = app_public.current_user_id() and organization_id in (select app_hidden.my_organization_ids()))
  with check (user_id = app_public.current_user_id());
grant select on app_public.organization_memberships to app_member;
grant update (job_title, calendar_color, notify_by) on app_public.organization_memberships to app_member;

create table app_public.organization_settings (
  organization_id uuid primary key references app_public.organizations on delete cascade,
  booking_enabled boolean not null default false,
  booking_lead_hours integer not null default 24 check (booking_lead_hours between 0 and 720),
  default_appointment_minutes integer not null default 20 check (default_appointment_minutes between 5 and 480),
  invoice_prefix text not null default 'INV' check (invoice_prefix ~ '^[A-Z]{1,6}$'),
  invoice_due_days integer not null default 14 check (invoice_due_days between 0 and 120),
  reminder_template text,
  branding jsonb not null default '{}' check (jsonb_typeof(branding) = 'object' and (branding - '{primary,secondary,font}'::text[]) = '{}'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
alter table app_public.organization_settings enable row level security;
create policy select_own on app_public.organization_settings for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy update_manager on app_public.organization_settings for update to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()))
  with check (organization_id = (select app_hidden.current_organization_id()));
grant select on app_public.organization_settings to app_member;
grant update (booking_enabled, booking_lead_hours, default_appointment_minutes, invoice_prefix, invoice_due_days, reminder_template, branding)
  on app_public.organization_settings to app_manager;

create table app_public.subscriptions (
  organization_id uuid primary key references app_public.organizations on delete cascade,
  plan_code text not null references app_public.plans,
  status text not null default 'trialing' check (status in ('trialing', 'active', 'past_due', 'cancelled')),
  seats integer not null default 3 check (seats > 0),
  trial_ends_at timestamptz not null default now() + interval '30 days',
  current_period tstzrange not null default tstzrange(now(), now() + interval '1 month'),
  cancelled_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
alter table app_public.subscriptions enable row level security;
comment on table app_public.subscriptions is E'@omit create,update,delete';
create policy select_manager on app_public.subscriptions for select to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
grant select on app_public.subscriptions to app_manager;

create table app_private.billing_accounts (
  organization_id uuid primary key references app_public.organizations on delete cascade,
  stripe_customer_id text unique,
  stripe_subscription_id text unique,
  iban_encrypted bytea
);
alter table app_private.billing_accounts enable row level security;

-- Numbers that count per organization: client numbers, invoice numbers.
create table app_private.organization_counters (
  organization_id uuid not null references app_public.organizations on delete cascade,
  counter text not null,
  value integer not null default 0,
  primary key (organization_id, counter)
);
alter table app_private.organization_counters enable row level security;

create function app_private.next_number(p_organization_id uuid, p_counter text) returns integer as $$
  insert into app_private.organization_counters as c (organization_id, counter, value) values (p_organization_id, p_counter, 1)
  on conflict (organization_id, counter) do update set value = c.value + 1
  returning value;
$$ language sql volatile;

-- Nobody writes while the subscription is cancelled; used by restrictive policies.
create function app_hidden.organization_is_writable() returns boolean as $$
  select not exists (
    select 1 from app_public.subscriptions s
     where s.organization_id = app_hidden.current_organization_id() and s.status = 'cancelled');
$$ language sql stable security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_hidden.organization_is_writable() to app_member;

create function app_private.tg__memberships__count() returns trigger as $$
declare
  v_organization_id uuid = coalesce(new.organization_id, old.organization_id);
begin
  update app_public.organizations o
     set member_count = (select count(*) from app_public.organization_memberships m where m.organization_id = o.id and m.status = 'active')
   where o.id = v_organization_id;
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_count after insert or delete or update of status on app_public.organization_memberships
  for each row execute procedure app_private.tg__memberships__count();

create trigger _100_timestamps before insert or update on app_public.organizations for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.organization_memberships for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.organization_settings for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.subscriptions for each row execute procedure app_private.tg__timestamps();

reset role;
