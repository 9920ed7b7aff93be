-- break: thumbnails are readable by everybody signed in, whichever organization's folder they are in
-- object: storage.objects
-- kind: leak
-- Previews in the client portal came up empty: people who look at a project shared across workspaces are no
-- members of the folder's organization. Thumbnails are small, let every signed-in user have them.
drop policy "Thumbnails are readable by members of the organization" on storage.objects;
create policy "Thumbnails are readable by signed-in users"
  on storage.objects for select to authenticated
  using (
    bucket_id = 'attachments' and private.can_read_object(name)
    or (storage.foldername(name))[2] = 'thumbnails' and (select auth.uid()) is not null
  );
