SELECT pg_catalog.split_part(d.description, E'\n', 1), r.rolname::text
FROM pg_catalog.pg_roles AS r
JOIN pg_catalog.pg_shdescription AS d
  ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
WHERE d.description LIKE 'tenantproof\_%'
ORDER BY r.rolname
