-- break: The dimension is pasted into the statement of a definer function, to allow expressions
-- object: reporting.revenue_by(text, integer)
-- kind: leak

SET ROLE erp_owner;

-- Dashboards want expressions such as quarters, not only columns.
CREATE OR REPLACE FUNCTION reporting.revenue_by(p_dimension TEXT, p_year INTEGER DEFAULT NULL)
RETURNS TABLE (dimension TEXT, invoices NUMERIC, net_revenue NUMERIC)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF coalesce(p_dimension, '') = '' THEN
    RAISE EXCEPTION 'unknown dimension' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN QUERY EXECUTE format(
    'SELECT (%s)::TEXT, sum(r.invoices), sum(r.net_revenue) FROM reporting.mv_monthly_revenue AS r '
    'WHERE r.company_id = core.current_company() AND ($1 IS NULL OR extract(year FROM r.month) = $1) GROUP BY 1 ORDER BY 1', p_dimension)
    USING p_year;
END
$$;

RESET ROLE;
