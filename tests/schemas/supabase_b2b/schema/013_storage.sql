-- Buckets:
--   attachments   {org_id}/{project_id}/{attachment_id}/{file}   who may see the project
--                 {org_id}/thumbnails/{file}                     any member of the organization; rendered by the server
--   branding      {org_id}/{file}                                read by members, written by admins
--   avatars       {user_id}/{file}                               a public bucket: served without policies; listed by the owner

insert into storage.buckets (id, name, public, file_size_limit) values
  ('attachments', 'attachments', false, 5368709120),
  ('branding', 'branding', false, 5242880),
  ('avatars', 'avatars', true, 2097152)
on conflict (id) do nothing;

create function private.project_of_object(object_name text)
returns uuid
language sql
stable
security definer
set search_path = ''
as $$
  select p.id
  from public.projects p
  where p.organization_id = private.try_uuid((storage.foldername(object_name))[1])
    and p.id = private.try_uuid((storage.foldername(object_name))[2])
$$;

create function private.can_read_object(object_name text)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select private.can_access_project(private.project_of_object(object_name))
$$;

create function private.can_write_object(object_name text)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select private.can_edit_project(private.project_of_object(object_name))
$$;

-- the organization whose folder it is; reads nothing
create function private.org_of_object(object_name text)
returns uuid
language sql
immutable
set search_path = ''
as $$
  select private.try_uuid((storage.foldername(object_name))[1])
$$;

grant execute on function private.can_read_object(text), private.can_write_object(text), private.org_of_object(text)
  to authenticated, service_role;

-- the API needs rows, not tables
revoke all on all tables in schema storage from anon, authenticated;
grant select, insert, update, delete on storage.objects to authenticated;
grant select on storage.buckets to authenticated;

create policy "Project files are readable by who may see the project"
  on storage.objects for select to authenticated
  using (bucket_id = 'attachments' and private.can_read_object(name));
create policy "Thumbnails are readable by members of the organization"
  on storage.objects for select to authenticated
  using (
    bucket_id = 'attachments'
    and (storage.foldername(name))[2] = 'thumbnails'
    and private.is_org_member(private.org_of_object(name))
  );
create policy "Contributors can upload project files"
  on storage.objects for insert to authenticated
  with check (
    bucket_id = 'attachments'
    and owner_id = (select auth.uid())::text
    and private.can_write_object(name)
  );
create policy "Uploaders can replace their project files"
  on storage.objects for update to authenticated
  using (
    bucket_id = 'attachments'
    and owner_id = (select auth.uid())::text
    and private.can_write_object(name)
  )
  with check (
    bucket_id = 'attachments'
    and owner_id = (select auth.uid())::text
    and private.can_write_object(name)
  );
create policy "Uploaders can delete their project files"
  on storage.objects for delete to authenticated
  using (
    bucket_id = 'attachments'
    and owner_id = (select auth.uid())::text
    and private.can_write_object(name)
  );

create policy "Branding is readable by members"
  on storage.objects for select to authenticated
  using (bucket_id = 'branding' and private.is_org_member(private.org_of_object(name)));
create policy "Admins manage branding"
  on storage.objects for all to authenticated
  using (bucket_id = 'branding' and private.has_org_role(private.org_of_object(name), array['owner', 'admin']))
  with check (bucket_id = 'branding' and private.has_org_role(private.org_of_object(name), array['owner', 'admin']));

create policy "Users manage their own avatar"
  on storage.objects for all to authenticated
  using (bucket_id = 'avatars' and (storage.foldername(name))[1] = (select auth.uid())::text)
  with check (bucket_id = 'avatars' and (storage.foldername(name))[1] = (select auth.uid())::text);
