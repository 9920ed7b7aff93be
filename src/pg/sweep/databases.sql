SELECT d.datname::text FROM pg_catalog.pg_database AS d WHERE d.datname LIKE 'tenantproof\_%' ORDER BY d.datname
