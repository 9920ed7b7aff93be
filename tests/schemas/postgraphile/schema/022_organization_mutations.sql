set role app_database_owner;

-- Tokens. Internal; who gets one is decided by login() and switch_organization().
create function app_private.make_token(p_user_id uuid, p_organization_id uuid) returns app_public.jwt_token as $$
  select row(
    case when m.role in ('owner', 'manager') then 'app_manager' else 'app_member' end,
    u.id, m.organization_id, extract(epoch from now() + interval '1 day')::bigint)::app_public.jwt_token
    from app_public.users u
    left join app_public.organization_memberships m
      on m.user_id = u.id and m.organization_id = p_organization_id
     and m.status = 'active' and (m.ends_on is null or m.ends_on >= current_date)
   where u.id = p_user_id and u.deactivated_at is null;
$$ language sql stable;

create function app_public.login(email text, password text) returns app_public.jwt_token as $$
declare
  v_user_id uuid;
  v_secrets app_private.user_secrets;
  v_organization_id uuid;
begin
  select e.user_id into v_user_id
    from app_public.user_emails e join app_public.users u on u.id = e.user_id
   where e.email = login.email::citext and e.is_verified and u.deactivated_at is null;
  if v_user_id is null then
    return null;
  end if;
  select * into v_secrets from app_private.user_secrets where user_id = v_user_id for update;
  if v_secrets.failed_password_attempts >= 10 and v_secrets.first_failed_password_attempt > now() - interval '6 hours' then
    return null;
  end if;
  if v_secrets.password_hash is distinct from crypt(password, v_secrets.password_hash) or v_secrets.password_hash is null then
    update app_private.user_secrets
       set failed_password_attempts = case when first_failed_password_attempt > now() - interval '6 hours' then failed_password_attempts + 1 else 1 end,
           first_failed_password_attempt = case when first_failed_password_attempt > now() - interval '6 hours' then first_failed_password_attempt else now() end
     where user_id = v_user_id;
    return null;
  end if;
  update app_private.user_secrets
     set failed_password_attempts = 0, first_failed_password_attempt = null, last_login_at = now()
   where user_id = v_user_id;
  insert into app_private.sessions (user_id) values (v_user_id);
  select m.organization_id into v_organization_id
    from app_public.organization_memberships m join app_public.organizations o on o.id = m.organization_id
   where m.user_id = v_user_id and m.status = 'active' and (m.ends_on is null or m.ends_on >= current_date) and o.archived_at is null
   order by m.joined_at desc limit 1;
  -- The rest of this mutation's payload ({ currentUserProfile { ... } }) is resolved as the user.
  perform set_config('jwt.claims.user_id', v_user_id::text, true);
  return app_private.make_token(v_user_id, v_organization_id);
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
comment on function app_public.login(text, text) is E'@resultFieldName jwtToken';
grant execute on function app_public.login(text, text) to app_anonymous;

create function app_public.switch_organization(organization_id uuid) returns app_public.jwt_token as $$
begin
  if switch_organization.organization_id not in (select app_hidden.my_organization_ids()) then
    raise exception 'We could not find that organization' using errcode = 'NTFND';
  end if;
  return app_private.make_token(app_public.current_user_id(), switch_organization.organization_id);
end;
$$ language plpgsql stable strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.switch_organization(uuid) to app_member;

create function app_public.create_organization(name text, country_code text) returns app_public.organizations as $$
declare
  v_user_id uuid = app_public.current_user_id();
  v_organization app_public.organizations;
begin
  if v_user_id is null then
    raise exception 'You must log in to create an organization' using errcode = 'LOGIN';
  end if;
  insert into app_public.organizations (name, country_code, currency_code, owner_id)
  select create_organization.name, c.code, c.currency_code, v_user_id from app_public.countries c where c.code = create_organization.country_code
  returning * into v_organization;
  if v_organization is null then
    raise exception 'Unknown country' using errcode = 'NTFND';
  end if;
  insert into app_public.organization_memberships (organization_id, user_id, role) values (v_organization.id, v_user_id, 'owner');
  insert into app_public.organization_settings (organization_id) values (v_organization.id);
  insert into app_public.subscriptions (organization_id, plan_code) values (v_organization.id, 'trial');
  return v_organization;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.create_organization(text, text) to app_member;

create function app_public.transfer_ownership(to_user_id uuid) returns app_public.organizations as $$
declare
  v_organization app_public.organizations;
begin
  select * into v_organization from app_public.organizations
   where id = app_hidden.current_organization_id() and owner_id = app_public.current_user_id() for update;
  if v_organization is null then
    raise exception 'You are not the owner' using errcode = 'DNIED';
  end if;
  if not exists (select 1 from app_public.organization_memberships m
                  where m.organization_id = v_organization.id and m.user_id = to_user_id and m.status = 'active' and m.ends_on is null) then
    raise exception 'The new owner has to be an active member' using errcode = 'NTFND';
  end if;
  if to_user_id <> v_organization.owner_id then
    update app_public.organization_memberships m set role = 'manager' where m.organization_id = v_organization.id and m.user_id = v_organization.owner_id;
    update app_public.organization_memberships m set role = 'owner' where m.organization_id = v_organization.id and m.user_id = to_user_id;
    update app_public.organizations set owner_id = to_user_id where id = v_organization.id returning * into v_organization;
  end if;
  return v_organization;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.transfer_ownership(uuid) to app_manager;

create function app_public.change_member_role(user_id uuid, new_role app_public.member_role) returns app_public.organization_memberships as $$
declare
  v_membership app_public.organization_memberships;
begin
  if not app_hidden.is_manager() or new_role = 'owner' then
    raise exception 'You may not do that' using errcode = 'DNIED';
  end if;
  update app_public.organization_memberships m set role = new_role
   where m.organization_id = app_hidden.current_organization_id()
     and m.user_id = change_member_role.user_id
     and m.role <> 'owner'
  returning * into v_membership;
  return v_membership;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.change_member_role(uuid, app_public.member_role) to app_manager;

create function app_public.suspend_member(user_id uuid, suspended boolean default true) returns app_public.organization_memberships as $$
declare
  v_membership app_public.organization_memberships;
begin
  if not app_hidden.is_manager() then
    raise exception 'You may not do that' using errcode = 'DNIED';
  end if;
  update app_public.organization_memberships m
     set status = case when suspended then 'suspended' else 'active' end::app_public.membership_status
   where m.organization_id = app_hidden.current_organization_id()
     and m.user_id = suspend_member.user_id
     and m.role <> 'owner' and m.status in ('active', 'suspended')
  returning * into v_membership;
  return v_membership;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.suspend_member(uuid, boolean) to app_manager;

create function app_public.remove_member(user_id uuid) returns boolean as $$
begin
  if not app_hidden.is_manager() then
    raise exception 'You may not do that' using errcode = 'DNIED';
  end if;
  update app_public.organization_memberships m set status = 'left', ends_on = current_date - 1
   where m.organization_id = app_hidden.current_organization_id() and m.user_id = remove_member.user_id and m.role <> 'owner' and m.status <> 'left';
  return found;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.remove_member(uuid) to app_manager;

create function app_public.leave_organization() returns boolean as $$
begin
  update app_public.organization_memberships m set status = 'left', ends_on = current_date
   where m.organization_id = app_hidden.current_organization_id() and m.user_id = app_public.current_user_id() and m.role <> 'owner';
  return found;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.leave_organization() to app_member;

create function app_public.change_plan(plan_code text) returns app_public.subscriptions as $$
declare
  v_subscription app_public.subscriptions;
  v_plan app_public.plans;
begin
  if app_hidden.current_member_role() is distinct from 'owner' then
    raise exception 'Only the owner may change the plan' using errcode = 'DNIED';
  end if;
  select * into v_plan from app_public.plans p where p.code = change_plan.plan_code and p.is_offered;
  if v_plan is null then
    raise exception 'Unknown plan' using errcode = 'NTFND';
  end if;
  if v_plan.max_members < (select o.member_count from app_public.organizations o where o.id = app_hidden.current_organization_id()) then
    raise exception 'You have more members than that plan allows' using errcode = 'LIMIT';
  end if;
  update app_public.subscriptions s set plan_code = v_plan.code
   where s.organization_id = app_hidden.current_organization_id()
  returning * into v_subscription;
  perform app_private.add_job('subscriptions__sync', json_build_object('organization_id', v_subscription.organization_id));
  return v_subscription;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.change_plan(text) to app_manager;

create function app_public.allow_support_access(hours integer) returns timestamptz as $$
declare
  v_until timestamptz;
begin
  if not app_hidden.is_manager() or hours not between 0 and 72 then
    raise exception 'You may not do that' using errcode = 'DNIED';
  end if;
  update app_public.organizations set support_access_until = now() + make_interval(hours => hours)
   where id = app_hidden.current_organization_id()
  returning support_access_until into v_until;
  return v_until;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.allow_support_access(integer) to app_manager;

-- Computed columns.
create function app_public.organizations_current_user_is_owner(o app_public.organizations) returns boolean as $$
  select exists (select 1 from app_public.organization_memberships m
                  where m.organization_id = o.id and m.user_id = app_public.current_user_id() and m.role = 'owner');
$$ language sql stable;
grant execute on function app_public.organizations_current_user_is_owner(app_public.organizations) to app_member;

create function app_public.organization_memberships_is_current(m app_public.organization_memberships) returns boolean as $$
  select m.status = 'active' and (m.ends_on is null or m.ends_on >= current_date);
$$ language sql stable;
grant execute on function app_public.organization_memberships_is_current(app_public.organization_memberships) to app_member;

reset role;
