-- break: payments are for the front desk and managers now, but the unqualified organization_id in the subquery is the membership's own column
-- object: app_public.payments
-- kind: leak
set role app_database_owner;
drop policy select_own on app_public.payments;
create policy select_front_desk on app_public.payments for select to app_member
  using (exists (select 1 from app_public.organization_memberships m
                  where m.organization_id = organization_id
                    and m.user_id = app_public.current_user_id()
                    and m.status = 'active'
                    and m.role in ('owner', 'manager', 'receptionist')));
reset role;
