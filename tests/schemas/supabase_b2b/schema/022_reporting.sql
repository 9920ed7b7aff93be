-- Nightly statistics. Materialized views have no row-level security, so this one is in private and is read through
-- a function that asks who is calling.

create materialized view private.organization_stats as
  select
    o.id as organization_id,
    (select count(*) from public.organization_members m where m.organization_id = o.id and m.status = 'active') as members,
    (select count(*) from public.projects p where p.organization_id = o.id and p.deleted_at is null) as projects,
    (select count(*) from public.tasks t where t.organization_id = o.id and t.archived_at is null) as tasks,
    (select coalesce(sum(e.minutes), 0) from public.time_entries e where e.organization_id = o.id) as minutes,
    (select coalesce(sum(a.size_bytes), 0) from public.attachments a where a.organization_id = o.id) as storage_bytes,
    now() as computed_at
  from public.organizations o
  where o.deleted_at is null;
create unique index organization_stats_idx on private.organization_stats (organization_id);

create function private.refresh_organization_stats()
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  refresh materialized view private.organization_stats;
end
$$;
grant execute on function private.refresh_organization_stats() to service_role;

create function public.organization_usage(org uuid)
returns table (members bigint, projects bigint, tasks bigint, minutes bigint, storage_bytes numeric, computed_at timestamptz)
language sql
stable
security definer
set search_path = ''
as $$
  select s.members, s.projects, s.tasks, s.minutes, s.storage_bytes, s.computed_at
  from private.organization_stats s
  where s.organization_id = org and private.has_billing_access(org)
$$;
grant execute on function public.organization_usage(uuid) to authenticated;
