-- Configuration: versions of its schema, typed values, locks, history, and how far each tenant has migrated.
--
-- A tenant reads its own values and its base tenant's, and writes its own only. A base tenant can lock a key,
-- which keeps the tenants that inherit from it from overriding the value.

SET ROLE tenantproof_owner;

-- Reference data: the same for all tenants. Every member may read it; migrations alone write it. A foreign key
-- to it needs no tenant.
CREATE TABLE public.configuration_schema_versions (
  version integer PRIMARY KEY CHECK (version > 0),
  description text NOT NULL,
  definition jsonb NOT NULL DEFAULT '{}',
  released_on date NOT NULL DEFAULT CURRENT_DATE
);

INSERT INTO public.configuration_schema_versions (version, description, definition, released_on) VALUES
  (1, 'Cache and retention',
   '{"cache.ttl_seconds": {"type": "number", "default": 300},
     "documents.retention_days": {"type": "number", "default": 365}}', '2026-01-15'),
  (2, 'Search by meaning',
   '{"cache.ttl_seconds": {"type": "number", "default": 300},
     "documents.retention_days": {"type": "number", "default": 365},
     "search.enabled": {"type": "boolean", "default": false},
     "search.model": {"type": "string", "default": "none"}}', '2026-06-01');

CREATE TABLE public.tenant_schema_states (
  tenant_id uuid PRIMARY KEY REFERENCES public.tenants (id) ON DELETE CASCADE,
  version integer NOT NULL REFERENCES public.configuration_schema_versions (version),
  -- The step an interrupted migration goes on from.
  pending_step text,
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.tenant_configurations (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  key text NOT NULL CHECK (key <> ''),
  value_type text NOT NULL DEFAULT 'json' CHECK (value_type IN ('json', 'string', 'number', 'boolean', 'array', 'object')),
  value jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, key),
  CONSTRAINT value_has_its_type CHECK (value_type = 'json' OR jsonb_typeof(value) = value_type)
);

CREATE TABLE public.configuration_locks (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  key text NOT NULL CHECK (key <> ''),
  reason text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, key)
);

-- No foreign keys: history outlives what it tells of.
CREATE TABLE public.configuration_history (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  key text NOT NULL,
  command text NOT NULL CHECK (command IN ('INSERT', 'UPDATE', 'DELETE')),
  old_value jsonb,
  new_value jsonb,
  changed_by uuid,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX configuration_history_key ON public.configuration_history (tenant_id, key, changed_at);

CREATE TRIGGER touch BEFORE UPDATE ON public.tenant_schema_states FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON public.tenant_configurations FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();

-- A definer, so that who changes a value need not be able to write history, and cannot forge it. The tenant
-- comes from the row, which the policies have passed, not from the caller.
CREATE FUNCTION public.record_configuration_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    INSERT INTO public.configuration_history (tenant_id, key, command, old_value, changed_by)
    VALUES (OLD.tenant_id, OLD.key, TG_OP, OLD.value, public.current_user_id());
  ELSIF TG_OP = 'INSERT' THEN
    INSERT INTO public.configuration_history (tenant_id, key, command, new_value, changed_by)
    VALUES (NEW.tenant_id, NEW.key, TG_OP, NEW.value, public.current_user_id());
  ELSE
    INSERT INTO public.configuration_history (tenant_id, key, command, old_value, new_value, changed_by)
    VALUES (NEW.tenant_id, NEW.key, TG_OP, OLD.value, NEW.value, public.current_user_id());
  END IF;
  RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.record_configuration_change() FROM PUBLIC;

CREATE TRIGGER history AFTER INSERT OR UPDATE OR DELETE ON public.tenant_configurations
  FOR EACH ROW EXECUTE FUNCTION public.record_configuration_change();

ALTER TABLE public.configuration_schema_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.configuration_schema_versions FORCE ROW LEVEL SECURITY;
ALTER TABLE public.tenant_schema_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenant_schema_states FORCE ROW LEVEL SECURITY;
ALTER TABLE public.tenant_configurations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenant_configurations FORCE ROW LEVEL SECURITY;
ALTER TABLE public.configuration_locks ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.configuration_locks FORCE ROW LEVEL SECURITY;
ALTER TABLE public.configuration_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.configuration_history FORCE ROW LEVEL SECURITY;

-- Reference data: no tenant to compare, but still nothing for who is not a member of any.
GRANT SELECT ON public.configuration_schema_versions TO tenantproof_member, tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.configuration_schema_versions FOR SELECT TO tenantproof_member, tenantproof_admin
  USING ((SELECT public.member_tenant_id()) IS NOT NULL);
CREATE POLICY service_select ON public.configuration_schema_versions FOR SELECT TO tenantproof_service
  USING ((SELECT public.current_tenant_id()) IS NOT NULL);

-- How far a tenant has migrated: members read it, the server moves it.
GRANT SELECT ON public.tenant_schema_states TO tenantproof_member, tenantproof_admin;
GRANT SELECT, INSERT, UPDATE ON public.tenant_schema_states TO tenantproof_service;

CREATE POLICY member_select ON public.tenant_schema_states FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY service_select ON public.tenant_schema_states FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_insert ON public.tenant_schema_states FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.tenant_schema_states FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));

-- Values: own and inherited ones are read; own ones are written, by administrators, unless the base tenant has
-- locked the key. The base tenant appears in the SELECT policy and in no other: a FOR ALL policy with the same
-- expression would let every tenant rewrite what all others inherit. Removing an override is always allowed.
GRANT SELECT ON public.tenant_configurations TO tenantproof_member;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.tenant_configurations TO tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.tenant_configurations FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()) OR tenant_id = (SELECT public.member_base_tenant_id()));
CREATE POLICY admin_insert ON public.tenant_configurations FOR INSERT TO tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()) AND NOT EXISTS (
    SELECT FROM public.configuration_locks AS l
    WHERE l.tenant_id = (SELECT public.member_base_tenant_id()) AND l.key = tenant_configurations.key));
CREATE POLICY admin_update ON public.tenant_configurations FOR UPDATE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()) AND NOT EXISTS (
    SELECT FROM public.configuration_locks AS l
    WHERE l.tenant_id = (SELECT public.member_base_tenant_id()) AND l.key = tenant_configurations.key));
CREATE POLICY admin_delete ON public.tenant_configurations FOR DELETE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY service_select ON public.tenant_configurations FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_insert ON public.tenant_configurations FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.tenant_configurations FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.tenant_configurations FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

-- Locks: own and the base tenant's are read, own ones are set and lifted.
GRANT SELECT ON public.configuration_locks TO tenantproof_member;
GRANT SELECT, INSERT, DELETE ON public.configuration_locks TO tenantproof_admin;

CREATE POLICY member_select ON public.configuration_locks FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()) OR tenant_id = (SELECT public.member_base_tenant_id()));
CREATE POLICY admin_insert ON public.configuration_locks FOR INSERT TO tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY admin_delete ON public.configuration_locks FOR DELETE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));

-- History: own only, also for what is inherited, and read only. The trigger writes it; a value can only change
-- past its own table's policies, so there is nothing left to check here, for a role that nobody can become.
GRANT SELECT ON public.configuration_history TO tenantproof_member, tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.configuration_history FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY service_select ON public.configuration_history FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY definer_insert ON public.configuration_history FOR INSERT TO tenantproof_owner
  WITH CHECK (true);

RESET ROLE;
