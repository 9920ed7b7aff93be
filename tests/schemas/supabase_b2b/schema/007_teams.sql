create table public.teams (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  parent_team_id uuid,
  name text not null check (length(btrim(name)) between 1 and 80),
  color public.hex_color not null default '#64748b',
  lead_id uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique (organization_id, name),
  foreign key (organization_id, parent_team_id) references public.teams (organization_id, id)
    on delete set null (parent_team_id),
  foreign key (organization_id, lead_id) references public.organization_members (organization_id, user_id)
    on delete set null (lead_id),
  check (parent_team_id <> id)
);

create table public.team_members (
  organization_id uuid not null,
  team_id uuid not null,
  user_id uuid not null,
  is_lead boolean not null default false,
  allocation_percent smallint not null default 100 check (allocation_percent between 1 and 100),
  added_at timestamptz not null default now(),
  primary key (organization_id, team_id, user_id),
  foreign key (organization_id, team_id) references public.teams (organization_id, id) on delete cascade,
  foreign key (organization_id, user_id) references public.organization_members (organization_id, user_id) on delete cascade
);
create index team_members_user_idx on public.team_members (user_id);

create trigger touch_teams before update on public.teams
  for each row execute function private.touch_updated_at();
create trigger keep_teams before update on public.teams
  for each row execute function private.keep_columns('organization_id');

alter table public.teams enable row level security;
alter table public.team_members enable row level security;
grant select, insert, update, delete on public.teams, public.team_members to authenticated;

create policy "Members can see teams"
  on public.teams for select to authenticated
  using (organization_id in (select private.user_org_ids()));
create policy "Admins can create teams"
  on public.teams for insert to authenticated
  with check (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Admins and team leads can edit teams"
  on public.teams for update to authenticated
  using (
    private.has_org_role(organization_id, array['owner', 'admin'])
    or (lead_id = (select auth.uid()) and private.is_org_staff(organization_id))
  )
  with check (private.is_org_staff(organization_id));
create policy "Admins can delete teams"
  on public.teams for delete to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));

create policy "Members can see who is in a team"
  on public.team_members for select to authenticated
  using (organization_id in (select private.user_org_ids()));
create policy "Admins can add people to teams"
  on public.team_members for insert to authenticated
  with check (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Admins can change team membership"
  on public.team_members for update to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']))
  with check (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Admins can remove people and people can leave teams"
  on public.team_members for delete to authenticated
  using (
    private.has_org_role(organization_id, array['owner', 'admin'])
    or (user_id = (select auth.uid()) and private.is_org_member(organization_id))
  );
