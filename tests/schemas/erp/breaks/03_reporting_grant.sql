-- break: A blanket grant to the report server includes the materialized view of all companies
-- object: reporting.mv_monthly_revenue
-- kind: leak

-- The report server kept missing grants on new report views.
GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO erp_readonly;
