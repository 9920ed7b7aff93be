-- break: Users may add themselves to a company, and a membership is active by default
-- object: core.membership
-- kind: escalation

SET ROLE erp_owner;

-- Group companies: staff ask to join a sister company themselves; HR looks at it afterwards.
GRANT INSERT (company_id, user_id, display_name, job_title) ON core.membership TO erp_app;
CREATE POLICY membership_join ON core.membership FOR INSERT TO erp_app
  WITH CHECK (user_id = core.current_user_id() AND role = 'clerk');

RESET ROLE;
