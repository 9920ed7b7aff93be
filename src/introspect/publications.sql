-- Publications and what they send.
SELECT pg_catalog.json_build_object(
  'name', p.pubname,
  'owner', pg_catalog.pg_get_userbyid(p.pubowner),
  'all_tables', p.puballtables,
  'schemas', coalesce((
    SELECT pg_catalog.json_agg(n.nspname ORDER BY n.nspname)
    FROM pg_catalog.pg_publication_namespace x JOIN pg_catalog.pg_namespace n ON n.oid = x.pnnspid
    WHERE x.pnpubid = p.oid), '[]'::json),
  'tables', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'schema', n.nspname,
      'name', c.relname,
      'columns', coalesce((SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum)
                           FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (x.prattrs)), '[]'::json),
      'filter', pg_catalog.pg_get_expr(x.prqual, x.prrelid)) ORDER BY n.nspname, c.relname)
    FROM pg_catalog.pg_publication_rel x JOIN pg_catalog.pg_class c ON c.oid = x.prrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE x.prpubid = p.oid), '[]'::json),
  'operations', pg_catalog.array_to_json(pg_catalog.array_remove(ARRAY[
    CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
    CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END], NULL)))::text
FROM pg_catalog.pg_publication p
ORDER BY p.pubname
