-- Written by triggers and the server; people read and dismiss their own.

create table public.notifications (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  user_id uuid not null,
  kind public.notification_kind not null,
  title text not null,
  body text not null default '',
  actor_id uuid references public.profiles (id) on delete set null,
  project_id uuid,
  link jsonb not null default '{}',
  read_at timestamptz,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  foreign key (organization_id, user_id) references public.organization_members (organization_id, user_id) on delete cascade,
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade
);
create index notifications_unread_idx on public.notifications (user_id, created_at desc) where read_at is null;

create table public.notification_preferences (
  organization_id uuid not null,
  user_id uuid not null default auth.uid(),
  kind public.notification_kind not null,
  in_app boolean not null default true,
  email boolean not null default true,
  quiet_hours int4range not null default 'empty' check (quiet_hours <@ int4range(0, 1440)),
  primary key (organization_id, user_id, kind),
  foreign key (organization_id, user_id) references public.organization_members (organization_id, user_id) on delete cascade
);

-- tell the browser; each user listens on a private topic
create function private.broadcast_notification()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform realtime.send(
    jsonb_build_object('id', new.id, 'kind', new.kind, 'title', new.title),
    'notification', 'user:' || new.user_id, true
  );
  return null;
end
$$;
create trigger broadcast_notification after insert on public.notifications
  for each row execute function private.broadcast_notification();

create policy "Users receive broadcasts on their own topic"
  on realtime.messages for select to authenticated
  using (extension = 'broadcast' and topic = 'user:' || (select auth.uid())::text);
revoke all on realtime.messages from anon;
revoke insert, update on realtime.messages from authenticated;

-- one way to notify somebody, honouring what they asked for
create function private.notify(
  org uuid, recipient uuid, what public.notification_kind, heading text, detail text, project uuid default null, target jsonb default '{}'
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  if recipient is null or recipient = (select auth.uid()) then
    return;
  end if;
  insert into public.notifications (organization_id, user_id, kind, title, body, actor_id, project_id, link)
  select m.organization_id, m.user_id, what, heading, left(detail, 280), (select auth.uid()), project, target
  from private.active_memberships m
  left join public.notification_preferences np
    on np.organization_id = m.organization_id and np.user_id = m.user_id and np.kind = what
  where m.organization_id = org
    and m.user_id = recipient
    and coalesce(np.in_app, true);
end
$$;
grant execute on function private.notify(uuid, uuid, public.notification_kind, text, text, uuid, jsonb) to service_role;

alter table public.notifications enable row level security;
alter table public.notification_preferences enable row level security;
grant select, delete on public.notifications to authenticated;
grant update (read_at, archived_at) on public.notifications to authenticated;
grant select, insert, update, delete on public.notification_preferences to authenticated;

create policy "Users can read their notifications"
  on public.notifications for select to authenticated
  using (user_id = (select auth.uid()) and private.is_org_member(organization_id));
create policy "Users can dismiss their notifications"
  on public.notifications for update to authenticated
  using (user_id = (select auth.uid()) and private.is_org_member(organization_id))
  with check (user_id = (select auth.uid()) and private.is_org_member(organization_id));
create policy "Users can delete their notifications"
  on public.notifications for delete to authenticated
  using (user_id = (select auth.uid()) and private.is_org_member(organization_id));
create policy "Users manage their notification preferences"
  on public.notification_preferences for all to authenticated
  using (user_id = (select auth.uid()) and private.is_org_member(organization_id))
  with check (user_id = (select auth.uid()) and private.is_org_member(organization_id));
