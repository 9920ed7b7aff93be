SELECT r.rolsuper, r.rolcreatedb, pg_catalog.pg_is_in_recovery()
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = current_user
