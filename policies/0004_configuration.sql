-- Configuration: versions of its schema, typed values, locks, history, and how far each tenant has migrated.
--
-- A tenant reads its own values and those of the tenants it inherits from (tenant_bases), and writes its own only. A
-- base tenant can lock a key, which keeps all that inherit from it from overriding the value.

SET ROLE tenantproof_owner;

-- Reference data: the same for all tenants. Every member may read it; migrations alone write it. A foreign key
-- to it needs no tenant.
CREATE TABLE public.configuration_schema_versions (
  version integer PRIMARY KEY CHECK (version > 0),
  description text NOT NULL,
  -- By key: {"type": ..., "default": ..., "description": ..., "minimum": ..., "maximum": ..., "one_of": [...]}
  definition jsonb NOT NULL DEFAULT '{}',
  -- How values of the version before become values of this one, in order: {"rename": {"from": ..., "to": ...}},
  -- {"remove": KEY}, {"set": {"key": ..., "value": ...}}, {"convert": {"key": ..., "to": TYPE}}, {"custom": NAME}
  steps jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(steps) = 'array'),
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
  -- The version and step that the last migration failed in; NULL where it went through.
  pending_step text,
  updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.tenant_configurations (
  tenant_id uuid NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  key text NOT NULL CHECK (key <> ''),
  value_type text NOT NULL DEFAULT 'json' CHECK (value_type IN ('json', 'string', 'number', 'boolean', 'array', 'object')),
  value jsonb NOT NULL,
  -- Another one after each write: who writes says which one was read. Random, so that it tells nothing else.
  version uuid NOT NULL DEFAULT gen_random_uuid(),
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

CREATE FUNCTION public.renew_version() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.version := gen_random_uuid();
  RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION public.renew_version() FROM PUBLIC;

CREATE TRIGGER version BEFORE INSERT OR UPDATE ON public.tenant_configurations
  FOR EACH ROW EXECUTE FUNCTION public.renew_version();

-- A number a tenant that goes up when its values, locks or base change: what a cache compares to know whether it is
-- stale. No foreign key is needed to keep it true, but a tenant's row goes with the tenant.
CREATE TABLE public.tenant_revisions (
  tenant_id uuid PRIMARY KEY REFERENCES public.tenants (id) ON DELETE CASCADE,
  revision bigint NOT NULL DEFAULT 1,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A definer, for nobody else writes revisions. The notification says that something has changed and not what: any
-- session may listen, so a payload would tell every listener who is busy. Listeners compare revisions.
CREATE FUNCTION public.record_revision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tenant constant uuid := (to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END) ->> TG_ARGV[0])::uuid;
BEGIN
  UPDATE public.tenant_revisions AS r SET revision = r.revision + 1, changed_at = clock_timestamp() WHERE r.tenant_id = tenant;
  -- Values that go with their tenant leave no revision behind.
  IF NOT FOUND AND TG_OP <> 'DELETE' THEN
    INSERT INTO public.tenant_revisions AS r (tenant_id) VALUES (tenant)
    ON CONFLICT (tenant_id) DO UPDATE SET revision = r.revision + 1, changed_at = clock_timestamp();
  END IF;
  PERFORM pg_notify('tenantproof_revisions', '');
  RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.record_revision() FROM PUBLIC;

CREATE TRIGGER revision AFTER INSERT OR UPDATE OR DELETE ON public.tenant_configurations
  FOR EACH ROW EXECUTE FUNCTION public.record_revision('tenant_id');
CREATE TRIGGER revision AFTER INSERT OR UPDATE OR DELETE ON public.configuration_locks
  FOR EACH ROW EXECUTE FUNCTION public.record_revision('tenant_id');
CREATE TRIGGER revision AFTER INSERT OR UPDATE OF base_tenant_id ON public.tenants
  FOR EACH ROW EXECUTE FUNCTION public.record_revision('id');

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
ALTER TABLE public.tenant_revisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenant_revisions FORCE ROW LEVEL SECURITY;
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

-- Revisions: members read their own. The server reads all of them, as it reads the register of tenants: it has to know
-- which of many to load again.
GRANT SELECT ON public.tenant_revisions TO tenantproof_member, tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.tenant_revisions FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = (SELECT public.member_tenant_id()));
CREATE POLICY service_select ON public.tenant_revisions FOR SELECT TO tenantproof_service
  USING (true);
-- The trigger's. The change it counts has passed the policies of its own table.
CREATE POLICY definer_all ON public.tenant_revisions TO tenantproof_owner
  USING (true)
  WITH CHECK (true);

-- Values: own and inherited ones are read; own ones are written, by administrators, unless the base tenant has
-- locked the key. The base tenant appears in the SELECT policy and in no other: a FOR ALL policy with the same
-- expression would let every tenant rewrite what all others inherit. Removing an override is always allowed. The locks
-- that the subqueries find are those that the caller may read: its own, which do not count, and inherited ones.
GRANT SELECT ON public.tenant_configurations TO tenantproof_member;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.tenant_configurations TO tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.tenant_configurations FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = ANY ((SELECT public.member_lineage())::uuid[]));
CREATE POLICY admin_insert ON public.tenant_configurations FOR INSERT TO tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()) AND NOT EXISTS (
    SELECT FROM public.configuration_locks AS l
    WHERE l.tenant_id <> tenant_configurations.tenant_id AND l.key = tenant_configurations.key));
CREATE POLICY admin_update ON public.tenant_configurations FOR UPDATE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()) AND NOT EXISTS (
    SELECT FROM public.configuration_locks AS l
    WHERE l.tenant_id <> tenant_configurations.tenant_id AND l.key = tenant_configurations.key));
CREATE POLICY admin_delete ON public.tenant_configurations FOR DELETE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY service_select ON public.tenant_configurations FOR SELECT TO tenantproof_service
  USING (tenant_id = ANY ((SELECT public.service_lineage())::uuid[]));
CREATE POLICY service_insert ON public.tenant_configurations FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_update ON public.tenant_configurations FOR UPDATE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()))
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.tenant_configurations FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

-- Locks: own and inherited ones are read, own ones are set and lifted.
GRANT SELECT ON public.configuration_locks TO tenantproof_member;
GRANT SELECT, INSERT, DELETE ON public.configuration_locks TO tenantproof_admin, tenantproof_service;

CREATE POLICY member_select ON public.configuration_locks FOR SELECT TO tenantproof_member, tenantproof_admin
  USING (tenant_id = ANY ((SELECT public.member_lineage())::uuid[]));
CREATE POLICY admin_insert ON public.configuration_locks FOR INSERT TO tenantproof_admin
  WITH CHECK (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY admin_delete ON public.configuration_locks FOR DELETE TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));
CREATE POLICY service_select ON public.configuration_locks FOR SELECT TO tenantproof_service
  USING (tenant_id = ANY ((SELECT public.service_lineage())::uuid[]));
CREATE POLICY service_insert ON public.configuration_locks FOR INSERT TO tenantproof_service
  WITH CHECK (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.configuration_locks FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));

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
