-- break: TRUNCATE granted, which row security does not apply to
-- object: public.cache_entries
-- kind: breach

GRANT TRUNCATE ON public.cache_entries TO tenantproof_member;
