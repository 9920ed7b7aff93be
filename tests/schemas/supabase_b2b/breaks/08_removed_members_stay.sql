-- break: active_memberships excludes suspended members and no longer those who were removed
-- object: private.active_memberships
-- kind: leak
-- Prepares for more member states (pending, on leave): list what is shut out instead of what is let in.
create or replace view private.active_memberships as
  select m.organization_id, m.user_id, m.role
  from public.organization_members m
  join public.organizations o on o.id = m.organization_id
  join public.profiles p on p.id = m.user_id
  where m.status <> 'suspended'
    and (m.expires_at is null or m.expires_at > now())
    and o.status <> 'suspended'
    and o.deleted_at is null
    and p.deactivated_at is null;
