-- What the pool's login may. Roles that are not there are roles it cannot become.
SELECT
  session_user::text AS login,
  pg_catalog.to_regclass('public.tenants') IS NOT NULL AS has_schema,
  r.rolsuper AS superuser,
  r.rolbypassrls AS bypasses,
  coalesce(pg_catalog.has_any_column_privilege(pg_catalog.to_regclass('public.tenants'), 'SELECT'), false) AS inherits,
  EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantproof_member' AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')) AS member,
  EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantproof_admin' AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')) AS admin,
  EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantproof_service' AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')) AS service
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = session_user
