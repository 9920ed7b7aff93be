-- break: the insert policy of comments checks the author, no longer the organization
-- object: app_public.comments
-- kind: breach
-- subject_exists() was one lookup per comment when importing; the author is what matters here.
set role app_database_owner;
drop policy insert_own on app_public.comments;
create policy insert_own on app_public.comments for insert to app_member
  with check (author_id = app_public.current_user_id());
reset role;
