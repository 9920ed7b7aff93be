-- The audit trail: who changed which row when. Written by a trigger alone, read by a tenant's administrators.

SET ROLE tenantproof_owner;

-- No foreign keys: the trail outlives what it tells of, the tenant included.
CREATE TABLE public.audit_log (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  table_name text NOT NULL,
  command text NOT NULL CHECK (command IN ('INSERT', 'UPDATE', 'DELETE')),
  row_key jsonb NOT NULL,
  actor_id uuid,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX audit_log_recorded_at ON public.audit_log (tenant_id, recorded_at);

ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_log FORCE ROW LEVEL SECURITY;

GRANT SELECT ON public.audit_log TO tenantproof_admin;
GRANT SELECT, DELETE ON public.audit_log TO tenantproof_service;

CREATE POLICY admin_select ON public.audit_log FOR SELECT TO tenantproof_admin
  USING (tenant_id = (SELECT public.admin_tenant_id()));
-- Retention is the server's.
CREATE POLICY service_select ON public.audit_log FOR SELECT TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
CREATE POLICY service_delete ON public.audit_log FOR DELETE TO tenantproof_service
  USING (tenant_id = (SELECT public.current_tenant_id()));
-- The trigger's. What it tells of has passed the policies of its own table, or was done by maintenance, which is
-- bound to no tenant; so any tenant's trail, but by a role that nobody can become.
CREATE POLICY definer_insert ON public.audit_log FOR INSERT TO tenantproof_owner
  WITH CHECK (true);

-- Arguments: the column that holds the tenant, then the columns that make up the rest of the row's key. The trail
-- has keys and no contents, so it is no second place to read contents from.
CREATE FUNCTION public.record_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  changed constant jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
  row_key jsonb := '{}';
  key_column text;
BEGIN
  FOREACH key_column IN ARRAY TG_ARGV[1:] LOOP
    row_key := row_key || jsonb_build_object(key_column, changed -> key_column);
  END LOOP;
  INSERT INTO public.audit_log (tenant_id, table_name, command, row_key, actor_id)
  VALUES ((changed ->> TG_ARGV[0])::uuid, TG_TABLE_NAME, TG_OP, row_key, public.current_user_id());
  RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION public.record_audit() FROM PUBLIC;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.tenants
  FOR EACH ROW EXECUTE FUNCTION public.record_audit('id', 'id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.memberships
  FOR EACH ROW EXECUTE FUNCTION public.record_audit('tenant_id', 'user_id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.tenant_configurations
  FOR EACH ROW EXECUTE FUNCTION public.record_audit('tenant_id', 'key');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.configuration_locks
  FOR EACH ROW EXECUTE FUNCTION public.record_audit('tenant_id', 'key');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.documents
  FOR EACH ROW EXECUTE FUNCTION public.record_audit('tenant_id', 'id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.share_consents
  FOR EACH ROW EXECUTE FUNCTION public.record_audit('tenant_id', 'from_tenant_id');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON public.resource_shares
  FOR EACH ROW EXECUTE FUNCTION public.record_audit('tenant_id', 'id');

RESET ROLE;
