-- ---------------------------------------------------------------------------
-- 010  Finance
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TABLE finance.account (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  account_no     VARCHAR(10)       NOT NULL,
  parent_no      VARCHAR(10),
  name           TEXT              NOT NULL,
  kind           TEXT              NOT NULL,
  currency_code  CHAR(3),
  postable       BOOLEAN           NOT NULL DEFAULT TRUE,
  CONSTRAINT account_pk PRIMARY KEY (company_id, account_no),
  CONSTRAINT account_company_fk  FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT account_parent_fk   FOREIGN KEY (company_id, parent_no) REFERENCES finance.account (company_id, account_no),
  CONSTRAINT account_currency_fk FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT account_no_ck   CHECK (account_no ~ '^[0-9]{4,10}$'),
  CONSTRAINT account_kind_ck CHECK (kind IN ('asset', 'liability', 'equity', 'income', 'expense'))
);
COMMENT ON TABLE finance.account IS 'Chart of accounts of a company';

CREATE TABLE finance.fiscal_period (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  fiscal_year    SMALLINT          NOT NULL,
  period_no      SMALLINT          NOT NULL,
  starts_on      DATE              NOT NULL,
  ends_on        DATE              NOT NULL,
  closed         BOOLEAN           NOT NULL DEFAULT FALSE,
  CONSTRAINT fiscal_period_pk PRIMARY KEY (company_id, fiscal_year, period_no),
  CONSTRAINT fiscal_period_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT fiscal_period_no_ck    CHECK (period_no BETWEEN 1 AND 13),
  CONSTRAINT fiscal_period_dates_ck CHECK (ends_on >= starts_on),
  CONSTRAINT fiscal_period_overlap_ex EXCLUDE USING GIST (company_id WITH =, daterange(starts_on, ends_on, '[]') WITH &&)
);
COMMENT ON TABLE finance.fiscal_period IS 'Posting periods';

CREATE TABLE finance.journal_entry (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  posting_date   DATE              NOT NULL DEFAULT CURRENT_DATE,
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  entry_no       BIGINT            NOT NULL DEFAULT core.next_number('journal'),
  description    TEXT              NOT NULL,
  source_type    TEXT              NOT NULL DEFAULT 'manual',
  source_id      UUID,
  currency_code  CHAR(3)           NOT NULL DEFAULT 'EUR',
  status         TEXT              NOT NULL DEFAULT 'draft',
  created_by     UUID              DEFAULT core.current_user_id(),
  posted_at      TIMESTAMPTZ,
  CONSTRAINT journal_entry_pk PRIMARY KEY (company_id, posting_date, id),
  CONSTRAINT journal_entry_company_fk  FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT journal_entry_currency_fk FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT journal_entry_source_ck CHECK (source_type IN ('manual', 'invoice', 'payment', 'payroll')),
  CONSTRAINT journal_entry_status_ck CHECK (status IN ('draft', 'posted', 'reversed')),
  CONSTRAINT journal_entry_posted_ck CHECK ((status = 'draft') = (posted_at IS NULL))
) PARTITION BY RANGE (posting_date);
COMMENT ON TABLE finance.journal_entry IS 'Journal, a partition a month';
CREATE TABLE finance.journal_entry_2026_10 PARTITION OF finance.journal_entry FOR VALUES FROM ('2026-10-01') TO ('2026-11-01');
CREATE TABLE finance.journal_entry_2026_11 PARTITION OF finance.journal_entry FOR VALUES FROM ('2026-11-01') TO ('2026-12-01');
CREATE TABLE finance.journal_entry_2026_12 PARTITION OF finance.journal_entry FOR VALUES FROM ('2026-12-01') TO ('2027-01-01');
CREATE TABLE finance.journal_entry_default PARTITION OF finance.journal_entry DEFAULT;
CALL core.lock_partition('finance.journal_entry_2026_10');
CALL core.lock_partition('finance.journal_entry_2026_11');
CALL core.lock_partition('finance.journal_entry_2026_12');
CALL core.lock_partition('finance.journal_entry_default');

CREATE TABLE finance.journal_line (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  posting_date   DATE              NOT NULL DEFAULT CURRENT_DATE,
  entry_id       UUID              NOT NULL,
  line_no        SMALLINT          NOT NULL,
  account_no     VARCHAR(10)       NOT NULL,
  debit          core.amount       NOT NULL DEFAULT 0,
  credit         core.amount       NOT NULL DEFAULT 0,
  department_id  UUID,
  memo           TEXT              NOT NULL DEFAULT '',
  CONSTRAINT journal_line_pk PRIMARY KEY (company_id, posting_date, entry_id, line_no),
  CONSTRAINT journal_line_entry_fk FOREIGN KEY (company_id, posting_date, entry_id)
    REFERENCES finance.journal_entry (company_id, posting_date, id) ON DELETE CASCADE,
  CONSTRAINT journal_line_account_fk    FOREIGN KEY (company_id, account_no) REFERENCES finance.account (company_id, account_no),
  CONSTRAINT journal_line_department_fk FOREIGN KEY (company_id, department_id) REFERENCES hr.department (company_id, id),
  CONSTRAINT journal_line_side_ck CHECK (debit >= 0 AND credit >= 0 AND (debit = 0) <> (credit = 0))
);
COMMENT ON TABLE finance.journal_line IS 'Debits and credits; balanced when the entry is posted';

-- Lines of posted entries do not change, and an entry balances when it is posted.
CREATE FUNCTION finance.guard_journal_line() RETURNS TRIGGER
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_line CONSTANT finance.journal_line := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  IF EXISTS (SELECT FROM finance.journal_entry AS e
              WHERE e.company_id = v_line.company_id AND e.posting_date = v_line.posting_date
                AND e.id = v_line.entry_id AND e.status <> 'draft') THEN
    RAISE EXCEPTION 'entry is posted' USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE TRIGGER journal_line_guard BEFORE INSERT OR UPDATE OR DELETE ON finance.journal_line
  FOR EACH ROW EXECUTE FUNCTION finance.guard_journal_line();

CREATE FUNCTION finance.check_balance() RETURNS TRIGGER
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.status = 'posted' AND (
       SELECT coalesce(sum(l.debit), 0) <> coalesce(sum(l.credit), 0) FROM finance.journal_line AS l
        WHERE l.company_id = NEW.company_id AND l.posting_date = NEW.posting_date AND l.entry_id = NEW.id) THEN
    RAISE EXCEPTION 'entry does not balance' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER journal_entry_balance AFTER INSERT OR UPDATE ON finance.journal_entry
  FOR EACH ROW EXECUTE FUNCTION finance.check_balance();

CREATE TABLE finance.bank_account (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  label          TEXT              NOT NULL,
  iban           VARCHAR(34)       NOT NULL,
  bic            VARCHAR(11),
  currency_code  CHAR(3)           NOT NULL DEFAULT 'EUR',
  account_no     VARCHAR(10),
  active         BOOLEAN           NOT NULL DEFAULT TRUE,
  CONSTRAINT bank_account_pk PRIMARY KEY (company_id, id),
  CONSTRAINT bank_account_iban_uq UNIQUE (company_id, iban),
  CONSTRAINT bank_account_company_fk  FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT bank_account_currency_fk FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT bank_account_account_fk  FOREIGN KEY (company_id, account_no) REFERENCES finance.account (company_id, account_no),
  CONSTRAINT bank_account_iban_ck CHECK (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$'),
  CONSTRAINT bank_account_bic_ck  CHECK (bic ~ '^[A-Z0-9]{8}([A-Z0-9]{3})?$')
);
COMMENT ON TABLE finance.bank_account IS 'House banks';

CREATE TABLE finance.payment (
  company_id      core.company_code    NOT NULL DEFAULT core.current_company(),
  id              UUID                 NOT NULL DEFAULT gen_random_uuid(),
  direction       TEXT                 NOT NULL,
  bank_account_id UUID                 NOT NULL,
  company_region  core.company_region,
  invoice_id      UUID,
  supplier_id     UUID,
  amount          core.amount          NOT NULL,
  currency_code   CHAR(3)              NOT NULL DEFAULT 'EUR',
  value_date      DATE                 NOT NULL DEFAULT CURRENT_DATE,
  reference       TEXT                 NOT NULL DEFAULT '',
  status          core.approval_status NOT NULL DEFAULT 'draft',
  created_by      UUID                 DEFAULT core.current_user_id(),
  CONSTRAINT payment_pk PRIMARY KEY (company_id, id),
  CONSTRAINT payment_bank_account_fk FOREIGN KEY (company_id, bank_account_id) REFERENCES finance.bank_account (company_id, id),
  CONSTRAINT payment_invoice_fk FOREIGN KEY (company_id, company_region, invoice_id) REFERENCES sales.invoice (company_id, company_region, id),
  CONSTRAINT payment_supplier_fk FOREIGN KEY (company_id, supplier_id) REFERENCES inventory.supplier (company_id, id),
  CONSTRAINT payment_currency_fk FOREIGN KEY (currency_code) REFERENCES core.currency (code),
  CONSTRAINT payment_direction_ck CHECK (direction IN ('in', 'out')),
  CONSTRAINT payment_amount_ck    CHECK (amount > 0),
  CONSTRAINT payment_invoice_ck   CHECK ((invoice_id IS NULL) = (company_region IS NULL)),
  CONSTRAINT payment_partner_ck   CHECK (num_nonnulls(invoice_id, supplier_id) <= 1)
);
COMMENT ON TABLE finance.payment IS 'Incoming and outgoing payments; STATUS moves through the approval workflow';

-- Every finance table: the company's rows, and only its finance people.
DO $$
DECLARE
  t REGCLASS;
BEGIN
  FOREACH t IN ARRAY ARRAY['finance.account', 'finance.fiscal_period', 'finance.journal_entry', 'finance.journal_line',
                           'finance.bank_account', 'finance.payment']::REGCLASS[] LOOP
    CALL core.enable_company_rls(t);
    EXECUTE format('CREATE POLICY finance_read ON %s AS RESTRICTIVE FOR SELECT TO erp_app, erp_readonly '
                   'USING ((SELECT core.has_role(''owner'', ''admin'', ''accountant'', ''auditor'')))', t);
    EXECUTE format('CREATE POLICY finance_insert ON %s AS RESTRICTIVE FOR INSERT TO erp_app '
                   'WITH CHECK ((SELECT core.has_role(''owner'', ''accountant'')))', t);
    EXECUTE format('CREATE POLICY finance_update ON %s AS RESTRICTIVE FOR UPDATE TO erp_app '
                   'USING ((SELECT core.has_role(''owner'', ''accountant'')))', t);
    EXECUTE format('CREATE POLICY finance_delete ON %s AS RESTRICTIVE FOR DELETE TO erp_app '
                   'USING ((SELECT core.has_role(''owner'', ''accountant'')))', t);
  END LOOP;
END
$$;
CREATE POLICY journal_entry_keep_posted ON finance.journal_entry AS RESTRICTIVE FOR DELETE TO erp_app USING (status = 'draft');
CREATE POLICY payment_insert_draft ON finance.payment AS RESTRICTIVE FOR INSERT TO erp_app WITH CHECK (status = 'draft');

CREATE TRIGGER account_audit       AFTER INSERT OR UPDATE OR DELETE ON finance.account       FOR EACH ROW EXECUTE FUNCTION audit.record_change();
CREATE TRIGGER journal_entry_audit AFTER INSERT OR UPDATE OR DELETE ON finance.journal_entry FOR EACH ROW EXECUTE FUNCTION audit.record_change();
CREATE TRIGGER bank_account_audit  AFTER INSERT OR UPDATE OR DELETE ON finance.bank_account  FOR EACH ROW EXECUTE FUNCTION audit.record_change();
CREATE TRIGGER payment_audit       AFTER INSERT OR UPDATE OR DELETE ON finance.payment       FOR EACH ROW EXECUTE FUNCTION audit.record_change();

GRANT SELECT, INSERT, UPDATE, DELETE ON finance.account, finance.fiscal_period, finance.journal_entry, finance.journal_line,
  finance.bank_account TO erp_app;
GRANT SELECT, INSERT, DELETE, UPDATE (bank_account_id, amount, currency_code, value_date, reference) ON finance.payment TO erp_app;
GRANT SELECT ON finance.account, finance.fiscal_period, finance.journal_entry, finance.journal_line, finance.payment TO erp_readonly;

RESET ROLE;
