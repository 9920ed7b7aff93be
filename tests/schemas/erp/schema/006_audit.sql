-- ---------------------------------------------------------------------------
-- 006  Audit
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TABLE audit.change_log (
  company_id     core.company_code NOT NULL,
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  changed_at     TIMESTAMPTZ       NOT NULL DEFAULT clock_timestamp(),
  table_name     TEXT              NOT NULL,
  operation      CHAR(1)           NOT NULL,
  old_row        JSONB,
  new_row        JSONB,
  user_id        UUID,
  CONSTRAINT change_log_pk PRIMARY KEY (company_id, changed_at, id),
  CONSTRAINT change_log_operation_ck CHECK (operation IN ('I', 'U', 'D'))
) PARTITION BY RANGE (changed_at);
COMMENT ON TABLE audit.change_log IS 'Who changed which row; outlives the rows, hence no foreign keys';

CREATE TABLE audit.change_log_2026_h2 PARTITION OF audit.change_log FOR VALUES FROM ('2026-07-01 00:00+00') TO ('2027-01-01 00:00+00');
CREATE TABLE audit.change_log_2027_h1 PARTITION OF audit.change_log FOR VALUES FROM ('2027-01-01 00:00+00') TO ('2027-07-01 00:00+00');
CREATE TABLE audit.change_log_default PARTITION OF audit.change_log DEFAULT;
CALL core.lock_partition('audit.change_log_2026_h2');
CALL core.lock_partition('audit.change_log_2027_h1');
CALL core.lock_partition('audit.change_log_default');

ALTER TABLE audit.change_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit.change_log FORCE  ROW LEVEL SECURITY;
CREATE POLICY change_log_read ON audit.change_log FOR SELECT TO erp_app, erp_readonly
  USING (company_id = (SELECT core.current_company()) AND (SELECT core.has_role('owner', 'admin', 'auditor')));
-- The row has passed the policies of its own table, or was written by maintenance.
CREATE POLICY change_log_write ON audit.change_log FOR INSERT TO erp_owner WITH CHECK (TRUE);
GRANT SELECT ON audit.change_log TO erp_app, erp_readonly;

CREATE FUNCTION audit.record_change() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_old CONSTANT JSONB := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
  v_new CONSTANT JSONB := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
  INSERT INTO audit.change_log (company_id, table_name, operation, old_row, new_row, user_id)
  VALUES (coalesce(v_new, v_old) ->> 'company_id', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, left(TG_OP, 1), v_old, v_new, core.session_user_id());
  RETURN NULL;
END
$$;

CREATE TRIGGER membership_audit AFTER INSERT OR UPDATE OR DELETE ON core.membership FOR EACH ROW EXECUTE FUNCTION audit.record_change();
CREATE TRIGGER parameter_audit  AFTER INSERT OR UPDATE OR DELETE ON core.parameter  FOR EACH ROW EXECUTE FUNCTION audit.record_change();

-- Business events: one parent, a table a kind.
CREATE TABLE audit.event (
  company_id     core.company_code NOT NULL,
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  occurred_at    TIMESTAMPTZ       NOT NULL DEFAULT clock_timestamp(),
  user_id        UUID,
  summary        TEXT              NOT NULL DEFAULT '',
  CONSTRAINT event_pk PRIMARY KEY (company_id, id)
);
COMMENT ON TABLE audit.event IS 'Parent of the event tables; read it for all kinds together';

CREATE TABLE audit.sign_in_event (
  client         TEXT              NOT NULL DEFAULT '',
  address        INET,
  succeeded      BOOLEAN           NOT NULL DEFAULT TRUE,
  CONSTRAINT sign_in_event_pk PRIMARY KEY (company_id, id)
) INHERITS (audit.event);
COMMENT ON TABLE audit.sign_in_event IS 'Sign-ins to a company';

CREATE TABLE audit.export_event (
  report         TEXT              NOT NULL,
  row_count      INTEGER           NOT NULL DEFAULT 0,
  CONSTRAINT export_event_pk PRIMARY KEY (company_id, id),
  CONSTRAINT export_event_row_count_ck CHECK (row_count >= 0)
) INHERITS (audit.event);
COMMENT ON TABLE audit.export_event IS 'Exports of reports';

-- Row security is not inherited.
DO $$
DECLARE
  t REGCLASS;
BEGIN
  FOREACH t IN ARRAY ARRAY['audit.event', 'audit.sign_in_event', 'audit.export_event']::REGCLASS[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY event_read ON %s FOR SELECT TO erp_app, erp_readonly '
                   'USING (company_id = (SELECT core.current_company()) AND (SELECT core.has_role(''owner'', ''admin'', ''auditor'')))', t);
    EXECUTE format('CREATE POLICY event_write ON %s FOR INSERT TO erp_owner WITH CHECK (company_id = core.current_company())', t);
    EXECUTE format('GRANT SELECT ON %s TO erp_app, erp_readonly', t);
  END LOOP;
END
$$;

CREATE FUNCTION audit.log_sign_in(p_client TEXT) RETURNS VOID
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO audit.sign_in_event (company_id, user_id, client, address, summary)
  VALUES (core.current_company(), core.current_user_id(), p_client, inet_client_addr(), 'sign-in')
$$;

CREATE FUNCTION audit.log_export(p_report TEXT, p_row_count INTEGER) RETURNS VOID
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO audit.export_event (company_id, user_id, report, row_count, summary)
  VALUES (core.current_company(), core.current_user_id(), p_report, p_row_count, 'export of ' || p_report)
$$;

GRANT EXECUTE ON FUNCTION audit.log_sign_in(TEXT), audit.log_export(TEXT, INTEGER) TO erp_app, erp_readonly;

RESET ROLE;
