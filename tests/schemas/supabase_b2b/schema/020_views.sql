-- All views read with the caller's rights.

create view public.member_directory with (security_invoker = true) as
  select m.organization_id, m.user_id, m.handle, m.role, m.status, m.title, p.full_name, p.email, p.avatar_path, p.timezone
  from public.organization_members m
  join public.profiles p on p.id = m.user_id
  where m.status <> 'removed';

create view public.project_overview with (security_invoker = true) as
  select
    p.organization_id,
    p.id as project_id,
    p.code,
    p.name,
    c.name as client_name,
    count(t.id) as tasks,
    count(t.id) filter (where s.category = 'done') as tasks_done,
    count(t.id) filter (where t.due_on < current_date and s.category in ('backlog', 'open')) as tasks_overdue,
    max(t.updated_at) as last_activity_at
  from public.projects p
  left join public.clients c on c.organization_id = p.organization_id and c.id = p.client_id
  left join public.tasks t on t.organization_id = p.organization_id and t.project_id = p.id and t.archived_at is null
  left join public.task_statuses s on s.organization_id = t.organization_id and s.id = t.status_id
  where p.deleted_at is null
  group by p.organization_id, p.id, p.code, p.name, c.name;

create view public.my_tasks with (security_invoker = true) as
  select t.id, t.organization_id, t.project_id, p.code || '-' || t.number as key, t.title, t.priority, t.due_on, s.name as status
  from public.tasks t
  join public.projects p on p.organization_id = t.organization_id and p.id = t.project_id
  join public.task_statuses s on s.organization_id = t.organization_id and s.id = t.status_id
  where t.assignee_id = (select auth.uid()) and t.archived_at is null and s.category in ('backlog', 'open');

create view public.team_workload with (security_invoker = true) as
  select
    tm.organization_id,
    tm.team_id,
    tm.user_id,
    m.weekly_capacity_minutes * tm.allocation_percent / 100 as capacity_minutes,
    coalesce(sum(t.estimate_minutes), 0) as planned_minutes
  from public.team_members tm
  join public.organization_members m on m.organization_id = tm.organization_id and m.user_id = tm.user_id
  left join public.tasks t
    on t.organization_id = tm.organization_id and t.assignee_id = tm.user_id
    and t.completed_at is null and t.archived_at is null
  group by tm.organization_id, tm.team_id, tm.user_id, m.weekly_capacity_minutes, tm.allocation_percent;

create view public.project_time with (security_invoker = true) as
  select e.organization_id, e.project_id, date_trunc('month', lower(e.during))::date as month,
    sum(e.minutes) as minutes, sum(e.minutes) filter (where e.is_billable) as billable_minutes
  from public.time_entries e
  group by e.organization_id, e.project_id, date_trunc('month', lower(e.during))::date;

create view public.billing_overview with (security_invoker = true) as
  select s.organization_id, s.plan_id, s.status, s.seats, upper(s.current_period) as renews_at,
    coalesce(sum(i.total_cents) filter (where i.status = 'open'), 0) as open_cents
  from public.subscriptions s
  left join public.invoices i on i.organization_id = s.organization_id
  group by s.organization_id, s.plan_id, s.status, s.seats, s.current_period;

grant select on public.member_directory, public.project_overview, public.my_tasks, public.team_workload,
  public.project_time, public.billing_overview to authenticated;
