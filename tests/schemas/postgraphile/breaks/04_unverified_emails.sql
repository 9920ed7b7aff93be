-- break: current_user_emails() counts addresses that were never verified, so anybody can claim an invited address and its invitation
-- object: app_hidden.current_user_emails()
-- kind: escalation
-- Support: "people accept the invitation before they click the verification mail and get an error".
set role app_database_owner;
create or replace function app_hidden.current_user_emails() returns setof public.citext as $$
  select email from app_public.user_emails
  where user_id = app_public.current_user_id();
$$ language sql stable security definer rows 3 set search_path to pg_catalog, public, pg_temp;
reset role;
