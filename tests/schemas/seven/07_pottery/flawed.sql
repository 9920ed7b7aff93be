-- break: triggers copy customers and orders into the activity feed, whose policy hides what is internal but forgets the studio
-- object: studio.activity
-- kind: leak

-- Shared kilns. Each pottery studio connects with a database role of its own, which is its name in every table; what all
-- studios may do is granted to seven7_studios.

DO $$ DECLARE r text; BEGIN
  FOREACH r IN ARRAY '{seven7_owner,seven7_studios,seven7_lyon,seven7_oslo}'::text[] LOOP
    IF to_regrole(r) IS NULL THEN EXECUTE format('CREATE ROLE %I NOLOGIN', r); END IF;
  END LOOP;
END $$;
GRANT seven7_studios TO seven7_lyon, seven7_oslo;

CREATE SCHEMA studio AUTHORIZATION seven7_owner;
GRANT USAGE ON SCHEMA studio TO seven7_studios;
SET ROLE seven7_owner;

CREATE TABLE studio.glazes (
  glaze  text PRIMARY KEY,
  cone   smallint NOT NULL,
  lead   boolean NOT NULL DEFAULT false);
INSERT INTO studio.glazes VALUES ('celadon', 10, false), ('tenmoku', 10, false), ('majolica', 4, true);

CREATE TABLE studio.studios (
  studio     name PRIMARY KEY CHECK (studio <> 'seven7_studios'),
  title      text NOT NULL,
  vat_rate   numeric(4,2) NOT NULL DEFAULT 20 CHECK (vat_rate BETWEEN 0 AND 30),
  kiln_quota smallint NOT NULL DEFAULT 4);

CREATE TABLE studio.customers (
  studio name NOT NULL DEFAULT current_user REFERENCES studio.studios,
  handle text NOT NULL CHECK (handle ~ '^[a-z_]+$'),
  name   text NOT NULL,
  phone  text,
  PRIMARY KEY (studio, handle));

CREATE TABLE studio.pieces (
  studio   name NOT NULL DEFAULT current_user REFERENCES studio.studios,
  piece_no integer NOT NULL CHECK (piece_no > 0),
  form     text NOT NULL,
  glaze    text REFERENCES studio.glazes,
  price    numeric(8,2) NOT NULL CHECK (price >= 0),
  PRIMARY KEY (studio, piece_no));

CREATE TABLE studio.firings (
  studio    name NOT NULL DEFAULT current_user REFERENCES studio.studios,
  fired_on  date NOT NULL,
  kiln      smallint NOT NULL CHECK (kiln BETWEEN 1 AND 6),
  peak_temp smallint CHECK (peak_temp BETWEEN 600 AND 1400),
  remark    text,
  PRIMARY KEY (studio, fired_on, kiln));

CREATE TABLE studio.firing_pieces (
  studio   name NOT NULL DEFAULT current_user,
  fired_on date NOT NULL,
  kiln     smallint NOT NULL,
  piece_no integer NOT NULL,
  cracked  boolean NOT NULL DEFAULT false,
  PRIMARY KEY (studio, fired_on, kiln, piece_no),
  FOREIGN KEY (studio, fired_on, kiln) REFERENCES studio.firings ON DELETE CASCADE,
  FOREIGN KEY (studio, piece_no) REFERENCES studio.pieces ON DELETE CASCADE);

CREATE TABLE studio.orders (
  studio    name NOT NULL DEFAULT current_user,
  order_no  integer NOT NULL CHECK (order_no > 0),
  handle    text NOT NULL,
  placed_on date NOT NULL DEFAULT current_date,
  discount  smallint NOT NULL DEFAULT 0 CHECK (discount BETWEEN 0 AND 90),
  delivered boolean NOT NULL DEFAULT false,
  PRIMARY KEY (studio, order_no),
  FOREIGN KEY (studio, handle) REFERENCES studio.customers ON UPDATE CASCADE);

CREATE TABLE studio.order_pieces (
  studio   name NOT NULL DEFAULT current_user,
  order_no integer NOT NULL,
  piece_no integer NOT NULL,
  PRIMARY KEY (studio, order_no, piece_no),
  UNIQUE (studio, piece_no),
  FOREIGN KEY (studio, order_no) REFERENCES studio.orders ON DELETE CASCADE,
  FOREIGN KEY (studio, piece_no) REFERENCES studio.pieces);

-- what the start page shows; 'internal' is for the people who run the kilns
CREATE TABLE studio.activity (
  activity_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  studio      name NOT NULL REFERENCES studio.studios ON DELETE CASCADE,
  section     text NOT NULL CHECK (section IN ('people', 'sales', 'internal')),
  verb        text NOT NULL,
  subject     jsonb NOT NULL,
  at          timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON studio.activity (studio, at DESC);

CREATE FUNCTION studio.note_activity() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  subject jsonb := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
BEGIN
  INSERT INTO studio.activity (studio, section, verb, subject)
  VALUES ((subject ->> 'studio')::name, TG_ARGV[0], lower(TG_OP) || ' ' || TG_TABLE_NAME, subject);
  RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION studio.note_activity() FROM PUBLIC;
CREATE TRIGGER note_activity AFTER INSERT OR UPDATE OR DELETE ON studio.customers
  FOR EACH ROW EXECUTE FUNCTION studio.note_activity('people');
CREATE TRIGGER note_activity AFTER INSERT OR UPDATE OR DELETE ON studio.orders
  FOR EACH ROW EXECUTE FUNCTION studio.note_activity('sales');
CREATE TRIGGER note_activity AFTER INSERT OR UPDATE OR DELETE ON studio.firings
  FOR EACH ROW EXECUTE FUNCTION studio.note_activity('internal');

CREATE VIEW studio.shelf WITH (security_invoker = true) AS
  SELECT p.studio, p.piece_no, p.form, p.glaze, p.price FROM studio.pieces p
  WHERE NOT EXISTS (SELECT FROM studio.order_pieces o WHERE o.studio = p.studio AND o.piece_no = p.piece_no);

ALTER TABLE studio.glazes ENABLE ROW LEVEL SECURITY;
ALTER TABLE studio.studios ENABLE ROW LEVEL SECURITY;
ALTER TABLE studio.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE studio.pieces ENABLE ROW LEVEL SECURITY;
ALTER TABLE studio.firings ENABLE ROW LEVEL SECURITY;
ALTER TABLE studio.firing_pieces ENABLE ROW LEVEL SECURITY;
ALTER TABLE studio.orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE studio.order_pieces ENABLE ROW LEVEL SECURITY;
ALTER TABLE studio.activity ENABLE ROW LEVEL SECURITY;
CREATE POLICY glazes ON studio.glazes FOR SELECT TO seven7_studios USING (true);
CREATE POLICY me ON studio.studios TO seven7_studios USING (studio = current_user) WITH CHECK (studio = current_user);
CREATE POLICY mine ON studio.customers TO seven7_studios USING (studio = current_user) WITH CHECK (studio = current_user);
CREATE POLICY mine ON studio.pieces TO seven7_studios USING (studio = current_user) WITH CHECK (studio = current_user);
CREATE POLICY mine ON studio.firings TO seven7_studios USING (studio = current_user) WITH CHECK (studio = current_user);
CREATE POLICY mine ON studio.firing_pieces TO seven7_studios USING (studio = current_user) WITH CHECK (studio = current_user);
CREATE POLICY mine ON studio.orders TO seven7_studios USING (studio = current_user) WITH CHECK (studio = current_user);
CREATE POLICY mine ON studio.order_pieces TO seven7_studios USING (studio = current_user) WITH CHECK (studio = current_user);
CREATE POLICY feed ON studio.activity FOR SELECT TO seven7_studios USING (section <> 'internal');

GRANT SELECT ON studio.glazes, studio.shelf, studio.activity TO seven7_studios;
GRANT SELECT, UPDATE (title, vat_rate) ON studio.studios TO seven7_studios;
GRANT SELECT, INSERT, UPDATE, DELETE ON studio.customers, studio.pieces, studio.firings, studio.firing_pieces, studio.orders,
  studio.order_pieces TO seven7_studios;
RESET ROLE;
