set role app_database_owner;

create type app_public.dashboard as (patients bigint, appointments_today bigint, open_cents bigint, low_stock bigint, overdue_tasks bigint);

create function app_public.dashboard() returns app_public.dashboard as $$
  select (select count(*) from app_public.patients where archived_at is null),
         (select count(*) from app_public.upcoming_appointments where starts_at < date_trunc('day', now()) + interval '1 day'),
         (select coalesce(sum(open_cents), 0)::bigint from app_public.outstanding_invoices),
         (select count(*) from app_public.low_stock_products),
         (select count(*) from app_public.tasks where done_at is null and due_on < current_date);
$$ language sql stable;
grant execute on function app_public.dashboard() to app_member;

-- The figures of every plan's tables are wanted without the row by row cost of the policies, so this one is a
-- definer; the organization is the first condition of every subquery.
create function app_public.payments_by_method(since date, until date) returns table (method app_public.payment_method, payments bigint, amount_cents bigint) as $$
  select p.method, count(*), sum(p.amount_cents)::bigint
    from app_public.payments p
   where p.organization_id = app_hidden.current_organization_id()
     and app_hidden.is_manager()
     and p.received_at >= since and p.received_at < until + 1
   group by p.method
   order by 3 desc;
$$ language sql stable strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.payments_by_method(date, date) to app_manager;

-- The export dialog: a choice of columns, and an order.
create function app_public.export_clients(columns text[], order_by text default 'client_number') returns setof jsonb as $$
declare
  v_allowed constant text[] = '{client_number,salutation,given_name,family_name,company_name,email,phone,mobile,postal_code,city,country_code,balance_cents,tags}';
  v_list text;
begin
  if not app_hidden.is_manager() then
    raise exception 'Only managers export' using errcode = 'DNIED';
  end if;
  if not coalesce(columns <@ v_allowed and order_by = any (v_allowed), false) or cardinality(columns) = 0 then
    raise exception 'Unknown column' using errcode = 'NTFND';
  end if;
  select string_agg(format('%L, c.%I', col, col), ', ') into v_list from unnest(columns) col;
  return query execute format(
    'select jsonb_build_object(%s) from app_public.clients c where c.organization_id = $1 and c.archived_at is null order by c.%I', v_list, order_by)
    using app_hidden.current_organization_id();
end;
$$ language plpgsql stable security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.export_clients(text[], text) to app_manager;

create function app_public.import_clients(rows jsonb) returns integer as $$
declare
  v_count integer;
begin
  if jsonb_typeof(rows) is distinct from 'array' or jsonb_array_length(rows) > 5000 then
    raise exception 'At most 5000 rows' using errcode = 'LIMIT';
  end if;
  insert into app_public.clients (given_name, family_name, company_name, email, phone, city, note)
  select r.given_name, r.family_name, r.company_name, r.email, r.phone, r.city, r.note
    from jsonb_to_recordset(rows) as r (given_name text, family_name text, company_name text, email public.citext, phone text, city text, note text);
  get diagnostics v_count = row_count;
  return v_count;
end;
$$ language plpgsql volatile;
grant execute on function app_public.import_clients(jsonb) to app_member;

reset role;
