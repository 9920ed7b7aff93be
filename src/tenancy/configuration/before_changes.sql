-- What a set of changes has to be compared with: the schema, and for each key the tenant's own version and the nearest
-- tenant of its lineage that locked it.
SELECT
  (SELECT pg_catalog.jsonb_build_object('version', v.version, 'keys', v.definition)
   FROM public.configuration_schema_versions AS v
   ORDER BY v.version = (SELECT s.version FROM public.tenant_schema_states AS s WHERE s.tenant_id = $1) DESC NULLS LAST, v.version DESC
   LIMIT 1) AS schema,
  k.key,
  (SELECT l.tenant_id FROM public.configuration_locks AS l
   JOIN public.tenant_bases AS b ON b.ancestor_id = l.tenant_id AND b.tenant_id = $1 AND b.depth > 0
   WHERE l.key = k.key ORDER BY b.depth LIMIT 1) AS locked_by
FROM pg_catalog.unnest($2::text[]) AS k (key)
