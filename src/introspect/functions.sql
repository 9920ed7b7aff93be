-- Functions and procedures of non-system schemas that belong to no extension.
SELECT pg_catalog.json_build_object(
  'oid', p.oid::bigint,
  'schema', n.nspname,
  'name', p.proname,
  'arguments', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', nullif(p.proargnames[a.ord], ''),
      'type_name', pg_catalog.format_type(a.typ, NULL),
      'category', t.typcategory,
      'labels', coalesce((SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder)
                          FROM pg_catalog.pg_enum e WHERE e.enumtypid = a.typ), '[]'::json)) ORDER BY a.ord)
    FROM (SELECT x.typ, x.ord, p.proargmodes[x.ord] AS mode
          FROM pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY x(typ, ord)) a
    JOIN pg_catalog.pg_type t ON t.oid = a.typ
    WHERE coalesce(a.mode, 'i') IN ('i', 'b', 'v')), '[]'::json),
  'kind', p.prokind,
  'owner', pg_catalog.pg_get_userbyid(p.proowner),
  'is_definer', p.prosecdef,
  'is_variadic', p.provariadic <> 0,
  'is_leakproof', p.proleakproof,
  'volatility', p.provolatile,
  'returns_set', p.proretset,
  'result_type', coalesce(pg_catalog.format_type(p.prorettype, NULL), 'void'),
  'language', l.lanname,
  'body', coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc, ''),
  'operators', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.format('OPERATOR(%I.%s)', m.nspname, o.oprname) ORDER BY o.oid)
    FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace m ON m.oid = o.oprnamespace
    WHERE o.oprcode = p.oid AND o.oprkind = 'b'), '[]'::json),
  'settings', coalesce(pg_catalog.to_json(p.proconfig), '[]'::json),
  'grants', coalesce((
    SELECT pg_catalog.json_agg(g.entry ORDER BY g.grantee) FROM (
      SELECT g.grantee, pg_catalog.json_build_object('grantee', g.grantee,
        'privileges', pg_catalog.json_agg(g.privilege ORDER BY g.privilege)) AS entry
      FROM (SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee,
                   x.privilege_type AS privilege
            FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
            WHERE x.grantee <> p.proowner) g
      GROUP BY g.grantee) g), '[]'::json))::text
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  -- Neither members of extensions nor the constructors that come with a range type.
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype IN ('e', 'i'))
ORDER BY n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)
