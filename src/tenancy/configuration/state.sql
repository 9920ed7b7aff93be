-- How far a tenant has migrated, and what it has.
SELECT
  (SELECT s.version FROM public.tenant_schema_states AS s WHERE s.tenant_id = $1) AS version,
  coalesce(
    (SELECT pg_catalog.jsonb_object_agg(c.key, c.value) FROM public.tenant_configurations AS c WHERE c.tenant_id = $1),
    '{}') AS own_values,
  coalesce((SELECT pg_catalog.array_agg(l.key) FROM public.configuration_locks AS l WHERE l.tenant_id = $1), '{}') AS locks
