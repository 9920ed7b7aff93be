-- break: monthly_revenue was turned into a materialized view, which has no policies, and kept its grant
-- object: app_public.monthly_revenue
-- kind: leak
set role app_database_owner;
drop view app_public.monthly_revenue;
create materialized view app_public.monthly_revenue as
select i.organization_id, date_trunc('month', i.issued_on)::date as month, i.currency_code,
       count(*) as invoices, count(distinct i.client_id) as clients,
       sum(i.net_cents) as net_cents, sum(i.tax_cents) as tax_cents, sum(i.total_cents) as total_cents, sum(i.paid_cents) as paid_cents
  from app_public.invoices i
 where i.status in ('issued', 'paid')
 group by i.organization_id, date_trunc('month', i.issued_on), i.currency_code;
create unique index on app_public.monthly_revenue (organization_id, month, currency_code);
comment on materialized view app_public.monthly_revenue is E'@name monthlyRevenue';
grant select on app_public.monthly_revenue to app_manager;
reset role;
