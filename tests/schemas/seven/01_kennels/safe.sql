-- safe twin: the staging table is emptied by DELETE, which policies govern

-- Boarding kennels. One row of kennel.kennels a customer, found everywhere as the first column of each key; the API sets
-- kennel.code before it runs a request.

DO $$ DECLARE r text; BEGIN
  FOREACH r IN ARRAY '{seven1_owner,seven1_app}'::text[] LOOP
    IF to_regrole(r) IS NULL THEN EXECUTE format('CREATE ROLE %I NOLOGIN', r); END IF;
  END LOOP;
END $$;

CREATE SCHEMA kennel AUTHORIZATION seven1_owner;
GRANT USAGE ON SCHEMA kennel TO seven1_app;
SET ROLE seven1_owner;

CREATE DOMAIN kennel.code AS text CHECK (VALUE ~ '^[a-z][a-z0-9]{0,11}$');
CREATE TYPE kennel.booking_state AS ENUM ('asked', 'confirmed', 'in_house', 'left', 'cancelled');

CREATE FUNCTION kennel.here() RETURNS text LANGUAGE sql STABLE
  RETURN nullif(current_setting('kennel.code', true), '');

CREATE TABLE kennel.species (
  species text PRIMARY KEY,
  title   text NOT NULL);
INSERT INTO kennel.species VALUES ('dog', 'Dog'), ('cat', 'Cat'), ('rabbit', 'Rabbit');

CREATE TABLE kennel.kennels (
  kennel    kennel.code PRIMARY KEY,
  title     text NOT NULL,
  phone     text,
  opened_on date NOT NULL DEFAULT current_date);

CREATE TABLE kennel.owners (
  kennel    kennel.code NOT NULL DEFAULT kennel.here() REFERENCES kennel.kennels,
  owner_no  integer NOT NULL CHECK (owner_no > 0),
  full_name text NOT NULL CHECK (full_name <> ''),
  email     text CHECK (email LIKE '%_@_%'),
  iban      text CHECK (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}$'),
  PRIMARY KEY (kennel, owner_no),
  UNIQUE (kennel, email));

CREATE TABLE kennel.pets (
  kennel   kennel.code NOT NULL DEFAULT kennel.here(),
  pet_no   integer NOT NULL CHECK (pet_no > 0),
  owner_no integer NOT NULL,
  name     text NOT NULL,
  species  text NOT NULL REFERENCES kennel.species,
  born_on  date,
  chip     text CHECK (chip ~ '^[0-9]{15}$'),
  PRIMARY KEY (kennel, pet_no),
  UNIQUE (kennel, chip),
  FOREIGN KEY (kennel, owner_no) REFERENCES kennel.owners ON DELETE CASCADE);

CREATE TABLE kennel.vaccinations (
  kennel      kennel.code NOT NULL DEFAULT kennel.here(),
  pet_no      integer NOT NULL,
  vaccine     text NOT NULL,
  given_on    date NOT NULL,
  valid_until date NOT NULL,
  PRIMARY KEY (kennel, pet_no, vaccine, given_on),
  FOREIGN KEY (kennel, pet_no) REFERENCES kennel.pets ON DELETE CASCADE,
  CHECK (valid_until > given_on));

CREATE TABLE kennel.pens (
  kennel  kennel.code NOT NULL DEFAULT kennel.here() REFERENCES kennel.kennels,
  pen     text NOT NULL CHECK (pen ~ '^[A-Z][0-9]{1,3}$'),
  indoor  boolean NOT NULL DEFAULT true,
  per_day numeric(8,2) NOT NULL CHECK (per_day >= 0),
  PRIMARY KEY (kennel, pen));

CREATE TABLE kennel.bookings (
  kennel     kennel.code NOT NULL DEFAULT kennel.here(),
  booking_no integer NOT NULL CHECK (booking_no > 0),
  owner_no   integer NOT NULL,
  pen        text NOT NULL,
  comes_on   date NOT NULL,
  leaves_on  date NOT NULL,
  state      kennel.booking_state NOT NULL DEFAULT 'asked',
  price      numeric(8,2) NOT NULL DEFAULT 0 CHECK (price >= 0),
  paid       boolean NOT NULL DEFAULT false,
  PRIMARY KEY (kennel, booking_no),
  FOREIGN KEY (kennel, owner_no) REFERENCES kennel.owners,
  FOREIGN KEY (kennel, pen) REFERENCES kennel.pens,
  CHECK (leaves_on >= comes_on));

CREATE TABLE kennel.booking_pets (
  kennel     kennel.code NOT NULL DEFAULT kennel.here(),
  booking_no integer NOT NULL,
  pet_no     integer NOT NULL,
  food       text,
  PRIMARY KEY (kennel, booking_no, pet_no),
  FOREIGN KEY (kennel, booking_no) REFERENCES kennel.bookings ON DELETE CASCADE,
  FOREIGN KEY (kennel, pet_no) REFERENCES kennel.pets ON DELETE CASCADE);

-- Filled from the bank's file each morning, matched with bookings, kept until the office has looked at the rest.
CREATE TABLE kennel.bank_lines (
  kennel     kennel.code NOT NULL DEFAULT kennel.here() REFERENCES kennel.kennels,
  booked_on  date NOT NULL,
  line_no    integer NOT NULL CHECK (line_no > 0),
  payer      text NOT NULL,
  amount     numeric(10,2) NOT NULL,
  purpose    text NOT NULL DEFAULT '',
  booking_no integer,
  PRIMARY KEY (kennel, booked_on, line_no),
  FOREIGN KEY (kennel, booking_no) REFERENCES kennel.bookings ON DELETE SET NULL (booking_no));

CREATE FUNCTION kennel.match_bank_lines() RETURNS bigint LANGUAGE sql AS $$
  WITH hit AS (
    UPDATE kennel.bank_lines l SET booking_no = b.booking_no
    FROM kennel.bookings b
    WHERE b.kennel = l.kennel AND l.booking_no IS NULL AND l.amount = b.price
      AND l.purpose ~ ('\y' || b.booking_no || '\y')
    RETURNING l.booking_no)
  SELECT count(*) FROM hit $$;

CREATE VIEW kennel.occupancy WITH (security_invoker = true) AS
  SELECT p.kennel, p.pen, b.booking_no, b.comes_on, b.leaves_on
  FROM kennel.pens p JOIN kennel.bookings b USING (kennel, pen)
  WHERE b.state IN ('confirmed', 'in_house');

DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY '{owners,pets,vaccinations,pens,bookings,booking_pets,bank_lines}'::text[] LOOP
    EXECUTE format('ALTER TABLE kennel.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY ours ON kennel.%I TO seven1_app USING (kennel = kennel.here()) WITH CHECK (kennel = kennel.here())', t);
  END LOOP;
END $$;
ALTER TABLE kennel.kennels ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY ours ON kennel.kennels TO seven1_app USING (kennel = kennel.here()) WITH CHECK (kennel = kennel.here());
ALTER TABLE kennel.species ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON kennel.species FOR SELECT TO seven1_app USING (true);

GRANT SELECT ON kennel.species, kennel.kennels, kennel.occupancy TO seven1_app;
GRANT UPDATE (title, phone) ON kennel.kennels TO seven1_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON kennel.owners, kennel.pets, kennel.vaccinations, kennel.pens, kennel.bookings,
  kennel.booking_pets TO seven1_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON kennel.bank_lines TO seven1_app;
REVOKE EXECUTE ON FUNCTION kennel.match_bank_lines() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION kennel.match_bank_lines() TO seven1_app;
RESET ROLE;
