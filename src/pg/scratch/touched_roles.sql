-- The roles that the open transaction created or changed. What it wrote to the catalog carries its id, or that of one of
-- its subtransactions, as xmin. Such ids are not below its own, and in progress; rows that other transactions in progress
-- wrote are not visible. xmin has 32 bits, pg_xact_status wants 64, hence the arithmetic modulo 2^32.
--   $1: roles that were there before   $2: roles already noted   $3: the mark
WITH me AS (
    SELECT pg_catalog.pg_current_xact_id_if_assigned()::text::bigint AS xid
),
written AS (
    SELECT a.oid AS role, a.xmin FROM pg_catalog.pg_authid AS a
    UNION ALL
    SELECT m.roleid, m.xmin FROM pg_catalog.pg_auth_members AS m
    UNION ALL
    SELECT m.member, m.xmin FROM pg_catalog.pg_auth_members AS m
    UNION ALL
    SELECT s.setrole, s.xmin FROM pg_catalog.pg_db_role_setting AS s WHERE s.setdatabase = 0
),
touched AS (
    SELECT DISTINCT w.role
    FROM written AS w
    CROSS JOIN me
    CROSS JOIN LATERAL (
        SELECT ((w.xmin::text::bigint - me.xid % 4294967296) + 4294967296) % 4294967296 AS ahead
    ) AS distance
    WHERE CASE
        WHEN distance.ahead < 1048576
        THEN pg_catalog.pg_xact_status((me.xid + distance.ahead)::text::pg_catalog.xid8) = 'in progress'
        ELSE false
    END
)
SELECT a.oid::bigint,
       a.rolname::text,
       CASE
           WHEN a.oid::bigint = ANY ($1) OR pg_catalog.split_part(d.description, E'\n', 1) = $3 THEN NULL
           ELSE pg_catalog.format('COMMENT ON ROLE %I IS %L', a.rolname, pg_catalog.concat_ws(E'\n', $3, d.description))
       END
FROM pg_catalog.pg_authid AS a
LEFT JOIN pg_catalog.pg_shdescription AS d
  ON d.objoid = a.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
WHERE a.oid IN (SELECT t.role FROM touched AS t)
   OR (a.oid::bigint = ANY ($2) AND pg_catalog.split_part(pg_catalog.concat(d.description), E'\n', 1) <> $3)
ORDER BY a.oid
