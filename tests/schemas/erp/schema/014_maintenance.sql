-- ---------------------------------------------------------------------------
-- 014  Maintenance: run by the DBA, not granted to request roles
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE PROCEDURE core.add_month_partition(p_parent REGCLASS, p_month DATE)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_schema TEXT;
  v_table  TEXT;
  v_from CONSTANT DATE := date_trunc('month', p_month)::DATE;
BEGIN
  SELECT n.nspname, c.relname || to_char(v_from, '_YYYY_MM') INTO v_schema, v_table
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = p_parent;
  EXECUTE format('CREATE TABLE %I.%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
                 v_schema, v_table, p_parent, v_from, (v_from + INTERVAL '1 month')::DATE);
  CALL core.lock_partition(format('%I.%I', v_schema, v_table)::REGCLASS);
END
$$;
COMMENT ON PROCEDURE core.add_month_partition(REGCLASS, DATE) IS 'Adds and locks the partition of a month';
REVOKE ALL ON PROCEDURE core.add_month_partition(REGCLASS, DATE) FROM PUBLIC;

CREATE INDEX change_log_user_ix ON audit.change_log (company_id, user_id, changed_at);
CREATE INDEX journal_line_account_ix ON finance.journal_line (company_id, account_no, posting_date);
CREATE INDEX note_entity_ix ON core.note (company_id, entity_type, entity_id);

RESET ROLE;
