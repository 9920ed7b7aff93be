set role app_database_owner;

create table app_public.folders (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  parent_id uuid,
  name text not null check (name !~ '/' and length(name) between 1 and 120),
  is_clinical_only boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique nulls not distinct (organization_id, parent_id, name),
  check (parent_id <> id),
  foreign key (organization_id, parent_id) references app_public.folders (organization_id, id) on delete cascade
);
alter table app_public.folders enable row level security;

create table app_public.documents (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  folder_id uuid,
  patient_id uuid,
  client_id uuid,
  title text not null,
  filename text not null check (filename !~ '[/\\]'),
  content_type text not null default 'application/pdf' check (content_type ~ '^[a-z]+/[a-z0-9.+-]+$'),
  size_bytes bigint not null check (size_bytes between 0 and 1073741824),
  storage_key uuid not null default gen_random_uuid(),
  checksum text check (checksum ~ '^[0-9a-f]{64}$'),
  version integer not null default 1,
  tags text[] not null default '{}' check (app_hidden.valid_tags(tags)),
  uploaded_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  foreign key (organization_id, folder_id) references app_public.folders (organization_id, id) on delete set null (folder_id),
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id),
  foreign key (organization_id, client_id) references app_public.clients (organization_id, id)
);
alter table app_public.documents enable row level security;
comment on column app_public.documents.storage_key is E'@omit create,update';

-- A comment hangs on anything. The pair cannot be a foreign key, so the policy looks.
create table app_public.comments (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  subject_type app_public.subject_kind not null,
  subject_id uuid not null,
  author_id uuid not null default app_public.current_user_id(),
  body text not null check (length(body) between 1 and 10000),
  mentions uuid[] not null default '{}',
  is_pinned boolean not null default false,
  edited_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (author_id) references app_public.users
);
alter table app_public.comments enable row level security;
create index on app_public.comments (organization_id, subject_type, subject_id);

create table app_public.tasks (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  title text not null,
  assignee_id uuid,
  patient_id uuid,
  due_on date,
  done_at timestamptz,
  checklist jsonb not null default '[]' check (jsonb_typeof(checklist) = 'array'),
  created_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (organization_id, assignee_id) references app_public.organization_memberships (organization_id, user_id) on delete set null (assignee_id),
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id) on delete cascade
);
alter table app_public.tasks enable row level security;

create table app_public.reminders (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  patient_id uuid not null,
  kind text not null check (kind in ('vaccination', 'checkup', 'parasites', 'dental', 'birthday')),
  due_on date not null,
  channel app_public.contact_channel not null default 'email',
  repeat_every interval check (repeat_every >= interval '1 month'),
  sent_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, patient_id, kind, due_on),
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id) on delete cascade
);
alter table app_public.reminders enable row level security;

create table app_public.notifications (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  user_id uuid not null,
  kind text not null,
  payload jsonb not null default '{}',
  read_at timestamptz,
  created_at timestamptz not null default now(),
  foreign key (organization_id, user_id) references app_public.organization_memberships on delete cascade
);
alter table app_public.notifications enable row level security;

create table app_public.saved_filters (
  organization_id uuid not null default app_hidden.current_organization_id(),
  user_id uuid not null default app_public.current_user_id(),
  name text not null,
  subject app_public.subject_kind not null,
  filter jsonb not null check (jsonb_typeof(filter) = 'object'),
  is_shared boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, user_id, name),
  foreign key (organization_id, user_id) references app_public.organization_memberships on delete cascade
);
alter table app_public.saved_filters enable row level security;

do $$
declare
  t text;
begin
  foreach t in array '{folders,documents,comments,tasks,reminders,saved_filters}'::text[] loop
    execute format('create trigger _100_timestamps before insert or update on app_public.%I for each row execute procedure app_private.tg__timestamps()', t);
  end loop;
end
$$;

-- A folder must not become its own ancestor. Definer: some ancestors may be hidden from whoever moves it.
create function app_private.tg__folders__no_cycle() returns trigger as $$
begin
  if exists (
    with recursive up as (
      select f.id, f.parent_id from app_public.folders f where f.organization_id = new.organization_id and f.id = new.parent_id
      union
      select f.id, f.parent_id from app_public.folders f join up on f.id = up.parent_id and f.organization_id = new.organization_id)
    select 1 from up where up.id = new.id) then
    raise exception 'A folder cannot be inside itself' using errcode = 'CYCLE';
  end if;
  return new;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _200_no_cycle before update of parent_id on app_public.folders for each row execute procedure app_private.tg__folders__no_cycle();

create policy select_own on app_public.folders for select to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and (not is_clinical_only or (select app_hidden.is_clinical())));
create policy insert_own on app_public.folders for insert to app_member with check (organization_id = (select app_hidden.current_organization_id()));
create policy update_own on app_public.folders for update to app_member
  using (organization_id = (select app_hidden.current_organization_id())) with check (organization_id = (select app_hidden.current_organization_id()));
create policy delete_manager on app_public.folders for delete to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
grant select on app_public.folders to app_member;
grant insert (organization_id, parent_id, name, is_clinical_only), update (parent_id, name, is_clinical_only) on app_public.folders to app_member;
grant delete on app_public.folders to app_manager;

-- Documents in a folder one cannot see are not seen either.
create policy select_own on app_public.documents for select to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and archived_at is null
         and (folder_id is null
              or exists (select 1 from app_public.folders f where f.organization_id = documents.organization_id and f.id = documents.folder_id)));
create policy insert_own on app_public.documents for insert to app_member with check (organization_id = (select app_hidden.current_organization_id()));
create policy update_own on app_public.documents for update to app_member
  using (organization_id = (select app_hidden.current_organization_id())) with check (organization_id = (select app_hidden.current_organization_id()));
grant select on app_public.documents to app_member;
grant insert (organization_id, folder_id, patient_id, client_id, title, filename, content_type, size_bytes, checksum, tags) on app_public.documents to app_member;
grant update (folder_id, patient_id, client_id, title, filename, tags) on app_public.documents to app_member;

create function app_public.archive_document(document_id uuid) returns boolean as $$
begin
  update app_public.documents d set archived_at = now()
   where d.id = archive_document.document_id and d.organization_id = app_hidden.current_organization_id()
     and (d.uploaded_by = app_public.current_user_id() or app_hidden.is_manager()) and d.archived_at is null;
  return found;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.archive_document(uuid) to app_member;

create function app_hidden.subject_exists(p_type app_public.subject_kind, p_id uuid) returns boolean as $$
  select case p_type
    when 'client' then exists (select 1 from app_public.clients where id = p_id and organization_id = app_hidden.current_organization_id())
    when 'patient' then exists (select 1 from app_public.patients where id = p_id and organization_id = app_hidden.current_organization_id())
    when 'visit' then exists (select 1 from app_public.visits where id = p_id and organization_id = app_hidden.current_organization_id())
    when 'invoice' then exists (select 1 from app_public.invoices where id = p_id and organization_id = app_hidden.current_organization_id())
  end;
$$ language sql stable;
grant execute on function app_hidden.subject_exists(app_public.subject_kind, uuid) to app_member;

create policy select_own on app_public.comments for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_own on app_public.comments for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id())
              and author_id = app_public.current_user_id()
              and app_hidden.subject_exists(subject_type, subject_id));
create policy update_own on app_public.comments for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and author_id = app_public.current_user_id())
  with check (organization_id = (select app_hidden.current_organization_id()) and author_id = app_public.current_user_id());
create policy delete_own on app_public.comments for delete to app_member
  using (organization_id = (select app_hidden.current_organization_id())
         and (author_id = app_public.current_user_id() or (select app_hidden.is_manager())));
grant select, delete on app_public.comments to app_member;
grant insert (organization_id, subject_type, subject_id, author_id, body, mentions, is_pinned), update (body, mentions, is_pinned, edited_at) on app_public.comments to app_member;

create policy select_own on app_public.tasks for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_own on app_public.tasks for insert to app_member with check (organization_id = (select app_hidden.current_organization_id()));
create policy update_own on app_public.tasks for update to app_member
  using (organization_id = (select app_hidden.current_organization_id())) with check (organization_id = (select app_hidden.current_organization_id()));
create policy delete_own on app_public.tasks for delete to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and (created_by = app_public.current_user_id() or (select app_hidden.is_manager())));
grant select, delete on app_public.tasks to app_member;
grant insert (organization_id, title, assignee_id, patient_id, due_on, checklist), update (title, assignee_id, patient_id, due_on, done_at, checklist) on app_public.tasks to app_member;

create policy manage_own on app_public.reminders for all to app_member
  using (organization_id = (select app_hidden.current_organization_id())) with check (organization_id = (select app_hidden.current_organization_id()));
grant select, delete on app_public.reminders to app_member;
grant insert (patient_id, kind, due_on, channel, repeat_every), update (due_on, channel, repeat_every) on app_public.reminders to app_member;

create policy select_own on app_public.notifications for select to app_member
  using (user_id = app_public.current_user_id() and organization_id = (select app_hidden.current_organization_id()));
create policy update_own on app_public.notifications for update to app_member
  using (user_id = app_public.current_user_id() and organization_id = (select app_hidden.current_organization_id()))
  with check (user_id = app_public.current_user_id() and organization_id = (select app_hidden.current_organization_id()));
grant select, update (read_at) on app_public.notifications to app_member;

create policy select_own on app_public.saved_filters for select to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and (user_id = app_public.current_user_id() or is_shared));
create policy manage_own on app_public.saved_filters for all to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and user_id = app_public.current_user_id())
  with check (organization_id = (select app_hidden.current_organization_id()) and user_id = app_public.current_user_id());
grant select, insert, update, delete on app_public.saved_filters to app_member;

-- Mentioned colleagues are told; anybody else in the array is ignored.
create function app_private.tg__comments__notify() returns trigger as $$
begin
  insert into app_public.notifications (organization_id, user_id, kind, payload)
  select m.organization_id, m.user_id, 'mention', jsonb_build_object('comment_id', new.id, 'author_id', new.author_id)
    from app_public.organization_memberships m
   where m.organization_id = new.organization_id
     and m.user_id = any (new.mentions)
     and m.status = 'active'
     and m.user_id <> new.author_id;
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_notify after insert on app_public.comments for each row execute procedure app_private.tg__comments__notify();

create function app_public.folders_breadcrumbs(f app_public.folders) returns text as $$
  with recursive up as (
    select f.id, f.parent_id, f.name, 1 as depth
    union all
    select p.id, p.parent_id, p.name, up.depth + 1
      from app_public.folders p join up on p.id = up.parent_id
     where p.organization_id = f.organization_id and up.depth < 50)
  select string_agg(name, ' / ' order by depth desc) from up;
$$ language sql stable;
grant execute on function app_public.folders_breadcrumbs(app_public.folders) to app_member;

create function app_public.patients_comments(p app_public.patients) returns setof app_public.comments as $$
  select * from app_public.comments c where c.organization_id = p.organization_id and c.subject_type = 'patient' and c.subject_id = p.id
   order by c.is_pinned desc, c.created_at desc;
$$ language sql stable;
grant execute on function app_public.patients_comments(app_public.patients) to app_member;

create function app_public.complete_task(task_id uuid) returns app_public.tasks as $$
  update app_public.tasks set done_at = coalesce(done_at, now()) where id = task_id returning *;
$$ language sql volatile strict;
grant execute on function app_public.complete_task(uuid) to app_member;

create function app_public.mark_all_notifications_read() returns bigint as $$
  with done as (update app_public.notifications set read_at = now() where read_at is null returning 1)
  select count(*) from done;
$$ language sql volatile;
grant execute on function app_public.mark_all_notifications_read() to app_member;

reset role;
