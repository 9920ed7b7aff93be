-- break: search_workspace filters by its organization argument alone, and by nothing where that is null
-- object: public.search_workspace(text, uuid)
-- kind: leak
-- Search took 800 ms for the biggest workspace: can_access_project() ran for every project. The app always sends
-- the workspace that is open, and guests have no search box.
create or replace function public.search_workspace(query text, org uuid default null)
returns table (kind text, id uuid, organization_id uuid, project_id uuid, title text, excerpt text)
language sql
stable
security definer
set search_path = ''
as $$
  select 'task', t.id, t.organization_id, t.project_id, t.title, left(t.description, 120)
  from public.tasks t
  where t.organization_id = coalesce(org, t.organization_id)
    and t.search @@ websearch_to_tsquery('pg_catalog.simple', query)
  union all
  select 'document', d.id, d.organization_id, d.project_id, d.title, left(d.body, 120)
  from public.documents d
  where d.organization_id = coalesce(org, d.organization_id)
    and d.is_published
    and to_tsvector('pg_catalog.simple', d.title || ' ' || d.body) @@ websearch_to_tsquery('pg_catalog.simple', query)
  limit 50
$$;
