-- ---------------------------------------------------------------------------
-- 004  Invitations and access tokens
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TABLE core.invitation (
  company_id     core.company_code  NOT NULL,
  id             UUID               NOT NULL DEFAULT gen_random_uuid(),
  email          core.email_address NOT NULL,
  role           core.company_role  NOT NULL DEFAULT 'clerk',
  token_hash     BYTEA              NOT NULL,
  invited_by     UUID               NOT NULL,
  created_at     TIMESTAMPTZ        NOT NULL DEFAULT now(),
  expires_at     TIMESTAMPTZ        NOT NULL DEFAULT now() + INTERVAL '7 days',
  accepted_at    TIMESTAMPTZ,
  CONSTRAINT invitation_pk PRIMARY KEY (company_id, id),
  CONSTRAINT invitation_token_uq UNIQUE (token_hash),
  CONSTRAINT invitation_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT invitation_invited_by_fk FOREIGN KEY (company_id, invited_by) REFERENCES core.membership (company_id, user_id),
  CONSTRAINT invitation_role_ck CHECK (role <> 'owner'),
  CONSTRAINT invitation_expiry_ck CHECK (expires_at > created_at)
);
COMMENT ON TABLE core.invitation IS 'Open and accepted invitations. Made and taken by definer routines; the token itself is not stored';

ALTER TABLE core.invitation ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.invitation FORCE  ROW LEVEL SECURITY;
CREATE POLICY invitation_select ON core.invitation FOR SELECT TO erp_app
  USING (company_id = core.current_company() AND core.has_role('owner', 'admin'));
CREATE POLICY invitation_withdraw ON core.invitation FOR DELETE TO erp_app
  USING (company_id = core.current_company() AND core.has_role('owner', 'admin') AND accepted_at IS NULL);
CREATE POLICY invitation_lookup ON core.invitation FOR SELECT TO erp_owner
  USING (company_id = core.session_company());
CREATE POLICY invitation_create ON core.invitation FOR INSERT TO erp_owner
  WITH CHECK (company_id = core.current_company());
CREATE POLICY invitation_accept ON core.invitation FOR UPDATE TO erp_owner
  USING (company_id = core.session_company()) WITH CHECK (company_id = core.session_company());

GRANT SELECT (company_id, id, email, role, invited_by, created_at, expires_at, accepted_at) ON core.invitation TO erp_app;
GRANT DELETE ON core.invitation TO erp_app;

CREATE FUNCTION core.invite_member(p_email TEXT, p_role core.company_role) RETURNS TEXT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_token CONSTANT TEXT := replace(gen_random_uuid()::TEXT || gen_random_uuid()::TEXT, '-', '');
BEGIN
  IF NOT core.has_role('owner', 'admin') THEN
    RAISE EXCEPTION 'not permitted' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO core.invitation (company_id, email, role, token_hash, invited_by)
  VALUES (core.current_company(), lower(p_email), p_role, sha256(convert_to(v_token, 'UTF8')), core.current_user_id());
  RETURN v_token;
END
$$;

-- Called with erp.company_id naming the inviting company; the caller is not a member yet.
CREATE FUNCTION core.accept_invitation(p_token TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_user core.app_user%ROWTYPE;
  v_role core.company_role;
BEGIN
  SELECT u.* INTO v_user FROM core.app_user AS u
   WHERE u.id = core.session_user_id() AND u.status = 'active';
  UPDATE core.invitation AS i SET accepted_at = now()
   WHERE i.company_id = core.session_company()
     AND i.token_hash = sha256(convert_to(p_token, 'UTF8'))
     AND i.email = v_user.email
     AND i.accepted_at IS NULL
     AND i.expires_at > now()
  RETURNING i.role INTO v_role;
  IF v_role IS NULL THEN
    RAISE EXCEPTION 'invitation is not valid' USING ERRCODE = 'invalid_authorization_specification';
  END IF;
  INSERT INTO core.membership (company_id, user_id, role, display_name)
  VALUES (core.session_company(), v_user.id, v_role, v_user.full_name);
END
$$;

GRANT EXECUTE ON FUNCTION core.invite_member(TEXT, core.company_role), core.accept_invitation(TEXT) TO erp_app;

CREATE TABLE core.access_token (
  token_hash     BYTEA             NOT NULL,
  company_id     core.company_code NOT NULL,
  user_id        UUID              NOT NULL,
  label          TEXT              NOT NULL DEFAULT '',
  created_at     TIMESTAMPTZ       NOT NULL DEFAULT now(),
  expires_at     TIMESTAMPTZ       NOT NULL DEFAULT now() + INTERVAL '90 days',
  revoked_at     TIMESTAMPTZ,
  CONSTRAINT access_token_pk PRIMARY KEY (token_hash),
  CONSTRAINT access_token_member_fk FOREIGN KEY (company_id, user_id) REFERENCES core.membership (company_id, user_id) ON DELETE CASCADE
);
COMMENT ON TABLE core.access_token IS 'Tokens of EDI partners and scanners; CORE.BEGIN_REQUEST turns one into the settings of a transaction';

ALTER TABLE core.access_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE core.access_token FORCE  ROW LEVEL SECURITY;
CREATE POLICY access_token_lookup ON core.access_token FOR SELECT TO erp_owner USING (TRUE);
CREATE POLICY access_token_issue  ON core.access_token FOR INSERT TO erp_owner
  WITH CHECK (company_id = core.current_company() AND user_id = core.current_user_id());
CREATE POLICY access_token_revoke ON core.access_token FOR UPDATE TO erp_owner
  USING (company_id = core.current_company() AND user_id = core.current_user_id())
  WITH CHECK (company_id = core.current_company() AND user_id = core.current_user_id());

CREATE FUNCTION core.issue_token(p_label TEXT) RETURNS TEXT
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_token CONSTANT TEXT := replace(gen_random_uuid()::TEXT || gen_random_uuid()::TEXT, '-', '');
BEGIN
  INSERT INTO core.access_token (token_hash, company_id, user_id, label)
  VALUES (sha256(convert_to(v_token, 'UTF8')), core.current_company(), core.current_user_id(), p_label);
  RETURN v_token;
END
$$;

CREATE FUNCTION core.revoke_tokens() RETURNS INTEGER
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_count INTEGER;
BEGIN
  UPDATE core.access_token AS t SET revoked_at = now()
   WHERE t.company_id = core.current_company() AND t.user_id = core.current_user_id() AND t.revoked_at IS NULL;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  RETURN v_count;
END
$$;

CREATE FUNCTION core.begin_request(p_token TEXT) RETURNS core.company_code
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
  PERFORM set_config('erp.company_id', v_token.company_id, TRUE);
  PERFORM set_config('erp.user_id', v_token.user_id::TEXT, TRUE);
  RETURN core.current_company();
END
$$;
COMMENT ON FUNCTION core.begin_request(TEXT) IS 'Binds the transaction, and nothing after it, to the company and user of a token';

GRANT EXECUTE ON FUNCTION core.issue_token(TEXT), core.revoke_tokens(), core.begin_request(TEXT) TO erp_app;

RESET ROLE;
