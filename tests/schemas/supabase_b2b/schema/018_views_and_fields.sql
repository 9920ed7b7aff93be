-- Saved filters and custom fields.

create table public.saved_views (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  created_by uuid not null default auth.uid() references public.profiles (id) on delete cascade,
  name text not null check (length(btrim(name)) between 1 and 80),
  entity text not null default 'task' check (entity in ('task', 'project', 'client', 'time_entry')),
  filters jsonb not null default '[]' check (jsonb_typeof(filters) = 'array'),
  sort text[] not null default '{}',
  is_shared boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table public.custom_fields (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  entity text not null check (entity in ('task', 'client')),
  key text not null check (key ~ '^[a-z][a-z0-9_]{0,39}$'),
  label text not null,
  field_type text not null check (field_type in ('text', 'number', 'date', 'select')),
  options jsonb,
  position smallint not null default 0,
  unique (organization_id, id),
  unique (organization_id, entity, key),
  check ((field_type = 'select') = (options is not null)),
  check (options is null or jsonb_typeof(options) = 'array')
);

create table public.custom_field_values (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  field_id uuid not null,
  task_id uuid,
  client_id uuid,
  value jsonb not null,
  updated_at timestamptz not null default now(),
  foreign key (organization_id, field_id) references public.custom_fields (organization_id, id) on delete cascade,
  foreign key (organization_id, task_id) references public.tasks (organization_id, id) on delete cascade,
  foreign key (organization_id, client_id) references public.clients (organization_id, id) on delete cascade,
  unique (organization_id, field_id, task_id),
  unique (organization_id, field_id, client_id),
  constraint one_subject check (num_nonnulls(task_id, client_id) = 1)
);

create trigger touch_saved_views before update on public.saved_views
  for each row execute function private.touch_updated_at();
create trigger keep_custom_fields before update on public.custom_fields
  for each row execute function private.keep_columns('organization_id', 'entity');
create trigger touch_custom_field_values before update on public.custom_field_values
  for each row execute function private.touch_updated_at();

alter table public.saved_views enable row level security;
alter table public.custom_fields enable row level security;
alter table public.custom_field_values enable row level security;
grant select, insert, update, delete on public.saved_views, public.custom_fields, public.custom_field_values to authenticated;

create policy "People can see their views and shared ones"
  on public.saved_views for select to authenticated
  using (private.is_org_member(organization_id) and (is_shared or created_by = (select auth.uid())));
create policy "People can save views"
  on public.saved_views for insert to authenticated
  with check (private.is_org_member(organization_id) and created_by = (select auth.uid()));
create policy "People can edit their views"
  on public.saved_views for update to authenticated
  using (private.is_org_member(organization_id) and created_by = (select auth.uid()))
  with check (private.is_org_member(organization_id) and created_by = (select auth.uid()));
create policy "People can delete their views"
  on public.saved_views for delete to authenticated
  using (private.is_org_member(organization_id) and created_by = (select auth.uid()));

create policy "Members can see custom fields"
  on public.custom_fields for select to authenticated
  using (organization_id in (select private.user_org_ids()));
create policy "Admins can add custom fields"
  on public.custom_fields for insert to authenticated
  with check (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Admins can change custom fields"
  on public.custom_fields for update to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']))
  with check (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Admins can remove custom fields"
  on public.custom_fields for delete to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));

create policy "Values are visible with what they describe"
  on public.custom_field_values for select to authenticated
  using (
    (client_id is not null and private.is_org_staff(organization_id))
    or (task_id is not null and private.can_access_task(task_id))
  );
create policy "Values are written by who may edit what they describe"
  on public.custom_field_values for insert to authenticated
  with check (
    private.is_org_member(organization_id)
    and (
      (client_id is not null and private.is_org_staff(organization_id))
      or (task_id is not null and private.can_edit_task(task_id))
    )
  );
create policy "Values are changed by who may edit what they describe"
  on public.custom_field_values for update to authenticated
  using (
    (client_id is not null and private.is_org_staff(organization_id))
    or (task_id is not null and private.can_edit_task(task_id))
  )
  with check (
    private.is_org_member(organization_id)
    and (
      (client_id is not null and private.is_org_staff(organization_id))
      or (task_id is not null and private.can_edit_task(task_id))
    )
  );
create policy "Values are removed by who may edit what they describe"
  on public.custom_field_values for delete to authenticated
  using (
    (client_id is not null and private.is_org_staff(organization_id))
    or (task_id is not null and private.can_edit_task(task_id))
  );
