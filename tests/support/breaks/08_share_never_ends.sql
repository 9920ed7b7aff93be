-- break: shares that are over still open the document to the grantee
-- object: public.resource_shares
-- kind: leak

ALTER POLICY grantee_select ON public.resource_shares
  USING (grantee_tenant_id = (SELECT public.member_tenant_id()) AND revoked_at IS NULL);
