-- Puts back what canonical_on changed, for a transaction that goes on.
SELECT pg_catalog.set_config(s.key, s.value, true)
FROM pg_catalog.json_each_text(pg_catalog.current_setting('tenantproof.printing')::json) s
