-- Usage metrics, a row a day and metric, in a partition a month.
--
-- Requests go through the parent, whose policies apply to all partitions. A partition named directly has its own
-- privileges and its own policies: it gets none of either, and row security all the same, so that a later GRANT
-- on it opens nothing.

SET ROLE tenantproof_owner;

CREATE TABLE public.usage_metrics (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  metric text NOT NULL CHECK (metric <> ''),
  day date NOT NULL DEFAULT CURRENT_DATE,
  quantity bigint NOT NULL DEFAULT 0 CHECK (quantity >= 0),
  PRIMARY KEY (tenant_id, metric, day)
) PARTITION BY RANGE (day);

CREATE TABLE public.usage_metrics_2026_11 PARTITION OF public.usage_metrics FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
CREATE TABLE public.usage_metrics_2026_12 PARTITION OF public.usage_metrics FOR VALUES FROM ('2026-12-01') TO ('2027-01-01');
CREATE TABLE public.usage_metrics_default PARTITION OF public.usage_metrics DEFAULT;

ALTER TABLE public.usage_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.usage_metrics FORCE ROW LEVEL SECURITY;
ALTER TABLE public.usage_metrics_2026_11 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.usage_metrics_2026_11 FORCE ROW LEVEL SECURITY;
ALTER TABLE public.usage_metrics_2026_12 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.usage_metrics_2026_12 FORCE ROW LEVEL SECURITY;
ALTER TABLE public.usage_metrics_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.usage_metrics_default FORCE ROW LEVEL SECURITY;

GRANT SELECT ON public.usage_metrics TO tenantproof_member, tenantproof_admin;
GRANT SELECT, INSERT, UPDATE ON public.usage_metrics TO tenantproof_service;

CREATE POLICY member_select ON public.usage_metrics FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY service_select ON public.usage_metrics FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

-- The server adds up what it has counted for a tenant.
CREATE POLICY service_insert ON public.usage_metrics FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.usage_metrics FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));

-- Members count, but cannot set a count: they have no INSERT or UPDATE. The function adds for the caller's own
-- tenant; it takes no tenant as argument, and the owner's policies would refuse another one.
CREATE POLICY definer_select ON public.usage_metrics FOR SELECT TO tenantproof_owner
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY definer_insert ON public.usage_metrics FOR INSERT TO tenantproof_owner
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY definer_update ON public.usage_metrics FOR UPDATE TO tenantproof_owner
  USING (tenant_id = (SELECT public.member_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()));

CREATE FUNCTION public.record_usage(metric text, amount bigint DEFAULT 1) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tenant constant uuid := public.member_tenant_id();
  total bigint;
BEGIN
  IF tenant IS NULL THEN
    RAISE EXCEPTION 'not a member of the current tenant' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO public.usage_metrics AS m (tenant_id, metric, day, quantity)
  VALUES (tenant, record_usage.metric, CURRENT_DATE, amount)
  ON CONFLICT ON CONSTRAINT usage_metrics_pkey DO UPDATE SET quantity = m.quantity + EXCLUDED.quantity
  RETURNING m.quantity INTO total;
  RETURN total;
END
$$;

REVOKE ALL ON FUNCTION public.record_usage(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.record_usage(text, bigint) TO tenantproof_member, tenantproof_admin;

-- Called by the server ahead of time. A new table has row security off, so making a partition and closing it are
-- one step, and not something to remember.
CREATE FUNCTION public.ensure_usage_partition(month date) RETURNS regclass
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  first_day constant date := date_trunc('month', month)::date;
  partition constant text := 'usage_metrics_' || to_char(first_day, 'YYYY_MM');
BEGIN
  IF to_regclass(format('public.%I', partition)) IS NULL THEN
    EXECUTE format('CREATE TABLE public.%I PARTITION OF public.usage_metrics FOR VALUES FROM (%L) TO (%L)',
      partition, first_day, (first_day + interval '1 month')::date);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', partition);
  END IF;
  RETURN to_regclass(format('public.%I', partition));
END
$$;

REVOKE ALL ON FUNCTION public.ensure_usage_partition(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.ensure_usage_partition(date) TO tenantproof_service;

RESET ROLE;
