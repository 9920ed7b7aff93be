-- ---------------------------------------------------------------------------
-- 011  Documents, notes and tags on any business object
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TYPE core.entity_type AS ENUM ('customer', 'sales_order', 'supplier', 'purchase_order', 'employee', 'payment');

CREATE TABLE core.document (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  entity_type    core.entity_type  NOT NULL,
  entity_id      UUID              NOT NULL,
  file_name      TEXT              NOT NULL,
  media_type     TEXT              NOT NULL DEFAULT 'application/pdf',
  byte_size      BIGINT            NOT NULL DEFAULT 0,
  sha256         CHAR(64),
  storage_key    TEXT GENERATED ALWAYS AS (company_id::TEXT || '/' || id::TEXT) STORED,
  metadata       JSONB             NOT NULL DEFAULT '{}',
  retention_until DATE,
  uploaded_by    UUID              DEFAULT core.current_user_id(),
  uploaded_at    TIMESTAMPTZ       NOT NULL DEFAULT now(),
  CONSTRAINT document_pk PRIMARY KEY (company_id, id),
  CONSTRAINT document_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT document_byte_size_ck CHECK (byte_size BETWEEN 0 AND 104857600),
  CONSTRAINT document_sha256_ck CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  CONSTRAINT document_file_name_ck CHECK (file_name <> '' AND file_name !~ '[/\\]')
);
COMMENT ON TABLE core.document IS 'Files attached to a business object of the same company';
CREATE INDEX document_entity_ix ON core.document (company_id, entity_type, entity_id);

CREATE TABLE core.note (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  reply_to       UUID,
  entity_type    core.entity_type  NOT NULL,
  entity_id      UUID              NOT NULL,
  body           TEXT              NOT NULL,
  mentions       UUID[]            NOT NULL DEFAULT '{}',
  author_id      UUID              NOT NULL DEFAULT core.current_user_id(),
  created_at     TIMESTAMPTZ       NOT NULL DEFAULT now(),
  edited_at      TIMESTAMPTZ,
  CONSTRAINT note_pk PRIMARY KEY (company_id, id),
  CONSTRAINT note_reply_to_fk FOREIGN KEY (company_id, reply_to) REFERENCES core.note (company_id, id) ON DELETE CASCADE,
  CONSTRAINT note_author_fk FOREIGN KEY (company_id, author_id) REFERENCES core.membership (company_id, user_id),
  CONSTRAINT note_body_ck CHECK (length(body) BETWEEN 1 AND 10000)
);
COMMENT ON TABLE core.note IS 'Conversation on a business object';

CREATE TABLE core.tag (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  name           VARCHAR(40)       NOT NULL,
  colour         CHAR(7)           NOT NULL DEFAULT '#808080',
  CONSTRAINT tag_pk PRIMARY KEY (company_id, name),
  CONSTRAINT tag_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT tag_colour_ck CHECK (colour ~ '^#[0-9a-f]{6}$')
);
COMMENT ON TABLE core.tag IS 'Tags of a company';

CREATE TABLE core.entity_tag (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  tag_name       VARCHAR(40)       NOT NULL,
  entity_type    core.entity_type  NOT NULL,
  entity_id      UUID              NOT NULL,
  CONSTRAINT entity_tag_pk PRIMARY KEY (company_id, tag_name, entity_type, entity_id),
  CONSTRAINT entity_tag_tag_fk FOREIGN KEY (company_id, tag_name) REFERENCES core.tag (company_id, name) ON DELETE CASCADE ON UPDATE CASCADE
);
COMMENT ON TABLE core.entity_tag IS 'Tagged business objects';

-- Invoker: looks with the eyes of the caller, and in the company of the row only.
CREATE FUNCTION core.check_entity() RETURNS TRIGGER
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_found BOOLEAN;
BEGIN
  v_found := CASE NEW.entity_type
    WHEN 'customer'       THEN EXISTS (SELECT FROM sales.customer           AS x WHERE x.company_id = NEW.company_id AND x.id = NEW.entity_id)
    WHEN 'sales_order'    THEN EXISTS (SELECT FROM sales.sales_order        AS x WHERE x.company_id = NEW.company_id AND x.id = NEW.entity_id)
    WHEN 'supplier'       THEN EXISTS (SELECT FROM inventory.supplier       AS x WHERE x.company_id = NEW.company_id AND x.id = NEW.entity_id)
    WHEN 'purchase_order' THEN EXISTS (SELECT FROM inventory.purchase_order AS x WHERE x.company_id = NEW.company_id AND x.id = NEW.entity_id)
    WHEN 'employee'       THEN EXISTS (SELECT FROM hr.employee              AS x WHERE x.company_id = NEW.company_id AND x.id = NEW.entity_id)
    WHEN 'payment'        THEN EXISTS (SELECT FROM finance.payment          AS x WHERE x.company_id = NEW.company_id AND x.id = NEW.entity_id)
  END;
  IF NOT v_found THEN
    RAISE EXCEPTION 'no such %', NEW.entity_type USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NEW;
END
$$;
CREATE TRIGGER document_entity   BEFORE INSERT OR UPDATE OF company_id, entity_type, entity_id ON core.document   FOR EACH ROW EXECUTE FUNCTION core.check_entity();
CREATE TRIGGER note_entity       BEFORE INSERT OR UPDATE OF company_id, entity_type, entity_id ON core.note       FOR EACH ROW EXECUTE FUNCTION core.check_entity();
CREATE TRIGGER entity_tag_entity BEFORE INSERT OR UPDATE OF company_id, entity_type, entity_id ON core.entity_tag FOR EACH ROW EXECUTE FUNCTION core.check_entity();

CALL core.enable_company_rls('core.document');
CALL core.enable_company_rls('core.tag');
CALL core.enable_company_rls('core.entity_tag');
CREATE POLICY document_retention ON core.document AS RESTRICTIVE FOR DELETE TO erp_app
  USING (retention_until IS NULL OR retention_until < CURRENT_DATE);
CREATE POLICY document_personal ON core.document AS RESTRICTIVE TO erp_app
  USING (entity_type <> 'employee' OR core.has_role('owner', 'hr_manager'));
CREATE TRIGGER document_audit AFTER INSERT OR UPDATE OR DELETE ON core.document FOR EACH ROW EXECUTE FUNCTION audit.record_change();

ALTER TABLE core.note ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.note FORCE  ROW LEVEL SECURITY;
CREATE POLICY note_select ON core.note FOR SELECT TO erp_app USING (company_id = core.current_company());
CREATE POLICY note_insert ON core.note FOR INSERT TO erp_app
  WITH CHECK (company_id = core.current_company() AND author_id = core.current_user_id());
CREATE POLICY note_update ON core.note FOR UPDATE TO erp_app
  USING (company_id = core.current_company() AND author_id = core.current_user_id())
  WITH CHECK (company_id = core.current_company() AND author_id = core.current_user_id());
CREATE POLICY note_delete ON core.note FOR DELETE TO erp_app
  USING (company_id = core.current_company() AND (author_id = core.current_user_id() OR core.has_role('owner', 'admin')));

GRANT SELECT, INSERT, UPDATE, DELETE ON core.document, core.note, core.tag TO erp_app;
GRANT SELECT, INSERT, DELETE ON core.entity_tag TO erp_app;

RESET ROLE;
