set role app_database_owner;

create table app_public.invoices (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  number integer not null,
  client_id uuid not null,
  visit_id uuid,
  status app_public.invoice_status not null default 'draft',
  currency_code char(3) not null default 'EUR' references app_public.currencies,
  issued_on date,
  due_on date,
  net_cents integer not null default 0,
  tax_cents integer not null default 0,
  total_cents integer generated always as (net_cents + tax_cents) stored,
  paid_cents integer not null default 0,
  note text,
  void_reason text,
  created_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  constraint invoices_organization_id_number_key unique (organization_id, number),
  check (due_on >= issued_on),
  check (status = 'draft' or status = 'void' or issued_on is not null),
  foreign key (organization_id, client_id) references app_public.clients (organization_id, id),
  foreign key (organization_id, visit_id) references app_public.visits (organization_id, id)
);
alter table app_public.invoices enable row level security;

create table app_public.invoice_lines (
  organization_id uuid not null default app_hidden.current_organization_id(),
  invoice_id uuid not null,
  position smallint not null check (position > 0),
  product_id uuid,
  description text not null,
  quantity numeric(10,2) not null default 1,
  unit_price_cents app_public.cents not null,
  tax_rate numeric(4,2) not null default 20 check (tax_rate between 0 and 30),
  net_cents integer generated always as (round(quantity * unit_price_cents)::integer) stored,
  primary key (organization_id, invoice_id, position),
  foreign key (organization_id, invoice_id) references app_public.invoices (organization_id, id) on delete cascade,
  foreign key (organization_id, product_id) references app_public.products (organization_id, id)
);
alter table app_public.invoice_lines enable row level security;

create table app_public.payments (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  invoice_id uuid not null,
  amount_cents app_public.cents not null check (amount_cents <> 0),
  method app_public.payment_method not null,
  reference text,
  received_at timestamptz not null default now(),
  received_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, reference),
  foreign key (organization_id, invoice_id) references app_public.invoices (organization_id, id)
);
alter table app_public.payments enable row level security;

create trigger _100_timestamps before insert or update on app_public.invoices for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.payments for each row execute procedure app_private.tg__timestamps();

create function app_private.tg__invoices__number() returns trigger as $$
begin
  new.number = app_private.next_number(new.organization_id, 'invoice');
  return new;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _200_number before insert on app_public.invoices for each row when (new.number is null) execute procedure app_private.tg__invoices__number();

create function app_private.tg__invoice_lines__totals() returns trigger as $$
declare
  v_organization_id uuid = coalesce(new.organization_id, old.organization_id);
  v_invoice_id uuid = coalesce(new.invoice_id, old.invoice_id);
begin
  update app_public.invoices i
     set (net_cents, tax_cents) = (
           select coalesce(sum(l.net_cents), 0), coalesce(sum(round(l.net_cents * l.tax_rate / 100)), 0)::integer
             from app_public.invoice_lines l where l.organization_id = i.organization_id and l.invoice_id = i.id)
   where i.organization_id = v_organization_id and i.id = v_invoice_id;
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_totals after insert or update or delete on app_public.invoice_lines for each row execute procedure app_private.tg__invoice_lines__totals();

create function app_private.tg__payments__apply() returns trigger as $$
begin
  update app_public.invoices i
     set paid_cents = i.paid_cents + new.amount_cents,
         status = case when i.status = 'issued' and i.paid_cents + new.amount_cents >= i.total_cents then 'paid' else i.status end
   where i.organization_id = new.organization_id and i.id = new.invoice_id;
  update app_public.clients c set balance_cents = c.balance_cents + new.amount_cents
    from app_public.invoices i
   where i.organization_id = new.organization_id and i.id = new.invoice_id
     and c.organization_id = i.organization_id and c.id = i.client_id;
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_apply after insert on app_public.payments for each row execute procedure app_private.tg__payments__apply();

create policy select_own on app_public.invoices for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_own on app_public.invoices for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id()) and status = 'draft');
create policy update_draft on app_public.invoices for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and status = 'draft')
  with check (organization_id = (select app_hidden.current_organization_id()) and status = 'draft');
create policy needs_subscription on app_public.invoices as restrictive for insert to app_member
  with check ((select app_hidden.organization_is_writable()));
grant select on app_public.invoices to app_member;
grant insert (client_id, visit_id, currency_code, due_on, note) on app_public.invoices to app_member;
grant update (client_id, visit_id, currency_code, due_on, note) on app_public.invoices to app_member;

create policy select_own on app_public.invoice_lines for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy manage_draft on app_public.invoice_lines for all to app_member
  using (organization_id = (select app_hidden.current_organization_id())
         and exists (select 1 from app_public.invoices i
                      where i.organization_id = invoice_lines.organization_id and i.id = invoice_lines.invoice_id and i.status = 'draft'))
  with check (organization_id = (select app_hidden.current_organization_id())
         and exists (select 1 from app_public.invoices i
                      where i.organization_id = invoice_lines.organization_id and i.id = invoice_lines.invoice_id and i.status = 'draft'));
grant select, delete on app_public.invoice_lines to app_member;
grant insert (invoice_id, position, product_id, description, quantity, unit_price_cents, tax_rate) on app_public.invoice_lines to app_member;
grant update (position, product_id, description, quantity, unit_price_cents, tax_rate) on app_public.invoice_lines to app_member;

create policy select_own on app_public.payments for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_own on app_public.payments for insert to app_member with check (organization_id = (select app_hidden.current_organization_id()));
grant select on app_public.payments to app_member;
grant insert (invoice_id, amount_cents, method, reference, received_at) on app_public.payments to app_member;

create function app_public.issue_invoice(invoice_id uuid) returns app_public.invoices as $$
declare
  v_invoice app_public.invoices;
begin
  update app_public.invoices i
     set status = 'issued', issued_on = current_date,
         due_on = greatest(coalesce(i.due_on, current_date + s.invoice_due_days), current_date)
    from app_public.organization_settings s
   where i.id = issue_invoice.invoice_id
     and i.organization_id = app_hidden.current_organization_id()
     and s.organization_id = i.organization_id
     and i.status = 'draft'
  returning i.* into v_invoice;
  if v_invoice is null then
    raise exception 'We could not find that draft' using errcode = 'NTFND';
  end if;
  update app_public.clients c set balance_cents = c.balance_cents - v_invoice.total_cents
   where c.organization_id = v_invoice.organization_id and c.id = v_invoice.client_id;
  perform app_private.add_job('invoices__send', json_build_object('id', v_invoice.id));
  return v_invoice;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.issue_invoice(uuid) to app_member;

-- By number: it is what is printed on the paper in the manager's hand.
create function app_public.void_invoice(number integer, reason text) returns app_public.invoices as $$
declare
  v_invoice app_public.invoices;
begin
  if not app_hidden.is_manager() then
    raise exception 'Only managers void invoices' using errcode = 'DNIED';
  end if;
  update app_public.invoices i set status = 'void', void_reason = reason
   where i.organization_id = app_hidden.current_organization_id()
     and i.number = void_invoice.number
     and i.status in ('draft', 'issued')
  returning * into v_invoice;
  if v_invoice is null then
    raise exception 'We could not find that invoice' using errcode = 'NTFND';
  end if;
  if v_invoice.issued_on is not null then
    update app_public.clients c set balance_cents = c.balance_cents + v_invoice.total_cents
     where c.organization_id = v_invoice.organization_id and c.id = v_invoice.client_id;
  end if;
  return v_invoice;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.void_invoice(integer, text) to app_manager;

create function app_public.invoices_open_cents(i app_public.invoices) returns integer as $$
  select case when i.status = 'issued' then i.total_cents - i.paid_cents else 0 end;
$$ language sql stable;
grant execute on function app_public.invoices_open_cents(app_public.invoices) to app_member;

create function app_public.invoices_display_number(i app_public.invoices) returns text as $$
  select s.invoice_prefix || '-' || lpad(i.number::text, 6, '0') from app_public.organization_settings s where s.organization_id = i.organization_id;
$$ language sql stable;
grant execute on function app_public.invoices_display_number(app_public.invoices) to app_member;

reset role;
