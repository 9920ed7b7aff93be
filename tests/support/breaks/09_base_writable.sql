-- break: the base tenant in the UPDATE policy: a tenant rewrites what all others inherit
-- object: public.tenant_configurations
-- kind: breach

ALTER POLICY admin_update ON public.tenant_configurations
  USING (tenant_id = (SELECT public.admin_tenant_id()) OR tenant_id = (SELECT public.member_base_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()) OR tenant_id = (SELECT public.member_base_tenant_id()));
