-- break: the caller's address for invitations is taken from the profile's contact_email, which users edit freely
-- object: private.current_user_email()
-- kind: escalation
-- Support: people sign up with a private address and put the work address on their profile, then do not find the
-- invitation that was sent to work.
create or replace function private.current_user_email()
returns text
language sql
stable
security definer
set search_path = ''
as $$
  select lower(coalesce(p.contact_email, u.email))
  from auth.users u
  join public.profiles p on p.id = u.id
  where u.id = (select auth.uid())
    and u.email_confirmed_at is not null
$$;
