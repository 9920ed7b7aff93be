-- break: a policy that is USING (true): every tenant reads the cache of all
-- object: public.cache_entries
-- kind: leak

ALTER POLICY member_select ON public.cache_entries USING (true);
