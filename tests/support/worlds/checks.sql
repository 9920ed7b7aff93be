-- A rental business whose rules are all in CHECK constraints.
DO $$ BEGIN CREATE ROLE app_user NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;
CREATE FUNCTION is_luhn(digits text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE total integer := 0; d integer;
BEGIN
  FOR i IN 1..length(digits) LOOP
    d := substr(digits, length(digits) - i + 1, 1)::integer;
    IF i % 2 = 0 THEN d := d * 2; IF d > 9 THEN d := d - 9; END IF; END IF;
    total := total + d;
  END LOOP;
  RETURN total % 10 = 0;
END $$;

CREATE TABLE business (id uuid PRIMARY KEY, name text NOT NULL CHECK (name = btrim(name) AND name <> ''), plan text NOT NULL CHECK (plan IN ('solo', 'team')));
CREATE TABLE vehicle (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business,
  plate text NOT NULL CHECK (plate ~ '^[A-Z]{1,3}-[A-Z]{1,2} [0-9]{1,4}$'), vin char(17) NOT NULL CHECK (vin ~ '^[A-HJ-NPR-Z0-9]{17}$'),
  seats smallint NOT NULL CHECK (seats BETWEEN 1 AND 9), built integer NOT NULL CHECK (built > 1950 AND built <= 2100),
  state text NOT NULL CHECK (state = ANY (ARRAY['free', 'rented', 'sold'])), sold_at timestamptz, price numeric(10, 2),
  CHECK ((state = 'sold') = (sold_at IS NOT NULL)), CHECK (state <> 'sold' OR price > 0), UNIQUE (tenant_id, plate), UNIQUE (tenant_id, id));
CREATE TABLE customer (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business,
  kind text NOT NULL, first_name text, last_name text, company text, vat text CHECK (vat IS NULL OR vat ~ '^DE[0-9]{9}$'),
  born date CHECK (born < '2008-01-01' AND born > '1900-01-01'), email text CHECK (position('@' in email) > 1), phone text CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
  CHECK (CASE kind WHEN 'person' THEN first_name IS NOT NULL AND last_name IS NOT NULL AND company IS NULL WHEN 'company' THEN company IS NOT NULL AND first_name IS NULL ELSE false END),
  CHECK (email IS NOT NULL OR phone IS NOT NULL), UNIQUE (tenant_id, id));
CREATE TABLE rental (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business, vehicle_id uuid NOT NULL, customer_id uuid NOT NULL,
  starts_on date NOT NULL, ends_on date NOT NULL, returned_at timestamptz, odometer_out integer NOT NULL CHECK (odometer_out >= 0), odometer_in integer,
  CHECK (starts_on < ends_on), CHECK (ends_on - starts_on <= 90), CHECK (odometer_in IS NULL OR odometer_in >= odometer_out),
  CHECK ((returned_at IS NULL) = (odometer_in IS NULL)), CHECK (returned_at IS NULL OR returned_at >= starts_on),
  FOREIGN KEY (tenant_id, vehicle_id) REFERENCES vehicle (tenant_id, id), FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id), UNIQUE (tenant_id, id));
CREATE TABLE payment (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business, rental_id uuid NOT NULL,
  card_no text, iban text, cash_received numeric, CHECK (num_nonnulls(card_no, iban, cash_received) = 1),
  amount numeric(8, 2) NOT NULL CHECK (amount > 0 AND amount < 5000), currency char(3) NOT NULL CHECK (currency IN ('EUR', 'CHF')),
  tax numeric(8, 2) NOT NULL, total numeric(8, 2) NOT NULL, CHECK (total = amount + tax), CHECK (tax >= 0 AND tax <= amount * 0.25),
  FOREIGN KEY (tenant_id, rental_id) REFERENCES rental (tenant_id, id));
CREATE TABLE discount (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business,
  code text NOT NULL CHECK (code = upper(code) AND length(code) BETWEEN 4 AND 10 AND code !~ '[^A-Z0-9]'), percent numeric(4, 1), amount integer,
  CHECK ((percent IS NULL) <> (amount IS NULL)), CHECK (percent > 0 AND percent <= 50), CHECK (amount % 5 = 0), valid daterange NOT NULL CHECK (NOT isempty(valid) AND lower(valid) IS NOT NULL), UNIQUE (tenant_id, code));
CREATE TABLE preference (
  tenant_id uuid PRIMARY KEY REFERENCES business, settings jsonb NOT NULL,
  CHECK (jsonb_typeof(settings) = 'object'), CHECK (settings ? 'locale' AND settings ->> 'locale' IN ('de', 'en')), CHECK ((settings ->> 'retention_days')::integer BETWEEN 30 AND 3650),
  CHECK (jsonb_typeof(settings -> 'features') = 'array'), CHECK (settings #>> '{mail,from}' IS NOT NULL));
CREATE TABLE opening (
  tenant_id uuid NOT NULL REFERENCES business, weekday smallint NOT NULL CHECK (weekday >= 0 AND weekday < 7), opens time NOT NULL, closes time NOT NULL,
  break_from time, break_to time, CHECK (opens < closes), CHECK ((break_from IS NULL AND break_to IS NULL) OR (break_from > opens AND break_to < closes AND break_from < break_to)), PRIMARY KEY (tenant_id, weekday));
CREATE TABLE asset (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business,
  sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'), mime text NOT NULL CHECK (mime LIKE '%/%'), path text NOT NULL CHECK (path LIKE 'assets/%' AND path NOT LIKE '%..%'),
  size bigint NOT NULL CHECK (size > 0 AND size <= 10485760), url text CHECK (url ~* '^https://[a-z0-9.-]+/'), version text NOT NULL CHECK (version ~ '^\d+\.\d+\.\d+$'), width int, height int, CHECK ((width IS NULL) = (height IS NULL)), CHECK (width * height < 1000000));
CREATE TABLE schedule (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business, vehicle_id uuid, customer_id uuid, month date NOT NULL CHECK (extract(day FROM month) = 1),
  every interval NOT NULL CHECK (every >= interval '1 day' AND every <= interval '1 year'), hours int[] NOT NULL CHECK (array_length(hours, 1) = 2 AND hours[1] < hours[2] AND hours[1] >= 0 AND hours[2] <= 24),
  CHECK (((vehicle_id IS NOT NULL)::int + (customer_id IS NOT NULL)::int) = 1),
  FOREIGN KEY (tenant_id, vehicle_id) REFERENCES vehicle (tenant_id, id), FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id));
CREATE TABLE permission (
  tenant_id uuid NOT NULL REFERENCES business, role text NOT NULL CHECK (role ~ '^(owner|clerk)$'), verbs text[] NOT NULL CHECK (verbs <@ ARRAY['read', 'write', 'void'] AND cardinality(verbs) > 0), PRIMARY KEY (tenant_id, role));
CREATE TABLE card (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business, number text NOT NULL CHECK (number ~ '^[0-9]{8}$' AND is_luhn(number)),
  expiry text NOT NULL CHECK (expiry ~ '^(0[1-9]|1[0-2])/[0-9]{2}$'), last4 text GENERATED ALWAYS AS (right(number, 4)) STORED CHECK (length(last4) = 4));
CREATE TABLE meter (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business, low double precision NOT NULL, middle double precision NOT NULL, high double precision NOT NULL,
  CHECK (low < middle AND middle < high), share numeric(6, 5) NOT NULL CHECK (share > 0 AND share < 1), rest numeric(6, 5) NOT NULL, CHECK (share + rest = 1), factor numeric NOT NULL CHECK (factor <> 0), reading integer NOT NULL CHECK (100 / factor < 1000));
CREATE TABLE tree (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business, parent_id uuid, depth integer NOT NULL, name text NOT NULL,
  CHECK ((parent_id IS NULL) = (depth = 0)), CHECK (depth BETWEEN 0 AND 10), CHECK (parent_id <> id), UNIQUE (tenant_id, id), FOREIGN KEY (tenant_id, parent_id) REFERENCES tree (tenant_id, id));
CREATE TABLE note (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES business, body text NOT NULL CHECK (char_length(body) >= 20 AND char_length(body) <= 500), language text NOT NULL CHECK (language ~ '^[a-z]{2}(-[A-Z]{2})?$'),
  mood char(1) NOT NULL CHECK (mood IN ('a', 'b')), ip inet CHECK (family(ip) = 4), net cidr CHECK (masklen(net) = 24), pos point CHECK (pos[0] BETWEEN -180 AND 180 AND pos[1] BETWEEN -90 AND 90), seen_from timestamptz, seen_to timestamptz, CHECK (seen_to > seen_from + interval '1 hour'));
CREATE TABLE quota (
  tenant_id uuid NOT NULL REFERENCES business, resource text NOT NULL CHECK (resource IN ('cars', 'users', 'storage')), soft_limit int NOT NULL, hard_limit int NOT NULL, used int NOT NULL DEFAULT 0,
  CHECK (soft_limit <= hard_limit), CHECK (used <= hard_limit), CHECK (CASE WHEN resource = 'storage' THEN hard_limit % 1024 = 0 ELSE hard_limit < 500 END), PRIMARY KEY (tenant_id, resource));

GRANT USAGE ON SCHEMA public TO app_user;
DO $$
DECLARE t regclass;
BEGIN
  FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'business' LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY mine ON %s TO app_user USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO app_user', t);
  END LOOP;
END $$;
ALTER TABLE business ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON business FOR SELECT TO app_user USING (id = current_tenant());
GRANT SELECT ON business TO app_user;
