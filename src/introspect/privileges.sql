-- What a role may do in effect, by grants, membership, ownership and attributes. `$role` is replaced by a literal.
SELECT pg_catalog.json_build_object(
  'relations', coalesce((
    SELECT pg_catalog.json_object_agg(c.oid::bigint, pg_catalog.json_build_object(
      'select', coalesce((SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND pg_catalog.has_column_privilege($role, c.oid, a.attnum, 'SELECT')), '[]'::json),
      'insert', coalesce((SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND pg_catalog.has_column_privilege($role, c.oid, a.attnum, 'INSERT')), '[]'::json),
      'update', coalesce((SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND pg_catalog.has_column_privilege($role, c.oid, a.attnum, 'UPDATE')), '[]'::json),
      'delete', c.relkind <> 'S' AND pg_catalog.has_table_privilege($role, c.oid, 'DELETE'),
      'truncate', c.relkind <> 'S' AND pg_catalog.has_table_privilege($role, c.oid, 'TRUNCATE'),
      'trigger', c.relkind <> 'S' AND pg_catalog.has_table_privilege($role, c.oid, 'TRIGGER'),
      'usage', CASE WHEN c.relkind = 'S' THEN pg_catalog.has_sequence_privilege($role, c.oid, 'USAGE')
                                           OR pg_catalog.has_sequence_privilege($role, c.oid, 'UPDATE') ELSE false END))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND pg_catalog.has_schema_privilege($role, n.oid, 'USAGE')), '{}'::json),
  'functions', coalesce((
    SELECT pg_catalog.json_agg(p.oid::bigint ORDER BY p.oid)
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND pg_catalog.has_schema_privilege($role, n.oid, 'USAGE')
      AND pg_catalog.has_function_privilege($role, p.oid, 'EXECUTE')), '[]'::json),
  'create_in', coalesce((
    SELECT pg_catalog.json_agg(n.nspname ORDER BY n.nspname) FROM pg_catalog.pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND pg_catalog.has_schema_privilege($role, n.oid, 'CREATE')), '[]'::json),
  'server_files', pg_catalog.has_function_privilege($role, 'pg_catalog.pg_read_binary_file(text)', 'EXECUTE')
    OR pg_catalog.has_function_privilege($role, 'pg_catalog.pg_read_file(text)', 'EXECUTE'),
  'server_programs', pg_catalog.pg_has_role($role, 'pg_execute_server_program', 'USAGE'))::text
