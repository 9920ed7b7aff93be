create table public.task_statuses (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  name text not null check (length(btrim(name)) between 1 and 40),
  category public.status_category not null default 'open',
  color public.hex_color not null default '#94a3b8',
  position smallint not null default 0,
  unique (organization_id, id),
  unique (organization_id, name)
);

create table public.projects (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  client_id uuid,
  team_id uuid,
  code text not null check (code ~ '^[A-Z][A-Z0-9]{1,9}$'),
  name text not null check (length(btrim(name)) between 1 and 160),
  description text not null default '',
  visibility public.project_visibility not null default 'organization',
  color public.hex_color not null default '#2563eb',
  starts_on date,
  due_on date,
  budget_cents bigint check (budget_cents >= 0),
  budget_currency char(3) references public.currencies (code),
  is_billable boolean not null default true,
  settings jsonb not null default '{}' check (jsonb_typeof(settings) = 'object'),
  template_id uuid references public.template_gallery (id) on delete set null,
  archived_at timestamptz,
  deleted_at timestamptz,
  created_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique (organization_id, code),
  foreign key (organization_id, client_id) references public.clients (organization_id, id) on delete set null (client_id),
  foreign key (organization_id, team_id) references public.teams (organization_id, id) on delete set null (team_id),
  foreign key (organization_id, created_by) references public.organization_members (organization_id, user_id)
    on delete set null (created_by),
  check (due_on >= starts_on),
  check ((budget_cents is null) = (budget_currency is null))
);
create index projects_org_idx on public.projects (organization_id) where deleted_at is null;

create table public.project_members (
  organization_id uuid not null,
  project_id uuid not null,
  user_id uuid not null,
  role public.project_role not null default 'contributor',
  hourly_rate_cents integer check (hourly_rate_cents >= 0),
  added_at timestamptz not null default now(),
  primary key (organization_id, project_id, user_id),
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade,
  foreign key (organization_id, user_id) references public.organization_members (organization_id, user_id) on delete cascade
);
create index project_members_user_idx on public.project_members (user_id, project_id);

create table public.milestones (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  project_id uuid not null,
  title text not null,
  due_on date,
  reached_at timestamptz,
  client_visible boolean not null default true,
  position smallint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, project_id, id),
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade
);

-- last task number of each project; a table of its own so that counting locks no project
create table private.project_counters (
  organization_id uuid not null,
  project_id uuid primary key,
  last_number integer not null default 0,
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade
);
alter table private.project_counters enable row level security;

create trigger touch_projects before update on public.projects
  for each row execute function private.touch_updated_at();
create trigger touch_milestones before update on public.milestones
  for each row execute function private.touch_updated_at();
create trigger keep_projects before update on public.projects
  for each row execute function private.keep_columns('organization_id', 'created_by');
create trigger keep_milestones before update on public.milestones
  for each row execute function private.keep_columns('organization_id', 'project_id');
create trigger keep_project_members before update on public.project_members
  for each row execute function private.keep_columns('organization_id', 'project_id', 'user_id');
create trigger keep_task_statuses before update on public.task_statuses
  for each row execute function private.keep_columns('organization_id');

-- every new organization starts with a simple workflow
create or replace function private.create_organization_defaults()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.organization_settings (organization_id) values (new.id) on conflict do nothing;
  insert into public.task_statuses (organization_id, name, category, position)
  values (new.id, 'Backlog', 'backlog', 0), (new.id, 'In progress', 'open', 1), (new.id, 'Done', 'done', 2)
  on conflict do nothing;
  return new;
end
$$;

create function private.after_project_created()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into private.project_counters (organization_id, project_id) values (new.organization_id, new.id);
  if new.created_by is not null then
    insert into public.project_members (organization_id, project_id, user_id, role)
    values (new.organization_id, new.id, new.created_by, 'lead')
    on conflict do nothing;
  end if;
  return new;
end
$$;
create trigger after_project_created after insert on public.projects
  for each row execute function private.after_project_created();

-- RLS helpers ----------------------------------------------------------------
-- for any user, therefore not for clients: triggers ask it about people to notify
create function private.user_can_access_project(who uuid, project uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1
    from public.projects p
    join private.active_memberships m on m.organization_id = p.organization_id
    where p.id = project
      and m.user_id = who
      and p.deleted_at is null
      and (
        m.role in ('owner', 'admin')
        or (m.role = 'member' and p.visibility = 'organization')
        or exists (
          select 1 from public.project_members pm
          where pm.project_id = p.id and pm.organization_id = p.organization_id and pm.user_id = m.user_id
        )
      )
  )
$$;

create function private.can_access_project(project uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select private.user_can_access_project((select auth.uid()), project)
$$;

-- may create and change things in it: not viewers, and guests only as contributors
create function private.can_edit_project(project uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1
    from public.projects p
    join private.active_memberships m on m.organization_id = p.organization_id
    left join public.project_members pm
      on pm.organization_id = p.organization_id and pm.project_id = p.id and pm.user_id = m.user_id
    where p.id = project
      and m.user_id = (select auth.uid())
      and p.deleted_at is null
      and p.archived_at is null
      and (
        m.role in ('owner', 'admin')
        or pm.role in ('lead', 'contributor')
        or (m.role = 'member' and p.visibility = 'organization' and pm.role is null)
      )
  )
$$;

create function private.can_manage_project(project uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1
    from public.projects p
    join private.active_memberships m on m.organization_id = p.organization_id
    left join public.project_members pm
      on pm.organization_id = p.organization_id and pm.project_id = p.id and pm.user_id = m.user_id
    where p.id = project
      and m.user_id = (select auth.uid())
      and (m.role in ('owner', 'admin') or (m.role = 'member' and pm.role = 'lead' and p.deleted_at is null))
  )
$$;

create function private.is_project_member(project uuid)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select exists (
    select 1
    from public.project_members pm
    join private.active_memberships m on m.organization_id = pm.organization_id and m.user_id = pm.user_id
    where pm.project_id = project and pm.user_id = (select auth.uid())
  )
$$;

grant execute on function
  private.can_access_project(uuid), private.can_edit_project(uuid), private.can_manage_project(uuid),
  private.is_project_member(uuid)
  to authenticated, service_role;
grant execute on function private.user_can_access_project(uuid, uuid) to service_role;

-- policies -------------------------------------------------------------------

alter table public.task_statuses enable row level security;
alter table public.projects enable row level security;
alter table public.project_members enable row level security;
alter table public.milestones enable row level security;

grant select, insert, update, delete on public.task_statuses, public.project_members, public.milestones to authenticated;
grant select, insert on public.projects to authenticated;
-- deletion goes through delete_project()
grant update (client_id, team_id, code, name, description, visibility, color, starts_on, due_on, budget_cents, budget_currency, is_billable, settings, archived_at)
  on public.projects to authenticated;

create policy "Members can see the workflow"
  on public.task_statuses for select to authenticated
  using (organization_id in (select private.user_org_ids()));
create policy "Admins can extend the workflow"
  on public.task_statuses for insert to authenticated
  with check (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Admins can change the workflow"
  on public.task_statuses for update to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']))
  with check (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Admins can remove steps of the workflow"
  on public.task_statuses for delete to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));

create policy "Admins can see all projects and the trash"
  on public.projects for select to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Members can see open projects"
  on public.projects for select to authenticated
  using (
    deleted_at is null
    and visibility = 'organization'
    and private.has_org_role(organization_id, array['member'])
  );
create policy "People can see projects they work on"
  on public.projects for select to authenticated
  using (
    deleted_at is null
    and private.is_org_member(organization_id)
    and (private.is_project_member(id) or created_by = (select auth.uid()))
  );
create policy "Staff can start projects"
  on public.projects for insert to authenticated
  with check (
    private.is_org_staff(organization_id)
    and created_by = (select auth.uid())
    and deleted_at is null
  );
create policy "Leads and admins can edit projects"
  on public.projects for update to authenticated
  using (private.can_manage_project(id))
  with check (private.can_manage_project(id) and private.is_org_staff(organization_id));

create policy "People on a project can see each other"
  on public.project_members for select to authenticated
  using (private.can_access_project(project_id));
create policy "Leads can add people"
  on public.project_members for insert to authenticated
  with check (private.can_manage_project(project_id) and private.is_org_staff(organization_id));
create policy "Leads can change people"
  on public.project_members for update to authenticated
  using (private.can_manage_project(project_id))
  with check (private.can_manage_project(project_id) and private.is_org_staff(organization_id));
create policy "Leads can remove people"
  on public.project_members for delete to authenticated
  using (private.can_manage_project(project_id));

create policy "People on a project can see its milestones"
  on public.milestones for select to authenticated
  using (private.can_access_project(project_id));
create policy "Leads can add milestones"
  on public.milestones for insert to authenticated
  with check (private.can_manage_project(project_id) and private.is_org_staff(organization_id));
create policy "Leads can change milestones"
  on public.milestones for update to authenticated
  using (private.can_manage_project(project_id))
  with check (private.can_manage_project(project_id) and private.is_org_staff(organization_id));
create policy "Leads can remove milestones"
  on public.milestones for delete to authenticated
  using (private.can_manage_project(project_id));
