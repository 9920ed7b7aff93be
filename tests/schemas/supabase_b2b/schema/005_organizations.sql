-- Organizations are the tenants. A user belongs to any number of them through organization_members.

create table public.organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null check (length(btrim(name)) between 1 and 120),
  -- made by create_organization() with a random tail, never chosen by a client
  slug public.slug not null unique,
  owner_id uuid,
  status public.org_status not null default 'active',
  plan_id text not null default 'free' references public.plans (id),
  billing_email public.email_address,
  logo_path text,
  website public.https_url,
  industry text,
  company_size int4range,
  timezone text not null default 'UTC',
  default_currency char(3) not null default 'USD' references public.currencies (code),
  week_starts_on smallint not null default 1 check (week_starts_on between 0 and 6),
  address jsonb check (address is null or (jsonb_typeof(address) = 'object' and address ? 'country')),
  onboarding_step text not null default 'profile',
  trial_ends_at timestamptz,
  suspended_at timestamptz,
  suspended_reason text,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint suspended_has_a_time check ((status = 'suspended') = (suspended_at is not null))
);

create table public.organization_members (
  organization_id uuid not null references public.organizations (id) on delete cascade,
  user_id uuid not null references public.profiles (id) on delete cascade,
  role public.org_role not null default 'member',
  status public.member_status not null default 'active',
  handle public.handle not null,
  title text not null default '',
  weekly_capacity_minutes integer not null default 2400 check (weekly_capacity_minutes between 0 and 10080),
  invited_by uuid references public.profiles (id) on delete set null,
  -- contractors and client guests get an end date
  expires_at timestamptz,
  last_seen_at timestamptz,
  joined_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, user_id),
  unique (organization_id, handle),
  constraint owners_do_not_expire check (role <> 'owner' or expires_at is null)
);
create index organization_members_user_idx on public.organization_members (user_id, organization_id);

-- the owner is always one of the members
alter table public.organizations
  add constraint organizations_owner_is_member
  foreign key (id, owner_id) references public.organization_members (organization_id, user_id)
  on delete set null (owner_id)
  deferrable initially deferred;

create table public.organization_settings (
  organization_id uuid primary key references public.organizations (id) on delete cascade,
  require_mfa boolean not null default false,
  allow_guest_invites boolean not null default true,
  default_project_visibility public.project_visibility not null default 'organization',
  invoice_prefix text not null default 'INV' check (invoice_prefix ~ '^[A-Z0-9]{1,8}$'),
  working_days smallint[] not null default '{1,2,3,4,5}' check (working_days <@ '{0,1,2,3,4,5,6}'::smallint[]),
  branding jsonb not null default '{}' check (jsonb_typeof(branding) = 'object'),
  integrations jsonb not null default '{}' check (jsonb_typeof(integrations) = 'object'),
  updated_at timestamptz not null default now()
);

create table public.organization_domains (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  domain text not null check (domain = lower(domain) and domain ~ '^([a-z0-9-]+\.)+[a-z]{2,}$'),
  verification_token text not null default encode(extensions.gen_random_bytes(16), 'hex'),
  verified_at timestamptz,
  created_at timestamptz not null default now(),
  unique (organization_id, domain)
);
-- Anybody may claim any domain; only one can prove it. verified_at is set by the server, after a DNS check, so
-- no client ever meets this index.
create unique index organization_domains_verified_once on public.organization_domains (domain) where verified_at is not null;

create trigger touch_organizations before update on public.organizations
  for each row execute function private.touch_updated_at();
create trigger touch_organization_members before update on public.organization_members
  for each row execute function private.touch_updated_at();
create trigger touch_organization_settings before update on public.organization_settings
  for each row execute function private.touch_updated_at();
create trigger keep_organization_members before update on public.organization_members
  for each row execute function private.keep_columns('organization_id', 'user_id');
create trigger keep_organization_settings before update on public.organization_settings
  for each row execute function private.keep_columns('organization_id');

create function private.create_organization_defaults()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.organization_settings (organization_id) values (new.id) on conflict do nothing;
  return new;
end
$$;
create trigger create_organization_defaults after insert on public.organizations
  for each row execute function private.create_organization_defaults();

-- RLS helpers ----------------------------------------------------------------
-- Everything that asks "who may" goes through this view: it is the one place that knows what makes a
-- membership count. Not granted to anybody; the helpers below are security definer.
create view private.active_memberships as
  select m.organization_id, m.user_id, m.role
  from public.organization_members m
  join public.organizations o on o.id = m.organization_id
  join public.profiles p on p.id = m.user_id
  where m.status = 'active'
    and (m.expires_at is null or m.expires_at > now())
    and o.status <> 'suspended'
    and o.deleted_at is null
    and p.deactivated_at is null;

create function private.org_role(org uuid)
returns public.org_role
language sql
stable
security definer
set search_path = ''
as $$
  select m.role
  from private.active_memberships m
  where m.organization_id = org
    and m.user_id = (select auth.uid())
$$;

create function private.is_org_member(org uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select private.org_role(org) is not null
$$;

create function private.has_org_role(org uuid, roles text[])
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select coalesce(private.org_role(org)::text = any (roles), false)
$$;

create function private.user_org_ids()
returns setof uuid
language sql
stable
security definer
set search_path = ''
as $$
  select m.organization_id
  from private.active_memberships m
  where m.user_id = (select auth.uid())
$$;

-- staff of the organization as opposed to guests and bookkeepers
create function private.is_org_staff(org uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select private.has_org_role(org, array['owner', 'admin', 'member'])
$$;

-- A suspended organization is closed to everyone, but somebody must be able to pay the bill.
create function private.has_billing_access(org uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1
    from public.organization_members m
    join public.organizations o on o.id = m.organization_id
    join public.profiles p on p.id = m.user_id
    where m.organization_id = org
      and m.user_id = (select auth.uid())
      and m.status = 'active'
      and (m.expires_at is null or m.expires_at > now())
      and m.role in ('owner', 'admin', 'billing')
      and o.deleted_at is null
      and p.deactivated_at is null
  )
$$;

create function private.shares_org_with(other_user uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1
    from private.active_memberships me
    join public.organization_members them on them.organization_id = me.organization_id
    where me.user_id = (select auth.uid())
      and them.user_id = other_user
      and them.status in ('active', 'suspended')
  )
$$;

-- true unless the organization insists on MFA and this session has none; says nothing about other organizations
create function private.mfa_satisfied(org uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select coalesce((select auth.jwt()) ->> 'aal', 'aal1') = 'aal2'
    or not exists (
      select 1 from public.organization_settings s
      where s.organization_id = org and s.require_mfa and private.is_org_member(org)
    )
$$;

grant execute on function
  private.org_role(uuid), private.is_org_member(uuid), private.has_org_role(uuid, text[]), private.user_org_ids(),
  private.is_org_staff(uuid), private.has_billing_access(uuid), private.shares_org_with(uuid),
  private.mfa_satisfied(uuid)
  to authenticated, service_role;

-- policies -------------------------------------------------------------------

alter table public.organizations enable row level security;
alter table public.organization_members enable row level security;
alter table public.organization_settings enable row level security;
alter table public.organization_domains enable row level security;

-- created by create_organization(), closed by close_organization(): neither insert nor delete here
grant select on public.organizations to authenticated;
grant update (name, billing_email, logo_path, website, industry, company_size, timezone, default_currency, week_starts_on, address, onboarding_step)
  on public.organizations to authenticated;
grant select on public.organization_members to authenticated;
grant update (role, status, title, weekly_capacity_minutes, expires_at) on public.organization_members to authenticated;
grant select on public.organization_settings to authenticated;
grant update (require_mfa, allow_guest_invites, default_project_visibility, invoice_prefix, working_days, branding, integrations)
  on public.organization_settings to authenticated;
grant select, delete on public.organization_domains to authenticated;
grant insert (organization_id, domain) on public.organization_domains to authenticated;

create policy "Members can read their organization"
  on public.organizations for select to authenticated
  using (private.is_org_member(id) or private.has_billing_access(id));
create policy "Admins can edit their organization"
  on public.organizations for update to authenticated
  using (private.has_org_role(id, array['owner', 'admin']))
  with check (private.has_org_role(id, array['owner', 'admin']));

create policy "Members can see who else is a member"
  on public.organization_members for select to authenticated
  using (private.is_org_member(organization_id));
-- nobody edits their own membership, and owners change through transfer_ownership() only
create policy "Admins can manage other members"
  on public.organization_members for update to authenticated
  using (
    private.has_org_role(organization_id, array['owner', 'admin'])
    and user_id <> (select auth.uid())
    and role <> 'owner'
    and status <> 'removed'
  )
  with check (
    private.has_org_role(organization_id, array['owner', 'admin'])
    and user_id <> (select auth.uid())
    and role <> 'owner'
  );

create policy "Members can read the settings"
  on public.organization_settings for select to authenticated
  using (private.is_org_staff(organization_id));
create policy "Admins can change the settings"
  on public.organization_settings for update to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']))
  with check (private.has_org_role(organization_id, array['owner', 'admin']));

create policy "Settings are changed with a second factor where the organization says so"
  on public.organization_settings as restrictive for update to authenticated
  using (private.mfa_satisfied(organization_id));

create policy "Admins can list domains"
  on public.organization_domains for select to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Admins can claim domains"
  on public.organization_domains for insert to authenticated
  with check (private.has_org_role(organization_id, array['owner', 'admin']) and verified_at is null);
create policy "Admins can release domains"
  on public.organization_domains for delete to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));

create policy "Users can read profiles of people they work with"
  on public.profiles for select to authenticated
  using (private.shares_org_with(id));
