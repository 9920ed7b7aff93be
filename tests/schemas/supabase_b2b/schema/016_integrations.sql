-- API keys, webhooks, imports. Secrets live in private and are shown once, by the function that makes them.

create table public.api_keys (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  name text not null check (length(btrim(name)) between 1 and 80),
  prefix text not null check (prefix ~ '^ck_[0-9a-f]{8}$'),
  scopes text[] not null default '{read}'
    check (cardinality(scopes) > 0 and scopes <@ array['read', 'write', 'admin']),
  created_by uuid,
  last_used_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now(),
  foreign key (organization_id, created_by) references public.organization_members (organization_id, user_id)
    on delete set null (created_by)
);

create table private.api_key_secrets (
  api_key_id uuid primary key references public.api_keys (id) on delete cascade,
  key_hash bytea not null unique
);

create table public.webhooks (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  url public.https_url not null,
  description text not null default '',
  events text[] not null default '{task.created}'
    check (events <@ array['task.created', 'task.updated', 'task.deleted', 'comment.created', 'project.created']),
  is_active boolean not null default true,
  failure_count integer not null default 0,
  disabled_at timestamptz,
  created_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (organization_id, created_by) references public.organization_members (organization_id, user_id)
    on delete set null (created_by)
);

create table private.webhook_secrets (
  webhook_id uuid primary key references public.webhooks (id) on delete cascade,
  secret text not null default encode(extensions.gen_random_bytes(32), 'hex')
);

create table public.webhook_deliveries (
  id uuid primary key default gen_random_uuid(),
  webhook_id uuid not null references public.webhooks (id) on delete cascade,
  event text not null,
  payload jsonb not null,
  response_status smallint check (response_status between 100 and 599),
  attempts smallint not null default 0 check (attempts between 0 and 20),
  delivered_at timestamptz,
  created_at timestamptz not null default now()
);
create index webhook_deliveries_webhook_idx on public.webhook_deliveries (webhook_id, created_at desc);

create table public.import_jobs (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  project_id uuid not null,
  source text not null check (source in ('csv', 'trello', 'asana', 'jira')),
  status text not null default 'queued' check (status in ('queued', 'running', 'done', 'failed')),
  mapping jsonb not null default '{}' check (jsonb_typeof(mapping) = 'object'),
  row_count integer check (row_count >= 0),
  error text,
  requested_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade,
  foreign key (organization_id, requested_by) references public.organization_members (organization_id, user_id)
    on delete set null (requested_by)
);

-- drained by a worker
create table private.outbox (
  id bigint generated always as identity primary key,
  organization_id uuid not null,
  event text not null,
  payload jsonb not null,
  created_at timestamptz not null default now()
);

alter table private.api_key_secrets enable row level security;
alter table private.webhook_secrets enable row level security;
alter table private.outbox enable row level security;

-- queues deliveries for webhooks of the row's own organization
create function private.queue_webhooks()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  subject jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end - 'search';
  happened text := tg_argv[0] || '.' || case tg_op when 'INSERT' then 'created' when 'UPDATE' then 'updated' else 'deleted' end;
  org uuid := (subject ->> 'organization_id')::uuid;
begin
  insert into public.webhook_deliveries (webhook_id, event, payload)
  select w.id, happened, subject
  from public.webhooks w
  where w.organization_id = org and w.is_active and happened = any (w.events);
  if found then
    insert into private.outbox (organization_id, event, payload)
    values (org, happened, jsonb_build_object('id', subject ->> 'id'));
  end if;
  return null;
end
$$;
create trigger queue_task_webhooks after insert or update or delete on public.tasks
  for each row execute function private.queue_webhooks('task');
create trigger queue_comment_webhooks after insert on public.comments
  for each row execute function private.queue_webhooks('comment');
create trigger queue_project_webhooks after insert on public.projects
  for each row execute function private.queue_webhooks('project');

create function private.create_webhook_secret()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into private.webhook_secrets (webhook_id) values (new.id);
  return null;
end
$$;
create trigger create_webhook_secret after insert on public.webhooks
  for each row execute function private.create_webhook_secret();
create trigger touch_webhooks before update on public.webhooks
  for each row execute function private.touch_updated_at();
create trigger keep_webhooks before update on public.webhooks
  for each row execute function private.keep_columns('organization_id', 'created_by');

alter table public.api_keys enable row level security;
alter table public.webhooks enable row level security;
alter table public.webhook_deliveries enable row level security;
alter table public.import_jobs enable row level security;
grant select on public.api_keys, public.webhook_deliveries to authenticated;
grant select, delete on public.webhooks to authenticated;
grant insert (organization_id, url, description, events, is_active) on public.webhooks to authenticated;
grant update (url, description, events, is_active) on public.webhooks to authenticated;
grant select on public.import_jobs to authenticated;
grant insert (organization_id, project_id, source, mapping) on public.import_jobs to authenticated;

create policy "Admins can list API keys"
  on public.api_keys for select to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "API keys need a second factor where the organization says so"
  on public.api_keys as restrictive for all to authenticated
  using (private.mfa_satisfied(organization_id));

create policy "Admins manage webhooks"
  on public.webhooks for all to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']))
  with check (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Webhooks need a second factor where the organization says so"
  on public.webhooks as restrictive for all to authenticated
  using (private.mfa_satisfied(organization_id));

create policy "Admins can see what webhooks delivered"
  on public.webhook_deliveries for select to authenticated
  using (
    exists (
      select 1 from public.webhooks w
      where w.id = webhook_deliveries.webhook_id
        and private.has_org_role(w.organization_id, array['owner', 'admin'])
    )
  );

create policy "Leads can see imports"
  on public.import_jobs for select to authenticated
  using (private.can_manage_project(project_id));
create policy "Leads can start imports"
  on public.import_jobs for insert to authenticated
  with check (
    private.can_manage_project(project_id)
    and private.is_org_staff(organization_id)
    and requested_by = (select auth.uid())
  );

-- RPCs -----------------------------------------------------------------------

create function public.create_api_key(org uuid, key_name text, key_scopes text[] default '{read}', valid_until timestamptz default null)
returns table (api_key_id uuid, api_key text)
language plpgsql
security definer
set search_path = ''
as $$
declare
  head text := 'ck_' || encode(extensions.gen_random_bytes(4), 'hex');
  plain text := head || '_' || encode(extensions.gen_random_bytes(24), 'hex');
  made uuid;
begin
  if not (private.has_org_role(org, array['owner', 'admin']) and private.mfa_satisfied(org)) then
    raise exception 'not allowed' using errcode = 'insufficient_privilege';
  end if;
  insert into public.api_keys (organization_id, name, prefix, scopes, created_by, expires_at)
  values (org, key_name, head, key_scopes, (select auth.uid()), valid_until)
  returning id into made;
  insert into private.api_key_secrets (api_key_id, key_hash) values (made, sha256(convert_to(plain, 'UTF8')));
  return query select made, plain;
end
$$;

create function public.revoke_api_key(api_key uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  update public.api_keys k set revoked_at = now()
  where k.id = api_key
    and k.revoked_at is null
    and private.has_org_role(k.organization_id, array['owner', 'admin'])
    and private.mfa_satisfied(k.organization_id);
  if not found then
    raise exception 'no such key' using errcode = 'P0002';
  end if;
end
$$;

create function public.reveal_webhook_secret(webhook uuid)
returns text
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  found_secret text;
begin
  select s.secret into found_secret
  from public.webhooks w
  join private.webhook_secrets s on s.webhook_id = w.id
  where w.id = webhook
    and private.has_org_role(w.organization_id, array['owner', 'admin'])
    and private.mfa_satisfied(w.organization_id);
  return found_secret;
end
$$;

grant execute on function
  public.create_api_key(uuid, text, text[], timestamptz), public.revoke_api_key(uuid), public.reveal_webhook_secret(uuid)
  to authenticated;

-- for the gateway: whose key is this?
create function public.authenticate_api_key(presented text)
returns table (organization_id uuid, scopes text[])
language sql
stable
security definer
set search_path = ''
as $$
  select k.organization_id, k.scopes
  from private.api_key_secrets s
  join public.api_keys k on k.id = s.api_key_id
  join public.organizations o on o.id = k.organization_id
  where s.key_hash = sha256(convert_to(presented, 'UTF8'))
    and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > now())
    and o.deleted_at is null
    and o.status <> 'suspended'
$$;
grant execute on function public.authenticate_api_key(text) to service_role;
