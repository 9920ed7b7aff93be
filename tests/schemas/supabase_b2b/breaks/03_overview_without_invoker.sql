-- break: project_overview is recreated with a new column and without security_invoker
-- object: public.project_overview
-- kind: leak
-- The dashboard wants the budget next to the progress.
drop view public.project_overview;
create view public.project_overview as
  select
    p.organization_id,
    p.id as project_id,
    p.code,
    p.name,
    c.name as client_name,
    p.budget_cents,
    count(t.id) as tasks,
    count(t.id) filter (where s.category = 'done') as tasks_done,
    count(t.id) filter (where t.due_on < current_date and s.category in ('backlog', 'open')) as tasks_overdue,
    max(t.updated_at) as last_activity_at
  from public.projects p
  left join public.clients c on c.organization_id = p.organization_id and c.id = p.client_id
  left join public.tasks t on t.organization_id = p.organization_id and t.project_id = p.id and t.archived_at is null
  left join public.task_statuses s on s.organization_id = t.organization_id and s.id = t.status_id
  where p.deleted_at is null
  group by p.organization_id, p.id, p.code, p.name, c.name, p.budget_cents;
grant select on public.project_overview to authenticated;
