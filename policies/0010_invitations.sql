-- Invitations: the one way for a request to make a membership.
--
-- An administrator invites an address; the token is shown once and kept as a hash, in a table that no request
-- role reaches, so invitations cannot be tried out, listed or taken by who can read a row. Accepting needs all
-- of: the token, an account with the invited address, a transaction bound to the inviting tenant, and time left.

SET ROLE tenantproof_owner;

CREATE TABLE public.invitations (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  email text NOT NULL CHECK (email <> ''),
  role text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin')),
  expires_at timestamptz NOT NULL,
  accepted_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE public.invitation_tokens (
  tenant_id uuid NOT NULL,
  invitation_id uuid NOT NULL,
  token_hash bytea NOT NULL,
  PRIMARY KEY (tenant_id, invitation_id),
  UNIQUE (tenant_id, token_hash),
  FOREIGN KEY (tenant_id, invitation_id) REFERENCES public.invitations (tenant_id, id) ON DELETE CASCADE
);

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.invitations
  FOR EACH ROW EXECUTE FUNCTION public.record_audit('tenant_id', 'id');

ALTER TABLE public.invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.invitations FORCE ROW LEVEL SECURITY;
ALTER TABLE public.invitation_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.invitation_tokens FORCE ROW LEVEL SECURITY;

-- Administrators list and withdraw their own; they make them by the function below, which picks the token.
GRANT SELECT, DELETE ON public.invitations TO tenantproof_admin;

CREATE POLICY admin_select ON public.invitations FOR SELECT TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY admin_delete ON public.invitations FOR DELETE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));

-- What the functions may reach: the bound tenant's invitations. Not the member's tenant, for who accepts is not a
-- member yet.
CREATE POLICY definer_select ON public.invitations FOR SELECT TO tenantproof_owner
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY definer_insert ON public.invitations FOR INSERT TO tenantproof_owner
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY definer_update ON public.invitations FOR UPDATE TO tenantproof_owner
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY definer_select ON public.invitation_tokens FOR SELECT TO tenantproof_owner
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY definer_insert ON public.invitation_tokens FOR INSERT TO tenantproof_owner
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY definer_insert ON public.memberships FOR INSERT TO tenantproof_owner
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()) AND user_id = (SELECT public.current_user_id()));

CREATE FUNCTION public.create_invitation(email text, role text DEFAULT 'member', valid_for interval DEFAULT '7 days')
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tenant constant uuid := public.admin_tenant_id();
  -- 244 bits of the server's strong random source.
  token constant text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  invitation constant uuid := gen_random_uuid();
BEGIN
  IF tenant IS NULL THEN
    RAISE EXCEPTION 'not an administrator of the current tenant' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO public.invitations (tenant_id, id, email, role, expires_at)
  VALUES (tenant, invitation, create_invitation.email, create_invitation.role,
    now() + least(greatest(valid_for, interval '0'), interval '30 days'));
  INSERT INTO public.invitation_tokens (tenant_id, invitation_id, token_hash)
  VALUES (tenant, invitation, sha256(convert_to(token, 'UTF8')));
  RETURN token;
END
$$;

-- The tenant that was joined, or NULL: a wrong, used, expired or another's token all read the same. A membership
-- that is there stays as it is: an old invitation does not lift a suspension.
CREATE FUNCTION public.accept_invitation(token text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tenant constant uuid := public.current_tenant_id();
  person constant uuid := public.current_user_id();
  granted text;
BEGIN
  -- One statement finds the invitation and uses it up, so two requests cannot both have it.
  UPDATE public.invitations AS i SET accepted_at = now()
  FROM public.invitation_tokens AS h, public.users AS u, public.tenants AS t
  WHERE h.tenant_id = tenant AND h.token_hash = sha256(convert_to(token, 'UTF8'))
    AND i.tenant_id = h.tenant_id AND i.id = h.invitation_id
    AND u.id = person AND u.status = 'active' AND lower(u.email) = lower(i.email)
    AND t.id = tenant AND t.status = 'active'
    AND i.accepted_at IS NULL AND i.expires_at > now()
    AND NOT EXISTS (SELECT FROM public.memberships AS m WHERE m.tenant_id = tenant AND m.user_id = person)
  RETURNING i.role INTO granted;
  IF granted IS NULL THEN
    RETURN NULL;
  END IF;
  INSERT INTO public.memberships (tenant_id, user_id, role) VALUES (tenant, person, granted);
  RETURN tenant;
END
$$;

REVOKE ALL ON FUNCTION public.create_invitation(text, text, interval), public.accept_invitation(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.create_invitation(text, text, interval) TO tenantproof_admin;
GRANT EXECUTE ON FUNCTION public.accept_invitation(text) TO tenantproof_member, tenantproof_admin;

RESET ROLE;
