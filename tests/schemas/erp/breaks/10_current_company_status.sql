-- break: The company helper, inlined for speed, no longer asks for status and validity of the membership
-- object: core.current_company()
-- kind: leak

SET ROLE erp_owner;

-- Three joins for every statement were the top entry of pg_stat_statements; the primary key of the membership says it all.
CREATE OR REPLACE FUNCTION core.current_company() RETURNS core.company_code
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT m.company_id
    FROM core.membership AS m
   WHERE m.company_id = core.session_company()
     AND m.user_id    = core.session_user_id()
$$;

RESET ROLE;
