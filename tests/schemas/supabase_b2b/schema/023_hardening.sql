-- The rules of the house, checked on every deployment.

grant select, insert, update, delete on all tables in schema private to service_role;
revoke insert, update, delete on private.active_memberships, private.organization_stats from service_role;

do $$
declare
  culprit text;
begin
  select string_agg(c.oid::regclass::text, ', ') into culprit
  from pg_class c
  where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
    and c.relkind in ('r', 'p') and not c.relrowsecurity;
  if culprit is not null then
    raise exception 'row-level security is off on %', culprit;
  end if;

  select string_agg(format('%s on %s to %s', a.privilege_type, c.oid::regclass, a.grantee::regrole), ', ') into culprit
  from pg_class c, aclexplode(c.relacl) a
  where c.relnamespace in ('public'::regnamespace, 'private'::regnamespace, 'storage'::regnamespace)
    and a.grantee in ('anon'::regrole, 'authenticated'::regrole)
    and a.privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE');
  if culprit is not null then
    raise exception 'clients hold more than row privileges: %', culprit;
  end if;

  select string_agg(p.oid::regprocedure::text, ', ') into culprit
  from pg_proc p
  where p.pronamespace in ('public'::regnamespace, 'private'::regnamespace)
    and (p.proacl is null or exists (select 1 from aclexplode(p.proacl) a where a.grantee = 0));
  if culprit is not null then
    raise exception 'everybody may execute %', culprit;
  end if;
end
$$;
