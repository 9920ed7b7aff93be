-- "Smart views": what the screens show. All of them with the caller's rights.
set role app_database_owner;

create view app_public.upcoming_appointments with (security_invoker = true) as
select a.id, a.organization_id, a.starts_at, a.ends_at, a.status, a.is_emergency, a.reason,
       l.name as location_name, r.name as room_name, t.name as type_name,
       c.id as client_id, app_public.clients_full_name(c) as client_name, c.mobile as client_mobile,
       p.id as patient_id, p.name as patient_name, p.allergies as patient_allergies,
       u.display_name as veterinarian_name
  from app_public.appointments a
  join app_public.locations l on l.organization_id = a.organization_id and l.id = a.location_id
  left join app_public.rooms r on r.organization_id = a.organization_id and r.id = a.room_id
  left join app_public.appointment_types t on t.organization_id = a.organization_id and t.id = a.appointment_type_id
  join app_public.clients c on c.organization_id = a.organization_id and c.id = a.client_id
  left join app_public.patients p on p.organization_id = a.organization_id and p.id = a.patient_id
  left join app_public.users u on u.id = a.veterinarian_id
 where a.starts_at >= date_trunc('day', now()) and a.status not in ('cancelled', 'no_show');
comment on view app_public.upcoming_appointments is E'@primaryKey id\n@foreignKey (patient_id) references patients (id)';
grant select on app_public.upcoming_appointments to app_member;

create view app_public.outstanding_invoices with (security_invoker = true) as
select i.id, i.organization_id, i.number, i.issued_on, i.due_on, i.total_cents, i.paid_cents,
       i.total_cents - i.paid_cents as open_cents, greatest(current_date - i.due_on, 0) as days_overdue,
       c.id as client_id, c.client_number, c.email as client_email
  from app_public.invoices i
  join app_public.clients c on c.organization_id = i.organization_id and c.id = i.client_id
 where i.status = 'issued' and i.total_cents > i.paid_cents;
comment on view app_public.outstanding_invoices is E'@primaryKey id';
grant select on app_public.outstanding_invoices to app_member;

create view app_public.low_stock_products with (security_invoker = true) as
select p.id, p.organization_id, p.sku, p.name, p.quantity_on_hand, p.reorder_level, s.name as supplier_name, s.lead_days
  from app_public.products p
  left join app_public.suppliers s on s.organization_id = p.organization_id and s.id = p.supplier_id
 where p.quantity_on_hand <= p.reorder_level and p.archived_at is null and p.kind <> 'service';
grant select on app_public.low_stock_products to app_member;

create view app_public.staff_directory with (security_invoker = true) as
select m.organization_id, m.user_id, u.display_name, u.avatar_url, m.role, m.job_title, m.calendar_color,
       s.specialties, s.languages, s.accepts_online_bookings
  from app_public.organization_memberships m
  join app_public.users u on u.id = m.user_id
  left join app_public.staff_profiles s on s.organization_id = m.organization_id and s.user_id = m.user_id
 where m.status = 'active' and m.organization_id = app_hidden.current_organization_id();
grant select on app_public.staff_directory to app_member;

create view app_public.monthly_revenue with (security_invoker = true) as
select i.organization_id, date_trunc('month', i.issued_on)::date as month, i.currency_code,
       count(*) as invoices, count(distinct i.client_id) as clients,
       sum(i.net_cents) as net_cents, sum(i.tax_cents) as tax_cents, sum(i.total_cents) as total_cents, sum(i.paid_cents) as paid_cents
  from app_public.invoices i
 where i.status in ('issued', 'paid')
 group by i.organization_id, date_trunc('month', i.issued_on), i.currency_code;
comment on view app_public.monthly_revenue is E'@name monthlyRevenue';
grant select on app_public.monthly_revenue to app_manager;

create view app_public.due_vaccinations with (security_invoker = true) as
select distinct on (v.organization_id, v.patient_id, v.product_id)
       v.organization_id, v.patient_id, p.name as patient_name, p.client_id, v.product_id, v.given_on,
       app_public.vaccinations_valid_until(v) as valid_until
  from app_public.vaccinations v
  join app_public.patients p on p.organization_id = v.organization_id and p.id = v.patient_id
 where p.died_on is null
 order by v.organization_id, v.patient_id, v.product_id, v.given_on desc;
grant select on app_public.due_vaccinations to app_member;

reset role;
