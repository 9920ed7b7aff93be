-- What our customers pay us. Stripe's webhooks write it with the service role; organizations read their own.

create table public.subscriptions (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null unique references public.organizations (id) on delete cascade,
  plan_id text not null references public.plans (id),
  status public.subscription_status not null default 'trialing',
  seats integer not null default 1 check (seats > 0),
  stripe_customer_id text unique,
  stripe_subscription_id text unique,
  current_period tstzrange not null default tstzrange(now(), now() + interval '30 days'),
  cancel_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table public.payment_methods (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  brand text not null,
  last4 char(4) not null check (last4 ~ '^[0-9]{4}$'),
  exp_month smallint not null check (exp_month between 1 and 12),
  exp_year smallint not null check (exp_year between 2020 and 2100),
  is_default boolean not null default false,
  created_at timestamptz not null default now()
);
create unique index payment_methods_one_default on public.payment_methods (organization_id) where is_default;

create table public.invoices (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  number text not null,
  status public.invoice_status not null default 'draft',
  currency char(3) not null references public.currencies (code),
  subtotal_cents bigint not null default 0,
  tax_cents bigint not null default 0,
  total_cents bigint generated always as (subtotal_cents + tax_cents) stored,
  period daterange not null,
  due_on date,
  paid_at timestamptz,
  hosted_url public.https_url,
  created_at timestamptz not null default now(),
  unique (organization_id, number),
  check ((status = 'paid') = (paid_at is not null))
);

create table public.invoice_lines (
  invoice_id uuid not null references public.invoices (id) on delete cascade,
  line_no smallint not null check (line_no > 0),
  description text not null,
  quantity numeric(12, 3) not null default 1,
  unit_cents bigint not null,
  amount_cents bigint generated always as (round(quantity * unit_cents)::bigint) stored,
  primary key (invoice_id, line_no)
);

create table public.organization_features (
  organization_id uuid not null references public.organizations (id) on delete cascade,
  feature_key text not null references public.feature_flags (key) on delete cascade,
  enabled boolean not null,
  reason text,
  expires_at timestamptz,
  primary key (organization_id, feature_key)
);

create table public.usage_counters (
  organization_id uuid not null references public.organizations (id) on delete cascade,
  metric text not null check (metric in ('tasks', 'storage_bytes', 'api_calls')),
  month date not null check (extract(day from month) = 1),
  quantity bigint not null default 0 check (quantity >= 0),
  primary key (organization_id, metric, month)
);

create function private.feature_enabled(org uuid, feature text)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select coalesce(
    (select f.enabled from public.organization_features f
     where f.organization_id = org and f.feature_key = feature and (f.expires_at is null or f.expires_at > now())),
    (select true from public.organizations o join public.plan_features pf on pf.plan_id = o.plan_id
     where o.id = org and pf.feature_key = feature),
    (select ff.default_enabled from public.feature_flags ff where ff.key = feature),
    false
  )
$$;
grant execute on function private.feature_enabled(uuid, text) to service_role;

create function private.count_usage()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.usage_counters as u (organization_id, metric, month, quantity)
  values (
    new.organization_id,
    tg_argv[0],
    date_trunc('month', now())::date,
    case when tg_argv[0] = 'storage_bytes' then (to_jsonb(new) ->> 'size_bytes')::bigint else 1 end
  )
  on conflict (organization_id, metric, month) do update set quantity = u.quantity + excluded.quantity;
  return null;
end
$$;
create trigger count_tasks after insert on public.tasks
  for each row execute function private.count_usage('tasks');
create trigger count_storage after insert on public.attachments
  for each row execute function private.count_usage('storage_bytes');

alter table public.subscriptions enable row level security;
alter table public.payment_methods enable row level security;
alter table public.invoices enable row level security;
alter table public.invoice_lines enable row level security;
alter table public.organization_features enable row level security;
alter table public.usage_counters enable row level security;
grant select on public.subscriptions, public.payment_methods, public.invoices, public.invoice_lines,
  public.organization_features, public.usage_counters to authenticated;

create policy "Billing people can read the subscription"
  on public.subscriptions for select to authenticated
  using (private.has_billing_access(organization_id));
create policy "Billing people can read payment methods"
  on public.payment_methods for select to authenticated
  using (private.has_billing_access(organization_id));
create policy "Billing people can read invoices"
  on public.invoices for select to authenticated
  using (private.has_billing_access(organization_id) and status <> 'draft');
create policy "Billing people can read invoice lines"
  on public.invoice_lines for select to authenticated
  using (
    exists (
      select 1 from public.invoices i
      where i.id = invoice_lines.invoice_id and private.has_billing_access(i.organization_id)
    )
  );
create policy "Members can read which features are on"
  on public.organization_features for select to authenticated
  using (organization_id in (select private.user_org_ids()) and (expires_at is null or expires_at > now()));
create policy "Billing people can read usage"
  on public.usage_counters for select to authenticated
  using (private.has_billing_access(organization_id));
