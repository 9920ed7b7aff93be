-- Wiki pages, comments on anything, reactions, attachments.

create table public.documents (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  project_id uuid not null,
  parent_id uuid,
  slug public.slug not null,
  title text not null,
  body text not null default '',
  is_published boolean not null default false,
  position numeric not null default 0,
  version integer not null default 1,
  created_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique (organization_id, project_id, id),
  unique (organization_id, project_id, slug),
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade,
  foreign key (organization_id, project_id, parent_id) references public.documents (organization_id, project_id, id)
    on delete set null (parent_id),
  foreign key (organization_id, created_by) references public.organization_members (organization_id, user_id)
    on delete set null (created_by),
  check (parent_id <> id)
);

create table public.document_versions (
  document_id uuid not null references public.documents (id) on delete cascade,
  version integer not null check (version > 0),
  title text not null,
  body text not null,
  saved_by uuid references public.profiles (id) on delete set null,
  saved_at timestamptz not null default now(),
  primary key (document_id, version)
);

create table public.comments (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  project_id uuid not null,
  -- what is commented on; checked by a trigger
  subject_type public.comment_subject not null,
  subject_id uuid not null,
  reply_to_id uuid,
  author_id uuid default auth.uid(),
  body text not null check (length(body) between 1 and 10000),
  client_visible boolean not null default false,
  edited_at timestamptz,
  created_at timestamptz not null default now(),
  unique (organization_id, project_id, id),
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade,
  foreign key (organization_id, project_id, reply_to_id) references public.comments (organization_id, project_id, id)
    on delete cascade,
  foreign key (organization_id, author_id) references public.organization_members (organization_id, user_id)
    on delete set null (author_id)
);
create index comments_subject_idx on public.comments (subject_type, subject_id);

create table public.comment_reactions (
  comment_id uuid not null references public.comments (id) on delete cascade,
  user_id uuid not null default auth.uid() references public.profiles (id) on delete cascade,
  emoji text not null check (length(emoji) between 1 and 16),
  created_at timestamptz not null default now(),
  primary key (comment_id, user_id, emoji)
);

create table public.attachments (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  project_id uuid not null,
  task_id uuid,
  document_id uuid,
  comment_id uuid,
  file_name text not null check (file_name !~ '[/\\]' and length(file_name) between 1 and 200),
  -- where the file is in the bucket "attachments"
  storage_path text generated always as (
    organization_id::text || '/' || project_id::text || '/' || id::text || '/' || file_name
  ) stored,
  mime_type text not null default 'application/octet-stream' check (mime_type ~ '^[a-z]+/[a-z0-9.+-]+$'),
  size_bytes bigint not null check (size_bytes between 0 and 5368709120),
  checksum text check (checksum ~ '^[0-9a-f]{64}$'),
  uploaded_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  foreign key (organization_id, project_id) references public.projects (organization_id, id) on delete cascade,
  foreign key (organization_id, project_id, task_id) references public.tasks (organization_id, project_id, id)
    on delete set null (task_id),
  foreign key (organization_id, project_id, document_id) references public.documents (organization_id, project_id, id)
    on delete set null (document_id),
  foreign key (organization_id, project_id, comment_id) references public.comments (organization_id, project_id, id)
    on delete set null (comment_id),
  foreign key (organization_id, uploaded_by) references public.organization_members (organization_id, user_id)
    on delete set null (uploaded_by),
  constraint one_place check (num_nonnulls(task_id, document_id, comment_id) <= 1)
);

-- triggers -------------------------------------------------------------------

create function private.save_document_version()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if new.body is distinct from old.body or new.title is distinct from old.title then
    insert into public.document_versions (document_id, version, title, body, saved_by)
    values (old.id, old.version, old.title, old.body, (select auth.uid()));
    new.version := old.version + 1;
  else
    new.version := old.version;
  end if;
  new.updated_at := now();
  return new;
end
$$;
create trigger save_document_version before update on public.documents
  for each row execute function private.save_document_version();
create trigger keep_documents before update on public.documents
  for each row execute function private.keep_columns('organization_id', 'project_id', 'created_by');
create trigger keep_comments before update on public.comments
  for each row execute function private.keep_columns('organization_id', 'project_id', 'subject_type', 'subject_id', 'author_id');
create trigger keep_attachments before update on public.attachments
  for each row execute function private.keep_columns('organization_id', 'project_id', 'uploaded_by', 'file_name');

-- A comment hangs on something of the same project. One message for all that can be wrong with it.
create function private.check_comment_subject()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  known boolean;
begin
  known := case new.subject_type
    when 'task' then exists (
      select 1 from public.tasks t
      where t.id = new.subject_id and t.project_id = new.project_id and t.organization_id = new.organization_id)
    when 'document' then exists (
      select 1 from public.documents d
      where d.id = new.subject_id and d.project_id = new.project_id and d.organization_id = new.organization_id)
    when 'milestone' then exists (
      select 1 from public.milestones m
      where m.id = new.subject_id and m.project_id = new.project_id and m.organization_id = new.organization_id)
  end;
  if not known then
    raise exception 'there is nothing to comment on' using errcode = 'foreign_key_violation';
  end if;
  return null;
end
$$;
-- after, so that the policies have the first word
create trigger check_comment_subject after insert on public.comments
  for each row execute function private.check_comment_subject();

-- "@anna" tells Anna, if she is of this organization and may see the project
create function private.notify_mentions()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  mentioned record;
begin
  for mentioned in
    select m.user_id
    from public.organization_members m
    where m.organization_id = new.organization_id
      and m.handle in (
        select distinct lower(hit[1]) from regexp_matches(new.body, '@([A-Za-z][A-Za-z0-9_]{1,30})', 'g') as hit
      )
  loop
    if private.user_can_access_project(mentioned.user_id, new.project_id) then
      perform private.notify(
        new.organization_id, mentioned.user_id, 'mentioned', 'You were mentioned', new.body,
        new.project_id, jsonb_build_object('comment_id', new.id)
      );
    end if;
  end loop;
  return null;
end
$$;
create trigger notify_mentions after insert on public.comments
  for each row execute function private.notify_mentions();

-- policies -------------------------------------------------------------------

alter table public.documents enable row level security;
alter table public.document_versions enable row level security;
alter table public.comments enable row level security;
alter table public.comment_reactions enable row level security;
alter table public.attachments enable row level security;
grant select, insert, update, delete on public.documents to authenticated;
grant select on public.document_versions to authenticated;
grant select, insert, delete on public.comments, public.comment_reactions, public.attachments to authenticated;
grant update (body, edited_at, client_visible) on public.comments to authenticated;
grant update (task_id, document_id, comment_id) on public.attachments to authenticated;

create policy "People on a project can read its documents"
  on public.documents for select to authenticated
  using (private.can_access_project(project_id) and (is_published or private.can_edit_project(project_id) or created_by = (select auth.uid())));
create policy "Contributors can write documents"
  on public.documents for insert to authenticated
  with check (
    private.can_edit_project(project_id)
    and private.is_org_member(organization_id)
    and created_by = (select auth.uid())
  );
create policy "Contributors can edit documents"
  on public.documents for update to authenticated
  using (private.can_edit_project(project_id))
  with check (private.can_edit_project(project_id) and private.is_org_member(organization_id));
create policy "Authors and leads can delete documents"
  on public.documents for delete to authenticated
  using (
    private.can_manage_project(project_id)
    or (created_by = (select auth.uid()) and private.can_edit_project(project_id))
  );

create policy "Contributors can read earlier versions of documents"
  on public.document_versions for select to authenticated
  using (
    exists (
      select 1 from public.documents d
      where d.id = document_versions.document_id and private.can_edit_project(d.project_id)
    )
  );

create policy "People on a project can read comments"
  on public.comments for select to authenticated
  using (private.can_access_project(project_id));
create policy "People on a project can comment"
  on public.comments for insert to authenticated
  with check (
    private.can_access_project(project_id)
    and private.is_org_member(organization_id)
    and author_id = (select auth.uid())
  );
create policy "Authors can edit their comments"
  on public.comments for update to authenticated
  using (author_id = (select auth.uid()) and private.can_access_project(project_id))
  with check (author_id = (select auth.uid()) and private.can_access_project(project_id));
create policy "Authors and leads can delete comments"
  on public.comments for delete to authenticated
  using (
    private.can_manage_project(project_id)
    or (author_id = (select auth.uid()) and private.can_access_project(project_id))
  );

-- the subquery is subject to the policies of comments
create policy "People can see reactions to comments they see"
  on public.comment_reactions for select to authenticated
  using (exists (select 1 from public.comments c where c.id = comment_reactions.comment_id));
create policy "People can react to comments they see"
  on public.comment_reactions for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and exists (select 1 from public.comments c where c.id = comment_reactions.comment_id)
  );
create policy "People can take back their reactions"
  on public.comment_reactions for delete to authenticated
  using (
    user_id = (select auth.uid())
    and exists (select 1 from public.comments c where c.id = comment_reactions.comment_id)
  );

create policy "People on a project can see attachments"
  on public.attachments for select to authenticated
  using (private.can_access_project(project_id));
create policy "Contributors can attach files"
  on public.attachments for insert to authenticated
  with check (
    private.can_edit_project(project_id)
    and private.is_org_member(organization_id)
    and uploaded_by = (select auth.uid())
  );
create policy "Contributors can move attachments within a project"
  on public.attachments for update to authenticated
  using (private.can_edit_project(project_id))
  with check (private.can_edit_project(project_id) and private.is_org_member(organization_id));
create policy "Uploaders and leads can delete attachments"
  on public.attachments for delete to authenticated
  using (
    private.can_manage_project(project_id)
    or (uploaded_by = (select auth.uid()) and private.can_edit_project(project_id))
  );
