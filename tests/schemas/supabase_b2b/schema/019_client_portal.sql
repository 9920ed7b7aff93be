-- Share links: a client without an account opens a project's public side with a long random token.

create table public.share_links (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  project_id uuid not null,
  label text not null default '',
  expires_at timestamptz not null default now() + interval '30 days',
  revoked_at timestamptz,
  last_opened_at timestamptz,
  created_by uuid,
  created_at timestamptz not null default now(),
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade,
  foreign key (organization_id, created_by) references public.organization_members (organization_id, user_id)
    on delete set null (created_by)
);

create table private.share_link_tokens (
  share_link_id uuid primary key references public.share_links (id) on delete cascade,
  token_hash bytea not null unique
);
alter table private.share_link_tokens enable row level security;

create trigger keep_share_links before update on public.share_links
  for each row execute function private.keep_columns('organization_id', 'project_id', 'created_by');

alter table public.share_links enable row level security;
grant select, delete on public.share_links to authenticated;
grant update (label, expires_at, revoked_at) on public.share_links to authenticated;

create policy "Leads can see share links"
  on public.share_links for select to authenticated
  using (private.can_manage_project(project_id));
create policy "Leads can change share links"
  on public.share_links for update to authenticated
  using (private.can_manage_project(project_id))
  with check (private.can_manage_project(project_id));
create policy "Leads can delete share links"
  on public.share_links for delete to authenticated
  using (private.can_manage_project(project_id));

create function public.create_share_link(project uuid, link_label text default '', valid_days integer default 30)
returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
  plain text := encode(extensions.gen_random_bytes(32), 'hex');
  org uuid;
  made uuid;
begin
  select p.organization_id into org
  from public.projects p
  where p.id = project and p.deleted_at is null and private.can_manage_project(p.id);
  if org is null or not private.feature_enabled(org, 'client_portal') then
    raise exception 'not allowed' using errcode = 'insufficient_privilege';
  end if;
  insert into public.share_links (organization_id, project_id, label, expires_at, created_by)
  values (org, project, link_label, now() + least(greatest(valid_days, 1), 365) * interval '1 day', (select auth.uid()))
  returning id into made;
  insert into private.share_link_tokens (share_link_id, token_hash) values (made, sha256(convert_to(plain, 'UTF8')));
  return plain;
end
$$;

-- the only thing somebody without an account can call
create function public.open_shared_project(token text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  link public.share_links;
begin
  select l.* into link
  from private.share_link_tokens t
  join public.share_links l on l.id = t.share_link_id
  join public.projects p on p.id = l.project_id and p.organization_id = l.organization_id
  join public.organizations o on o.id = l.organization_id
  where t.token_hash = sha256(convert_to(token, 'UTF8'))
    and l.revoked_at is null
    and l.expires_at > now()
    and p.deleted_at is null
    and o.deleted_at is null
    and o.status <> 'suspended';
  if not found then
    return null;
  end if;
  update public.share_links l set last_opened_at = now() where l.id = link.id;
  return (
    select jsonb_build_object(
      'project', p.name,
      'due_on', p.due_on,
      'milestones', (
        select coalesce(jsonb_agg(jsonb_build_object('title', m.title, 'due_on', m.due_on, 'reached_at', m.reached_at) order by m.position), '[]')
        from public.milestones m
        where m.organization_id = p.organization_id and m.project_id = p.id and m.client_visible
      ),
      'tasks', (
        select coalesce(jsonb_agg(jsonb_build_object('number', t.number, 'title', t.title, 'completed_at', t.completed_at) order by t.number), '[]')
        from public.tasks t
        where t.organization_id = p.organization_id and t.project_id = p.id and t.client_visible and t.archived_at is null
      )
    )
    from public.projects p
    where p.id = link.project_id
  );
end
$$;

grant execute on function public.create_share_link(uuid, text, integer) to authenticated;
grant execute on function public.open_shared_project(text) to anon, authenticated;
