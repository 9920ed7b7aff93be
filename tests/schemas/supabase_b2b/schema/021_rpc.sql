-- Organizations come and go through these functions.

create function public.create_organization(org_name text)
returns uuid
language plpgsql
security definer
set search_path = ''
as $$
declare
  me uuid := (select auth.uid());
  stem text := btrim(regexp_replace(lower(org_name), '[^a-z0-9]+', '-', 'g'), '-');
  made uuid;
begin
  if me is null or not exists (select 1 from public.profiles p where p.id = me and p.deactivated_at is null) then
    raise exception 'not signed in' using errcode = 'insufficient_privilege';
  end if;
  insert into public.organizations (name, slug, owner_id)
  values (
    org_name,
    btrim(left(coalesce(nullif(stem, ''), 'org'), 40), '-') || '-' || encode(extensions.gen_random_bytes(5), 'hex'),
    me
  )
  returning id into made;
  insert into public.organization_members (organization_id, user_id, role, handle)
  values (made, me, 'owner', 'u' || substr(md5(me::text), 1, 10));
  insert into public.subscriptions (organization_id, plan_id, status) values (made, 'free', 'active');
  return made;
end
$$;

create function public.close_organization(org uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not private.has_org_role(org, array['owner']) then
    raise exception 'not allowed' using errcode = 'insufficient_privilege';
  end if;
  update public.organizations o set deleted_at = now() where o.id = org;
end
$$;

-- for the retention job, some time after close_organization(); tasks go before the workflow they refer to
create function private.purge_organization(org uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  delete from public.projects p where p.organization_id = org;
  delete from public.organizations o where o.id = org and o.deleted_at < now() - interval '30 days';
  if not found then
    raise exception 'not due for purging' using errcode = 'P0002';
  end if;
end
$$;
grant execute on function private.purge_organization(uuid) to service_role;

create function public.transfer_ownership(org uuid, new_owner uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  me uuid := (select auth.uid());
begin
  if not private.has_org_role(org, array['owner']) or new_owner = me then
    raise exception 'not allowed' using errcode = 'insufficient_privilege';
  end if;
  update public.organization_members m set role = 'owner', expires_at = null
  where m.organization_id = org and m.user_id = new_owner and m.status = 'active' and m.role in ('admin', 'member');
  if not found then
    raise exception 'no such member' using errcode = 'P0002';
  end if;
  update public.organization_members m set role = 'admin' where m.organization_id = org and m.user_id = me;
  update public.organizations o set owner_id = new_owner where o.id = org;
end
$$;

create function public.leave_organization(org uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  update public.organization_members m set status = 'removed'
  where m.organization_id = org and m.user_id = (select auth.uid()) and m.role <> 'owner' and m.status = 'active';
  if not found then
    raise exception 'not allowed' using errcode = 'insufficient_privilege';
  end if;
end
$$;

create function public.set_my_handle(org uuid, new_handle text)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not private.is_org_member(org) then
    raise exception 'not allowed' using errcode = 'insufficient_privilege';
  end if;
  update public.organization_members m set handle = lower(new_handle)
  where m.organization_id = org and m.user_id = (select auth.uid());
end
$$;

create function public.delete_project(project uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  update public.projects p set deleted_at = now()
  where p.id = project and p.deleted_at is null and private.can_manage_project(p.id);
  if not found then
    raise exception 'no such project' using errcode = 'P0002';
  end if;
end
$$;

-- runs with the caller's rights: row-level security says which project can be copied
create function public.duplicate_project(project uuid, new_code text)
returns uuid
language plpgsql
set search_path = ''
as $$
declare
  source public.projects;
  made uuid := gen_random_uuid();
begin
  select p.* into source from public.projects p where p.id = project;
  if not found then
    raise exception 'no such project' using errcode = 'P0002';
  end if;
  insert into public.projects (id, organization_id, client_id, team_id, code, name, description, visibility, color, is_billable, settings)
  values (made, source.organization_id, source.client_id, source.team_id, new_code, source.name || ' (copy)', source.description,
    source.visibility, source.color, source.is_billable, source.settings);
  insert into public.tasks (organization_id, project_id, number, title, description, status_id, priority, kind, estimate_minutes, position, tags)
  select t.organization_id, made, 1, t.title, t.description, t.status_id, t.priority, t.kind, t.estimate_minutes, t.position, t.tags
  from public.tasks t
  where t.project_id = source.id and t.archived_at is null
  order by t.number;
  return made;
end
$$;

create function public.mark_notifications_read(org uuid)
returns integer
language sql
set search_path = ''
as $$
  with done as (
    update public.notifications n set read_at = now()
    where n.organization_id = org and n.user_id = (select auth.uid()) and n.read_at is null
    returning 1
  )
  select count(*)::integer from done
$$;

-- Security definer because the per-row policies of tasks and documents made search too slow: here the projects
-- are checked once. Without an organization it searches all of the caller's.
create function public.search_workspace(query text, org uuid default null)
returns table (kind text, id uuid, organization_id uuid, project_id uuid, title text, excerpt text)
language sql
stable
security definer
set search_path = ''
as $$
  with visible as materialized (
    select p.id
    from public.projects p
    where p.organization_id in (select private.user_org_ids())
      and (org is null or p.organization_id = org)
      and private.can_access_project(p.id)
  )
  select 'task', t.id, t.organization_id, t.project_id, t.title, left(t.description, 120)
  from public.tasks t
  where t.project_id in (select v.id from visible v)
    and t.search @@ websearch_to_tsquery('pg_catalog.simple', query)
  union all
  select 'document', d.id, d.organization_id, d.project_id, d.title, left(d.body, 120)
  from public.documents d
  where d.project_id in (select v.id from visible v)
    and d.is_published
    and to_tsvector('pg_catalog.simple', d.title || ' ' || d.body) @@ websearch_to_tsquery('pg_catalog.simple', query)
  limit 50
$$;

-- grouping column is picked from a list, never pasted
create function public.task_report(org uuid, group_by text default 'priority', since date default null)
returns table (bucket text, tasks bigint, done bigint, estimate_minutes bigint)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  if not private.has_org_role(org, array['owner', 'admin']) then
    raise exception 'not allowed' using errcode = 'insufficient_privilege';
  end if;
  if group_by is null or group_by not in ('priority', 'kind', 'assignee_id', 'project_id', 'status_id') then
    raise exception 'cannot group by that' using errcode = 'invalid_parameter_value';
  end if;
  return query execute format(
    'select t.%1$I::text, count(*), count(t.completed_at), coalesce(sum(t.estimate_minutes), 0)::bigint
     from public.tasks t
     where t.organization_id = $1 and ($2 is null or t.created_at >= $2)
     group by t.%1$I
     order by 2 desc',
    group_by
  ) using org, since;
end
$$;

create function public.my_features(org uuid)
returns setof text
language sql
stable
security definer
set search_path = ''
as $$
  select ff.key from public.feature_flags ff
  where private.is_org_member(org) and private.feature_enabled(org, ff.key)
$$;

grant execute on function
  public.create_organization(text), public.close_organization(uuid), public.transfer_ownership(uuid, uuid),
  public.leave_organization(uuid), public.set_my_handle(uuid, text), public.delete_project(uuid),
  public.duplicate_project(uuid, text), public.mark_notifications_read(uuid), public.search_workspace(text, uuid),
  public.task_report(uuid, text, date), public.my_features(uuid)
  to authenticated;
