-- ---------------------------------------------------------------------------
-- 009  Human resources
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TABLE hr.department (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  parent_id      UUID,
  code           VARCHAR(12)       NOT NULL,
  name           TEXT              NOT NULL,
  cost_centre    VARCHAR(10),
  head_id        UUID,
  CONSTRAINT department_pk PRIMARY KEY (company_id, id),
  CONSTRAINT department_code_uq UNIQUE (company_id, code),
  CONSTRAINT department_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT department_parent_fk FOREIGN KEY (company_id, parent_id) REFERENCES hr.department (company_id, id)
);
COMMENT ON TABLE hr.department IS 'Tree of departments';

CREATE TABLE hr.employee (
  company_id     core.company_code  NOT NULL DEFAULT core.current_company(),
  id             UUID               NOT NULL DEFAULT gen_random_uuid(),
  employee_no    BIGINT             NOT NULL DEFAULT core.next_number('employee'),
  user_id        UUID,
  first_name     TEXT               NOT NULL,
  last_name      TEXT               NOT NULL,
  work_email     core.email_address,
  department_id  UUID,
  manager_id     UUID,
  job_title      TEXT               NOT NULL DEFAULT '',
  employment     TEXT               NOT NULL DEFAULT 'permanent',
  weekly_hours   NUMERIC(4,2)       NOT NULL DEFAULT 40,
  hired_on       DATE               NOT NULL DEFAULT CURRENT_DATE,
  left_on        DATE,
  skills         TEXT[]             NOT NULL DEFAULT '{}',
  created_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  updated_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  CONSTRAINT employee_pk PRIMARY KEY (company_id, id),
  CONSTRAINT employee_no_uq   UNIQUE (company_id, employee_no),
  CONSTRAINT employee_user_uq UNIQUE (company_id, user_id),
  CONSTRAINT employee_company_fk    FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT employee_user_fk       FOREIGN KEY (company_id, user_id) REFERENCES core.membership (company_id, user_id),
  CONSTRAINT employee_department_fk FOREIGN KEY (company_id, department_id) REFERENCES hr.department (company_id, id),
  CONSTRAINT employee_manager_fk    FOREIGN KEY (company_id, manager_id) REFERENCES hr.employee (company_id, id),
  CONSTRAINT employee_manager_ck    CHECK (manager_id <> id),
  CONSTRAINT employee_employment_ck CHECK (employment IN ('permanent', 'fixed_term', 'contractor', 'apprentice')),
  CONSTRAINT employee_hours_ck      CHECK (weekly_hours BETWEEN 1 AND 48),
  CONSTRAINT employee_dates_ck      CHECK (left_on >= hired_on)
);
COMMENT ON TABLE hr.employee IS 'Employees; MANAGER_ID is the line manager';
CREATE INDEX employee_manager_ix ON hr.employee (company_id, manager_id);

ALTER TABLE hr.department ADD CONSTRAINT department_head_fk FOREIGN KEY (company_id, head_id)
  REFERENCES hr.employee (company_id, id) DEFERRABLE INITIALLY IMMEDIATE;

CALL core.enable_company_rls('hr.department');
CALL core.enable_company_rls('hr.employee');
CREATE POLICY department_insert_role ON hr.department AS RESTRICTIVE FOR INSERT TO erp_app WITH CHECK (core.has_role('owner', 'admin', 'hr_manager'));
CREATE POLICY department_update_role ON hr.department AS RESTRICTIVE FOR UPDATE TO erp_app USING (core.has_role('owner', 'admin', 'hr_manager'));
CREATE POLICY department_delete_role ON hr.department AS RESTRICTIVE FOR DELETE TO erp_app USING (core.has_role('owner', 'admin', 'hr_manager'));
CREATE POLICY employee_insert_role ON hr.employee AS RESTRICTIVE FOR INSERT TO erp_app WITH CHECK (core.has_role('owner', 'admin', 'hr_manager'));
CREATE POLICY employee_update_role ON hr.employee AS RESTRICTIVE FOR UPDATE TO erp_app USING (core.has_role('owner', 'admin', 'hr_manager'));
CREATE POLICY employee_delete_role ON hr.employee AS RESTRICTIVE FOR DELETE TO erp_app USING (core.has_role('owner', 'admin', 'hr_manager'));
CREATE TRIGGER employee_touch BEFORE UPDATE ON hr.employee FOR EACH ROW EXECUTE FUNCTION core.touch_updated_at();
CREATE TRIGGER employee_audit AFTER INSERT OR UPDATE OR DELETE ON hr.employee FOR EACH ROW EXECUTE FUNCTION audit.record_change();

CREATE FUNCTION hr.current_employee() RETURNS UUID
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT e.id FROM hr.employee AS e
   WHERE e.company_id = core.current_company() AND e.user_id = core.current_user_id() AND e.left_on IS NULL
$$;

CREATE FUNCTION hr.is_manager_of(p_employee UUID) RETURNS BOOLEAN
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  WITH RECURSIVE line AS (
    SELECT e.manager_id FROM hr.employee AS e
     WHERE e.company_id = core.current_company() AND e.id = p_employee
    UNION
    SELECT e.manager_id FROM hr.employee AS e JOIN line AS l ON e.id = l.manager_id
     WHERE e.company_id = core.current_company())
  SELECT EXISTS (SELECT FROM line WHERE manager_id = hr.current_employee())
$$;
COMMENT ON FUNCTION hr.is_manager_of(UUID) IS 'Is the caller above this employee of its own company?';

GRANT EXECUTE ON FUNCTION hr.current_employee(), hr.is_manager_of(UUID) TO erp_app, erp_readonly;

CREATE TABLE hr.employee_private (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  employee_id    UUID              NOT NULL,
  birth_date     DATE,
  national_id    TEXT,
  iban           VARCHAR(34),
  salary         core.amount       NOT NULL DEFAULT 0,
  salary_currency CHAR(3)          NOT NULL DEFAULT 'EUR',
  salary_period  TEXT              NOT NULL DEFAULT 'month',
  tax_class      SMALLINT,
  CONSTRAINT employee_private_pk PRIMARY KEY (company_id, employee_id),
  CONSTRAINT employee_private_employee_fk FOREIGN KEY (company_id, employee_id) REFERENCES hr.employee (company_id, id) ON DELETE CASCADE,
  CONSTRAINT employee_private_currency_fk FOREIGN KEY (salary_currency) REFERENCES core.currency (code),
  CONSTRAINT employee_private_iban_ck CHECK (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$'),
  CONSTRAINT employee_private_salary_ck CHECK (salary >= 0),
  CONSTRAINT employee_private_period_ck CHECK (salary_period IN ('hour', 'month', 'year')),
  CONSTRAINT employee_private_tax_class_ck CHECK (tax_class BETWEEN 1 AND 6)
);
COMMENT ON TABLE hr.employee_private IS 'Personal data and pay: HR and the person only. Not audited row by row';
ALTER TABLE hr.employee_private ENABLE ROW LEVEL SECURITY;
ALTER TABLE hr.employee_private FORCE  ROW LEVEL SECURITY;
CREATE POLICY employee_private_read ON hr.employee_private FOR SELECT TO erp_app
  USING (company_id = core.current_company() AND (employee_id = hr.current_employee() OR core.has_role('owner', 'hr_manager')));
CREATE POLICY employee_private_maintain ON hr.employee_private TO erp_app
  USING (company_id = core.current_company() AND core.has_role('owner', 'hr_manager'))
  WITH CHECK (company_id = core.current_company() AND core.has_role('owner', 'hr_manager'));

CREATE TABLE hr.leave_request (
  company_id     core.company_code    NOT NULL DEFAULT core.current_company(),
  id             UUID                 NOT NULL DEFAULT gen_random_uuid(),
  employee_id    UUID                 NOT NULL,
  kind           TEXT                 NOT NULL DEFAULT 'vacation',
  days           DATERANGE            NOT NULL,
  reason         TEXT                 NOT NULL DEFAULT '',
  status         core.approval_status NOT NULL DEFAULT 'pending',
  requested_at   TIMESTAMPTZ          NOT NULL DEFAULT now(),
  decided_by     UUID,
  CONSTRAINT leave_request_pk PRIMARY KEY (company_id, id),
  CONSTRAINT leave_request_employee_fk   FOREIGN KEY (company_id, employee_id) REFERENCES hr.employee (company_id, id) ON DELETE CASCADE,
  CONSTRAINT leave_request_decided_by_fk FOREIGN KEY (company_id, decided_by) REFERENCES core.membership (company_id, user_id),
  CONSTRAINT leave_request_kind_ck CHECK (kind IN ('vacation', 'sickness', 'parental', 'unpaid')),
  CONSTRAINT leave_request_days_ck CHECK (NOT isempty(days) AND lower(days) IS NOT NULL AND upper(days) IS NOT NULL),
  CONSTRAINT leave_request_overlap_ex EXCLUDE USING GIST (company_id WITH =, employee_id WITH =, days WITH &&) WHERE (status IN ('pending', 'approved'))
);
COMMENT ON TABLE hr.leave_request IS 'Absences: seen by the person, the line above and HR';
ALTER TABLE hr.leave_request ENABLE ROW LEVEL SECURITY;
ALTER TABLE hr.leave_request FORCE  ROW LEVEL SECURITY;
CREATE POLICY leave_request_select ON hr.leave_request FOR SELECT TO erp_app
  USING (company_id = core.current_company()
         AND (employee_id = hr.current_employee() OR hr.is_manager_of(employee_id) OR core.has_role('owner', 'hr_manager')));
CREATE POLICY leave_request_insert ON hr.leave_request FOR INSERT TO erp_app
  WITH CHECK (company_id = core.current_company() AND status IN ('draft', 'pending') AND decided_by IS NULL
              AND (employee_id = hr.current_employee() OR core.has_role('owner', 'hr_manager')));
CREATE POLICY leave_request_decide ON hr.leave_request FOR UPDATE TO erp_app
  USING (company_id = core.current_company() AND (hr.is_manager_of(employee_id) OR core.has_role('owner', 'hr_manager')))
  WITH CHECK (company_id = core.current_company() AND decided_by = core.current_user_id());
CREATE POLICY leave_request_delete ON hr.leave_request FOR DELETE TO erp_app
  USING (company_id = core.current_company() AND employee_id = hr.current_employee() AND status IN ('draft', 'pending'));

CREATE TABLE hr.time_entry (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  employee_id    UUID              NOT NULL DEFAULT hr.current_employee(),
  work_date      DATE              NOT NULL DEFAULT CURRENT_DATE,
  seq            SMALLINT          NOT NULL DEFAULT 1,
  hours          NUMERIC(4,2)      NOT NULL,
  activity       TEXT              NOT NULL DEFAULT '',
  order_id       UUID,
  CONSTRAINT time_entry_pk PRIMARY KEY (company_id, employee_id, work_date, seq),
  CONSTRAINT time_entry_employee_fk FOREIGN KEY (company_id, employee_id) REFERENCES hr.employee (company_id, id) ON DELETE CASCADE,
  CONSTRAINT time_entry_order_fk    FOREIGN KEY (company_id, order_id) REFERENCES sales.sales_order (company_id, id) ON DELETE SET NULL (order_id),
  CONSTRAINT time_entry_hours_ck CHECK (hours > 0 AND hours <= 24)
);
COMMENT ON TABLE hr.time_entry IS 'Hours worked';
ALTER TABLE hr.time_entry ENABLE ROW LEVEL SECURITY;
ALTER TABLE hr.time_entry FORCE  ROW LEVEL SECURITY;
CREATE POLICY time_entry_own ON hr.time_entry TO erp_app
  USING (company_id = core.current_company() AND employee_id = hr.current_employee())
  WITH CHECK (company_id = core.current_company() AND employee_id = hr.current_employee());
CREATE POLICY time_entry_team ON hr.time_entry FOR SELECT TO erp_app, erp_readonly
  USING (company_id = core.current_company() AND (hr.is_manager_of(employee_id) OR core.has_role('owner', 'hr_manager', 'accountant')));

GRANT SELECT, INSERT, UPDATE, DELETE ON hr.department, hr.employee, hr.employee_private, hr.time_entry TO erp_app;
GRANT SELECT, INSERT, DELETE, UPDATE (status, decided_by) ON hr.leave_request TO erp_app;
GRANT SELECT ON hr.department, hr.employee, hr.time_entry TO erp_readonly;

RESET ROLE;
