-- How to drop each role of a scratch database ($1). Privileges on things of the whole server (databases, parameters) keep
-- a role; DROP OWNED takes them away. As it also drops what the role owns in the database we are connected to, it is for
-- roles on which nothing in any database depends.
SELECT r.rolname::text,
       pg_catalog.format('DROP ROLE IF EXISTS %I', r.rolname),
       CASE
           WHEN EXISTS (SELECT FROM pg_catalog.pg_shdepend AS s
                        WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid AND s.dbid = 0)
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend AS s
                            WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid AND s.dbid <> 0)
           THEN pg_catalog.format('DROP OWNED BY %I', r.rolname)
       END
FROM pg_catalog.pg_roles AS r
JOIN pg_catalog.pg_shdescription AS d
  ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
WHERE pg_catalog.split_part(d.description, E'\n', 1) = $1
ORDER BY r.rolname
