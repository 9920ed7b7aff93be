SELECT r.oid::bigint, r.rolname::text FROM pg_catalog.pg_roles AS r ORDER BY r.oid
