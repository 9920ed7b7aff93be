create table public.time_entries (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  project_id uuid not null,
  task_id uuid,
  user_id uuid not null default auth.uid(),
  during tstzrange not null check (not isempty(during) and not lower_inf(during)),
  -- null while the timer runs
  minutes integer generated always as (
    (extract(epoch from (upper(during) - lower(during))) / 60)::integer
  ) stored,
  note text not null default '',
  is_billable boolean not null default true,
  hourly_rate_cents integer check (hourly_rate_cents >= 0),
  invoiced_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade,
  foreign key (organization_id, project_id, task_id) references public.tasks (organization_id, project_id, id)
    on delete set null (task_id),
  foreign key (organization_id, user_id) references public.organization_members (organization_id, user_id) on delete cascade,
  -- nobody works on two things at once
  constraint time_entries_do_not_overlap exclude using gist (organization_id with =, user_id with =, during with &&)
);
create index time_entries_project_idx on public.time_entries (organization_id, project_id);

create table public.timesheets (
  organization_id uuid not null,
  user_id uuid not null default auth.uid(),
  week_start date not null check (extract(isodow from week_start) = 1),
  status text not null default 'open' check (status in ('open', 'submitted', 'approved', 'rejected')),
  submitted_at timestamptz,
  approved_by uuid,
  approved_at timestamptz,
  remark text,
  primary key (organization_id, user_id, week_start),
  foreign key (organization_id, user_id) references public.organization_members (organization_id, user_id) on delete cascade,
  foreign key (organization_id, approved_by) references public.organization_members (organization_id, user_id)
    on delete set null (approved_by),
  check (approved_by <> user_id)
);

create trigger touch_time_entries before update on public.time_entries
  for each row execute function private.touch_updated_at();
create trigger keep_time_entries before update on public.time_entries
  for each row execute function private.keep_columns('organization_id', 'user_id');
create trigger keep_timesheets before update on public.timesheets
  for each row execute function private.keep_columns('organization_id', 'user_id', 'week_start');

alter table public.time_entries enable row level security;
alter table public.timesheets enable row level security;
grant select, delete on public.time_entries to authenticated;
-- rates and invoicing are the server's
grant insert (id, organization_id, project_id, task_id, user_id, during, note, is_billable) on public.time_entries to authenticated;
grant update (project_id, task_id, during, note, is_billable) on public.time_entries to authenticated;
grant select on public.timesheets to authenticated;
grant insert (organization_id, user_id, week_start) on public.timesheets to authenticated;
grant update (status, submitted_at, approved_by, approved_at, remark) on public.timesheets to authenticated;

create policy "People can see their own time"
  on public.time_entries for select to authenticated
  using (user_id = (select auth.uid()) and private.is_org_member(organization_id));
create policy "Leads and admins can see the time spent on a project"
  on public.time_entries for select to authenticated
  using (private.can_manage_project(project_id));
create policy "People can log time on projects they see"
  on public.time_entries for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and private.is_org_member(organization_id)
    and private.can_access_project(project_id)
  );
create policy "People can correct their time until it is invoiced"
  on public.time_entries for update to authenticated
  using (
    user_id = (select auth.uid())
    and invoiced_at is null
    and private.is_org_member(organization_id)
  )
  with check (
    user_id = (select auth.uid())
    and private.is_org_member(organization_id)
    and private.can_access_project(project_id)
  );
create policy "People can delete their time until it is invoiced"
  on public.time_entries for delete to authenticated
  using (
    user_id = (select auth.uid())
    and invoiced_at is null
    and private.is_org_member(organization_id)
  );

create policy "People can see their timesheets and admins all"
  on public.timesheets for select to authenticated
  using (
    (user_id = (select auth.uid()) and private.is_org_member(organization_id))
    or private.has_org_role(organization_id, array['owner', 'admin'])
  );
create policy "People can open a timesheet"
  on public.timesheets for insert to authenticated
  with check (user_id = (select auth.uid()) and private.is_org_member(organization_id));
create policy "People can submit their timesheets"
  on public.timesheets for update to authenticated
  using (
    user_id = (select auth.uid())
    and status in ('open', 'rejected')
    and private.is_org_member(organization_id)
  )
  with check (
    user_id = (select auth.uid())
    and status in ('open', 'submitted')
    and approved_by is null
    and private.is_org_member(organization_id)
  );
create policy "Admins can approve timesheets of others"
  on public.timesheets for update to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']) and user_id <> (select auth.uid()))
  with check (
    private.has_org_role(organization_id, array['owner', 'admin'])
    and user_id <> (select auth.uid())
    and (approved_by is null or approved_by = (select auth.uid()))
  );
