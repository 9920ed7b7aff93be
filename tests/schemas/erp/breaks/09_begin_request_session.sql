-- break: BEGIN_REQUEST sets company and user for the session, so a pooled connection keeps them after COMMIT
-- object: core.begin_request(text)
-- kind: context

SET ROLE erp_owner;

-- Scanners run in autocommit, where a setting of the transaction is gone with the next statement.
CREATE OR REPLACE FUNCTION core.begin_request(p_token TEXT) RETURNS core.company_code
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_token core.access_token%ROWTYPE;
BEGIN
  SELECT t.* INTO v_token FROM core.access_token AS t
   WHERE t.token_hash = sha256(convert_to(p_token, 'UTF8'))
     AND t.revoked_at IS NULL
     AND t.expires_at > now();
  IF NOT FOUND THEN
    RAISE EXCEPTION 'token is not valid' USING ERRCODE = 'invalid_authorization_specification';
  END IF;
  PERFORM set_config('erp.company_id', v_token.company_id, FALSE);
  PERFORM set_config('erp.user_id', v_token.user_id::TEXT, FALSE);
  RETURN core.current_company();
END
$$;

RESET ROLE;
