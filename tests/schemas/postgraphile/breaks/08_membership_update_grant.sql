-- break: UPDATE on the whole of organization_memberships was granted, so a member can move its own row into another practice, as a manager
-- object: app_public.organization_memberships
-- kind: escalation
-- "permission denied for table organization_memberships" when the profile form sent all its fields.
set role app_database_owner;
grant update on app_public.organization_memberships to app_member;
reset role;
