-- Non-system schemas that belong to no extension, with their grants.
SELECT pg_catalog.json_build_object(
  'name', n.nspname,
  'owner', pg_catalog.pg_get_userbyid(n.nspowner),
  'grants', coalesce((
    SELECT pg_catalog.json_agg(g.entry ORDER BY g.grantee) FROM (
      SELECT g.grantee, pg_catalog.json_build_object('grantee', g.grantee,
        'privileges', pg_catalog.json_agg(g.privilege ORDER BY g.privilege)) AS entry
      FROM (SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee,
                   x.privilege_type || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS privilege
            FROM pg_catalog.aclexplode(n.nspacl) x WHERE x.grantee <> n.nspowner) g
      GROUP BY g.grantee) g), '[]'::json))::text
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND e.objid = n.oid AND e.deptype = 'e')
ORDER BY n.nspname
