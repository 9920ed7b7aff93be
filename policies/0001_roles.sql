-- Roles, and the schema they work in.
--
-- Four roles, none of which can log in. A pooled connection logs in as a role of the deployment that is
-- NOINHERIT and a member of the request roles, and becomes one of them for one transaction:
--
--   BEGIN;
--   SET LOCAL ROLE tenantproof_member;
--   SELECT set_config('app.tenant_id', $1, true), set_config('app.user_id', $2, true);
--   ...
--   COMMIT;
--
-- tenantproof_member   a request of a member of a tenant
-- tenantproof_admin    a request of an administrator of a tenant
-- tenantproof_service  server-side work (provisioning, imports, retention), one tenant at a time
-- tenantproof_owner    owns every object; nobody is a member of it, so nobody is exempt as an owner
--
-- Roles belong to the whole server, so they may be there already.

DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['tenantproof_owner', 'tenantproof_member', 'tenantproof_admin', 'tenantproof_service'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS', wanted);
    END IF;
  END LOOP;
END
$$;

-- New databases already refuse CREATE to PUBLIC since PostgreSQL 15; upgraded ones may not.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO tenantproof_owner;
GRANT USAGE ON SCHEMA public TO tenantproof_member, tenantproof_admin, tenantproof_service;

-- Whoever may create a function may call it, and so may everybody else, unless this default is taken away.
-- It has to be taken away for the role as a whole: per schema, defaults can only be added.
ALTER DEFAULT PRIVILEGES FOR ROLE tenantproof_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
