-- Who did what. Written by triggers, read by admins, partitioned by year. No foreign keys: it outlives its subjects.

create table public.activity_log (
  id uuid not null default gen_random_uuid(),
  organization_id uuid not null,
  actor_id uuid,
  action text not null check (action in ('insert', 'update', 'delete')),
  entity_type text not null,
  entity_id uuid,
  changes jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (id, created_at)
) partition by range (created_at);
create index activity_log_org_idx on public.activity_log (organization_id, created_at desc);

create table public.activity_log_y2025 partition of public.activity_log for values from ('2025-01-01') to ('2026-01-01');
create table public.activity_log_y2026 partition of public.activity_log for values from ('2026-01-01') to ('2027-01-01');
create table public.activity_log_default partition of public.activity_log default;

-- A partition named directly answers to its own policies and grants, and has none.
alter table public.activity_log enable row level security;
alter table public.activity_log_y2025 enable row level security;
alter table public.activity_log_y2026 enable row level security;
alter table public.activity_log_default enable row level security;
grant select on public.activity_log to authenticated;

create policy "Admins can read the activity log"
  on public.activity_log for select to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));

create function private.log_activity()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - 'search' end;
  will jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - 'search' end;
  subject jsonb := coalesce(will, was);
  diff jsonb := '{}';
begin
  if tg_op = 'UPDATE' then
    select coalesce(jsonb_object_agg(n.key, jsonb_build_array(was -> n.key, n.value)), '{}') into diff
    from jsonb_each(will) n
    where n.key not in ('updated_at', 'last_seen_at') and n.value is distinct from was -> n.key;
    if diff = '{}' then
      return null;
    end if;
  end if;
  insert into public.activity_log (organization_id, actor_id, action, entity_type, entity_id, changes)
  values (
    (subject ->> 'organization_id')::uuid,
    (select auth.uid()),
    lower(tg_op),
    tg_table_name,
    coalesce(subject ->> 'id', subject ->> 'user_id')::uuid,
    diff
  );
  return null;
end
$$;

do $$
declare
  t text;
begin
  foreach t in array array['organization_members', 'invitations', 'teams', 'clients', 'projects', 'tasks', 'documents', 'api_keys', 'webhooks'] loop
    execute format(
      'create trigger log_activity after insert or update or delete on public.%I for each row execute function private.log_activity()', t);
  end loop;
end
$$;
