-- The back office: one organization at a time, read only, and only while the practice lets it.
set role app_database_owner;

create function app_hidden.current_support_organization_id() returns uuid as $$
  select o.id from app_public.organizations o
   where o.id = app_hidden.claimed_organization_id() and o.support_access_until > now();
$$ language sql stable security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_hidden.current_support_organization_id() to app_support;

create policy support_select on app_public.organizations for select to app_support using (id = (select app_hidden.current_support_organization_id()));
create policy support_select on app_public.organization_memberships for select to app_support using (organization_id = (select app_hidden.current_support_organization_id()));
create policy support_select on app_public.organization_settings for select to app_support using (organization_id = (select app_hidden.current_support_organization_id()));
create policy support_select on app_public.subscriptions for select to app_support using (organization_id = (select app_hidden.current_support_organization_id()));
create policy support_select on app_public.activity_log for select to app_support using (organization_id = (select app_hidden.current_support_organization_id()));
grant select on app_public.organizations, app_public.organization_memberships, app_public.organization_settings, app_public.subscriptions, app_public.activity_log to app_support;

reset role;
