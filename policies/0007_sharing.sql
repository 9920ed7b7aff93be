-- Sharing: one tenant lets another, named tenant read one document, for a time.
--
-- Directed (the owner's row names the grantee), expiring, revocable, and read-only: what is shared shows in the
-- SELECT policies of documents and chunks and in no other. Two parties have to agree: the grantee consents to be
-- given things by the owner, and the owner gives. Without consent a tenant could put rows before anybody's eyes,
-- and a reference to the other tenant would tell whether it exists.

SET ROLE tenantproof_owner;

-- "We, tenant_id, accept documents of from_tenant_id." Deliberately no foreign key on from_tenant_id: naming a
-- tenant that is not there has no effect, and gets no answer either.
CREATE TABLE public.share_consents (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  from_tenant_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, from_tenant_id)
);

-- tenant_id owns and gives; grantee_tenant_id may read.
CREATE TABLE public.resource_shares (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  document_id uuid NOT NULL,
  grantee_tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, document_id, grantee_tenant_id),
  FOREIGN KEY (tenant_id, document_id) REFERENCES public.documents (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX resource_shares_grantee ON public.resource_shares (grantee_tenant_id, tenant_id, document_id);

CREATE TRIGGER touch BEFORE UPDATE ON public.resource_shares FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

ALTER TABLE public.share_consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.share_consents FORCE ROW LEVEL SECURITY;
ALTER TABLE public.resource_shares ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.resource_shares FORCE ROW LEVEL SECURITY;

-- May the caller's tenant give to this one? Takes a tenant as argument, and answers only what that tenant has
-- said about the caller's: the owner's policy on consents shows it no other rows.
CREATE FUNCTION public.accepts_shares(grantee uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM public.share_consents AS c
    WHERE c.tenant_id = grantee AND c.from_tenant_id = public.member_tenant_id())
$$;

-- The same, asked by the server, which has a tenant and no user.
CREATE FUNCTION public.service_accepts_shares(grantee uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM public.share_consents AS c
    WHERE c.tenant_id = grantee AND c.from_tenant_id = public.current_tenant_id())
$$;

REVOKE ALL ON FUNCTION public.accepts_shares(uuid), public.service_accepts_shares(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.accepts_shares(uuid) TO tenantproof_admin;
GRANT EXECUTE ON FUNCTION public.service_accepts_shares(uuid) TO tenantproof_service;

-- What others have said about the bound tenant; the two functions above say who may ask.
CREATE POLICY definer_select ON public.share_consents FOR SELECT TO tenantproof_owner
  USING (from_tenant_id = (SELECT public.current_tenant_id()));

GRANT SELECT ON public.share_consents TO tenantproof_member;
GRANT SELECT, INSERT, DELETE ON public.share_consents TO tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.share_consents FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY admin_insert ON public.share_consents FOR INSERT TO tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY admin_delete ON public.share_consents FOR DELETE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));

CREATE POLICY service_select ON public.share_consents FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_insert ON public.share_consents FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.share_consents FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

-- Shares: the owner sees all of its own, the grantee the live ones that name it. This is the one place that says
-- what live means. A share with oneself changes nothing. Once given, a share can be prolonged, cut short or
-- revoked, not pointed at another document or tenant: UPDATE is granted on those two columns only.
GRANT SELECT ON public.resource_shares TO tenantproof_member;
GRANT SELECT, INSERT, UPDATE (expires_at, revoked_at), DELETE ON public.resource_shares TO tenantproof_admin, tenantproof_service;

CREATE POLICY owner_select ON public.resource_shares FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY grantee_select ON public.resource_shares FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (grantee_tenant_id = (SELECT public.member_tenant_id()) AND revoked_at IS NULL AND expires_at > now());
CREATE POLICY admin_insert ON public.resource_shares FOR INSERT TO tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id())
    AND (grantee_tenant_id = tenant_id OR public.accepts_shares(grantee_tenant_id)));
CREATE POLICY admin_update ON public.resource_shares FOR UPDATE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY admin_delete ON public.resource_shares FOR DELETE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));

-- The server gives and takes back for the owner; it does not read for the grantee.
CREATE POLICY service_select ON public.resource_shares FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_insert ON public.resource_shares FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id())
    AND (grantee_tenant_id = tenant_id OR public.service_accepts_shares(grantee_tenant_id)));
CREATE POLICY service_update ON public.resource_shares FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.resource_shares FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

-- Permissive policies are joined by OR: these add to member_select. Their subqueries run under the policies of
-- resource_shares, so they find live shares only.
CREATE POLICY shared_select ON public.documents FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (EXISTS (
    SELECT FROM public.resource_shares AS s
    WHERE s.tenant_id = documents.tenant_id AND s.document_id = documents.id
      AND s.grantee_tenant_id = (SELECT public.member_tenant_id())));
CREATE POLICY shared_select ON public.document_chunks FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (EXISTS (
    SELECT FROM public.resource_shares AS s
    WHERE s.tenant_id = document_chunks.tenant_id AND s.document_id = document_chunks.document_id
      AND s.grantee_tenant_id = (SELECT public.member_tenant_id())));

RESET ROLE;
