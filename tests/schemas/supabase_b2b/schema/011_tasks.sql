create table public.tasks (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  project_id uuid not null,
  number integer not null check (number > 0),
  title text not null check (length(btrim(title)) between 1 and 300),
  description text not null default '',
  status_id uuid not null,
  priority public.task_priority not null default 'none',
  kind text not null default 'task' check (kind in ('task', 'bug', 'request', 'chore')),
  parent_task_id uuid,
  milestone_id uuid,
  assignee_id uuid,
  created_by uuid default auth.uid(),
  updated_by uuid,
  client_visible boolean not null default false,
  estimate_minutes integer check (estimate_minutes between 0 and 60000),
  starts_on date,
  due_on date,
  completed_at timestamptz,
  position numeric not null default 0,
  tags text[] not null default '{}' check (cardinality(tags) <= 20),
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  external_ref text,
  search tsvector generated always as (
    to_tsvector('pg_catalog.simple', title || ' ' || description)
  ) stored,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, project_id, id),
  unique (organization_id, id),
  unique (organization_id, project_id, number),
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade,
  foreign key (organization_id, status_id) references public.task_statuses (organization_id, id),
  foreign key (organization_id, project_id, parent_task_id) references public.tasks (organization_id, project_id, id)
    on delete set null (parent_task_id),
  foreign key (organization_id, project_id, milestone_id) references public.milestones (organization_id, project_id, id)
    on delete set null (milestone_id),
  foreign key (organization_id, assignee_id) references public.organization_members (organization_id, user_id)
    on delete set null (assignee_id),
  foreign key (organization_id, created_by) references public.organization_members (organization_id, user_id)
    on delete set null (created_by),
  check (parent_task_id <> id),
  check (due_on >= starts_on)
);
create unique index tasks_external_ref_idx on public.tasks (organization_id, external_ref) where external_ref is not null;
create index tasks_assignee_idx on public.tasks (assignee_id) where archived_at is null;
create index tasks_search_idx on public.tasks using gin (search);

create table public.task_dependencies (
  organization_id uuid not null,
  task_id uuid not null,
  blocked_by_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (organization_id, task_id, blocked_by_id),
  foreign key (organization_id, task_id) references public.tasks (organization_id, id) on delete cascade,
  foreign key (organization_id, blocked_by_id) references public.tasks (organization_id, id) on delete cascade,
  check (task_id <> blocked_by_id)
);

create table public.labels (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  name text not null check (length(btrim(name)) between 1 and 40),
  color public.hex_color not null default '#94a3b8',
  created_at timestamptz not null default now(),
  unique (organization_id, id)
);
create unique index labels_name_idx on public.labels (organization_id, lower(name));

create table public.task_labels (
  organization_id uuid not null,
  task_id uuid not null,
  label_id uuid not null,
  primary key (organization_id, task_id, label_id),
  foreign key (organization_id, task_id) references public.tasks (organization_id, id) on delete cascade,
  foreign key (organization_id, label_id) references public.labels (organization_id, id) on delete cascade
);

-- triggers -------------------------------------------------------------------

-- Number and default status. A project that is not of this organization gets number 1 and no error of its own:
-- whether the row is acceptable is for the policies and foreign keys to say.
create function private.prepare_task()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    update private.project_counters c
    set last_number = c.last_number + 1
    where c.project_id = new.project_id and c.organization_id = new.organization_id
    returning c.last_number into new.number;
    new.number := coalesce(new.number, 1);
  else
    new.number := old.number;
  end if;
  if new.status_id is null then
    select s.id into new.status_id
    from public.task_statuses s
    where s.organization_id = new.organization_id
    order by s.position, s.id
    limit 1;
  end if;
  new.updated_by := (select auth.uid());
  if tg_op = 'UPDATE' then
    if new.status_id is distinct from old.status_id then
      new.completed_at := case
        when exists (
          select 1 from public.task_statuses s
          where s.organization_id = new.organization_id and s.id = new.status_id and s.category = 'done'
        ) then now()
      end;
    end if;
  end if;
  return new;
end
$$;
create trigger prepare_task before insert or update on public.tasks
  for each row execute function private.prepare_task();

create function private.notify_assignee()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' and new.assignee_id is not distinct from old.assignee_id then
    return null;
  end if;
  if private.user_can_access_project(new.assignee_id, new.project_id) then
    perform private.notify(
      new.organization_id, new.assignee_id, 'assigned', 'You were assigned a task', new.title,
      new.project_id, jsonb_build_object('task_id', new.id)
    );
  end if;
  return null;
end
$$;
create trigger notify_assignee after insert or update of assignee_id on public.tasks
  for each row execute function private.notify_assignee();

create trigger touch_tasks before update on public.tasks
  for each row execute function private.touch_updated_at();
create trigger keep_tasks before update on public.tasks
  for each row execute function private.keep_columns('organization_id', 'project_id', 'created_by');
create trigger keep_labels before update on public.labels
  for each row execute function private.keep_columns('organization_id');

-- policies -------------------------------------------------------------------

create function private.can_access_task(task uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1 from public.tasks t
    where t.id = task and private.can_access_project(t.project_id)
  )
$$;
create function private.can_edit_task(task uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1 from public.tasks t
    where t.id = task and private.can_edit_project(t.project_id)
  )
$$;
grant execute on function private.can_access_task(uuid), private.can_edit_task(uuid) to authenticated, service_role;

alter table public.tasks enable row level security;
alter table public.task_dependencies enable row level security;
alter table public.labels enable row level security;
alter table public.task_labels enable row level security;
grant select, insert, update, delete on public.tasks, public.labels to authenticated;
grant select, insert, delete on public.task_dependencies, public.task_labels to authenticated;

create policy "People on a project can see its tasks"
  on public.tasks for select to authenticated
  using (private.can_access_project(project_id));
create policy "Contributors can create tasks"
  on public.tasks for insert to authenticated
  with check (
    private.can_edit_project(project_id)
    and private.is_org_member(organization_id)
    and created_by = (select auth.uid())
  );
create policy "Contributors can edit tasks"
  on public.tasks for update to authenticated
  using (private.can_edit_project(project_id))
  with check (private.can_edit_project(project_id) and private.is_org_member(organization_id));
create policy "Authors and leads can delete tasks"
  on public.tasks for delete to authenticated
  using (
    private.can_manage_project(project_id)
    or (created_by = (select auth.uid()) and private.can_edit_project(project_id))
  );

create policy "People can see dependencies of tasks they see"
  on public.task_dependencies for select to authenticated
  using (private.can_access_task(task_id) and private.can_access_task(blocked_by_id));
create policy "Contributors can add dependencies"
  on public.task_dependencies for insert to authenticated
  with check (
    private.is_org_member(organization_id)
    and private.can_edit_task(task_id)
    and private.can_access_task(blocked_by_id)
  );
create policy "Contributors can remove dependencies"
  on public.task_dependencies for delete to authenticated
  using (private.can_edit_task(task_id));

create policy "Members can see labels"
  on public.labels for select to authenticated
  using (organization_id in (select private.user_org_ids()));
create policy "Staff can create labels"
  on public.labels for insert to authenticated
  with check (private.is_org_staff(organization_id));
create policy "Staff can rename labels"
  on public.labels for update to authenticated
  using (private.is_org_staff(organization_id))
  with check (private.is_org_staff(organization_id));
create policy "Admins can delete labels"
  on public.labels for delete to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));

create policy "People can see labels of tasks they see"
  on public.task_labels for select to authenticated
  using (private.can_access_task(task_id));
create policy "Contributors can label tasks"
  on public.task_labels for insert to authenticated
  with check (private.is_org_member(organization_id) and private.can_edit_task(task_id));
create policy "Contributors can take labels off tasks"
  on public.task_labels for delete to authenticated
  using (private.can_edit_task(task_id));
