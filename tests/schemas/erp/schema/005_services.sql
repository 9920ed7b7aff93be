-- ---------------------------------------------------------------------------
-- 005  Shared services: number ranges, parameters, outbox
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TABLE core.number_range (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  object_type    TEXT              NOT NULL,
  prefix         VARCHAR(4)        NOT NULL DEFAULT '',
  last_no        BIGINT            NOT NULL DEFAULT 0,
  CONSTRAINT number_range_pk PRIMARY KEY (company_id, object_type),
  CONSTRAINT number_range_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT number_range_object_ck CHECK (object_type IN ('customer', 'supplier', 'order', 'invoice', 'purchase_order', 'journal', 'employee')),
  CONSTRAINT number_range_last_no_ck CHECK (last_no >= 0)
);
COMMENT ON TABLE core.number_range IS 'Gapless document numbers, counted per company';
CALL core.enable_company_rls('core.number_range');
GRANT SELECT ON core.number_range TO erp_app;

CREATE FUNCTION core.next_number(p_object_type TEXT) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_company CONSTANT core.company_code := core.current_company();
  v_no BIGINT;
BEGIN
  IF v_company IS NULL THEN
    RAISE EXCEPTION 'no company' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO core.number_range AS r (company_id, object_type, last_no) VALUES (v_company, p_object_type, 1)
  ON CONFLICT ON CONSTRAINT number_range_pk DO UPDATE SET last_no = r.last_no + 1
  RETURNING r.last_no INTO v_no;
  RETURN v_no;
END
$$;
GRANT EXECUTE ON FUNCTION core.next_number(TEXT) TO erp_app;

CREATE TABLE core.parameter (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  module         TEXT              NOT NULL,
  name           TEXT              NOT NULL,
  value          JSONB             NOT NULL,
  updated_at     TIMESTAMPTZ       NOT NULL DEFAULT now(),
  updated_by     UUID              DEFAULT core.current_user_id(),
  CONSTRAINT parameter_pk PRIMARY KEY (company_id, module, name),
  CONSTRAINT parameter_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT parameter_module_ck CHECK (module IN ('core', 'sales', 'inventory', 'finance', 'hr')),
  CONSTRAINT parameter_name_ck CHECK (name ~ '^[a-z][a-z0-9_.]*$')
);
COMMENT ON TABLE core.parameter IS 'Customizing of a company';
CALL core.enable_company_rls('core.parameter');
CREATE POLICY parameter_insert_role ON core.parameter AS RESTRICTIVE FOR INSERT TO erp_app WITH CHECK (core.has_role('owner', 'admin'));
CREATE POLICY parameter_update_role ON core.parameter AS RESTRICTIVE FOR UPDATE TO erp_app USING (core.has_role('owner', 'admin'));
CREATE POLICY parameter_delete_role ON core.parameter AS RESTRICTIVE FOR DELETE TO erp_app USING (core.has_role('owner', 'admin'));
CREATE TRIGGER parameter_touch BEFORE UPDATE ON core.parameter FOR EACH ROW EXECUTE FUNCTION core.touch_updated_at();
GRANT SELECT, INSERT, UPDATE, DELETE ON core.parameter TO erp_app;

CREATE TABLE core.outbox (
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  company_id     core.company_code NOT NULL,
  topic          TEXT              NOT NULL,
  payload        JSONB             NOT NULL,
  created_at     TIMESTAMPTZ       NOT NULL DEFAULT clock_timestamp(),
  dispatched_at  TIMESTAMPTZ,
  CONSTRAINT outbox_pk PRIMARY KEY (id),
  CONSTRAINT outbox_topic_ck CHECK (topic ~ '^[a-z]+\.[a-z_]+$')
);
COMMENT ON TABLE core.outbox IS 'Integration events, written by triggers and dispatched by ERP_BATCH. No request role reaches it';
CREATE INDEX outbox_pending_ix ON core.outbox (created_at) WHERE dispatched_at IS NULL;
ALTER TABLE core.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.outbox FORCE  ROW LEVEL SECURITY;
CREATE POLICY outbox_write    ON core.outbox FOR INSERT TO erp_owner WITH CHECK (TRUE);
CREATE POLICY outbox_read     ON core.outbox FOR SELECT TO erp_batch USING (TRUE);
CREATE POLICY outbox_dispatch ON core.outbox FOR UPDATE TO erp_batch USING (dispatched_at IS NULL) WITH CHECK (TRUE);
GRANT SELECT, UPDATE (dispatched_at) ON core.outbox TO erp_batch;

RESET ROLE;
