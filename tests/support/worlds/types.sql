-- A laboratory: every type that PostgreSQL has, domains over domains, types of the schema's own.
CREATE EXTENSION IF NOT EXISTS citext;
CREATE EXTENSION IF NOT EXISTS ltree;
CREATE EXTENSION IF NOT EXISTS hstore;

DO $$ BEGIN CREATE ROLE app_user NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;

CREATE DOMAIN code AS text CHECK (VALUE ~ '^[A-Z]{3}-[0-9]{4}$');
CREATE DOMAIN slug AS citext CHECK (VALUE ~ '^[a-z0-9]+(-[a-z0-9]+)*$') CHECK (length(VALUE) <= 40);
CREATE DOMAIN percentage AS numeric(5, 2) CHECK (VALUE >= 0 AND VALUE <= 100);
CREATE DOMAIN positive AS integer NOT NULL CHECK (VALUE > 0);
CREATE DOMAIN small_positive AS positive CHECK (VALUE < 100);
CREATE DOMAIN mail AS citext CHECK (VALUE ~ '^[^@\s]+@[^@\s]+\.[a-z]{2,}$');
CREATE DOMAIN weekday AS smallint CHECK (VALUE BETWEEN 1 AND 7);
CREATE DOMAIN hex_colour AS char(7) CHECK (VALUE ~ '^#[0-9a-f]{6}$');
CREATE DOMAIN tag_list AS text[] CHECK (cardinality(VALUE) BETWEEN 1 AND 5);
CREATE DOMAIN settings_document AS jsonb CHECK (jsonb_typeof(VALUE) = 'object' AND VALUE ? 'locale');
CREATE DOMAIN currency AS char(3) CHECK (VALUE = upper(VALUE) AND VALUE ~ '^[A-Z]{3}$');
CREATE DOMAIN iban AS varchar(34) CHECK (length(VALUE) >= 15);
CREATE TYPE severity AS ENUM ('low', 'middle', 'high');
CREATE TYPE address AS (street text, number integer, town varchar(20), kind severity);
CREATE TYPE money_amount AS (amount numeric(12, 2), currency currency);
CREATE TYPE contact AS (name text, home address, reach mail);
CREATE TYPE float_range AS RANGE (subtype = float8);
CREATE TYPE severity_range AS RANGE (subtype = severity);
CREATE DOMAIN office AS address CHECK ((VALUE).town IS NOT NULL);

CREATE TABLE laboratory (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  colour hex_colour NOT NULL,
  seat address NOT NULL
);
CREATE TABLE numbers (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a smallint NOT NULL, b integer NOT NULL, c bigint NOT NULL, d numeric NOT NULL, e numeric(4, 2) NOT NULL, f numeric(3, 3) NOT NULL,
  g real NOT NULL, h double precision NOT NULL, i money NOT NULL, j oid NOT NULL, k percentage NOT NULL, l positive, m small_positive,
  n weekday NOT NULL, o numeric(2, 0) NOT NULL, p numeric(10, 4) NOT NULL);
CREATE TABLE texts (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a text NOT NULL, b varchar NOT NULL, c varchar(3) NOT NULL, d char NOT NULL, e char(12) NOT NULL, f name NOT NULL, g citext NOT NULL,
  h code NOT NULL, i slug NOT NULL, j mail NOT NULL, k currency NOT NULL, l iban NOT NULL, m "char" NOT NULL, n varchar(1) NOT NULL);
CREATE TABLE times (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a date NOT NULL, b time NOT NULL, c timetz NOT NULL, d timestamp NOT NULL, e timestamptz NOT NULL, f interval NOT NULL,
  g timestamptz(0) NOT NULL, h interval day to second NOT NULL, i time(3) NOT NULL);
CREATE TABLE ranges (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a int4range NOT NULL, b int8range NOT NULL, c numrange NOT NULL, d tsrange NOT NULL, e tstzrange NOT NULL, f daterange NOT NULL,
  g int4multirange NOT NULL, h nummultirange NOT NULL, i datemultirange NOT NULL, j tstzmultirange NOT NULL, k float_range NOT NULL,
  l float_multirange NOT NULL, m severity_range NOT NULL);
CREATE TABLE networks (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a inet NOT NULL, b cidr NOT NULL, c macaddr NOT NULL, d macaddr8 NOT NULL);
CREATE TABLE shapes (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a point NOT NULL, b line NOT NULL, c lseg NOT NULL, d box NOT NULL, e path NOT NULL, f polygon NOT NULL, g circle NOT NULL);
CREATE TABLE bits (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a bit NOT NULL, b bit(8) NOT NULL, c varbit NOT NULL, d varbit(4) NOT NULL, e bytea NOT NULL, f uuid NOT NULL, g pg_lsn NOT NULL,
  h xid8 NOT NULL, i tid NOT NULL, j pg_snapshot NOT NULL, k xid NOT NULL);
CREATE TABLE searches (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a tsvector NOT NULL, b tsquery NOT NULL, c xml NOT NULL, d json NOT NULL, e jsonb NOT NULL, f jsonpath NOT NULL, g hstore NOT NULL,
  h ltree NOT NULL, i lquery NOT NULL, j ltxtquery NOT NULL, k settings_document NOT NULL);
CREATE TABLE catalogued (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a regclass NOT NULL, b regtype NOT NULL, c regproc NOT NULL, d regprocedure NOT NULL, e regnamespace NOT NULL, f regrole NOT NULL,
  g regconfig NOT NULL, h regdictionary NOT NULL, i regoper NOT NULL, j regoperator NOT NULL, k regcollation NOT NULL);
CREATE TABLE arrays (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a integer[] NOT NULL, b text[] NOT NULL, c uuid[] NOT NULL, d severity[] NOT NULL, e jsonb[] NOT NULL, f date[] NOT NULL, g code[] NOT NULL,
  h tag_list NOT NULL, i address[] NOT NULL, j numeric(4, 1)[] NOT NULL, k varchar(3)[] NOT NULL, l tstzrange[] NOT NULL, m inet[] NOT NULL,
  n bytea[] NOT NULL, o boolean[][] NOT NULL);
CREATE TABLE composites (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory,
  a address NOT NULL, b contact NOT NULL, c money_amount NOT NULL, d office NOT NULL, e contact[] NOT NULL);
CREATE TABLE generated (
  id bigint GENERATED ALWAYS AS IDENTITY, tenant_id uuid NOT NULL REFERENCES laboratory,
  net numeric(10, 2) NOT NULL, rate percentage NOT NULL, gross numeric GENERATED ALWAYS AS (net * (1 + rate / 100)) STORED,
  line_no integer GENERATED BY DEFAULT AS IDENTITY, search tsvector GENERATED ALWAYS AS (to_tsvector('simple', 'x')) STORED,
  PRIMARY KEY (tenant_id, id));
CREATE TABLE defaults (
  tenant_id uuid NOT NULL DEFAULT current_tenant() REFERENCES laboratory, no serial, made timestamptz NOT NULL DEFAULT now(),
  level severity NOT NULL DEFAULT 'middle', tags text[] NOT NULL DEFAULT '{}', extra jsonb NOT NULL DEFAULT '{}', token uuid NOT NULL DEFAULT gen_random_uuid(),
  weight numeric NOT NULL DEFAULT 1.5, label text NOT NULL DEFAULT ('n-' || substr(gen_random_uuid()::text, 1, 6)), PRIMARY KEY (tenant_id, no));
CREATE TABLE "Quoted Name" (
  "Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES laboratory, "a ""b""" text NOT NULL, "order" integer NOT NULL,
  "Level" severity NOT NULL, UNIQUE (tenant_id, "order"));

GRANT USAGE ON SCHEMA public TO app_user;
DO $$
DECLARE t regclass;
BEGIN
  FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'laboratory' LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY mine ON %s TO app_user USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO app_user', t);
  END LOOP;
END $$;
ALTER TABLE laboratory ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON laboratory FOR SELECT TO app_user USING (id = current_tenant());
GRANT SELECT ON laboratory TO app_user;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app_user;
