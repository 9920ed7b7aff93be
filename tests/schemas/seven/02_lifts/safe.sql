-- safe twin: inspections refer to a site with the customer's number

-- Lift maintenance portal. Customers have numbers, a site's sticker begins with its customer's number (1042-07 is the
-- seventh of customer 1042) and is given out by our sales staff, who open sites; customers may correct and close them. The
-- portal sets portal.customer_no at the start of each transaction.

DO $$ BEGIN
  IF to_regrole('seven2_portal') IS NULL THEN CREATE ROLE seven2_portal NOLOGIN; END IF;
END $$;
GRANT USAGE ON SCHEMA public TO seven2_portal;

CREATE FUNCTION customer_no() RETURNS integer LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('portal.customer_no', true), '')::integer $$;

CREATE TABLE lift_models (
  model    text PRIMARY KEY,
  maker    text NOT NULL,
  max_load integer NOT NULL CHECK (max_load BETWEEN 100 AND 20000));

CREATE TABLE defect_codes (
  code     smallint PRIMARY KEY,
  meaning  text NOT NULL,
  severity text NOT NULL CHECK (severity IN ('note', 'repair', 'shutdown')));

CREATE TABLE customers (
  customer_no integer PRIMARY KEY CHECK (customer_no > 0),
  name        text NOT NULL,
  invoice_to  text,
  blocked     boolean NOT NULL DEFAULT false);

CREATE TABLE sites (
  site_ref    text PRIMARY KEY,
  customer_no integer NOT NULL REFERENCES customers,
  street      text NOT NULL,
  city        text NOT NULL,
  key_safe    text,
  UNIQUE (customer_no, site_ref),
  CHECK (site_ref ~ '^[1-9][0-9]*-[0-9]{2,4}$'));

CREATE TABLE site_contacts (
  customer_no integer NOT NULL,
  site_ref    text NOT NULL,
  email       text NOT NULL,
  name        text NOT NULL,
  on_call     boolean NOT NULL DEFAULT false,
  PRIMARY KEY (customer_no, site_ref, email),
  FOREIGN KEY (customer_no, site_ref) REFERENCES sites (customer_no, site_ref) ON DELETE CASCADE);

CREATE TABLE lifts (
  customer_no integer NOT NULL,
  site_ref    text NOT NULL,
  lift_no     smallint NOT NULL CHECK (lift_no BETWEEN 1 AND 99),
  model       text NOT NULL REFERENCES lift_models,
  built       smallint CHECK (built BETWEEN 1880 AND 2100),
  PRIMARY KEY (customer_no, site_ref, lift_no),
  FOREIGN KEY (customer_no, site_ref) REFERENCES sites (customer_no, site_ref) ON DELETE CASCADE);

CREATE TABLE tickets (
  customer_no integer NOT NULL,
  ticket_no   integer NOT NULL CHECK (ticket_no > 0),
  site_ref    text NOT NULL,
  lift_no     smallint,
  opened_at   timestamptz NOT NULL DEFAULT now(),
  closed_at   timestamptz,
  subject     text NOT NULL CHECK (length(subject) BETWEEN 3 AND 200),
  PRIMARY KEY (customer_no, ticket_no),
  FOREIGN KEY (customer_no, site_ref) REFERENCES sites (customer_no, site_ref) ON DELETE CASCADE,
  FOREIGN KEY (customer_no, site_ref, lift_no) REFERENCES lifts ON DELETE SET NULL (lift_no),
  CHECK (closed_at >= opened_at));

CREATE TABLE ticket_notes (
  customer_no integer NOT NULL,
  ticket_no   integer NOT NULL,
  note_no     smallint NOT NULL,
  body        text NOT NULL,
  written_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (customer_no, ticket_no, note_no),
  FOREIGN KEY (customer_no, ticket_no) REFERENCES tickets ON DELETE CASCADE);

-- came a year later, with the inspectors' app that scans the sticker
CREATE TABLE inspections (
  customer_no   integer NOT NULL REFERENCES customers,
  inspection_no integer NOT NULL CHECK (inspection_no > 0),
  site_ref      text NOT NULL,
  held_on       date NOT NULL,
  next_due      date,
  passed        boolean NOT NULL DEFAULT true,
  PRIMARY KEY (customer_no, inspection_no),
  FOREIGN KEY (customer_no, site_ref) REFERENCES sites (customer_no, site_ref));

CREATE TABLE inspection_findings (
  customer_no   integer NOT NULL,
  inspection_no integer NOT NULL,
  finding_no    smallint NOT NULL,
  code          smallint NOT NULL REFERENCES defect_codes,
  remark        text,
  PRIMARY KEY (customer_no, inspection_no, finding_no),
  FOREIGN KEY (customer_no, inspection_no) REFERENCES inspections ON DELETE CASCADE);

CREATE FUNCTION set_next_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.next_due := coalesce(NEW.next_due, NEW.held_on + CASE WHEN NEW.passed THEN 365 ELSE 30 END);
  RETURN NEW;
END $$;
CREATE TRIGGER set_next_due BEFORE INSERT OR UPDATE ON inspections FOR EACH ROW EXECUTE FUNCTION set_next_due();

CREATE VIEW inspections_due WITH (security_invoker = true) AS
  SELECT s.customer_no, s.site_ref, s.city, max(i.next_due) AS due
  FROM sites s LEFT JOIN inspections i ON i.customer_no = s.customer_no AND i.site_ref = s.site_ref
  GROUP BY s.customer_no, s.site_ref, s.city;

ALTER TABLE lift_models ENABLE ROW LEVEL SECURITY;
ALTER TABLE defect_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE sites ENABLE ROW LEVEL SECURITY;
ALTER TABLE site_contacts ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifts ENABLE ROW LEVEL SECURITY;
ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE ticket_notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE inspections ENABLE ROW LEVEL SECURITY;
ALTER TABLE inspection_findings ENABLE ROW LEVEL SECURITY;

CREATE POLICY catalogue ON lift_models FOR SELECT TO seven2_portal USING (true);
CREATE POLICY catalogue ON defect_codes FOR SELECT TO seven2_portal USING (true);
CREATE POLICY own ON customers FOR SELECT TO seven2_portal USING (customer_no = (SELECT customer_no()));
CREATE POLICY own_sites ON sites TO seven2_portal
  USING (customer_no = (SELECT customer_no())) WITH CHECK (customer_no = (SELECT customer_no()));
CREATE POLICY own_contacts ON site_contacts TO seven2_portal
  USING (customer_no = (SELECT customer_no())) WITH CHECK (customer_no = (SELECT customer_no()));
CREATE POLICY own_lifts ON lifts TO seven2_portal
  USING (customer_no = (SELECT customer_no())) WITH CHECK (customer_no = (SELECT customer_no()));
CREATE POLICY own_tickets ON tickets TO seven2_portal
  USING (customer_no = (SELECT customer_no())) WITH CHECK (customer_no = (SELECT customer_no()));
CREATE POLICY own_notes ON ticket_notes TO seven2_portal
  USING (customer_no = (SELECT customer_no())) WITH CHECK (customer_no = (SELECT customer_no()));
CREATE POLICY own_inspections ON inspections TO seven2_portal
  USING (customer_no = (SELECT customer_no())) WITH CHECK (customer_no = (SELECT customer_no()));
CREATE POLICY own_findings ON inspection_findings TO seven2_portal
  USING (customer_no = (SELECT customer_no())) WITH CHECK (customer_no = (SELECT customer_no()));

GRANT SELECT ON lift_models, defect_codes, customers, inspections_due TO seven2_portal;
GRANT SELECT, DELETE, UPDATE (street, city, key_safe) ON sites TO seven2_portal;
GRANT SELECT, INSERT, UPDATE, DELETE ON site_contacts, lifts, tickets, inspections, inspection_findings TO seven2_portal;
GRANT SELECT, INSERT ON ticket_notes TO seven2_portal;
