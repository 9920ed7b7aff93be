-- Second year: small things found in use.
set role app_database_owner;

-- Practices migrating from other software keep their old numbers.
alter table app_public.clients add column external_reference text;
alter table app_public.clients add constraint clients_external_reference_key unique (organization_id, external_reference);
grant insert (external_reference), update (external_reference) on app_public.clients to app_member;

-- Tasks have a priority.
alter table app_public.tasks add column priority smallint not null default 2 check (priority between 1 and 3);
grant insert (priority), update (priority) on app_public.tasks to app_member;

-- Pinning is for managers: the column leaves the general grant.
revoke insert (is_pinned), update (is_pinned) on app_public.comments from app_member;
create function app_public.pin_comment(comment_id uuid, pinned boolean default true) returns app_public.comments as $$
  update app_public.comments c set is_pinned = pinned
   where c.id = comment_id and c.organization_id = app_hidden.current_organization_id() and app_hidden.is_manager()
  returning *;
$$ language sql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.pin_comment(uuid, boolean) to app_manager;

-- Rows of the directory, one query less for the calendar.
create function app_public.appointments_on(day date) returns setof app_public.appointments as $$
  select * from app_public.appointments a where a.during && tstzrange(day::timestamptz, (day + 1)::timestamptz) order by a.starts_at;
$$ language sql stable;
grant execute on function app_public.appointments_on(date) to app_member;

reset role;
