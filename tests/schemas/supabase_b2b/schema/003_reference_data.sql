-- Reference data: the same for everybody, written by migrations only.

create table public.currencies (
  code char(3) primary key check (code ~ '^[A-Z]{3}$'),
  name text not null,
  minor_units smallint not null default 2 check (minor_units between 0 and 4)
);

create table public.plans (
  id text primary key check (id ~ '^[a-z_]+$'),
  name text not null,
  price_cents integer not null check (price_cents >= 0),
  currency char(3) not null references public.currencies (code),
  billing_interval text not null default 'month' check (billing_interval in ('month', 'year')),
  max_seats integer check (max_seats > 0),
  max_projects integer check (max_projects > 0),
  storage_mb integer not null default 1024,
  is_public boolean not null default true,
  sort_order smallint not null default 0,
  created_at timestamptz not null default now()
);

create table public.feature_flags (
  key text primary key check (key ~ '^[a-z][a-z0-9_.]*$'),
  description text not null,
  default_enabled boolean not null default false,
  created_at timestamptz not null default now()
);

create table public.plan_features (
  plan_id text not null references public.plans (id) on delete cascade,
  feature_key text not null references public.feature_flags (key) on delete cascade,
  primary key (plan_id, feature_key)
);

-- project blueprints every workspace can start from
create table public.template_gallery (
  id uuid primary key default gen_random_uuid(),
  title text not null,
  category text not null,
  blueprint jsonb not null default '{"tasks": []}' check (blueprint ? 'tasks'),
  published_at timestamptz,
  created_at timestamptz not null default now()
);

insert into public.currencies (code, name, minor_units) values
  ('USD', 'US dollar', 2), ('EUR', 'Euro', 2), ('GBP', 'Pound sterling', 2), ('JPY', 'Yen', 0);
insert into public.plans (id, name, price_cents, currency, max_seats, max_projects, sort_order) values
  ('free', 'Free', 0, 'USD', 3, 5, 0),
  ('studio', 'Studio', 2900, 'USD', 15, 100, 1),
  ('agency', 'Agency', 9900, 'USD', null, null, 2);
insert into public.plans (id, name, price_cents, currency, is_public, sort_order) values
  ('partner', 'Partner', 0, 'USD', false, 9);
insert into public.feature_flags (key, description, default_enabled) values
  ('time_tracking', 'Timesheets', true),
  ('client_portal', 'Share links for clients', false),
  ('webhooks', 'Outgoing webhooks', false),
  ('audit_export', 'Download of the activity log', false);
insert into public.plan_features (plan_id, feature_key) values
  ('studio', 'client_portal'), ('agency', 'client_portal'), ('agency', 'webhooks'), ('agency', 'audit_export');
insert into public.template_gallery (title, category, blueprint, published_at) values
  ('Website launch', 'web', '{"tasks": ["Sitemap", "Design", "Build", "Launch"]}', now()),
  ('Brand refresh', 'design', '{"tasks": ["Audit", "Concepts", "Guidelines"]}', now());

alter table public.currencies enable row level security;
alter table public.plans enable row level security;
alter table public.feature_flags enable row level security;
alter table public.plan_features enable row level security;
alter table public.template_gallery enable row level security;

grant select on public.currencies, public.plans, public.plan_features to anon, authenticated;
grant select on public.feature_flags, public.template_gallery to authenticated;

create policy "Currencies are readable by everyone"
  on public.currencies for select to anon, authenticated using (true);
create policy "Public plans are readable by everyone"
  on public.plans for select to anon, authenticated using (is_public);
create policy "Plan features are readable by everyone"
  on public.plan_features for select to anon, authenticated using (true);
create policy "Feature flags are readable by signed-in users"
  on public.feature_flags for select to authenticated using (true);
create policy "Published templates are readable by signed-in users"
  on public.template_gallery for select to authenticated using (published_at <= now());
