-- ---------------------------------------------------------------------------
-- 001  Roles and schemas
--
-- ERP_OWNER     owns every object. NOLOGIN, granted to nobody. All tables are
--               FORCE ROW LEVEL SECURITY, so the definer routines it owns are
--               filtered as well.
-- ERP_BATCH     owns the materialized views and runs the nightly jobs. NOLOGIN.
--               Reads across companies, but only where a policy says so.
-- ERP_APP       login role of the application servers.
-- ERP_READONLY  login role of the report server.
-- ---------------------------------------------------------------------------
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'erp_owner') THEN
    CREATE ROLE erp_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'erp_batch') THEN
    CREATE ROLE erp_batch NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'erp_app') THEN
    CREATE ROLE erp_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'erp_readonly') THEN
    CREATE ROLE erp_readonly LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOBYPASSRLS;
  END IF;
END
$$;

CREATE EXTENSION IF NOT EXISTS btree_gist;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA core      AUTHORIZATION erp_owner;
CREATE SCHEMA audit     AUTHORIZATION erp_owner;
CREATE SCHEMA inventory AUTHORIZATION erp_owner;
CREATE SCHEMA sales     AUTHORIZATION erp_owner;
CREATE SCHEMA hr        AUTHORIZATION erp_owner;
CREATE SCHEMA finance   AUTHORIZATION erp_owner;
CREATE SCHEMA reporting AUTHORIZATION erp_owner;

COMMENT ON SCHEMA core      IS 'Companies, users, memberships, reference data and shared services';
COMMENT ON SCHEMA audit     IS 'Change log and business events, written by definer routines only';
COMMENT ON SCHEMA inventory IS 'Products, warehouses, purchasing, resources';
COMMENT ON SCHEMA sales     IS 'Customers, price lists, orders, invoices';
COMMENT ON SCHEMA hr        IS 'Departments, employees, absence and time';
COMMENT ON SCHEMA finance   IS 'General ledger, banking, payments';
COMMENT ON SCHEMA reporting IS 'Report views; materialized views are never granted directly';

GRANT USAGE ON SCHEMA core, audit, inventory, sales, hr, finance, reporting TO erp_app, erp_readonly;
GRANT USAGE ON SCHEMA core, sales, reporting TO erp_batch;

ALTER DEFAULT PRIVILEGES FOR ROLE erp_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
