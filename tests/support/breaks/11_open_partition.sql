-- break: a partition granted by name, without row security of its own
-- object: public.usage_metrics_default
-- kind: leak

ALTER TABLE public.usage_metrics_default NO FORCE ROW LEVEL SECURITY;
ALTER TABLE public.usage_metrics_default DISABLE ROW LEVEL SECURITY;
GRANT SELECT ON public.usage_metrics_default TO tenantproof_member;
