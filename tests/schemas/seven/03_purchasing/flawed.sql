-- break: the VAT number of a supplier is unique over all companies, so one learns which suppliers a competitor buys from
-- object: app_public.suppliers
-- kind: reveal

-- Purchasing, served by PostGraphile: the claims of the verified token arrive as jwt.claims.company_id,
-- jwt.claims.person_id and jwt.claims.scope ('buyer' or 'approver').

DO $$ DECLARE r text; BEGIN
  FOREACH r IN ARRAY '{seven3_visitor,seven3_person}'::text[] LOOP
    IF to_regrole(r) IS NULL THEN EXECUTE format('CREATE ROLE %I NOLOGIN', r); END IF;
  END LOOP;
END $$;

CREATE SCHEMA app_public;
CREATE SCHEMA app_private;
GRANT USAGE ON SCHEMA app_public TO seven3_visitor, seven3_person;

CREATE FUNCTION app_public.current_company_id() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('jwt.claims.company_id', true), '')::uuid $$;
CREATE FUNCTION app_public.current_person_id() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('jwt.claims.person_id', true), '')::uuid $$;
CREATE FUNCTION app_public.current_scope() RETURNS text LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('jwt.claims.scope', true), '') $$;

CREATE TYPE app_public.order_status AS ENUM ('draft', 'submitted', 'approved', 'rejected', 'received');

CREATE TABLE app_public.currencies (
  code     char(3) PRIMARY KEY,
  decimals smallint NOT NULL DEFAULT 2 CHECK (decimals BETWEEN 0 AND 4));
INSERT INTO app_public.currencies VALUES ('EUR', 2), ('SEK', 2), ('JPY', 0);

CREATE TABLE app_public.companies (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  legal_name text NOT NULL,
  country    char(2) NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
  currency   char(3) NOT NULL DEFAULT 'EUR' REFERENCES app_public.currencies,
  created_at timestamptz NOT NULL DEFAULT now());

CREATE TABLE app_public.people (
  id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  company_id   uuid NOT NULL REFERENCES app_public.companies ON DELETE CASCADE,
  email        text NOT NULL,
  display_name text NOT NULL,
  order_limit  numeric(12,2) NOT NULL DEFAULT 0,
  UNIQUE (company_id, id),
  UNIQUE (company_id, email));

CREATE TABLE app_private.person_secrets (
  person_id     uuid PRIMARY KEY REFERENCES app_public.people ON DELETE CASCADE,
  password_hash text NOT NULL,
  failed_logins smallint NOT NULL DEFAULT 0);

CREATE TABLE app_public.suppliers (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  company_id uuid NOT NULL DEFAULT app_public.current_company_id() REFERENCES app_public.companies ON DELETE CASCADE,
  name       text NOT NULL CHECK (btrim(name) <> ''),
  country    char(2) NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
  vat_no     text NOT NULL CHECK (vat_no ~ '^[0-9A-Z]{5,12}$'),
  rating     smallint CHECK (rating BETWEEN 1 AND 5),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (company_id, id),
  CONSTRAINT suppliers_vat_key UNIQUE (country, vat_no));

CREATE TABLE app_public.supplier_contacts (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  company_id  uuid NOT NULL DEFAULT app_public.current_company_id(),
  supplier_id uuid NOT NULL,
  name        text NOT NULL,
  phone       text,
  FOREIGN KEY (company_id, supplier_id) REFERENCES app_public.suppliers (company_id, id) ON DELETE CASCADE);

CREATE TABLE app_public.catalogue_items (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  company_id  uuid NOT NULL DEFAULT app_public.current_company_id(),
  supplier_id uuid NOT NULL,
  article_no  text NOT NULL,
  title       text NOT NULL,
  unit_price  numeric(12,4) NOT NULL CHECK (unit_price >= 0),
  UNIQUE (company_id, id),
  UNIQUE (company_id, supplier_id, article_no),
  FOREIGN KEY (company_id, supplier_id) REFERENCES app_public.suppliers (company_id, id) ON DELETE CASCADE);

CREATE TABLE app_public.purchase_orders (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  company_id  uuid NOT NULL DEFAULT app_public.current_company_id(),
  supplier_id uuid NOT NULL,
  buyer_id    uuid NOT NULL DEFAULT app_public.current_person_id(),
  order_no    text NOT NULL CHECK (order_no ~ '^PO-[0-9]{4,8}$'),
  status      app_public.order_status NOT NULL DEFAULT 'draft',
  note        text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  UNIQUE (company_id, id),
  UNIQUE (company_id, order_no),
  FOREIGN KEY (company_id, supplier_id) REFERENCES app_public.suppliers (company_id, id),
  FOREIGN KEY (company_id, buyer_id) REFERENCES app_public.people (company_id, id));

CREATE TABLE app_public.order_lines (
  company_id uuid NOT NULL DEFAULT app_public.current_company_id(),
  order_id   uuid NOT NULL,
  line_no    smallint NOT NULL CHECK (line_no > 0),
  item_id    uuid NOT NULL,
  quantity   numeric(12,3) NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (company_id, order_id, line_no),
  FOREIGN KEY (company_id, order_id) REFERENCES app_public.purchase_orders (company_id, id) ON DELETE CASCADE,
  FOREIGN KEY (company_id, item_id) REFERENCES app_public.catalogue_items (company_id, id));

CREATE TABLE app_public.approvals (
  company_id  uuid NOT NULL DEFAULT app_public.current_company_id(),
  order_id    uuid NOT NULL,
  approver_id uuid NOT NULL DEFAULT app_public.current_person_id(),
  granted     boolean NOT NULL,
  decided_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, order_id, approver_id),
  FOREIGN KEY (company_id, order_id) REFERENCES app_public.purchase_orders (company_id, id) ON DELETE CASCADE,
  FOREIGN KEY (company_id, approver_id) REFERENCES app_public.people (company_id, id));

CREATE FUNCTION app_private.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END $$;
CREATE TRIGGER _500_touch BEFORE UPDATE ON app_public.suppliers FOR EACH ROW EXECUTE FUNCTION app_private.touch();

-- mutation submitOrder
CREATE FUNCTION app_public.submit_order(order_id uuid) RETURNS app_public.purchase_orders LANGUAGE sql VOLATILE AS $$
  UPDATE app_public.purchase_orders o SET status = 'submitted'
  WHERE o.id = $1 AND o.status = 'draft' AND o.buyer_id = app_public.current_person_id()
  RETURNING o.* $$;
REVOKE EXECUTE ON FUNCTION app_public.submit_order(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app_public.submit_order(uuid) TO seven3_person;

CREATE VIEW app_public.order_totals WITH (security_invoker = true, security_barrier = true) AS
  SELECT l.company_id, l.order_id, sum(l.quantity * i.unit_price) AS total
  FROM app_public.order_lines l JOIN app_public.catalogue_items i ON i.company_id = l.company_id AND i.id = l.item_id
  GROUP BY l.company_id, l.order_id;

ALTER TABLE app_public.currencies ENABLE ROW LEVEL SECURITY;
CREATE POLICY select_all ON app_public.currencies FOR SELECT USING (true);
GRANT SELECT ON app_public.currencies TO seven3_visitor, seven3_person;

ALTER TABLE app_private.person_secrets ENABLE ROW LEVEL SECURITY;

ALTER TABLE app_public.companies ENABLE ROW LEVEL SECURITY;
CREATE POLICY select_own ON app_public.companies FOR SELECT TO seven3_person USING (id = app_public.current_company_id());
GRANT SELECT ON app_public.companies TO seven3_person;

ALTER TABLE app_public.people ENABLE ROW LEVEL SECURITY;
CREATE POLICY select_colleagues ON app_public.people FOR SELECT TO seven3_person
  USING (company_id = app_public.current_company_id());
CREATE POLICY update_self ON app_public.people FOR UPDATE TO seven3_person
  USING (company_id = app_public.current_company_id() AND id = app_public.current_person_id());
GRANT SELECT, UPDATE (display_name) ON app_public.people TO seven3_person;

ALTER TABLE app_public.suppliers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON app_public.suppliers TO seven3_person USING (company_id = app_public.current_company_id());
GRANT SELECT, DELETE, INSERT (name, country, vat_no, rating), UPDATE (name, country, vat_no, rating)
  ON app_public.suppliers TO seven3_person;

ALTER TABLE app_public.supplier_contacts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON app_public.supplier_contacts TO seven3_person
  USING (company_id = app_public.current_company_id());
GRANT SELECT, DELETE, INSERT (supplier_id, name, phone), UPDATE (supplier_id, name, phone)
  ON app_public.supplier_contacts TO seven3_person;

ALTER TABLE app_public.catalogue_items ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON app_public.catalogue_items TO seven3_person
  USING (company_id = app_public.current_company_id());
GRANT SELECT, DELETE, INSERT (supplier_id, article_no, title, unit_price), UPDATE (article_no, title, unit_price)
  ON app_public.catalogue_items TO seven3_person;

ALTER TABLE app_public.purchase_orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY select_own_company ON app_public.purchase_orders FOR SELECT TO seven3_person
  USING (company_id = app_public.current_company_id());
CREATE POLICY insert_as_buyer ON app_public.purchase_orders FOR INSERT TO seven3_person
  WITH CHECK (company_id = app_public.current_company_id() AND buyer_id = app_public.current_person_id());
CREATE POLICY update_own ON app_public.purchase_orders FOR UPDATE TO seven3_person
  USING (company_id = app_public.current_company_id()
    AND (buyer_id = app_public.current_person_id() OR app_public.current_scope() = 'approver'));
GRANT SELECT, INSERT (supplier_id, order_no, note), UPDATE (status, note) ON app_public.purchase_orders TO seven3_person;

ALTER TABLE app_public.order_lines ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON app_public.order_lines TO seven3_person USING (company_id = app_public.current_company_id());
GRANT SELECT, DELETE, INSERT (order_id, line_no, item_id, quantity), UPDATE (quantity)
  ON app_public.order_lines TO seven3_person;

ALTER TABLE app_public.approvals ENABLE ROW LEVEL SECURITY;
CREATE POLICY select_own_company ON app_public.approvals FOR SELECT TO seven3_person
  USING (company_id = app_public.current_company_id());
CREATE POLICY insert_as_approver ON app_public.approvals FOR INSERT TO seven3_person
  WITH CHECK (company_id = app_public.current_company_id() AND approver_id = app_public.current_person_id()
    AND app_public.current_scope() = 'approver');
GRANT SELECT, INSERT (order_id, granted) ON app_public.approvals TO seven3_person;
GRANT SELECT ON app_public.order_totals TO seven3_person;
