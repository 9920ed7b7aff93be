-- ---------------------------------------------------------------------------
-- 002  Reference data, the same for all companies. Written by releases only.
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE DOMAIN core.company_code AS TEXT
  CONSTRAINT company_code_format CHECK (VALUE ~ '^[A-Z][A-Z0-9]{3,7}$');
CREATE DOMAIN core.email_address AS TEXT
  CONSTRAINT email_address_format CHECK (VALUE = lower(VALUE) AND VALUE ~ '^[^@\s]+@[^@\s]+\.[^@\s]+$');
CREATE DOMAIN core.amount   AS NUMERIC(18,4);
CREATE DOMAIN core.quantity AS NUMERIC(18,6);

CREATE TYPE core.company_region  AS ENUM ('EMEA', 'AMER', 'APAC');
CREATE TYPE core.company_status  AS ENUM ('active', 'suspended', 'closed');
CREATE TYPE core.company_role    AS ENUM ('owner', 'admin', 'accountant', 'hr_manager', 'auditor', 'clerk', 'viewer');
CREATE TYPE core.approval_status AS ENUM ('draft', 'pending', 'approved', 'rejected', 'withdrawn');

CREATE TABLE core.currency (
  code           CHAR(3)     NOT NULL,
  name           TEXT        NOT NULL,
  minor_units    SMALLINT    NOT NULL DEFAULT 2,
  CONSTRAINT currency_pk PRIMARY KEY (code),
  CONSTRAINT currency_code_ck CHECK (code ~ '^[A-Z]{3}$'),
  CONSTRAINT currency_minor_units_ck CHECK (minor_units BETWEEN 0 AND 4)
);
COMMENT ON TABLE core.currency IS 'ISO 4217 currencies (reference data)';

CREATE TABLE core.country (
  code           CHAR(2)     NOT NULL,
  name           TEXT        NOT NULL,
  region         core.company_region NOT NULL,
  currency_code  CHAR(3)     NOT NULL,
  eu_member      BOOLEAN     NOT NULL DEFAULT FALSE,
  CONSTRAINT country_pk PRIMARY KEY (code),
  CONSTRAINT country_code_ck CHECK (code ~ '^[A-Z]{2}$'),
  CONSTRAINT country_currency_fk FOREIGN KEY (currency_code) REFERENCES core.currency (code)
);
COMMENT ON TABLE core.country IS 'ISO 3166-1 countries (reference data)';

CREATE TABLE core.tax_code (
  country_code   CHAR(2)      NOT NULL,
  code           VARCHAR(8)   NOT NULL,
  description    TEXT         NOT NULL,
  rate           NUMERIC(6,4) NOT NULL,
  valid_from     DATE         NOT NULL DEFAULT DATE '2000-01-01',
  CONSTRAINT tax_code_pk PRIMARY KEY (country_code, code),
  CONSTRAINT tax_code_country_fk FOREIGN KEY (country_code) REFERENCES core.country (code),
  CONSTRAINT tax_code_rate_ck CHECK (rate BETWEEN 0 AND 1)
);
COMMENT ON TABLE core.tax_code IS 'Statutory tax codes per country (reference data)';

CREATE TABLE core.unit_of_measure (
  code           VARCHAR(6)   NOT NULL,
  name           TEXT         NOT NULL,
  dimension      TEXT         NOT NULL,
  factor         NUMERIC      NOT NULL DEFAULT 1,
  CONSTRAINT unit_of_measure_pk PRIMARY KEY (code),
  CONSTRAINT unit_of_measure_dimension_ck CHECK (dimension IN ('count', 'mass', 'length', 'volume', 'time')),
  CONSTRAINT unit_of_measure_factor_ck CHECK (factor > 0)
);
COMMENT ON TABLE core.unit_of_measure IS 'Units of measure (reference data)';

CREATE TABLE core.exchange_rate (
  from_currency  CHAR(3)       NOT NULL,
  to_currency    CHAR(3)       NOT NULL,
  rate_date      DATE          NOT NULL,
  rate           NUMERIC(18,8) NOT NULL,
  CONSTRAINT exchange_rate_pk PRIMARY KEY (from_currency, to_currency, rate_date),
  CONSTRAINT exchange_rate_from_fk FOREIGN KEY (from_currency) REFERENCES core.currency (code),
  CONSTRAINT exchange_rate_to_fk   FOREIGN KEY (to_currency)   REFERENCES core.currency (code),
  CONSTRAINT exchange_rate_pair_ck CHECK (from_currency <> to_currency),
  CONSTRAINT exchange_rate_rate_ck CHECK (rate > 0)
);
COMMENT ON TABLE core.exchange_rate IS 'Central bank fixing, loaded daily for all companies (reference data)';

INSERT INTO core.currency (code, name, minor_units) VALUES
  ('EUR', 'Euro', 2), ('USD', 'US Dollar', 2), ('GBP', 'Pound Sterling', 2), ('JPY', 'Yen', 0), ('CHF', 'Swiss Franc', 2);
INSERT INTO core.country (code, name, region, currency_code, eu_member) VALUES
  ('DE', 'Germany', 'EMEA', 'EUR', TRUE), ('FR', 'France', 'EMEA', 'EUR', TRUE), ('GB', 'United Kingdom', 'EMEA', 'GBP', FALSE),
  ('CH', 'Switzerland', 'EMEA', 'CHF', FALSE), ('US', 'United States', 'AMER', 'USD', FALSE), ('JP', 'Japan', 'APAC', 'JPY', FALSE);
INSERT INTO core.tax_code (country_code, code, description, rate) VALUES
  ('DE', 'V19', 'Umsatzsteuer 19 %', 0.19), ('DE', 'V7', 'Umsatzsteuer 7 %', 0.07), ('FR', 'V20', 'TVA 20 %', 0.20),
  ('GB', 'V20', 'VAT 20 %', 0.20), ('US', 'EX', 'Exempt', 0), ('JP', 'C10', 'Consumption tax', 0.10);
INSERT INTO core.unit_of_measure (code, name, dimension, factor) VALUES
  ('PCE', 'Piece', 'count', 1), ('BOX', 'Box', 'count', 1), ('KG', 'Kilogram', 'mass', 1), ('G', 'Gram', 'mass', 0.001),
  ('M', 'Metre', 'length', 1), ('L', 'Litre', 'volume', 1), ('H', 'Hour', 'time', 1);
INSERT INTO core.exchange_rate (from_currency, to_currency, rate_date, rate) VALUES
  ('EUR', 'USD', DATE '2026-10-01', 1.1423), ('EUR', 'GBP', DATE '2026-10-01', 0.8611), ('EUR', 'CHF', DATE '2026-10-01', 0.9377);

DO $$
DECLARE
  t REGCLASS;
BEGIN
  FOREACH t IN ARRAY ARRAY['core.currency', 'core.country', 'core.tax_code', 'core.unit_of_measure', 'core.exchange_rate']::REGCLASS[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY reference_read ON %s FOR SELECT USING (TRUE)', t);
    EXECUTE format('GRANT SELECT ON %s TO erp_app, erp_readonly', t);
  END LOOP;
END
$$;

RESET ROLE;
