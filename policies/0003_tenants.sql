-- Tenants, users, memberships, and the three questions every later policy asks.
--
-- A user is a person and may be a member of several tenants, so users carry no tenant. What a person is called
-- within a tenant is a column of the membership: a shared row would carry news from one tenant to the other.

SET ROLE tenantproof_owner;

CREATE TABLE public.tenants (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  slug text NOT NULL UNIQUE CHECK (slug <> ''),
  display_name text NOT NULL,
  -- The tenant whose configuration this one inherits; one level, a base tenant's own base does not count.
  base_tenant_id uuid REFERENCES public.tenants (id) ON DELETE RESTRICT,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenants_base_tenant_id ON public.tenants (base_tenant_id);

CREATE TABLE public.users (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  -- Unique over all tenants, and therefore never written by a request: a refusal would tell who has an account.
  email text NOT NULL UNIQUE CHECK (email <> ''),
  full_name text NOT NULL DEFAULT '',
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.memberships (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  user_id uuid NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
  role text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin')),
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  display_name text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX memberships_user_id ON public.memberships (user_id);

CREATE TRIGGER touch BEFORE UPDATE ON public.tenants FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON public.memberships FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

-- What a request may do. Identity alone opens nothing: the user has to be an active member, of an active
-- tenant, now. These three say of which; NULL is the answer to everybody else, and NULL equals nothing.
--
-- They are definer functions because a policy of memberships that read memberships would call itself without
-- end. They take no argument, so there is nothing to ask them about anybody else.

CREATE FUNCTION public.member_tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT m.tenant_id
      FROM public.memberships AS m
      JOIN public.tenants AS t ON t.id = m.tenant_id
      JOIN public.users AS u ON u.id = m.user_id
      WHERE m.tenant_id = public.current_tenant_id() AND m.user_id = public.current_user_id()
        AND m.status = 'active' AND t.status = 'active' AND u.status = 'active'
  );
END
$$;

CREATE FUNCTION public.admin_tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT m.tenant_id
      FROM public.memberships AS m
      WHERE m.tenant_id = public.member_tenant_id() AND m.user_id = public.current_user_id() AND m.role = 'admin'
  );
END
$$;

CREATE FUNCTION public.member_base_tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT t.base_tenant_id FROM public.tenants AS t WHERE t.id = public.member_tenant_id()
  );
END
$$;

REVOKE ALL ON FUNCTION public.member_tenant_id(), public.admin_tenant_id(), public.member_base_tenant_id() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.member_tenant_id(), public.admin_tenant_id(), public.member_base_tenant_id()
  TO tenantproof_member, tenantproof_admin;

-- Row security is forced, so it holds for the owner as well, and with it for every definer function. What
-- those may reach is said by policies of the owner: rows of the tenant and the user that the transaction is bound
-- to, and no more. These must not ask member_tenant_id(), which would come back here.

ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.users FORCE ROW LEVEL SECURITY;
ALTER TABLE public.memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.memberships FORCE ROW LEVEL SECURITY;

CREATE POLICY definer_select ON public.tenants FOR SELECT TO tenantproof_owner
  USING (id = (SELECT public.current_tenant_id()));
CREATE POLICY definer_select ON public.users FOR SELECT TO tenantproof_owner
  USING (id = (SELECT public.current_user_id()));
CREATE POLICY definer_select ON public.memberships FOR SELECT TO tenantproof_owner
  USING (tenant_id = (SELECT public.current_tenant_id()));

-- Tenants: members read their own, administrators rename it. The base, the slug and the status are the
-- server's: a tenant that could choose its base would read any tenant's configuration.
GRANT SELECT ON public.tenants TO tenantproof_member, tenantproof_admin;
GRANT UPDATE (display_name) ON public.tenants TO tenantproof_admin;

CREATE POLICY member_select ON public.tenants FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (id = (SELECT public.member_tenant_id()));
CREATE POLICY admin_update ON public.tenants FOR UPDATE TO tenantproof_admin
  USING (id = (SELECT public.admin_tenant_id()))
  WITH CHECK (id = (SELECT public.admin_tenant_id()));

-- Users: oneself, and no directory.
GRANT SELECT, UPDATE (full_name) ON public.users TO tenantproof_member, tenantproof_admin;

CREATE POLICY self_select ON public.users FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (id = (SELECT public.current_user_id()) AND (SELECT public.member_tenant_id()) IS NOT NULL);
CREATE POLICY self_update ON public.users FOR UPDATE TO tenantproof_member, tenantproof_admin
  USING (id = (SELECT public.current_user_id()) AND (SELECT public.member_tenant_id()) IS NOT NULL)
  WITH CHECK (id = (SELECT public.current_user_id()) AND (SELECT public.member_tenant_id()) IS NOT NULL);

-- Memberships: members see who is in their tenant and name themselves; administrators change and end
-- memberships. Nobody inserts one: that is what an accepted invitation does. A member's UPDATE is limited to one
-- column, since a membership that its own subject can write is a way to any role in any tenant.
GRANT SELECT, UPDATE (display_name) ON public.memberships TO tenantproof_member;
GRANT SELECT, UPDATE (display_name, role, status), DELETE ON public.memberships TO tenantproof_admin;

CREATE POLICY member_select ON public.memberships FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY self_update ON public.memberships FOR UPDATE TO tenantproof_member
  USING (tenant_id = (SELECT public.member_tenant_id()) AND user_id = (SELECT public.current_user_id()))
  WITH CHECK (tenant_id = (SELECT public.member_tenant_id()) AND user_id = (SELECT public.current_user_id()));
CREATE POLICY admin_update ON public.memberships FOR UPDATE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY admin_delete ON public.memberships FOR DELETE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));

-- The server works for one tenant at a time too. It needs no membership, but it needs a tenant: forgetting to
-- bind one reaches nothing. Only the register of tenants is open to it, to know which there are.
GRANT SELECT, INSERT, UPDATE ON public.tenants TO tenantproof_service;
GRANT SELECT, INSERT, UPDATE ON public.users TO tenantproof_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.memberships TO tenantproof_service;

CREATE POLICY service_select ON public.tenants FOR SELECT TO tenantproof_service
  USING (true);
CREATE POLICY service_insert ON public.tenants FOR INSERT TO tenantproof_service
  WITH CHECK (id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.tenants FOR UPDATE TO tenantproof_service
  USING (id = (SELECT public.current_tenant_id()))
  WITH CHECK (id = (SELECT public.current_tenant_id()));
CREATE POLICY service_select ON public.users FOR SELECT TO tenantproof_service
  USING (id = (SELECT public.current_user_id()));
CREATE POLICY service_insert ON public.users FOR INSERT TO tenantproof_service
  WITH CHECK (id = (SELECT public.current_user_id()));
CREATE POLICY service_update ON public.users FOR UPDATE TO tenantproof_service
  USING (id = (SELECT public.current_user_id()))
  WITH CHECK (id = (SELECT public.current_user_id()));
CREATE POLICY service_select ON public.memberships FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_insert ON public.memberships FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.memberships FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.memberships FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

RESET ROLE;
