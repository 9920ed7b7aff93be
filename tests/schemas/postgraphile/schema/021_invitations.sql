-- Invitations. The code is mailed and only its hash is kept.
set role app_database_owner;

create table app_public.organization_invitations (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references app_public.organizations on delete cascade,
  email public.citext not null check (email ~ '[^@]+@[^@]+\.[^@]+'),
  role app_public.member_role not null default 'receptionist' check (role <> 'owner'),
  message text check (length(message) <= 1000),
  invited_by uuid references app_public.users on delete set null,
  expires_at timestamptz not null default now() + interval '14 days',
  accepted_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (accepted_at is null or revoked_at is null)
);
alter table app_public.organization_invitations enable row level security;
create unique index on app_public.organization_invitations (organization_id, email) where accepted_at is null and revoked_at is null;
comment on table app_public.organization_invitations is E'@omit create,update,delete';

create table app_private.organization_invitation_secrets (
  invitation_id uuid primary key references app_public.organization_invitations on delete cascade,
  code_hash text not null unique
);
alter table app_private.organization_invitation_secrets enable row level security;

create trigger _100_timestamps before insert or update on app_public.organization_invitations for each row execute procedure app_private.tg__timestamps();

create policy select_manager on app_public.organization_invitations for select to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
grant select on app_public.organization_invitations to app_manager;

create function app_public.invite_member(email text, role app_public.member_role default 'receptionist', message text default null)
returns app_public.organization_invitations as $$
declare
  v_organization_id uuid = app_hidden.current_organization_id();
  v_code text = encode(gen_random_bytes(12), 'hex');
  v_invitation app_public.organization_invitations;
begin
  if not app_hidden.is_manager() then
    raise exception 'Only managers may invite' using errcode = 'DNIED';
  end if;
  if invite_member.role = 'owner' then
    raise exception 'Use transfer_ownership' using errcode = 'DNIED';
  end if;
  insert into app_public.organization_invitations (organization_id, email, role, message, invited_by)
  values (v_organization_id, invite_member.email, invite_member.role, invite_member.message, app_public.current_user_id())
  returning * into v_invitation;
  insert into app_private.organization_invitation_secrets (invitation_id, code_hash)
  values (v_invitation.id, encode(digest(v_code, 'sha256'), 'hex'));
  perform app_private.add_job('organization_invitations__send', json_build_object('id', v_invitation.id, 'code', v_code));
  return v_invitation;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.invite_member(text, app_public.member_role, text) to app_manager;

create function app_public.revoke_invitation(invitation_id uuid) returns app_public.organization_invitations as $$
declare
  v_invitation app_public.organization_invitations;
begin
  update app_public.organization_invitations i set revoked_at = now()
   where i.id = revoke_invitation.invitation_id
     and i.organization_id = app_hidden.current_organization_id()
     and app_hidden.is_manager()
     and i.accepted_at is null and i.revoked_at is null
  returning * into v_invitation;
  return v_invitation;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.revoke_invitation(uuid) to app_manager;

-- Internal: turns an invitation, already checked to be for the current user, into a membership.
create function app_private.use_invitation(p_invitation app_public.organization_invitations) returns app_public.organization_memberships as $$
declare
  v_membership app_public.organization_memberships;
begin
  insert into app_public.organization_memberships as m (organization_id, user_id, role)
  values (p_invitation.organization_id, app_public.current_user_id(), p_invitation.role)
  on conflict (organization_id, user_id) do update
    set status = 'active', role = excluded.role, ends_on = null, joined_at = now()
    where m.status = 'left'
  returning * into v_membership;
  if v_membership is null then
    raise exception 'You are a member already, or suspended' using errcode = 'DNIED';
  end if;
  update app_public.organization_invitations set accepted_at = now() where id = p_invitation.id;
  return v_membership;
end;
$$ language plpgsql volatile set search_path to pg_catalog, public, pg_temp;

create function app_public.accept_invitation(code text) returns app_public.organization_memberships as $$
declare
  v_invitation app_public.organization_invitations;
begin
  if app_public.current_user_id() is null then
    raise exception 'You must log in to accept an invitation' using errcode = 'LOGIN';
  end if;
  select i.* into v_invitation
    from app_public.organization_invitations i
    join app_private.organization_invitation_secrets s on s.invitation_id = i.id
   where s.code_hash = encode(digest(code, 'sha256'), 'hex')
     and i.accepted_at is null and i.revoked_at is null and i.expires_at > now()
     and i.email in (select app_hidden.current_user_emails())
   for update of i;
  if v_invitation is null then
    raise exception 'We could not find that invitation' using errcode = 'NTFND';
  end if;
  return app_private.use_invitation(v_invitation);
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.accept_invitation(text) to app_member;

-- Someone who has proven the address needs no code.
create type app_public.pending_invitation as (invitation_id uuid, organization_name text, role app_public.member_role, message text, expires_at timestamptz);

create function app_public.pending_invitations() returns setof app_public.pending_invitation as $$
  select i.id, o.name, i.role, i.message, i.expires_at
    from app_public.organization_invitations i
    join app_public.organizations o on o.id = i.organization_id
   where i.email in (select app_hidden.current_user_emails())
     and i.accepted_at is null and i.revoked_at is null and i.expires_at > now()
     and o.archived_at is null;
$$ language sql stable security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.pending_invitations() to app_member;

create function app_public.accept_pending_invitation(invitation_id uuid) returns app_public.organization_memberships as $$
declare
  v_invitation app_public.organization_invitations;
begin
  select i.* into v_invitation from app_public.organization_invitations i
   where i.id = accept_pending_invitation.invitation_id
     and i.accepted_at is null and i.revoked_at is null and i.expires_at > now()
     and i.email in (select app_hidden.current_user_emails())
   for update;
  if v_invitation is null then
    raise exception 'We could not find that invitation' using errcode = 'NTFND';
  end if;
  return app_private.use_invitation(v_invitation);
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.accept_pending_invitation(uuid) to app_member;

-- Shown on the landing page of the mail, before anybody has logged in. Whoever has the code may know.
create function app_public.organization_name_for_invitation(code text) returns text as $$
  select o.name
    from app_private.organization_invitation_secrets s
    join app_public.organization_invitations i on i.id = s.invitation_id
    join app_public.organizations o on o.id = i.organization_id
   where s.code_hash = encode(public.digest(code, 'sha256'), 'hex')
     and i.accepted_at is null and i.revoked_at is null and i.expires_at > now();
$$ language sql stable strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.organization_name_for_invitation(text) to app_anonymous, app_member;

reset role;
