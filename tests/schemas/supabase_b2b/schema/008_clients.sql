-- The companies our customers work for.

create table public.clients (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  -- short code used in project numbers, e.g. ACME
  code text not null check (code ~ '^[A-Z0-9]{2,10}$'),
  name text not null check (length(btrim(name)) between 1 and 160),
  legal_name text,
  vat_id text check (vat_id ~ '^[A-Z]{2}[0-9A-Z]{6,14}$'),
  website public.https_url,
  billing_email public.email_address,
  currency char(3) not null default 'USD' references public.currencies (code),
  hourly_rate_cents integer check (hourly_rate_cents between 0 and 1000000),
  payment_terms_days smallint not null default 30 check (payment_terms_days between 0 and 120),
  account_manager_id uuid,
  address jsonb,
  notes text,
  archived_at timestamptz,
  created_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  constraint clients_code_key unique (organization_id, code),
  foreign key (organization_id, account_manager_id) references public.organization_members (organization_id, user_id)
    on delete set null (account_manager_id),
  foreign key (organization_id, created_by) references public.organization_members (organization_id, user_id)
    on delete set null (created_by)
);

create table public.client_contacts (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  client_id uuid not null,
  full_name text not null,
  email public.email_address,
  phone text,
  job_title text,
  is_primary boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (organization_id, client_id) references public.clients (organization_id, id) on delete cascade
);
create unique index client_contacts_one_primary on public.client_contacts (organization_id, client_id) where is_primary;
create index client_contacts_client_idx on public.client_contacts (organization_id, client_id);

create trigger touch_clients before update on public.clients
  for each row execute function private.touch_updated_at();
create trigger touch_client_contacts before update on public.client_contacts
  for each row execute function private.touch_updated_at();
create trigger keep_clients before update on public.clients
  for each row execute function private.keep_columns('organization_id', 'created_by');
create trigger keep_client_contacts before update on public.client_contacts
  for each row execute function private.keep_columns('organization_id');

alter table public.clients enable row level security;
alter table public.client_contacts enable row level security;
grant select, insert, update, delete on public.clients, public.client_contacts to authenticated;

create policy "Staff can see clients"
  on public.clients for select to authenticated
  using (private.is_org_staff(organization_id));
create policy "Staff can add clients"
  on public.clients for insert to authenticated
  with check (private.is_org_staff(organization_id) and created_by = (select auth.uid()));
create policy "Staff can edit clients"
  on public.clients for update to authenticated
  using (private.is_org_staff(organization_id))
  with check (private.is_org_staff(organization_id));
create policy "Admins can delete clients"
  on public.clients for delete to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));

create policy "Staff can see client contacts"
  on public.client_contacts for select to authenticated
  using (private.is_org_staff(organization_id));
create policy "Staff can add client contacts"
  on public.client_contacts for insert to authenticated
  with check (private.is_org_staff(organization_id));
create policy "Staff can edit client contacts"
  on public.client_contacts for update to authenticated
  using (private.is_org_staff(organization_id))
  with check (private.is_org_staff(organization_id));
create policy "Staff can delete client contacts"
  on public.client_contacts for delete to authenticated
  using (private.is_org_staff(organization_id));
