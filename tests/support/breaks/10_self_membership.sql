-- break: memberships that their own subject can make, in any tenant and with any role
-- object: public.memberships
-- kind: escalation

GRANT INSERT ON public.memberships TO tenantproof_member;
CREATE POLICY self_insert ON public.memberships FOR INSERT TO tenantproof_member
  WITH CHECK (user_id = (SELECT public.current_user_id()));
