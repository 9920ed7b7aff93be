-- A clinic: composite, cyclic, deferrable and self-referring foreign keys, exclusion constraints, computed and partial keys.
CREATE EXTENSION IF NOT EXISTS btree_gist;
DO $$ BEGIN CREATE ROLE app_user NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;

CREATE TABLE clinic (id uuid PRIMARY KEY, name text NOT NULL, director_id uuid);
CREATE TABLE staff (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, name text NOT NULL, email text NOT NULL, manager_id uuid, ward_id uuid,
  UNIQUE (tenant_id, id), FOREIGN KEY (tenant_id, manager_id) REFERENCES staff (tenant_id, id));
CREATE UNIQUE INDEX ON staff (tenant_id, lower(email));
ALTER TABLE clinic ADD FOREIGN KEY (id, director_id) REFERENCES staff (tenant_id, id);
-- A ward has a head, who works in a ward: both may be unknown.
CREATE TABLE ward (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, name text NOT NULL, head_id uuid, UNIQUE (tenant_id, id), UNIQUE (tenant_id, name),
  FOREIGN KEY (tenant_id, head_id) REFERENCES staff (tenant_id, id));
ALTER TABLE staff ADD FOREIGN KEY (tenant_id, ward_id) REFERENCES ward (tenant_id, id);
-- A patient has a first file, a file has a patient: neither may be unknown.
CREATE TABLE patient (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, name text NOT NULL, first_file_id uuid NOT NULL, UNIQUE (tenant_id, id));
CREATE TABLE file (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, patient_id uuid NOT NULL, title text NOT NULL, UNIQUE (tenant_id, id),
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patient (tenant_id, id) DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE patient ADD FOREIGN KEY (tenant_id, first_file_id) REFERENCES file (tenant_id, id) DEFERRABLE INITIALLY DEFERRED;
-- The same in a circle of three, and not deferrable.
CREATE TABLE device (tenant_id uuid NOT NULL REFERENCES clinic, no bigint NOT NULL, contract_no bigint NOT NULL, PRIMARY KEY (tenant_id, no));
CREATE TABLE contract (tenant_id uuid NOT NULL REFERENCES clinic, no bigint GENERATED ALWAYS AS IDENTITY, supplier_no bigint NOT NULL, PRIMARY KEY (tenant_id, no));
CREATE TABLE supplier (tenant_id uuid NOT NULL REFERENCES clinic, no bigint NOT NULL, sample_no bigint NOT NULL, PRIMARY KEY (tenant_id, no));
ALTER TABLE device ADD FOREIGN KEY (tenant_id, contract_no) REFERENCES contract;
ALTER TABLE contract ADD FOREIGN KEY (tenant_id, supplier_no) REFERENCES supplier;
ALTER TABLE supplier ADD FOREIGN KEY (tenant_id, sample_no) REFERENCES device;
-- Every account has a parent; the topmost is its own.
CREATE TABLE account (tenant_id uuid NOT NULL REFERENCES clinic, code text NOT NULL, parent_code text NOT NULL, PRIMARY KEY (tenant_id, code), FOREIGN KEY (tenant_id, parent_code) REFERENCES account);
CREATE TABLE room (
  tenant_id uuid NOT NULL REFERENCES clinic, building smallint NOT NULL, floor smallint NOT NULL, no smallint NOT NULL, PRIMARY KEY (tenant_id, building, floor, no));
CREATE TABLE booking (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, building smallint NOT NULL, floor smallint NOT NULL, no smallint NOT NULL, during tstzrange NOT NULL,
  FOREIGN KEY (tenant_id, building, floor, no) REFERENCES room, EXCLUDE USING gist (tenant_id WITH =, building WITH =, floor WITH =, no WITH =, during WITH &&));
CREATE TABLE shift (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, staff_id uuid NOT NULL, starts_at timestamptz NOT NULL, ends_at timestamptz NOT NULL, CHECK (starts_at < ends_at),
  FOREIGN KEY (tenant_id, staff_id) REFERENCES staff (tenant_id, id), EXCLUDE USING gist (tenant_id WITH =, staff_id WITH =, tstzrange(starts_at, ends_at) WITH &&));
CREATE TABLE address (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, staff_id uuid NOT NULL, is_primary boolean NOT NULL DEFAULT true, town text NOT NULL, closed_at timestamptz,
  FOREIGN KEY (tenant_id, staff_id) REFERENCES staff (tenant_id, id));
CREATE UNIQUE INDEX ON address (tenant_id, staff_id) WHERE is_primary AND closed_at IS NULL;
CREATE TABLE consultation (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, patient_id uuid NOT NULL, at date NOT NULL, referred_clinic uuid, referred_by uuid,
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patient (tenant_id, id), FOREIGN KEY (referred_clinic, referred_by) REFERENCES staff (tenant_id, id) MATCH FULL, CHECK (referred_clinic = tenant_id), UNIQUE (tenant_id, patient_id, at));
CREATE TABLE diagnosis (
  tenant_id uuid NOT NULL REFERENCES clinic, patient_id uuid NOT NULL, seq integer NOT NULL, parent_seq integer, icd text NOT NULL, PRIMARY KEY (tenant_id, patient_id, seq),
  FOREIGN KEY (tenant_id, patient_id) REFERENCES patient (tenant_id, id), FOREIGN KEY (tenant_id, patient_id, parent_seq) REFERENCES diagnosis);
CREATE TABLE friendship (
  tenant_id uuid NOT NULL REFERENCES clinic, one_id uuid NOT NULL, other_id uuid NOT NULL, PRIMARY KEY (tenant_id, one_id, other_id), CHECK (one_id < other_id),
  FOREIGN KEY (tenant_id, one_id) REFERENCES staff (tenant_id, id), FOREIGN KEY (tenant_id, other_id) REFERENCES staff (tenant_id, id));
CREATE TABLE setting (tenant_id uuid NOT NULL REFERENCES clinic, name text NOT NULL, value text, PRIMARY KEY (tenant_id, name), UNIQUE NULLS NOT DISTINCT (tenant_id, value));
CREATE TABLE position (tenant_id uuid NOT NULL REFERENCES clinic, id uuid PRIMARY KEY DEFAULT gen_random_uuid(), rank integer NOT NULL, UNIQUE (tenant_id, rank) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE only_one (tenant_id uuid PRIMARY KEY REFERENCES clinic, logo text NOT NULL);
CREATE TABLE transfer (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES clinic, from_code text NOT NULL, to_code text NOT NULL, CHECK (from_code <> to_code), amount numeric(9, 2) NOT NULL CHECK (amount > 0),
  FOREIGN KEY (tenant_id, from_code) REFERENCES account, FOREIGN KEY (tenant_id, to_code) REFERENCES account);

GRANT USAGE ON SCHEMA public TO app_user;
DO $$
DECLARE t regclass;
BEGIN
  FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'clinic' LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY mine ON %s TO app_user USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO app_user', t);
  END LOOP;
END $$;
ALTER TABLE clinic ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON clinic FOR SELECT TO app_user USING (id = current_tenant());
GRANT SELECT ON clinic TO app_user;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app_user;
