-- break: login() sets the user's claim for the session instead of the transaction; the pooled connection's next anonymous request is that user
-- object: app_public.login(text, text)
-- kind: context
set role app_database_owner;
create or replace function app_public.login(email text, password text) returns app_public.jwt_token as $$
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
  -- The mutation's payload is resolved in later statements, so the claim has to survive this one.
  perform set_config('jwt.claims.user_id', v_user_id::text, false);
  return app_private.make_token(v_user_id, v_organization_id);
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
reset role;
