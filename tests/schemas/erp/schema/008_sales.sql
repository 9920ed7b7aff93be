-- ---------------------------------------------------------------------------
-- 008  Sales
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TYPE sales.order_status   AS ENUM ('draft', 'confirmed', 'shipped', 'invoiced', 'cancelled');
CREATE TYPE sales.invoice_status AS ENUM ('draft', 'issued', 'paid', 'cancelled');

CREATE TABLE sales.price_list (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  code           VARCHAR(12)       NOT NULL,
  name           TEXT              NOT NULL,
  currency_code  CHAR(3)           NOT NULL DEFAULT 'EUR',
  validity       DATERANGE         NOT NULL,
  status         TEXT              NOT NULL DEFAULT 'active',
  created_at     TIMESTAMPTZ       NOT NULL DEFAULT now(),
  CONSTRAINT price_list_pk PRIMARY KEY (company_id, id),
  CONSTRAINT price_list_company_fk  FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT price_list_currency_fk FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT price_list_status_ck CHECK (status IN ('draft', 'active', 'archived')),
  CONSTRAINT price_list_validity_ck CHECK (NOT isempty(validity)),
  CONSTRAINT price_list_validity_ex EXCLUDE USING GIST (company_id WITH =, code WITH =, validity WITH &&) WHERE (status = 'active')
);
COMMENT ON TABLE sales.price_list IS 'Price lists; of one code at most one is valid on a day';
ALTER TABLE sales.price_list ENABLE ROW LEVEL SECURITY;
ALTER TABLE sales.price_list FORCE  ROW LEVEL SECURITY;
CREATE POLICY price_list_select ON sales.price_list FOR SELECT TO erp_app, erp_readonly
  USING (company_id = core.current_company());
CREATE POLICY price_list_insert ON sales.price_list FOR INSERT TO erp_app
  WITH CHECK (company_id = core.current_company() AND core.has_role('owner', 'admin', 'accountant'));
CREATE POLICY price_list_update ON sales.price_list FOR UPDATE TO erp_app
  USING (company_id = core.current_company() AND core.has_role('owner', 'admin', 'accountant') AND status <> 'archived')
  WITH CHECK (company_id = core.current_company());
CREATE POLICY price_list_delete ON sales.price_list FOR DELETE TO erp_app
  USING (company_id = core.current_company() AND core.has_role('owner', 'admin') AND status = 'draft');

CREATE TABLE sales.price_list_item (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  price_list_id  UUID              NOT NULL,
  sku            VARCHAR(24)       NOT NULL,
  min_quantity   core.quantity     NOT NULL DEFAULT 1,
  unit_price     core.amount       NOT NULL,
  discount_pct   NUMERIC(5,2)      NOT NULL DEFAULT 0,
  CONSTRAINT price_list_item_pk PRIMARY KEY (company_id, price_list_id, sku, min_quantity),
  CONSTRAINT price_list_item_list_fk    FOREIGN KEY (company_id, price_list_id) REFERENCES sales.price_list (company_id, id) ON DELETE CASCADE,
  CONSTRAINT price_list_item_product_fk FOREIGN KEY (company_id, sku) REFERENCES inventory.product (company_id, sku),
  CONSTRAINT price_list_item_price_ck    CHECK (unit_price >= 0),
  CONSTRAINT price_list_item_discount_ck CHECK (discount_pct BETWEEN 0 AND 100),
  CONSTRAINT price_list_item_quantity_ck CHECK (min_quantity > 0)
);
COMMENT ON TABLE sales.price_list_item IS 'Scale prices';
CALL core.enable_company_rls('sales.price_list_item');

CREATE TABLE sales.customer (
  company_id     core.company_code  NOT NULL DEFAULT core.current_company(),
  id             UUID               NOT NULL DEFAULT gen_random_uuid(),
  customer_no    BIGINT             NOT NULL DEFAULT core.next_number('customer'),
  name           TEXT               NOT NULL,
  legal_form     TEXT,
  customer_group TEXT               NOT NULL DEFAULT 'standard',
  vat_number     VARCHAR(16),
  email          core.email_address,
  phone          TEXT,
  street         TEXT,
  city           TEXT,
  postal_code    TEXT,
  country_code   CHAR(2)            NOT NULL,
  currency_code  CHAR(3)            NOT NULL DEFAULT 'EUR',
  payment_terms_days SMALLINT       NOT NULL DEFAULT 30,
  credit_limit   core.amount        NOT NULL DEFAULT 0,
  credit_hold    BOOLEAN            NOT NULL DEFAULT FALSE,
  price_list_id  UUID,
  parent_id      UUID,
  sales_rep_id   UUID,
  tags           TEXT[]             NOT NULL DEFAULT '{}',
  custom_fields  JSONB              NOT NULL DEFAULT '{}',
  search_name    TEXT GENERATED ALWAYS AS (lower(name)) STORED,
  created_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  created_by     UUID               DEFAULT core.current_user_id(),
  updated_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  deleted_at     TIMESTAMPTZ,
  CONSTRAINT customer_pk PRIMARY KEY (company_id, id),
  CONSTRAINT customer_no_uq UNIQUE (company_id, customer_no),
  CONSTRAINT customer_company_fk    FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT customer_country_fk    FOREIGN KEY (country_code) REFERENCES core.country (code),
  CONSTRAINT customer_currency_fk   FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT customer_price_list_fk FOREIGN KEY (company_id, price_list_id) REFERENCES sales.price_list (company_id, id) ON DELETE SET NULL (price_list_id),
  CONSTRAINT customer_parent_fk     FOREIGN KEY (company_id, parent_id) REFERENCES sales.customer (company_id, id),
  CONSTRAINT customer_sales_rep_fk  FOREIGN KEY (company_id, sales_rep_id) REFERENCES core.membership (company_id, user_id),
  CONSTRAINT customer_group_ck CHECK (customer_group IN ('standard', 'key_account', 'reseller', 'internal')),
  CONSTRAINT customer_vat_number_ck CHECK (vat_number ~ '^[A-Z]{2}[A-Z0-9]{5,14}$'),
  CONSTRAINT customer_terms_ck CHECK (payment_terms_days BETWEEN 0 AND 180),
  CONSTRAINT customer_credit_limit_ck CHECK (credit_limit >= 0),
  CONSTRAINT customer_parent_ck CHECK (parent_id <> id)
);
COMMENT ON TABLE sales.customer IS 'Debtor master; DELETED_AT marks what the front end no longer offers';
CREATE UNIQUE INDEX customer_vat_number_uq ON sales.customer (company_id, vat_number) WHERE deleted_at IS NULL;
CREATE INDEX customer_search_name_ix ON sales.customer (company_id, search_name);
CALL core.enable_company_rls('sales.customer');
CREATE TRIGGER customer_touch BEFORE UPDATE ON sales.customer FOR EACH ROW EXECUTE FUNCTION core.touch_updated_at();
CREATE TRIGGER customer_audit AFTER INSERT OR UPDATE OR DELETE ON sales.customer FOR EACH ROW EXECUTE FUNCTION audit.record_change();

CREATE TABLE sales.customer_contact (
  company_id     core.company_code  NOT NULL DEFAULT core.current_company(),
  customer_id    UUID               NOT NULL,
  id             UUID               NOT NULL DEFAULT gen_random_uuid(),
  full_name      TEXT               NOT NULL,
  email          core.email_address,
  phone          TEXT,
  is_primary     BOOLEAN            NOT NULL DEFAULT FALSE,
  consent        JSONB              NOT NULL DEFAULT '{"marketing": false}',
  CONSTRAINT customer_contact_pk PRIMARY KEY (company_id, id),
  CONSTRAINT customer_contact_customer_fk FOREIGN KEY (company_id, customer_id) REFERENCES sales.customer (company_id, id) ON DELETE CASCADE,
  CONSTRAINT customer_contact_reachable_ck CHECK (email IS NOT NULL OR phone IS NOT NULL),
  CONSTRAINT customer_contact_consent_ck CHECK (consent ? 'marketing')
);
COMMENT ON TABLE sales.customer_contact IS 'People at a customer';
CREATE UNIQUE INDEX customer_contact_primary_uq ON sales.customer_contact (company_id, customer_id) WHERE is_primary;
CALL core.enable_company_rls('sales.customer_contact');

CREATE TABLE sales.sales_order (
  company_id     core.company_code  NOT NULL DEFAULT core.current_company(),
  id             UUID               NOT NULL DEFAULT gen_random_uuid(),
  order_no       BIGINT             NOT NULL DEFAULT core.next_number('order'),
  customer_id    UUID               NOT NULL,
  contact_id     UUID,
  price_list_id  UUID,
  warehouse_code VARCHAR(8),
  customer_reference TEXT,
  channel        TEXT               NOT NULL DEFAULT 'manual',
  status         sales.order_status NOT NULL DEFAULT 'draft',
  currency_code  CHAR(3)            NOT NULL DEFAULT 'EUR',
  order_date     DATE               NOT NULL DEFAULT CURRENT_DATE,
  requested_date DATE,
  ship_to_name   TEXT,
  ship_to_street TEXT,
  ship_to_city   TEXT,
  ship_to_country CHAR(2),
  incoterm       CHAR(3),
  net_total      core.amount        NOT NULL DEFAULT 0,
  tax_total      core.amount        NOT NULL DEFAULT 0,
  gross_total    NUMERIC GENERATED ALWAYS AS (net_total + tax_total) STORED,
  notes          TEXT               NOT NULL DEFAULT '',
  created_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  created_by     UUID               DEFAULT core.current_user_id(),
  updated_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  CONSTRAINT sales_order_pk PRIMARY KEY (company_id, id),
  CONSTRAINT sales_order_no_uq UNIQUE (company_id, order_no),
  CONSTRAINT sales_order_customer_fk   FOREIGN KEY (company_id, customer_id) REFERENCES sales.customer (company_id, id),
  CONSTRAINT sales_order_contact_fk    FOREIGN KEY (company_id, contact_id) REFERENCES sales.customer_contact (company_id, id),
  CONSTRAINT sales_order_price_list_fk FOREIGN KEY (company_id, price_list_id) REFERENCES sales.price_list (company_id, id),
  CONSTRAINT sales_order_warehouse_fk  FOREIGN KEY (company_id, warehouse_code) REFERENCES inventory.warehouse (company_id, code),
  CONSTRAINT sales_order_currency_fk   FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT sales_order_country_fk    FOREIGN KEY (ship_to_country) REFERENCES core.country (code),
  CONSTRAINT sales_order_channel_ck  CHECK (channel IN ('manual', 'edi', 'web')),
  CONSTRAINT sales_order_incoterm_ck CHECK (incoterm ~ '^[A-Z]{3}$'),
  CONSTRAINT sales_order_totals_ck   CHECK (net_total >= 0 AND tax_total >= 0),
  CONSTRAINT sales_order_dates_ck    CHECK (requested_date >= order_date)
);
COMMENT ON TABLE sales.sales_order IS 'Sales orders';
CREATE INDEX sales_order_customer_ix ON sales.sales_order (company_id, customer_id);
CALL core.enable_company_rls('sales.sales_order');
CREATE POLICY sales_order_delete_draft ON sales.sales_order AS RESTRICTIVE FOR DELETE TO erp_app USING (status IN ('draft', 'cancelled'));
CREATE TRIGGER sales_order_touch BEFORE UPDATE ON sales.sales_order FOR EACH ROW EXECUTE FUNCTION core.touch_updated_at();
CREATE TRIGGER sales_order_audit AFTER INSERT OR UPDATE OR DELETE ON sales.sales_order FOR EACH ROW EXECUTE FUNCTION audit.record_change();

CREATE FUNCTION sales.publish_order_status() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO core.outbox (company_id, topic, payload)
  VALUES (NEW.company_id, 'order.status_changed', jsonb_build_object('id', NEW.id, 'order_no', NEW.order_no, 'from', OLD.status, 'to', NEW.status));
  RETURN NULL;
END
$$;
CREATE TRIGGER sales_order_publish AFTER UPDATE OF status ON sales.sales_order
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION sales.publish_order_status();

CREATE TABLE sales.sales_order_line (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  order_id       UUID              NOT NULL,
  line_no        INTEGER           NOT NULL,
  sku            VARCHAR(24)       NOT NULL,
  quantity       core.quantity     NOT NULL,
  unit_price     core.amount       NOT NULL,
  discount_pct   NUMERIC(5,2)      NOT NULL DEFAULT 0,
  net_amount     NUMERIC GENERATED ALWAYS AS (round(quantity * unit_price * (1 - discount_pct / 100), 4)) STORED,
  shipped        core.quantity     NOT NULL DEFAULT 0,
  CONSTRAINT sales_order_line_pk PRIMARY KEY (company_id, order_id, line_no),
  CONSTRAINT sales_order_line_order_fk   FOREIGN KEY (company_id, order_id) REFERENCES sales.sales_order (company_id, id) ON DELETE CASCADE,
  CONSTRAINT sales_order_line_product_fk FOREIGN KEY (company_id, sku) REFERENCES inventory.product (company_id, sku),
  CONSTRAINT sales_order_line_quantity_ck CHECK (quantity > 0 AND shipped BETWEEN 0 AND quantity),
  CONSTRAINT sales_order_line_discount_ck CHECK (discount_pct BETWEEN 0 AND 100)
);
COMMENT ON TABLE sales.sales_order_line IS 'Lines of a sales order';
CALL core.enable_company_rls('sales.sales_order_line');

CREATE TABLE sales.invoice (
  company_id     core.company_code    NOT NULL DEFAULT core.current_company(),
  company_region core.company_region  NOT NULL DEFAULT core.current_region(),
  id             UUID                 NOT NULL DEFAULT gen_random_uuid(),
  invoice_no     BIGINT               NOT NULL DEFAULT core.next_number('invoice'),
  customer_id    UUID                 NOT NULL,
  order_id       UUID,
  invoice_date   DATE                 NOT NULL DEFAULT CURRENT_DATE,
  due_date       DATE                 NOT NULL DEFAULT CURRENT_DATE + 30,
  currency_code  CHAR(3)              NOT NULL DEFAULT 'EUR',
  net_total      core.amount          NOT NULL DEFAULT 0,
  tax_total      core.amount          NOT NULL DEFAULT 0,
  status         sales.invoice_status NOT NULL DEFAULT 'draft',
  created_by     UUID                 DEFAULT core.current_user_id(),
  CONSTRAINT invoice_pk PRIMARY KEY (company_id, company_region, id),
  CONSTRAINT invoice_no_uq UNIQUE (company_id, company_region, invoice_no),
  CONSTRAINT invoice_company_fk  FOREIGN KEY (company_id, company_region) REFERENCES core.company (id, region),
  CONSTRAINT invoice_customer_fk FOREIGN KEY (company_id, customer_id) REFERENCES sales.customer (company_id, id),
  CONSTRAINT invoice_order_fk    FOREIGN KEY (company_id, order_id) REFERENCES sales.sales_order (company_id, id),
  CONSTRAINT invoice_currency_fk FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT invoice_dates_ck  CHECK (due_date >= invoice_date),
  CONSTRAINT invoice_totals_ck CHECK (net_total >= 0 AND tax_total >= 0)
) PARTITION BY LIST (company_region);
COMMENT ON TABLE sales.invoice IS 'Invoices, kept on the storage of the company''s region';
CREATE TABLE sales.invoice_emea PARTITION OF sales.invoice FOR VALUES IN ('EMEA');
CREATE TABLE sales.invoice_amer PARTITION OF sales.invoice FOR VALUES IN ('AMER');
CREATE TABLE sales.invoice_apac PARTITION OF sales.invoice FOR VALUES IN ('APAC');
CALL core.lock_partition('sales.invoice_emea');
CALL core.lock_partition('sales.invoice_amer');
CALL core.lock_partition('sales.invoice_apac');
CALL core.enable_company_rls('sales.invoice');
CREATE POLICY invoice_update_open ON sales.invoice AS RESTRICTIVE FOR UPDATE TO erp_app
  USING (status IN ('draft', 'issued')) WITH CHECK (TRUE);
CREATE POLICY invoice_delete_draft ON sales.invoice AS RESTRICTIVE FOR DELETE TO erp_app USING (status = 'draft');
-- The nightly refresh of the revenue figures reads all companies.
CREATE POLICY invoice_batch_read ON sales.invoice FOR SELECT TO erp_batch USING (TRUE);
CREATE TRIGGER invoice_audit AFTER INSERT OR UPDATE OR DELETE ON sales.invoice FOR EACH ROW EXECUTE FUNCTION audit.record_change();

CREATE TABLE sales.invoice_line (
  company_id     core.company_code   NOT NULL DEFAULT core.current_company(),
  company_region core.company_region NOT NULL DEFAULT core.current_region(),
  invoice_id     UUID                NOT NULL,
  line_no        INTEGER             NOT NULL,
  sku            VARCHAR(24),
  description    TEXT                NOT NULL,
  quantity       core.quantity       NOT NULL DEFAULT 1,
  net_amount     core.amount         NOT NULL,
  tax_country    CHAR(2)             NOT NULL,
  tax_code       VARCHAR(8)          NOT NULL,
  CONSTRAINT invoice_line_pk PRIMARY KEY (company_id, company_region, invoice_id, line_no),
  CONSTRAINT invoice_line_invoice_fk FOREIGN KEY (company_id, company_region, invoice_id)
    REFERENCES sales.invoice (company_id, company_region, id) ON DELETE CASCADE,
  CONSTRAINT invoice_line_product_fk FOREIGN KEY (company_id, sku) REFERENCES inventory.product (company_id, sku),
  CONSTRAINT invoice_line_tax_code_fk FOREIGN KEY (tax_country, tax_code) REFERENCES core.tax_code (country_code, code)
);
COMMENT ON TABLE sales.invoice_line IS 'Lines of an invoice';
CALL core.enable_company_rls('sales.invoice_line');

GRANT SELECT, INSERT, UPDATE, DELETE ON sales.price_list, sales.price_list_item, sales.customer, sales.customer_contact,
  sales.sales_order, sales.sales_order_line, sales.invoice, sales.invoice_line TO erp_app;
GRANT SELECT ON sales.price_list, sales.price_list_item, sales.customer, sales.sales_order, sales.sales_order_line,
  sales.invoice, sales.invoice_line TO erp_readonly;
GRANT SELECT ON sales.invoice TO erp_batch;
GRANT SELECT (company_id, id, customer_group, country_code) ON sales.customer TO erp_batch;
CREATE POLICY customer_batch_read ON sales.customer FOR SELECT TO erp_batch USING (TRUE);

RESET ROLE;
