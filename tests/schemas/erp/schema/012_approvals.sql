-- ---------------------------------------------------------------------------
-- 012  Approval workflow
-- ---------------------------------------------------------------------------
SET ROLE erp_owner;

CREATE TABLE core.approval_rule (
  company_id     core.company_code NOT NULL DEFAULT core.current_company(),
  entity_type    core.entity_type  NOT NULL,
  min_amount     core.amount       NOT NULL DEFAULT 0,
  approver_role  core.company_role NOT NULL DEFAULT 'admin',
  CONSTRAINT approval_rule_pk PRIMARY KEY (company_id, entity_type, min_amount),
  CONSTRAINT approval_rule_company_fk FOREIGN KEY (company_id) REFERENCES core.company (id),
  CONSTRAINT approval_rule_entity_ck CHECK (entity_type IN ('purchase_order', 'payment')),
  CONSTRAINT approval_rule_amount_ck CHECK (min_amount >= 0)
);
COMMENT ON TABLE core.approval_rule IS 'Which role approves from which amount';
CALL core.enable_company_rls('core.approval_rule');
CREATE POLICY approval_rule_insert_role ON core.approval_rule AS RESTRICTIVE FOR INSERT TO erp_app WITH CHECK (core.has_role('owner', 'admin'));
CREATE POLICY approval_rule_update_role ON core.approval_rule AS RESTRICTIVE FOR UPDATE TO erp_app USING (core.has_role('owner', 'admin'));
CREATE POLICY approval_rule_delete_role ON core.approval_rule AS RESTRICTIVE FOR DELETE TO erp_app USING (core.has_role('owner', 'admin'));

CREATE TABLE core.approval_request (
  company_id     core.company_code    NOT NULL DEFAULT core.current_company(),
  id             UUID                 NOT NULL DEFAULT gen_random_uuid(),
  entity_type    core.entity_type     NOT NULL,
  entity_id      UUID                 NOT NULL,
  amount         core.amount          NOT NULL DEFAULT 0,
  status         core.approval_status NOT NULL DEFAULT 'pending',
  requested_by   UUID                 NOT NULL DEFAULT core.current_user_id(),
  requested_at   TIMESTAMPTZ          NOT NULL DEFAULT now(),
  CONSTRAINT approval_request_pk PRIMARY KEY (company_id, id),
  CONSTRAINT approval_request_requested_by_fk FOREIGN KEY (company_id, requested_by) REFERENCES core.membership (company_id, user_id),
  CONSTRAINT approval_request_entity_ck CHECK (entity_type IN ('purchase_order', 'payment'))
);
COMMENT ON TABLE core.approval_request IS 'Request to approve a purchase order or a payment; written by CORE.REQUEST_APPROVAL';
CREATE UNIQUE INDEX approval_request_open_uq ON core.approval_request (company_id, entity_type, entity_id) WHERE status = 'pending';
CREATE TRIGGER approval_request_entity BEFORE INSERT ON core.approval_request FOR EACH ROW EXECUTE FUNCTION core.check_entity();
CALL core.enable_company_rls('core.approval_request');

CREATE TABLE core.approval_step (
  company_id     core.company_code    NOT NULL DEFAULT core.current_company(),
  request_id     UUID                 NOT NULL,
  step_no        SMALLINT             NOT NULL,
  approver_role  core.company_role    NOT NULL,
  decision       core.approval_status NOT NULL DEFAULT 'pending',
  decided_by     UUID,
  decided_at     TIMESTAMPTZ,
  remark         TEXT                 NOT NULL DEFAULT '',
  CONSTRAINT approval_step_pk PRIMARY KEY (company_id, request_id, step_no),
  CONSTRAINT approval_step_request_fk FOREIGN KEY (company_id, request_id) REFERENCES core.approval_request (company_id, id) ON DELETE CASCADE,
  CONSTRAINT approval_step_decided_by_fk FOREIGN KEY (company_id, decided_by) REFERENCES core.membership (company_id, user_id),
  CONSTRAINT approval_step_no_ck CHECK (step_no BETWEEN 1 AND 9),
  CONSTRAINT approval_step_decided_ck CHECK ((decision = 'pending') = (decided_by IS NULL))
);
COMMENT ON TABLE core.approval_step IS 'Steps of a request, one a rule';
CALL core.enable_company_rls('core.approval_step');

GRANT SELECT, INSERT, UPDATE, DELETE ON core.approval_rule TO erp_app;
GRANT SELECT ON core.approval_request, core.approval_step TO erp_app;

CREATE FUNCTION core.set_entity_status(p_type core.entity_type, p_id UUID, p_status core.approval_status) RETURNS core.amount
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_amount core.amount;
BEGIN
  IF p_type = 'purchase_order' THEN
    UPDATE inventory.purchase_order AS o SET status = p_status
     WHERE o.company_id = core.current_company() AND o.id = p_id RETURNING o.total INTO v_amount;
  ELSIF p_type = 'payment' THEN
    UPDATE finance.payment AS p SET status = p_status
     WHERE p.company_id = core.current_company() AND p.id = p_id RETURNING p.amount INTO v_amount;
  END IF;
  IF v_amount IS NULL THEN
    RAISE EXCEPTION 'no such %', p_type USING ERRCODE = 'no_data_found';
  END IF;
  RETURN v_amount;
END
$$;

CREATE FUNCTION core.request_approval(p_type core.entity_type, p_id UUID) RETURNS UUID
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_amount core.amount;
  v_request UUID;
BEGIN
  IF NOT core.has_role('owner', 'admin', 'accountant', 'clerk') THEN
    RAISE EXCEPTION 'not permitted' USING ERRCODE = 'insufficient_privilege';
  END IF;
  v_amount := core.set_entity_status(p_type, p_id, 'pending');
  INSERT INTO core.approval_request (company_id, entity_type, entity_id, amount, requested_by)
  VALUES (core.current_company(), p_type, p_id, v_amount, core.current_user_id()) RETURNING id INTO v_request;
  INSERT INTO core.approval_step (company_id, request_id, step_no, approver_role)
  SELECT core.current_company(), v_request, row_number() OVER (ORDER BY r.min_amount), r.approver_role
    FROM core.approval_rule AS r
   WHERE r.company_id = core.current_company() AND r.entity_type = p_type AND r.min_amount <= v_amount;
  IF NOT FOUND THEN
    INSERT INTO core.approval_step (company_id, request_id, step_no, approver_role)
    VALUES (core.current_company(), v_request, 1, 'owner');
  END IF;
  RETURN v_request;
END
$$;

CREATE FUNCTION core.decide(p_request UUID, p_step SMALLINT, p_approve BOOLEAN, p_remark TEXT DEFAULT '') RETURNS core.approval_status
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_request core.approval_request%ROWTYPE;
BEGIN
  UPDATE core.approval_step AS s
     SET decision = CASE WHEN p_approve THEN 'approved' ELSE 'rejected' END::core.approval_status,
         decided_by = core.current_user_id(), decided_at = now(), remark = p_remark
   WHERE s.company_id = core.current_company() AND s.request_id = p_request AND s.step_no = p_step
     AND s.decision = 'pending' AND core.has_role(s.approver_role);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such step' USING ERRCODE = 'no_data_found';
  END IF;
  UPDATE core.approval_request AS r
     SET status = CASE
           WHEN EXISTS (SELECT FROM core.approval_step AS s WHERE s.company_id = r.company_id AND s.request_id = r.id AND s.decision = 'rejected') THEN 'rejected'
           WHEN EXISTS (SELECT FROM core.approval_step AS s WHERE s.company_id = r.company_id AND s.request_id = r.id AND s.decision = 'pending') THEN 'pending'
           ELSE 'approved' END::core.approval_status
   WHERE r.company_id = core.current_company() AND r.id = p_request
  RETURNING r.* INTO v_request;
  IF v_request.status <> 'pending' THEN
    PERFORM core.set_entity_status(v_request.entity_type, v_request.entity_id, v_request.status);
  END IF;
  RETURN v_request.status;
END
$$;
GRANT EXECUTE ON FUNCTION core.request_approval(core.entity_type, UUID), core.decide(UUID, SMALLINT, BOOLEAN, TEXT) TO erp_app;

RESET ROLE;
