-- ---------------------------------------------------------------------------
-- 013  Reporting
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE VIEW reporting.open_orders WITH (security_invoker = true) AS
  SELECT o.company_id, o.id, o.order_no, o.status, o.order_date, o.requested_date, c.customer_no, c.name AS customer_name,
         o.gross_total, o.currency_code, sum(l.quantity - l.shipped) AS open_quantity
    FROM sales.sales_order AS o
    JOIN sales.customer AS c ON c.company_id = o.company_id AND c.id = o.customer_id
    LEFT JOIN sales.sales_order_line AS l ON l.company_id = o.company_id AND l.order_id = o.id
   WHERE o.status IN ('draft', 'confirmed')
   GROUP BY o.company_id, o.id, c.company_id, c.id;
COMMENT ON VIEW reporting.open_orders IS 'Order backlog';

CREATE VIEW reporting.stock_on_hand WITH (security_invoker = true) AS
  SELECT l.company_id, l.warehouse_code, w.name AS warehouse_name, l.sku, p.name AS product_name, l.on_hand, p.base_unit,
         l.on_hand * p.standard_cost AS stock_value, l.on_hand < p.reorder_point AS below_reorder_point
    FROM inventory.stock_level AS l
    JOIN inventory.warehouse AS w ON w.company_id = l.company_id AND w.code = l.warehouse_code
    JOIN inventory.product   AS p ON p.company_id = l.company_id AND p.sku = l.sku;
COMMENT ON VIEW reporting.stock_on_hand IS 'Stock and its value';

CREATE VIEW reporting.trial_balance WITH (security_invoker = true) AS
  SELECT a.company_id, a.account_no, a.name, a.kind, date_trunc('month', l.posting_date)::DATE AS month,
         sum(l.debit) AS debit, sum(l.credit) AS credit, sum(l.debit - l.credit) AS balance
    FROM finance.account AS a
    JOIN finance.journal_line  AS l ON l.company_id = a.company_id AND l.account_no = a.account_no
    JOIN finance.journal_entry AS e ON e.company_id = l.company_id AND e.posting_date = l.posting_date AND e.id = l.entry_id
   WHERE e.status = 'posted'
   GROUP BY a.company_id, a.account_no, date_trunc('month', l.posting_date);
COMMENT ON VIEW reporting.trial_balance IS 'Posted amounts an account and month';

CREATE VIEW reporting.org_chart WITH (security_invoker = true) AS
  WITH RECURSIVE chart AS (
    SELECT e.company_id, e.id, e.first_name || ' ' || e.last_name AS full_name, e.job_title, 0 AS depth, ARRAY[e.id] AS path
      FROM hr.employee AS e WHERE e.manager_id IS NULL AND e.left_on IS NULL
    UNION ALL
    SELECT e.company_id, e.id, e.first_name || ' ' || e.last_name, e.job_title, c.depth + 1, c.path || e.id
      FROM hr.employee AS e JOIN chart AS c ON c.company_id = e.company_id AND c.id = e.manager_id
     WHERE e.left_on IS NULL AND NOT e.id = ANY (c.path))
  SELECT company_id, id, full_name, job_title, depth, path FROM chart;
COMMENT ON VIEW reporting.org_chart IS 'Line organisation';

CREATE VIEW reporting.my_approvals WITH (security_invoker = true) AS
  SELECT r.company_id, r.id AS request_id, s.step_no, r.entity_type, r.entity_id, r.amount, r.requested_by, m.display_name AS requested_by_name, r.requested_at
    FROM core.approval_request AS r
    JOIN core.approval_step AS s ON s.company_id = r.company_id AND s.request_id = r.id
    JOIN core.membership    AS m ON m.company_id = r.company_id AND m.user_id = r.requested_by
   WHERE s.decision = 'pending' AND core.has_role(s.approver_role);
COMMENT ON VIEW reporting.my_approvals IS 'What waits for the caller';

GRANT SELECT ON reporting.open_orders, reporting.stock_on_hand, reporting.trial_balance, reporting.org_chart TO erp_app, erp_readonly;
GRANT SELECT ON reporting.my_approvals TO erp_app;

RESET ROLE;

-- All companies in one; owned by ERP_BATCH, which refreshes it at night. Row security does not apply to
-- materialized views, so nobody but ERP_OWNER's filtered view reads it.
CREATE MATERIALIZED VIEW reporting.mv_monthly_revenue AS
  SELECT i.company_id, date_trunc('month', i.invoice_date)::DATE AS month, i.currency_code, c.customer_group, c.country_code,
         count(*) AS invoices, sum(i.net_total) AS net_revenue, max(i.net_total) AS largest_invoice
    FROM sales.invoice AS i
    JOIN sales.customer AS c ON c.company_id = i.company_id AND c.id = i.customer_id
   WHERE i.status IN ('issued', 'paid')
   GROUP BY i.company_id, date_trunc('month', i.invoice_date), i.currency_code, c.customer_group, c.country_code
  WITH NO DATA;
CREATE UNIQUE INDEX mv_monthly_revenue_uq ON reporting.mv_monthly_revenue (company_id, month, currency_code, customer_group, country_code);
COMMENT ON MATERIALIZED VIEW reporting.mv_monthly_revenue IS 'Revenue of ALL companies. Never grant; read REPORTING.MONTHLY_REVENUE';
ALTER MATERIALIZED VIEW reporting.mv_monthly_revenue OWNER TO erp_batch;
REFRESH MATERIALIZED VIEW reporting.mv_monthly_revenue;
GRANT SELECT ON reporting.mv_monthly_revenue TO erp_owner;

SET ROLE erp_owner;

-- Not an invoker view: its callers may not read the materialized view.
CREATE VIEW reporting.monthly_revenue WITH (security_barrier = true) AS
  SELECT r.company_id, r.month, r.currency_code, r.customer_group, r.country_code, r.invoices, r.net_revenue, r.largest_invoice
    FROM reporting.mv_monthly_revenue AS r
   WHERE r.company_id = (SELECT core.current_company());
COMMENT ON VIEW reporting.monthly_revenue IS 'The caller''s share of REPORTING.MV_MONTHLY_REVENUE, as of last night';
GRANT SELECT ON reporting.monthly_revenue TO erp_app, erp_readonly;

CREATE TABLE reporting.saved_report (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  id             UUID              NOT NULL DEFAULT gen_random_uuid(),
  name           TEXT              NOT NULL,
  source         TEXT              NOT NULL,
  dimension      TEXT              NOT NULL DEFAULT 'month',
  filters        JSONB             NOT NULL DEFAULT '{}',
  owner_id       UUID              NOT NULL DEFAULT core.current_user_id(),
  shared         BOOLEAN           NOT NULL DEFAULT FALSE,
  CONSTRAINT saved_report_pk PRIMARY KEY (company_id, id),
  CONSTRAINT saved_report_name_uq UNIQUE (company_id, owner_id, name),
  CONSTRAINT saved_report_owner_fk FOREIGN KEY (company_id, owner_id) REFERENCES core.membership (company_id, user_id) ON DELETE CASCADE,
  CONSTRAINT saved_report_source_ck CHECK (source IN ('revenue', 'stock', 'backlog', 'trial_balance')),
  CONSTRAINT saved_report_filters_ck CHECK (jsonb_typeof(filters) = 'object')
);
COMMENT ON TABLE reporting.saved_report IS 'Reports people keep, for themselves or shared within the company';
ALTER TABLE reporting.saved_report ENABLE ROW LEVEL SECURITY;
ALTER TABLE reporting.saved_report FORCE  ROW LEVEL SECURITY;
CREATE POLICY saved_report_read ON reporting.saved_report FOR SELECT TO erp_app, erp_readonly
  USING (company_id = core.current_company() AND (shared OR owner_id = core.current_user_id()));
CREATE POLICY saved_report_own ON reporting.saved_report TO erp_app
  USING (company_id = core.current_company() AND owner_id = core.current_user_id())
  WITH CHECK (company_id = core.current_company() AND owner_id = core.current_user_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON reporting.saved_report TO erp_app;
GRANT SELECT ON reporting.saved_report TO erp_readonly;

-- Revenue of the caller's company by one dimension.
CREATE FUNCTION reporting.revenue_by(p_dimension TEXT, p_year INTEGER DEFAULT NULL)
RETURNS TABLE (dimension TEXT, invoices NUMERIC, net_revenue NUMERIC)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_dimension IS NULL OR p_dimension NOT IN ('month', 'currency_code', 'customer_group', 'country_code') THEN
    RAISE EXCEPTION 'unknown dimension' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN QUERY EXECUTE format(
    'SELECT r.%I::TEXT, sum(r.invoices), sum(r.net_revenue) FROM reporting.mv_monthly_revenue AS r '
    'WHERE r.company_id = core.current_company() AND ($1 IS NULL OR extract(year FROM r.month) = $1) GROUP BY 1 ORDER BY 1', p_dimension)
    USING p_year;
END
$$;
GRANT EXECUTE ON FUNCTION reporting.revenue_by(TEXT, INTEGER) TO erp_app, erp_readonly;

RESET ROLE;
