-- What objects to come will be granted, by whose objects and by schema.
SELECT pg_catalog.json_build_object(
  'role', pg_catalog.pg_get_userbyid(d.defaclrole),
  'schema', n.nspname,
  'objects', d.defaclobjtype,
  'grants', coalesce((
    SELECT pg_catalog.json_agg(g.entry ORDER BY g.grantee) FROM (
      SELECT g.grantee, pg_catalog.json_build_object('grantee', g.grantee,
        'privileges', pg_catalog.json_agg(g.privilege ORDER BY g.privilege)) AS entry
      FROM (SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee,
                   x.privilege_type || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS privilege
            FROM pg_catalog.aclexplode(d.defaclacl) x WHERE x.grantee <> d.defaclrole) g
      GROUP BY g.grantee) g), '[]'::json))::text
FROM pg_catalog.pg_default_acl d
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
ORDER BY pg_catalog.pg_get_userbyid(d.defaclrole), n.nspname NULLS FIRST, d.defaclobjtype
