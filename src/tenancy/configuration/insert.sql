INSERT INTO public.tenant_configurations (tenant_id, key, value_type, value)
SELECT $1, key, value_type, value
FROM unnest($2::text[], $3::text[], $4::jsonb[]) AS v (key, value_type, value)
