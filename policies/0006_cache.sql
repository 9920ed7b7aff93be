-- Cache entries, addressed by kind and identifier within a tenant.

SET ROLE tenantproof_owner;

CREATE TABLE public.cache_entries (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind <> ''),
  identifier text NOT NULL,
  value jsonb NOT NULL,
  expires_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  -- Two tenants cache the same thing under the same name without noticing each other.
  PRIMARY KEY (tenant_id, kind, identifier)
);
CREATE INDEX cache_entries_expires_at ON public.cache_entries (tenant_id, expires_at);

CREATE TRIGGER touch BEFORE UPDATE ON public.cache_entries FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

ALTER TABLE public.cache_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.cache_entries FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE, DELETE ON public.cache_entries TO tenantproof_member, tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.cache_entries FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_insert ON public.cache_entries FOR INSERT TO tenantproof_member, tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_update ON public.cache_entries FOR UPDATE TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY member_delete ON public.cache_entries FOR DELETE TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY service_select ON public.cache_entries FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_insert ON public.cache_entries FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.cache_entries FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.cache_entries FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

RESET ROLE;
