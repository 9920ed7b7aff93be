-- Every key that has a value: the tenant's, an inherited one, or the schema's default.
WITH schema AS (
  SELECT v.version, v.definition
  FROM public.configuration_schema_versions AS v
  ORDER BY v.version = (SELECT s.version FROM public.tenant_schema_states AS s WHERE s.tenant_id = $1) DESC NULLS LAST, v.version DESC
  LIMIT 1
), known AS (
  SELECT d.key, d.value -> 'default' AS value, coalesce((d.value ->> 'secret')::boolean, false) AS secret, schema.version
  FROM schema, pg_catalog.jsonb_each(schema.definition) AS d
)
SELECT
  coalesce(e.key, known.key) AS key,
  coalesce(e.value, known.value) AS value,
  e.origin_tenant_id,
  e.depth,
  e.version,
  coalesce(e.locked, EXISTS (
    SELECT FROM public.configuration_locks AS l WHERE l.key = known.key AND l.tenant_id <> $1)) AS locked,
  known.version AS schema_version,
  coalesce(known.secret, false) AS secret
FROM public.effective_configurations AS e
FULL JOIN known ON known.key = e.key
WHERE coalesce(e.value, known.value) IS NOT NULL AND ($2::text IS NULL OR coalesce(e.key, known.key) = $2)
ORDER BY 1
