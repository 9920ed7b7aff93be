-- All that is checked of a tenant, in one row.
SELECT
  (SELECT s.version FROM public.tenant_schema_states AS s WHERE s.tenant_id = $1) AS version,
  (SELECT pg_catalog.max(v.version) FROM public.configuration_schema_versions AS v) AS newest,
  (SELECT s.pending_step FROM public.tenant_schema_states AS s WHERE s.tenant_id = $1) AS pending_step,
  coalesce(
    (SELECT pg_catalog.jsonb_object_agg(c.key, c.value) FROM public.tenant_configurations AS c WHERE c.tenant_id = $1),
    '{}') AS own_values,
  ARRAY(SELECT l.key FROM public.configuration_locks AS l WHERE l.tenant_id = $1 ORDER BY 1) AS own_locks,
  ARRAY(SELECT DISTINCT l.key FROM public.configuration_locks AS l WHERE l.tenant_id <> $1 ORDER BY 1) AS inherited_locks,
  ARRAY(SELECT b.ancestor_id FROM public.tenant_bases AS b WHERE b.tenant_id = $1 ORDER BY b.depth) AS lineage,
  ARRAY(SELECT c.from_tenant_id FROM public.share_consents AS c WHERE c.tenant_id = $1 ORDER BY 1) AS consents,
  (SELECT pg_catalog.count(*) FROM public.cache_entries AS e WHERE e.tenant_id = $1 AND e.expires_at < pg_catalog.now()) AS expired_cache_entries
