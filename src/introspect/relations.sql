-- Relations of non-system schemas with columns, keys, checks, policies, grants, triggers and what views read.
-- Members of extensions are left out: their rows belong to nobody's tenants.
WITH RECURSIVE chain(domain, base, typmod, not_null, checks, depth) AS (
  SELECT t.oid, t.typbasetype, t.typtypmod, t.typnotnull, ARRAY(
      SELECT pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k
      WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname), 1
  FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
  UNION ALL
  SELECT chain.domain, t.typbasetype, greatest(chain.typmod, t.typtypmod), chain.not_null OR t.typnotnull, chain.checks || ARRAY(
      SELECT pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k
      WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname), chain.depth + 1
  FROM chain JOIN pg_catalog.pg_type t ON t.oid = chain.base WHERE t.typtype = 'd'),
-- What each domain comes to, once for all columns.
domains AS MATERIALIZED (
  SELECT DISTINCT ON (domain) domain, base, typmod, not_null, checks FROM chain ORDER BY domain, depth DESC)
SELECT pg_catalog.json_build_object(
  'oid', c.oid::bigint,
  'schema', n.nspname,
  'name', c.relname,
  'kind', c.relkind,
  'owner', pg_catalog.pg_get_userbyid(c.relowner),
  'row_security', CASE WHEN c.relrowsecurity AND c.relforcerowsecurity THEN 'forced'
                       WHEN c.relrowsecurity THEN 'enabled' ELSE 'disabled' END,
  'columns', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', a.attname,
      'type_name', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'base_type', pg_catalog.format_type(bt.oid, NULL),
      'category', bt.typcategory,
      'labels', coalesce((SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder)
                          FROM pg_catalog.pg_enum e WHERE e.enumtypid = bt.oid), '[]'::json),
      'domain_checks', coalesce(pg_catalog.array_to_json(b.checks), '[]'::json),
      'element_type', CASE WHEN bt.typcategory = 'A' THEN pg_catalog.format_type(bt.typelem, NULL) END,
      'not_null', a.attnotnull OR coalesce(b.not_null, false),
      'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
      'generated', CASE WHEN a.attgenerated = '' THEN 'no' ELSE 'always' END,
      'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'default' ELSE 'no' END,
      'max_length', CASE WHEN bt.typname IN ('varchar', 'bpchar') AND greatest(a.atttypmod, b.typmod) > 4
                         THEN greatest(a.atttypmod, b.typmod) - 4
                         WHEN bt.typname IN ('bit', 'varbit') AND greatest(a.atttypmod, b.typmod) > 0
                         THEN greatest(a.atttypmod, b.typmod) END
      ) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a
    LEFT JOIN domains b ON b.domain = a.atttypid
    JOIN pg_catalog.pg_type bt ON bt.oid = coalesce(b.base, a.atttypid)
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'::json),
  'keys', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', ic.relname,
      'is_primary', i.indisprimary,
      'is_exclusion', i.indisexclusion,
      'columns', coalesce((SELECT pg_catalog.json_agg(ka.attname ORDER BY k.ord)
                  FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k(num, ord)
                  JOIN pg_catalog.pg_attribute ka ON ka.attrelid = c.oid AND ka.attnum = k.num
                  WHERE k.ord <= i.indnkeyatts), '[]'::json),
      'has_expressions', i.indexprs IS NOT NULL,
      'is_partial', i.indpred IS NOT NULL,
      'definition', pg_catalog.pg_get_indexdef(i.indexrelid)) ORDER BY i.indisprimary DESC, ic.relname)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)), '[]'::json),
  'foreign_keys', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', k.conname,
      'columns', (SELECT pg_catalog.json_agg(fa.attname ORDER BY x.ord)
                  FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY x(num, ord)
                  JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.conrelid AND fa.attnum = x.num),
      'references', k.confrelid::bigint,
      'referenced_columns', (SELECT pg_catalog.json_agg(fa.attname ORDER BY x.ord)
                  FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY x(num, ord)
                  JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = x.num),
      'on_delete', k.confdeltype,
      'on_update', k.confupdtype,
      'on_delete_columns', coalesce((SELECT pg_catalog.json_agg(fa.attname ORDER BY x.ord)
                  FROM pg_catalog.unnest(k.confdelsetcols) WITH ORDINALITY x(num, ord)
                  JOIN pg_catalog.pg_attribute fa ON fa.attrelid = k.conrelid AND fa.attnum = x.num), '[]'::json),
      'match_full', k.confmatchtype = 'f',
      'is_unchecked', NOT k.convalidated) ORDER BY k.conname)
    FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = c.oid AND k.contype = 'f'
      -- A key towards a partitioned table has a twin row for each partition: only the one that was declared counts.
      AND (k.conparentid = 0 OR NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p
                                            WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid))), '[]'::json),
  'checks', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', k.conname,
      'columns', coalesce((SELECT pg_catalog.json_agg(fa.attname ORDER BY fa.attnum)
                  FROM pg_catalog.pg_attribute fa WHERE fa.attrelid = k.conrelid AND fa.attnum = ANY (k.conkey)), '[]'::json),
      'expression', pg_catalog.pg_get_expr(k.conbin, k.conrelid),
      'is_unchecked', NOT k.convalidated) ORDER BY k.conname)
    FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'), '[]'::json),
  'policies', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', p.polname,
      'command', p.polcmd,
      'mode', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
      'roles', (SELECT pg_catalog.json_agg(CASE WHEN x.r = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.r)::text END
                                           ORDER BY CASE WHEN x.r = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.r)::text END)
                FROM pg_catalog.unnest(p.polroles) x(r)),
      'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
      'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname)
    FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid), '[]'::json),
  'options', coalesce(pg_catalog.to_json(c.reloptions), '[]'::json),
  'grants', coalesce((
    SELECT pg_catalog.json_agg(g.entry ORDER BY g.grantee) FROM (
      SELECT g.grantee, pg_catalog.json_build_object('grantee', g.grantee,
        'privileges', pg_catalog.json_agg(g.privilege ORDER BY g.privilege)) AS entry
      FROM (
        SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END AS grantee,
               x.privilege_type || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS privilege
        FROM pg_catalog.aclexplode(c.relacl) x WHERE x.grantee <> c.relowner
        UNION ALL
        SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(x.grantee)::text END,
               x.privilege_type || ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(ca.attname), ', ' ORDER BY ca.attnum) || ')'
        FROM pg_catalog.pg_attribute ca CROSS JOIN LATERAL pg_catalog.aclexplode(ca.attacl) x
        WHERE ca.attrelid = c.oid AND ca.attacl IS NOT NULL AND x.grantee <> c.relowner
        GROUP BY x.grantee, x.privilege_type) g
      GROUP BY g.grantee) g), '[]'::json),
  'definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END,
  'parents', coalesce((SELECT pg_catalog.json_agg(h.inhparent::bigint ORDER BY h.inhseqno)
                       FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid), '[]'::json),
  'is_partition', c.relispartition,
  'partition_bound', pg_catalog.pg_get_expr(c.relpartbound, c.oid),
  'partition_constraint', CASE WHEN c.relispartition THEN pg_catalog.pg_get_partition_constraintdef(c.oid) END,
  'partition_key', CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
  'reads', coalesce((
    SELECT pg_catalog.json_agg(DISTINCT d.refobjid::bigint)
    FROM pg_catalog.pg_rewrite w
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> c.oid
    WHERE w.ev_class = c.oid), '[]'::json),
  'triggers', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.pg_get_triggerdef(t.oid) ORDER BY t.tgname)
    FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal), '[]'::json),
  'trigger_states', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', t.tgname,
      'state', CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END) ORDER BY t.tgname)
    FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'O'), '[]'::json),
  'rules', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.pg_get_ruledef(w.oid) ORDER BY w.rulename)
    FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN'), '[]'::json),
  'foreign_server', (SELECT s.srvname FROM pg_catalog.pg_foreign_table f
                     JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = c.oid))::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY n.nspname, c.relname
