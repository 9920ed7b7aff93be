-- Statements for another database that clear the way for dropping the database $1.
SELECT pg_catalog.format('ALTER DATABASE %I IS_TEMPLATE false', d.datname), 1
FROM pg_catalog.pg_database AS d
WHERE d.datname = $1 AND d.datistemplate
UNION ALL
SELECT pg_catalog.format('SELECT pg_catalog.pg_terminate_backend(%s, 1000)', s.active_pid), 2
FROM pg_catalog.pg_replication_slots AS s
WHERE s.database = $1 AND s.active
UNION ALL
SELECT pg_catalog.format('SELECT pg_catalog.pg_drop_replication_slot(%L)', s.slot_name), 3
FROM pg_catalog.pg_replication_slots AS s
WHERE s.database = $1
ORDER BY 2, 1
