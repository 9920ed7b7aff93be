-- Roles other than PostgreSQL's own, with their direct memberships.
SELECT pg_catalog.json_build_object(
  'name', r.rolname,
  'superuser', r.rolsuper,
  'bypasses_row_security', r.rolbypassrls,
  'login', r.rolcanlogin,
  'inherit', r.rolinherit,
  'create_role', r.rolcreaterole,
  'member_of', coalesce((
    SELECT pg_catalog.json_agg(g.rolname ORDER BY g.rolname)
    FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
    WHERE m.member = r.oid), '[]'::json))::text
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_'
ORDER BY r.rolname
