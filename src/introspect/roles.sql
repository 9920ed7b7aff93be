-- Roles other than PostgreSQL's own, with their direct memberships.
SELECT pg_catalog.json_build_object(
  'name', r.rolname,
  'superuser', r.rolsuper,
  'bypasses_row_security', r.rolbypassrls,
  'login', r.rolcanlogin,
  'inherit', r.rolinherit,
  'create_role', r.rolcreaterole,
  'create_database', r.rolcreatedb,
  'replication', r.rolreplication,
  'is_server_superuser', r.rolsuper AND (r.oid = 10 OR r.rolname = session_user),
  'member_of', coalesce((
    SELECT pg_catalog.json_agg(g.rolname ORDER BY g.rolname)
    FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
    WHERE m.member = r.oid), '[]'::json),
  -- From 16 on, each grant says what it gives, and a role may be granted by several; before, the member said it.
  'memberships', coalesce((
    SELECT pg_catalog.json_agg(x.entry ORDER BY x.rolname) FROM (
      SELECT g.rolname, pg_catalog.json_build_object(
        'role', g.rolname,
        'inherits', bool_or(coalesce((pg_catalog.to_json(m) ->> 'inherit_option')::boolean, r.rolinherit)),
        'may_set_role', bool_or(coalesce((pg_catalog.to_json(m) ->> 'set_option')::boolean, true)),
        'is_admin', bool_or(m.admin_option)) AS entry
      FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
      WHERE m.member = r.oid
      GROUP BY g.rolname) x), '[]'::json))::text
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_'
ORDER BY r.rolname
