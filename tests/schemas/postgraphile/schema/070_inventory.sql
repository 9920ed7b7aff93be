-- Stock is scanned by SKU, so movements carry the SKU; a SKU means something within one practice only.
set role app_database_owner;

create table app_public.suppliers (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  name text not null,
  customer_number text,
  email public.citext,
  lead_days smallint check (lead_days between 0 and 90),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique (organization_id, name)
);
alter table app_public.suppliers enable row level security;

create table app_public.products (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  sku app_public.sku not null,
  name text not null,
  kind app_public.product_kind not null,
  supplier_id uuid,
  unit text not null default 'piece',
  barcode text check (barcode ~ '^[0-9]{8,14}$'),
  quantity_on_hand numeric(12,2) not null default 0,
  reorder_level numeric(12,2) not null default 0 check (reorder_level >= 0),
  purchase_price_cents app_public.cents,
  price_cents app_public.cents not null default 0 check (price_cents >= 0),
  tax_rate numeric(4,2) not null default 20 check (tax_rate between 0 and 30),
  is_controlled boolean not null default false,
  withdrawal_days smallint,
  attributes jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  constraint products_organization_id_sku_key unique (organization_id, sku),
  foreign key (organization_id, supplier_id) references app_public.suppliers (organization_id, id) on delete set null (supplier_id)
);
alter table app_public.products enable row level security;

create table app_public.stock_movements (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  sku app_public.sku not null,
  kind app_public.movement_kind not null,
  quantity numeric(12,2) not null check (quantity <> 0),
  lot text,
  expires_on date,
  visit_id uuid,
  note text,
  moved_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  moved_at timestamptz not null default now(),
  check (kind <> 'delivery' or quantity > 0),
  check (kind not in ('dispense', 'waste') or quantity < 0),
  foreign key (organization_id, sku) references app_public.products (organization_id, sku) on update cascade,
  foreign key (organization_id, visit_id) references app_public.visits (organization_id, id)
);
alter table app_public.stock_movements enable row level security;
create index on app_public.stock_movements (organization_id, sku, moved_at);
comment on table app_public.stock_movements is E'@omit update,delete\nA ledger: wrong entries are corrected by another entry.';

create table app_public.prescriptions (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id(),
  visit_id uuid not null,
  product_id uuid not null,
  dose text not null,
  times_per_day smallint not null check (times_per_day between 1 and 12),
  days smallint not null check (days between 1 and 365),
  total_doses integer generated always as (times_per_day * days) stored,
  instructions text,
  prescribed_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (organization_id, visit_id) references app_public.visits (organization_id, id) on delete cascade,
  foreign key (organization_id, product_id) references app_public.products (organization_id, id)
);
alter table app_public.prescriptions enable row level security;

create table app_public.vaccinations (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id(),
  patient_id uuid not null,
  product_id uuid not null,
  lot text not null,
  given_on date not null default current_date,
  valid_months smallint not null default 12 check (valid_months between 1 and 60),
  given_by uuid default app_public.current_user_id(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, patient_id, product_id, given_on),
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id),
  foreign key (organization_id, product_id) references app_public.products (organization_id, id),
  foreign key (organization_id, given_by) references app_public.organization_memberships (organization_id, user_id) on delete set null (given_by)
);
alter table app_public.vaccinations enable row level security;

create trigger _100_timestamps before insert or update on app_public.suppliers for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.products for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.prescriptions for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.vaccinations for each row execute procedure app_private.tg__timestamps();

create function app_private.tg__stock_movements__apply() returns trigger as $$
begin
  update app_public.products
     set quantity_on_hand = quantity_on_hand + new.quantity
   where organization_id = new.organization_id
     and sku = new.sku;
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_apply after insert on app_public.stock_movements for each row execute procedure app_private.tg__stock_movements__apply();

create policy manage_own on app_public.suppliers for all to app_member
  using (organization_id = (select app_hidden.current_organization_id())) with check (organization_id = (select app_hidden.current_organization_id()));
grant select, delete on app_public.suppliers to app_member;
grant insert (name, customer_number, email, lead_days), update (name, customer_number, email, lead_days) on app_public.suppliers to app_member;

create policy select_own on app_public.products for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_own on app_public.products for insert to app_member with check (organization_id = (select app_hidden.current_organization_id()));
create policy update_own on app_public.products for update to app_member
  using (organization_id = (select app_hidden.current_organization_id())) with check (organization_id = (select app_hidden.current_organization_id()));
grant select on app_public.products to app_member;
grant insert (sku, name, kind, supplier_id, unit, barcode, reorder_level, purchase_price_cents, price_cents, tax_rate, is_controlled, withdrawal_days, attributes)
  on app_public.products to app_member;
grant update (sku, name, kind, supplier_id, unit, barcode, reorder_level, purchase_price_cents, price_cents, tax_rate, withdrawal_days, attributes, archived_at)
  on app_public.products to app_member;

create policy select_own on app_public.stock_movements for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_own on app_public.stock_movements for insert to app_member with check (organization_id = (select app_hidden.current_organization_id()));
grant select on app_public.stock_movements to app_member;
grant insert (sku, kind, quantity, lot, expires_on, visit_id, note) on app_public.stock_movements to app_member;

create policy select_own on app_public.prescriptions for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_clinical on app_public.prescriptions for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id())
              and (select app_hidden.current_member_role()) in ('owner', 'manager', 'veterinarian'));
create policy delete_draft on app_public.prescriptions for delete to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and prescribed_by = app_public.current_user_id()
         and exists (select 1 from app_public.visits v
                      where v.organization_id = prescriptions.organization_id and v.id = prescriptions.visit_id and v.status = 'draft'));
grant select, delete on app_public.prescriptions to app_member;
grant insert (visit_id, product_id, dose, times_per_day, days, instructions) on app_public.prescriptions to app_member;

create policy select_own on app_public.vaccinations for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_clinical on app_public.vaccinations for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical()));
create policy update_clinical on app_public.vaccinations for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical()))
  with check (organization_id = (select app_hidden.current_organization_id()));
grant select on app_public.vaccinations to app_member;
grant insert (patient_id, product_id, lot, given_on, valid_months) on app_public.vaccinations to app_member;
grant update (lot, given_on, valid_months) on app_public.vaccinations to app_member;

create function app_public.vaccinations_valid_until(v app_public.vaccinations) returns date as $$
  select (v.given_on + make_interval(months => v.valid_months))::date;
$$ language sql stable;
grant execute on function app_public.vaccinations_valid_until(app_public.vaccinations) to app_member;

reset role;
