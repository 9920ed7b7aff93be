-- Statements for the database $1 itself that clear the way for dropping it.
SELECT pg_catalog.format('ROLLBACK PREPARED %L', p.gid), 1
FROM pg_catalog.pg_prepared_xacts AS p
WHERE p.database = $1
UNION ALL
SELECT pg_catalog.format('ALTER SUBSCRIPTION %I DISABLE', s.subname), 2
FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = $1
UNION ALL
SELECT pg_catalog.format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', s.subname), 3
FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = $1
UNION ALL
SELECT pg_catalog.format('DROP SUBSCRIPTION %I', s.subname), 4
FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid AND d.datname = $1
ORDER BY 2, 1
