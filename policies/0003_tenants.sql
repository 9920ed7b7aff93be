-- Tenants, users, memberships, and the three questions every later policy asks.
--
-- A user is a person and may be a member of several tenants, so users carry no tenant. What a person is called
-- within a tenant is a column of the membership: a shared row would carry news from one tenant to the other.

SET ROLE tenantproof_owner;

CREATE TABLE public.tenants (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  slug text NOT NULL UNIQUE CHECK (slug <> ''),
  display_name text NOT NULL,
  -- The tenant whose configuration this one inherits, and through it that one's base; see tenant_bases.
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

-- Every tenant with itself (depth 0), its base (1), that one's base (2) and so on, so that policies and queries find
-- what a tenant inherits from without walking. A trigger alone writes it.
CREATE TABLE public.tenant_bases (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  ancestor_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  depth integer NOT NULL CHECK (depth >= 0),
  PRIMARY KEY (tenant_id, depth),
  UNIQUE (tenant_id, ancestor_id)
);
CREATE INDEX tenant_bases_ancestor_id ON public.tenant_bases (ancestor_id);

CREATE TRIGGER touch BEFORE UPDATE ON public.tenants FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON public.memberships FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

-- A definer, for it also moves the tenants that inherit from this one. Who may set a base is said by the policies of
-- tenants; they have passed by the time an AFTER trigger runs.
CREATE FUNCTION public.maintain_tenant_bases() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP = 'UPDATE' OR NEW.base_tenant_id IS NOT NULL THEN
    -- Two changes at once could close a circle that neither of them sees.
    LOCK TABLE public.tenant_bases IN SHARE ROW EXCLUSIVE MODE;
  END IF;
  INSERT INTO public.tenant_bases (tenant_id, ancestor_id, depth)
  SELECT id, id, 0 FROM unnest(ARRAY[NEW.id, NEW.base_tenant_id]) AS own (id) WHERE id IS NOT NULL
  ON CONFLICT DO NOTHING;
  IF EXISTS (SELECT FROM public.tenant_bases AS b WHERE b.tenant_id = NEW.base_tenant_id AND b.ancestor_id = NEW.id) THEN
    RAISE EXCEPTION 'a tenant cannot inherit from itself, also not through others'
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  DELETE FROM public.tenant_bases AS above USING public.tenant_bases AS heir
  WHERE heir.ancestor_id = NEW.id AND above.tenant_id = heir.tenant_id AND above.depth > heir.depth;
  INSERT INTO public.tenant_bases (tenant_id, ancestor_id, depth)
  SELECT heir.tenant_id, above.ancestor_id, heir.depth + 1 + above.depth
  FROM public.tenant_bases AS heir, public.tenant_bases AS above
  WHERE heir.ancestor_id = NEW.id AND above.tenant_id = NEW.base_tenant_id;
  RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.maintain_tenant_bases() FROM PUBLIC;

CREATE TRIGGER bases AFTER INSERT OR UPDATE OF base_tenant_id ON public.tenants
  FOR EACH ROW EXECUTE FUNCTION public.maintain_tenant_bases();

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

-- The tenants whose configuration the caller's tenant reads: itself and all that it inherits from. One for members and
-- one for the server, which has a tenant and no user.
CREATE FUNCTION public.member_lineage() RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT array_agg(b.ancestor_id) FROM public.tenant_bases AS b WHERE b.tenant_id = public.member_tenant_id()
  );
END
$$;

CREATE FUNCTION public.service_lineage() RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN (
    SELECT array_agg(b.ancestor_id) FROM public.tenant_bases AS b WHERE b.tenant_id = public.current_tenant_id()
  );
END
$$;

REVOKE ALL ON FUNCTION public.member_tenant_id(), public.admin_tenant_id(), public.member_base_tenant_id(),
  public.member_lineage(), public.service_lineage() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.member_tenant_id(), public.admin_tenant_id(), public.member_base_tenant_id(),
  public.member_lineage() TO tenantproof_member, tenantproof_admin;
GRANT EXECUTE ON FUNCTION public.service_lineage() TO tenantproof_service;

-- Row security is forced, so it holds for the owner as well, and with it for every definer function. What
-- those may reach is said by policies of the owner: rows of the tenant and the user that the transaction is bound
-- to, and no more. These must not ask member_tenant_id(), which would come back here.

ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE public.tenant_bases ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenant_bases FORCE ROW LEVEL SECURITY;
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

-- The trigger's, which writes the rows of all that inherit; the functions above name the tenant they ask about.
CREATE POLICY definer_all ON public.tenant_bases TO tenantproof_owner
  USING (true)
  WITH CHECK (true);

-- What a tenant inherits from is known to it, what inherits from it is not.
GRANT SELECT ON public.tenant_bases TO tenantproof_member, tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.tenant_bases FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY service_select ON public.tenant_bases FOR SELECT TO tenantproof_service
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
GRANT SELECT, INSERT, UPDATE, DELETE ON public.tenants TO tenantproof_service;
GRANT SELECT, INSERT, UPDATE ON public.users TO tenantproof_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.memberships TO tenantproof_service;

CREATE POLICY service_select ON public.tenants FOR SELECT TO tenantproof_service
  USING (true);
CREATE POLICY service_insert ON public.tenants FOR INSERT TO tenantproof_service
  WITH CHECK (id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.tenants FOR UPDATE TO tenantproof_service
  USING (id = (SELECT public.current_tenant_id()))
  WITH CHECK (id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.tenants FOR DELETE TO tenantproof_service
  USING (id = (SELECT public.current_tenant_id()));
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
