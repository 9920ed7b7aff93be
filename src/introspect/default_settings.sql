-- Settings that this database or a role starts every connection with.
SELECT pg_catalog.json_build_object(
  'role', CASE WHEN s.setrole <> 0 THEN pg_catalog.pg_get_userbyid(s.setrole) END,
  'settings', s.setconfig)::text
FROM pg_catalog.pg_db_role_setting s
WHERE s.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   OR (s.setdatabase = 0 AND s.setrole <> 0)
ORDER BY s.setrole
