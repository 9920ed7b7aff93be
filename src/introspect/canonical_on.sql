-- Settings that decide how the server prints expressions, types and names, for the queries that follow; kept for canonical_off.
SELECT pg_catalog.set_config('tenantproof.printing', (
         SELECT pg_catalog.json_object_agg(s.name, s.setting)::text FROM pg_catalog.pg_settings s
         WHERE s.name IN ('search_path', 'DateStyle', 'IntervalStyle', 'TimeZone', 'extra_float_digits', 'bytea_output',
                          'quote_all_identifiers')), true),
       pg_catalog.set_config('search_path', '', true),
       pg_catalog.set_config('DateStyle', 'ISO, YMD', true),
       pg_catalog.set_config('IntervalStyle', 'postgres', true),
       pg_catalog.set_config('TimeZone', 'UTC', true),
       pg_catalog.set_config('extra_float_digits', '1', true),
       pg_catalog.set_config('bytea_output', 'hex', true),
       pg_catalog.set_config('quote_all_identifiers', 'off', true)
