-- ---------------------------------------------------------------------------
-- 003  Companies (the tenants), users, memberships, session helpers
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TABLE core.company (
  id                 core.company_code   NOT NULL,
  legal_name         TEXT                NOT NULL,
  trade_name         TEXT,
  region             core.company_region NOT NULL,
  country_code       CHAR(2)             NOT NULL,
  base_currency      CHAR(3)             NOT NULL,
  registration_no    TEXT,
  vat_number         TEXT,
  contact_email      core.email_address,
  street             TEXT,
  city               TEXT,
  postal_code        TEXT,
  fiscal_year_start  SMALLINT            NOT NULL DEFAULT 1,
  status             core.company_status NOT NULL DEFAULT 'active',
  settings           JSONB               NOT NULL DEFAULT '{}',
  primary_contact_id UUID,
  created_at         TIMESTAMPTZ         NOT NULL DEFAULT now(),
  updated_at         TIMESTAMPTZ         NOT NULL DEFAULT now(),
  CONSTRAINT company_pk PRIMARY KEY (id),
  CONSTRAINT company_region_uq UNIQUE (id, region),
  CONSTRAINT company_country_fk  FOREIGN KEY (country_code)  REFERENCES core.country (code),
  CONSTRAINT company_currency_fk FOREIGN KEY (base_currency) REFERENCES core.currency (code),
  CONSTRAINT company_fiscal_year_start_ck CHECK (fiscal_year_start BETWEEN 1 AND 12),
  CONSTRAINT company_settings_ck CHECK (jsonb_typeof(settings) = 'object')
);
COMMENT ON TABLE core.company IS 'Tenant. Created by provisioning only; administrators maintain a few columns';

CREATE TABLE core.app_user (
  id             UUID               NOT NULL DEFAULT gen_random_uuid(),
  email          core.email_address NOT NULL,
  full_name      TEXT               NOT NULL,
  locale         VARCHAR(10)        NOT NULL DEFAULT 'en-GB',
  status         TEXT               NOT NULL DEFAULT 'active',
  created_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  CONSTRAINT app_user_pk PRIMARY KEY (id),
  CONSTRAINT app_user_email_uq UNIQUE (email),
  CONSTRAINT app_user_status_ck CHECK (status IN ('active', 'locked', 'deleted')),
  CONSTRAINT app_user_locale_ck CHECK (locale ~ '^[a-z]{2}(-[A-Z]{2})?$')
);
COMMENT ON TABLE core.app_user IS 'Person with a login. May belong to several companies, is visible to itself only; colleagues see the membership';

CREATE TABLE core.membership (
  company_id     core.company_code NOT NULL,
  user_id        UUID              NOT NULL,
  role           core.company_role NOT NULL DEFAULT 'clerk',
  status         TEXT              NOT NULL DEFAULT 'active',
  display_name   TEXT              NOT NULL DEFAULT '',
  job_title      TEXT,
  notifications  JSONB             NOT NULL DEFAULT '{"email": true}',
  valid_from     DATE              NOT NULL DEFAULT CURRENT_DATE,
  valid_to       DATE,
  created_at     TIMESTAMPTZ       NOT NULL DEFAULT now(),
  CONSTRAINT membership_pk PRIMARY KEY (company_id, user_id),
  CONSTRAINT membership_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT membership_user_fk    FOREIGN KEY (user_id)    REFERENCES core.app_user (id),
  CONSTRAINT membership_status_ck  CHECK (status IN ('active', 'suspended', 'revoked')),
  CONSTRAINT membership_validity_ck CHECK (valid_to IS NULL OR valid_to >= valid_from),
  CONSTRAINT membership_notifications_ck CHECK (jsonb_typeof(notifications) = 'object')
);
COMMENT ON TABLE core.membership IS 'User of a company, its role and the dates between which it counts';
CREATE INDEX membership_user_ix ON core.membership (user_id);

ALTER TABLE core.company
  ADD CONSTRAINT company_primary_contact_fk FOREIGN KEY (id, primary_contact_id)
  REFERENCES core.membership (company_id, user_id) DEFERRABLE INITIALLY DEFERRED;

-- ------------------------------------------------------------ session helpers
-- Level 0: what the connection says. Not granted to request roles.
CREATE FUNCTION core.session_setting(p_name TEXT) RETURNS TEXT
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT nullif(current_setting(p_name, TRUE), '') $$;

CREATE FUNCTION core.session_company() RETURNS core.company_code
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_setting CONSTANT TEXT := core.session_setting('erp.company_id');
BEGIN
  IF v_setting ~ '^[A-Z][A-Z0-9]{3,7}$' THEN
    RETURN v_setting;
  END IF;
  RETURN NULL;
END
$$;

CREATE FUNCTION core.session_user_id() RETURNS UUID
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_setting CONSTANT TEXT := core.session_setting('erp.user_id');
BEGIN
  IF v_setting ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
    RETURN v_setting::UUID;
  END IF;
  RETURN NULL;
END
$$;

-- Level 1: what the connection says and the membership confirms. NULL otherwise.
CREATE FUNCTION core.current_company() RETURNS core.company_code
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT m.company_id
    FROM core.membership AS m
    JOIN core.company    AS c ON c.id = m.company_id
    JOIN core.app_user   AS u ON u.id = m.user_id
   WHERE m.company_id = core.session_company()
     AND m.user_id    = core.session_user_id()
     AND m.status = 'active'
     AND m.valid_from <= CURRENT_DATE
     AND (m.valid_to IS NULL OR m.valid_to >= CURRENT_DATE)
     AND c.status = 'active'
     AND u.status = 'active'
$$;
COMMENT ON FUNCTION core.current_company() IS 'Company of the request: erp.company_id, if erp.user_id is an active member of it today';

-- Level 2: built on level 1.
CREATE FUNCTION core.current_user_id() RETURNS UUID
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT core.session_user_id() WHERE core.current_company() IS NOT NULL $$;

CREATE FUNCTION core.current_region() RETURNS core.company_region
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT c.region FROM core.company AS c WHERE c.id = core.current_company() $$;

CREATE FUNCTION core.has_role(VARIADIC p_roles core.company_role[]) RETURNS BOOLEAN
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM core.membership AS m
     WHERE m.company_id = core.current_company()
       AND m.user_id    = core.current_user_id()
       AND m.role = ANY (p_roles))
$$;

GRANT EXECUTE ON FUNCTION core.current_company(), core.current_user_id(), core.current_region(), core.has_role(core.company_role[])
  TO erp_app, erp_readonly, erp_batch;

-- ---------------------------------------------------------------- row security
ALTER TABLE core.company    ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.company    FORCE  ROW LEVEL SECURITY;
ALTER TABLE core.app_user   ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.app_user   FORCE  ROW LEVEL SECURITY;
ALTER TABLE core.membership ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.membership FORCE  ROW LEVEL SECURITY;

-- The helpers above run as ERP_OWNER and look up these three tables by level 0.
CREATE POLICY company_lookup    ON core.company    FOR SELECT TO erp_owner USING (id = core.session_company());
CREATE POLICY app_user_lookup   ON core.app_user   FOR SELECT TO erp_owner USING (id = core.session_user_id());
CREATE POLICY membership_lookup ON core.membership FOR SELECT TO erp_owner USING (company_id = core.session_company());

CREATE POLICY company_select ON core.company FOR SELECT TO erp_app, erp_readonly
  USING (id = core.current_company());
CREATE POLICY company_update ON core.company FOR UPDATE TO erp_app
  USING (id = core.current_company() AND core.has_role('owner', 'admin'))
  WITH CHECK (id = core.current_company());

CREATE POLICY app_user_select ON core.app_user FOR SELECT TO erp_app
  USING (id = core.current_user_id());
CREATE POLICY app_user_update ON core.app_user FOR UPDATE TO erp_app
  USING (id = core.current_user_id())
  WITH CHECK (id = core.current_user_id());

CREATE POLICY membership_select ON core.membership FOR SELECT TO erp_app, erp_readonly
  USING (company_id = core.current_company());
CREATE POLICY membership_update_self ON core.membership FOR UPDATE TO erp_app
  USING (company_id = core.current_company() AND user_id = core.current_user_id())
  WITH CHECK (company_id = core.current_company() AND user_id = core.current_user_id());
-- Role and status change through CORE.SET_MEMBER_ROLE and CORE.REVOKE_MEMBER only.
CREATE POLICY membership_manage ON core.membership FOR UPDATE TO erp_owner
  USING (company_id = core.current_company())
  WITH CHECK (company_id = core.current_company());
CREATE POLICY membership_accept ON core.membership FOR INSERT TO erp_owner
  WITH CHECK (company_id = core.session_company() AND user_id = core.session_user_id());

GRANT SELECT ON core.company TO erp_app, erp_readonly;
GRANT UPDATE (trade_name, contact_email, street, city, postal_code, settings, primary_contact_id, updated_at) ON core.company TO erp_app;
GRANT SELECT, UPDATE (full_name, locale) ON core.app_user TO erp_app;
GRANT SELECT ON core.membership TO erp_app, erp_readonly;
GRANT UPDATE (display_name, job_title, notifications) ON core.membership TO erp_app;

CREATE FUNCTION core.set_member_role(p_user UUID, p_role core.company_role) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT core.has_role('owner', 'admin') OR p_user = core.current_user_id()
     OR (p_role = 'owner' AND NOT core.has_role('owner')) THEN
    RAISE EXCEPTION 'not permitted' USING ERRCODE = 'insufficient_privilege';
  END IF;
  UPDATE core.membership AS m SET role = p_role
   WHERE m.company_id = core.current_company() AND m.user_id = p_user
     AND (m.role <> 'owner' OR core.has_role('owner'));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such member' USING ERRCODE = 'no_data_found';
  END IF;
END
$$;

CREATE FUNCTION core.revoke_member(p_user UUID) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT core.has_role('owner', 'admin') OR p_user = core.current_user_id() THEN
    RAISE EXCEPTION 'not permitted' USING ERRCODE = 'insufficient_privilege';
  END IF;
  UPDATE core.membership AS m SET status = 'revoked'
   WHERE m.company_id = core.current_company() AND m.user_id = p_user AND m.role <> 'owner';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such member' USING ERRCODE = 'no_data_found';
  END IF;
END
$$;

GRANT EXECUTE ON FUNCTION core.set_member_role(UUID, core.company_role), core.revoke_member(UUID) TO erp_app;

-- ---------------------------------------------- conventions for company tables
CREATE PROCEDURE core.enable_company_rls(p_table REGCLASS)
LANGUAGE plpgsql
AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
  EXECUTE format('CREATE POLICY company_isolation ON %s USING (company_id = (SELECT core.current_company())) '
                 'WITH CHECK (company_id = (SELECT core.current_company()))', p_table);
END
$$;
COMMENT ON PROCEDURE core.enable_company_rls(REGCLASS) IS 'Standard row security of a table with COMPANY_ID; ERP_OWNER is bound by it as well';
REVOKE ALL ON PROCEDURE core.enable_company_rls(REGCLASS) FROM PUBLIC;

CREATE PROCEDURE core.lock_partition(p_table REGCLASS)
LANGUAGE plpgsql
AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
  EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, erp_app, erp_readonly, erp_batch', p_table);
END
$$;
COMMENT ON PROCEDURE core.lock_partition(REGCLASS) IS 'Partitions are reached through their parent only: row security without a policy, no grants';
REVOKE ALL ON PROCEDURE core.lock_partition(REGCLASS) FROM PUBLIC;

CREATE FUNCTION core.touch_updated_at() RETURNS TRIGGER
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;

CREATE TRIGGER company_touch BEFORE UPDATE ON core.company FOR EACH ROW EXECUTE FUNCTION core.touch_updated_at();

RESET ROLE;
