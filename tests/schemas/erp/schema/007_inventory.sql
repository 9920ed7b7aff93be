-- ---------------------------------------------------------------------------
-- 007  Inventory and purchasing
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TYPE inventory.movement_kind AS ENUM ('receipt', 'issue', 'transfer', 'adjustment');

CREATE TABLE inventory.product_category (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  parent_id      UUID,
  name           TEXT              NOT NULL,
  path           TEXT[]            NOT NULL DEFAULT '{}',
  CONSTRAINT product_category_pk PRIMARY KEY (company_id, id),
  CONSTRAINT product_category_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT product_category_parent_fk FOREIGN KEY (company_id, parent_id) REFERENCES inventory.product_category (company_id, id),
  CONSTRAINT product_category_name_uq UNIQUE (company_id, parent_id, name),
  CONSTRAINT product_category_parent_ck CHECK (parent_id <> id)
);
COMMENT ON TABLE inventory.product_category IS 'Tree of product categories';
CALL core.enable_company_rls('inventory.product_category');

CREATE TABLE inventory.product (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  sku            VARCHAR(24)       NOT NULL,
  name           TEXT              NOT NULL,
  description    TEXT              NOT NULL DEFAULT '',
  category_id    UUID,
  kind           TEXT              NOT NULL DEFAULT 'stocked',
  base_unit      VARCHAR(6)        NOT NULL DEFAULT 'PCE',
  purchase_unit  VARCHAR(6),
  ean            VARCHAR(14),
  standard_cost  core.amount       NOT NULL DEFAULT 0,
  list_price     core.amount       NOT NULL DEFAULT 0,
  margin         NUMERIC GENERATED ALWAYS AS (list_price - standard_cost) STORED,
  weight_kg      NUMERIC(10,3),
  reorder_point  core.quantity     NOT NULL DEFAULT 0,
  lot_controlled BOOLEAN           NOT NULL DEFAULT FALSE,
  tax_country    CHAR(2),
  tax_code       VARCHAR(8),
  hs_code        VARCHAR(10),
  origin_country CHAR(2),
  attributes     JSONB             NOT NULL DEFAULT '{}',
  keywords       TEXT[]            NOT NULL DEFAULT '{}',
  status         TEXT              NOT NULL DEFAULT 'active',
  created_at     TIMESTAMPTZ       NOT NULL DEFAULT now(),
  created_by     UUID              DEFAULT core.current_user_id(),
  updated_at     TIMESTAMPTZ       NOT NULL DEFAULT now(),
  discontinued_at TIMESTAMPTZ,
  CONSTRAINT product_pk PRIMARY KEY (company_id, sku),
  CONSTRAINT product_company_fk  FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT product_category_fk FOREIGN KEY (company_id, category_id) REFERENCES inventory.product_category (company_id, id),
  CONSTRAINT product_base_unit_fk     FOREIGN KEY (base_unit) REFERENCES core.unit_of_measure (code),
  CONSTRAINT product_purchase_unit_fk FOREIGN KEY (purchase_unit) REFERENCES core.unit_of_measure (code),
  CONSTRAINT product_tax_code_fk FOREIGN KEY (tax_country, tax_code) REFERENCES core.tax_code (country_code, code),
  CONSTRAINT product_origin_fk   FOREIGN KEY (origin_country) REFERENCES core.country (code),
  CONSTRAINT product_sku_ck    CHECK (sku ~ '^[A-Z0-9][A-Z0-9-]*$'),
  CONSTRAINT product_ean_ck    CHECK (ean ~ '^[0-9]{8}([0-9]{5,6})?$'),
  CONSTRAINT product_kind_ck   CHECK (kind IN ('stocked', 'service', 'kit')),
  CONSTRAINT product_status_ck CHECK (status IN ('draft', 'active', 'discontinued')),
  CONSTRAINT product_price_ck  CHECK (list_price >= 0 AND standard_cost >= 0),
  CONSTRAINT product_discontinued_ck CHECK ((status = 'discontinued') = (discontinued_at IS NOT NULL))
);
COMMENT ON TABLE inventory.product IS 'Material master, keyed by the company''s own SKU';
CREATE UNIQUE INDEX product_ean_uq ON inventory.product (company_id, ean) WHERE ean IS NOT NULL;
CREATE INDEX product_category_ix ON inventory.product (company_id, category_id);
CALL core.enable_company_rls('inventory.product');
CREATE TRIGGER product_touch BEFORE UPDATE ON inventory.product FOR EACH ROW EXECUTE FUNCTION core.touch_updated_at();
CREATE TRIGGER product_audit AFTER INSERT OR UPDATE OR DELETE ON inventory.product FOR EACH ROW EXECUTE FUNCTION audit.record_change();

CREATE TABLE inventory.warehouse (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  code           VARCHAR(8)        NOT NULL,
  name           TEXT              NOT NULL,
  country_code   CHAR(2)           NOT NULL,
  city           TEXT              NOT NULL DEFAULT '',
  active         BOOLEAN           NOT NULL DEFAULT TRUE,
  CONSTRAINT warehouse_pk PRIMARY KEY (company_id, code),
  CONSTRAINT warehouse_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT warehouse_country_fk FOREIGN KEY (country_code) REFERENCES core.country (code),
  CONSTRAINT warehouse_code_ck CHECK (code ~ '^[A-Z0-9]+$')
);
COMMENT ON TABLE inventory.warehouse IS 'Warehouses, e.g. MAIN';
CALL core.enable_company_rls('inventory.warehouse');

CREATE TABLE inventory.storage_bin (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  warehouse_code VARCHAR(8)        NOT NULL,
  bin            VARCHAR(16)       NOT NULL,
  parent_bin     VARCHAR(16),
  capacity       core.quantity,
  CONSTRAINT storage_bin_pk PRIMARY KEY (company_id, warehouse_code, bin),
  CONSTRAINT storage_bin_warehouse_fk FOREIGN KEY (company_id, warehouse_code) REFERENCES inventory.warehouse (company_id, code) ON DELETE CASCADE,
  CONSTRAINT storage_bin_parent_fk FOREIGN KEY (company_id, warehouse_code, parent_bin)
    REFERENCES inventory.storage_bin (company_id, warehouse_code, bin),
  CONSTRAINT storage_bin_capacity_ck CHECK (capacity > 0)
);
COMMENT ON TABLE inventory.storage_bin IS 'Bins of a warehouse: aisle, rack, shelf';
CALL core.enable_company_rls('inventory.storage_bin');

CREATE TABLE inventory.stock_movement (
  company_id     core.company_code       NOT NULL DEFAULT core.current_company(),
  id             UUID                    NOT NULL DEFAULT gen_random_uuid(),
  warehouse_code VARCHAR(8)              NOT NULL,
  sku            VARCHAR(24)             NOT NULL,
  kind           inventory.movement_kind NOT NULL,
  quantity       core.quantity           NOT NULL,
  lot_no         VARCHAR(24),
  reference      TEXT                    NOT NULL DEFAULT '',
  moved_at       TIMESTAMPTZ             NOT NULL DEFAULT now(),
  moved_by       UUID                    DEFAULT core.current_user_id(),
  CONSTRAINT stock_movement_pk PRIMARY KEY (company_id, id),
  CONSTRAINT stock_movement_warehouse_fk FOREIGN KEY (company_id, warehouse_code) REFERENCES inventory.warehouse (company_id, code),
  CONSTRAINT stock_movement_product_fk   FOREIGN KEY (company_id, sku) REFERENCES inventory.product (company_id, sku),
  CONSTRAINT stock_movement_quantity_ck  CHECK (quantity <> 0),
  CONSTRAINT stock_movement_sign_ck CHECK (CASE kind WHEN 'receipt' THEN quantity > 0 WHEN 'issue' THEN quantity < 0 ELSE TRUE END)
) PARTITION BY HASH (company_id);
COMMENT ON TABLE inventory.stock_movement IS 'Append-only ledger of stock; the trigger keeps INVENTORY.STOCK_LEVEL';
CREATE TABLE inventory.stock_movement_p0 PARTITION OF inventory.stock_movement FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE inventory.stock_movement_p1 PARTITION OF inventory.stock_movement FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE inventory.stock_movement_p2 PARTITION OF inventory.stock_movement FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE inventory.stock_movement_p3 PARTITION OF inventory.stock_movement FOR VALUES WITH (MODULUS 4, REMAINDER 3);
CALL core.lock_partition('inventory.stock_movement_p0');
CALL core.lock_partition('inventory.stock_movement_p1');
CALL core.lock_partition('inventory.stock_movement_p2');
CALL core.lock_partition('inventory.stock_movement_p3');
CREATE INDEX stock_movement_product_ix ON inventory.stock_movement (company_id, sku, moved_at);
CALL core.enable_company_rls('inventory.stock_movement');

CREATE TABLE inventory.stock_level (
  company_id     core.company_code NOT NULL,
  warehouse_code VARCHAR(8)        NOT NULL,
  sku            VARCHAR(24)       NOT NULL,
  on_hand        core.quantity     NOT NULL DEFAULT 0,
  last_moved_at  TIMESTAMPTZ,
  CONSTRAINT stock_level_pk PRIMARY KEY (company_id, warehouse_code, sku),
  CONSTRAINT stock_level_warehouse_fk FOREIGN KEY (company_id, warehouse_code) REFERENCES inventory.warehouse (company_id, code),
  CONSTRAINT stock_level_product_fk   FOREIGN KEY (company_id, sku) REFERENCES inventory.product (company_id, sku)
);
COMMENT ON TABLE inventory.stock_level IS 'Derived from the movements; read-only for requests';
ALTER TABLE inventory.stock_level ENABLE ROW LEVEL SECURITY;
ALTER TABLE inventory.stock_level FORCE  ROW LEVEL SECURITY;
CREATE POLICY stock_level_read ON inventory.stock_level FOR SELECT TO erp_app, erp_readonly
  USING (company_id = (SELECT core.current_company()));
-- Movements are also loaded by migrations, without a company in the session.
CREATE POLICY stock_level_derive ON inventory.stock_level TO erp_owner USING (TRUE) WITH CHECK (TRUE);

CREATE FUNCTION inventory.apply_stock_movement() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO inventory.stock_level AS l (company_id, warehouse_code, sku, on_hand, last_moved_at)
  VALUES (NEW.company_id, NEW.warehouse_code, NEW.sku, NEW.quantity, NEW.moved_at)
  ON CONFLICT ON CONSTRAINT stock_level_pk DO UPDATE
    SET on_hand = l.on_hand + EXCLUDED.on_hand, last_moved_at = greatest(l.last_moved_at, EXCLUDED.last_moved_at);
  RETURN NULL;
END
$$;
CREATE TRIGGER stock_movement_apply AFTER INSERT ON inventory.stock_movement
  FOR EACH ROW EXECUTE FUNCTION inventory.apply_stock_movement();

CREATE TABLE inventory.supplier (
  company_id     core.company_code  NOT NULL DEFAULT core.current_company(),
  id             UUID               NOT NULL DEFAULT gen_random_uuid(),
  supplier_no    BIGINT             NOT NULL DEFAULT core.next_number('supplier'),
  name           TEXT               NOT NULL,
  vat_number     TEXT,
  email          core.email_address,
  country_code   CHAR(2)            NOT NULL,
  currency_code  CHAR(3)            NOT NULL DEFAULT 'EUR',
  lead_time_days SMALLINT           NOT NULL DEFAULT 7,
  rating         SMALLINT,
  blocked        BOOLEAN            NOT NULL DEFAULT FALSE,
  created_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  CONSTRAINT supplier_pk PRIMARY KEY (company_id, id),
  CONSTRAINT supplier_no_uq UNIQUE (company_id, supplier_no),
  CONSTRAINT supplier_company_fk  FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT supplier_country_fk  FOREIGN KEY (country_code) REFERENCES core.country (code),
  CONSTRAINT supplier_currency_fk FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT supplier_rating_ck CHECK (rating BETWEEN 1 AND 5),
  CONSTRAINT supplier_lead_time_ck CHECK (lead_time_days BETWEEN 0 AND 365)
);
COMMENT ON TABLE inventory.supplier IS 'Vendor master';
CALL core.enable_company_rls('inventory.supplier');
CREATE TRIGGER supplier_audit AFTER INSERT OR UPDATE OR DELETE ON inventory.supplier FOR EACH ROW EXECUTE FUNCTION audit.record_change();

CREATE TABLE inventory.purchase_order (
  company_id     core.company_code    NOT NULL DEFAULT core.current_company(),
  id             UUID                 NOT NULL DEFAULT gen_random_uuid(),
  order_no       BIGINT               NOT NULL DEFAULT core.next_number('purchase_order'),
  supplier_id    UUID                 NOT NULL,
  warehouse_code VARCHAR(8)           NOT NULL,
  currency_code  CHAR(3)              NOT NULL DEFAULT 'EUR',
  order_date     DATE                 NOT NULL DEFAULT CURRENT_DATE,
  due_date       DATE,
  status         core.approval_status NOT NULL DEFAULT 'draft',
  total          core.amount          NOT NULL DEFAULT 0,
  remarks        TEXT                 NOT NULL DEFAULT '',
  created_by     UUID                 DEFAULT core.current_user_id(),
  CONSTRAINT purchase_order_pk PRIMARY KEY (company_id, id),
  CONSTRAINT purchase_order_no_uq UNIQUE (company_id, order_no),
  CONSTRAINT purchase_order_supplier_fk  FOREIGN KEY (company_id, supplier_id) REFERENCES inventory.supplier (company_id, id),
  CONSTRAINT purchase_order_warehouse_fk FOREIGN KEY (company_id, warehouse_code) REFERENCES inventory.warehouse (company_id, code),
  CONSTRAINT purchase_order_currency_fk  FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT purchase_order_created_by_fk FOREIGN KEY (company_id, created_by) REFERENCES core.membership (company_id, user_id),
  CONSTRAINT purchase_order_total_ck CHECK (total >= 0),
  CONSTRAINT purchase_order_dates_ck CHECK (due_date >= order_date)
);
COMMENT ON TABLE inventory.purchase_order IS 'Purchase orders; STATUS moves through the approval workflow only';
CALL core.enable_company_rls('inventory.purchase_order');
CREATE POLICY purchase_order_insert_draft ON inventory.purchase_order AS RESTRICTIVE FOR INSERT TO erp_app
  WITH CHECK (status = 'draft');
CREATE POLICY purchase_order_update_draft ON inventory.purchase_order AS RESTRICTIVE FOR UPDATE TO erp_app
  USING (status IN ('draft', 'rejected'));
CREATE POLICY purchase_order_delete_draft ON inventory.purchase_order AS RESTRICTIVE FOR DELETE TO erp_app
  USING (status IN ('draft', 'withdrawn'));
CREATE TRIGGER purchase_order_audit AFTER INSERT OR UPDATE OR DELETE ON inventory.purchase_order FOR EACH ROW EXECUTE FUNCTION audit.record_change();

CREATE TABLE inventory.purchase_order_line (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  order_id       UUID              NOT NULL,
  line_no        INTEGER           NOT NULL,
  sku            VARCHAR(24)       NOT NULL,
  quantity       core.quantity     NOT NULL,
  unit_price     core.amount       NOT NULL,
  line_total     NUMERIC GENERATED ALWAYS AS (quantity * unit_price) STORED,
  CONSTRAINT purchase_order_line_pk PRIMARY KEY (company_id, order_id, line_no),
  CONSTRAINT purchase_order_line_order_fk FOREIGN KEY (company_id, order_id) REFERENCES inventory.purchase_order (company_id, id) ON DELETE CASCADE,
  CONSTRAINT purchase_order_line_product_fk FOREIGN KEY (company_id, sku) REFERENCES inventory.product (company_id, sku),
  CONSTRAINT purchase_order_line_quantity_ck CHECK (quantity > 0),
  CONSTRAINT purchase_order_line_no_ck CHECK (line_no BETWEEN 1 AND 9999)
);
COMMENT ON TABLE inventory.purchase_order_line IS 'Lines of a purchase order';
CALL core.enable_company_rls('inventory.purchase_order_line');

CREATE TABLE inventory.resource (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  code           VARCHAR(16)       NOT NULL,
  kind           TEXT              NOT NULL,
  capacity       INTEGER           NOT NULL DEFAULT 1,
  warehouse_code VARCHAR(8),
  CONSTRAINT resource_pk PRIMARY KEY (company_id, id),
  CONSTRAINT resource_code_uq UNIQUE (company_id, code),
  CONSTRAINT resource_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT resource_warehouse_fk FOREIGN KEY (company_id, warehouse_code) REFERENCES inventory.warehouse (company_id, code),
  CONSTRAINT resource_kind_ck CHECK (kind IN ('dock', 'vehicle', 'machine', 'room')),
  CONSTRAINT resource_capacity_ck CHECK (capacity > 0)
);
COMMENT ON TABLE inventory.resource IS 'Docks, vehicles, machines and rooms that are booked';
CALL core.enable_company_rls('inventory.resource');

CREATE TABLE inventory.resource_booking (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  resource_id    UUID              NOT NULL,
  during         TSTZRANGE         NOT NULL,
  purpose        TEXT              NOT NULL DEFAULT '',
  status         TEXT              NOT NULL DEFAULT 'confirmed',
  booked_by      UUID              DEFAULT core.current_user_id(),
  CONSTRAINT resource_booking_pk PRIMARY KEY (company_id, id),
  CONSTRAINT resource_booking_resource_fk FOREIGN KEY (company_id, resource_id) REFERENCES inventory.resource (company_id, id) ON DELETE CASCADE,
  CONSTRAINT resource_booking_status_ck CHECK (status IN ('tentative', 'confirmed', 'cancelled')),
  CONSTRAINT resource_booking_during_ck CHECK (NOT isempty(during)),
  CONSTRAINT resource_booking_overlap_ex EXCLUDE USING GIST (company_id WITH =, resource_id WITH =, during WITH &&) WHERE (status <> 'cancelled')
);
COMMENT ON TABLE inventory.resource_booking IS 'Bookings; no two of a resource at a time';
CALL core.enable_company_rls('inventory.resource_booking');

GRANT SELECT, INSERT, UPDATE, DELETE ON inventory.product_category, inventory.product, inventory.warehouse, inventory.storage_bin,
  inventory.supplier, inventory.purchase_order_line, inventory.resource, inventory.resource_booking TO erp_app;
GRANT SELECT, INSERT ON inventory.stock_movement TO erp_app;
GRANT SELECT ON inventory.stock_level TO erp_app;
GRANT SELECT, INSERT, DELETE, UPDATE (supplier_id, warehouse_code, currency_code, order_date, due_date, total, remarks)
  ON inventory.purchase_order TO erp_app;
GRANT SELECT ON inventory.product_category, inventory.product, inventory.warehouse, inventory.stock_movement, inventory.stock_level,
  inventory.supplier, inventory.purchase_order, inventory.purchase_order_line TO erp_readonly;

RESET ROLE;
