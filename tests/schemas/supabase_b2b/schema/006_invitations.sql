-- Invitations. The token is mailed once; only its hash is kept, where no client can read it.

create table public.invitations (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations (id) on delete cascade,
  email public.email_address not null,
  role public.org_role not null default 'member' check (role <> 'owner'),
  status public.invitation_status not null default 'pending',
  message text check (length(message) <= 1000),
  invited_by uuid references public.profiles (id) on delete set null,
  membership_expires_at timestamptz,
  expires_at timestamptz not null default now() + interval '7 days',
  accepted_by uuid references public.profiles (id) on delete set null,
  accepted_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint accepted_has_a_time check ((status = 'accepted') = (accepted_at is not null)),
  constraint guests_only_for_a_while check (role <> 'guest' or membership_expires_at is not null)
);
create unique index invitations_one_pending on public.invitations (organization_id, email) where status = 'pending';
create index invitations_email_idx on public.invitations (email) where status = 'pending';

create table private.invitation_tokens (
  invitation_id uuid primary key references public.invitations (id) on delete cascade,
  token_hash bytea not null unique
);
alter table private.invitation_tokens enable row level security;

create trigger touch_invitations before update on public.invitations
  for each row execute function private.touch_updated_at();

-- the address the caller has proved to be theirs; of a single sign-on account we know only what the customer's
-- identity provider claims, so it opens no invitations
create function private.current_user_email()
returns text
language sql
stable
security definer
set search_path = ''
as $$
  select lower(u.email)
  from auth.users u
  where u.id = (select auth.uid())
    and u.email_confirmed_at is not null
    and not u.is_sso_user
    and u.deleted_at is null
$$;
grant execute on function private.current_user_email() to authenticated, service_role;

alter table public.invitations enable row level security;
grant select on public.invitations to authenticated;

create policy "Admins can list invitations"
  on public.invitations for select to authenticated
  using (private.has_org_role(organization_id, array['owner', 'admin']));
create policy "Users can see open invitations sent to their address"
  on public.invitations for select to authenticated
  using (
    status = 'pending'
    and expires_at > now()
    and email = (select private.current_user_email())
  );

-- RPCs -----------------------------------------------------------------------

create function private.join_organization(invitation public.invitations, new_user uuid)
returns void
language plpgsql
set search_path = ''
as $$
declare
  seats integer;
begin
  perform 1 from public.organizations o
  where o.id = invitation.organization_id and o.deleted_at is null and o.status <> 'suspended'
  for update;
  if not found then
    raise exception 'this invitation is not valid' using errcode = 'P0002';
  end if;

  select pl.max_seats into seats
  from public.organizations o join public.plans pl on pl.id = o.plan_id
  where o.id = invitation.organization_id;
  if seats <= (
    select count(*) from public.organization_members m
    where m.organization_id = invitation.organization_id and m.status = 'active'
  ) then
    raise exception 'this organization has no seats left' using errcode = 'P0001';
  end if;

  -- somebody who left may come back; somebody who is suspended may not let themselves in
  insert into public.organization_members as m
    (organization_id, user_id, role, handle, invited_by, expires_at)
  values (
    invitation.organization_id,
    new_user,
    invitation.role,
    'u' || substr(md5(new_user::text), 1, 10),
    invitation.invited_by,
    invitation.membership_expires_at
  )
  on conflict (organization_id, user_id) do update
    set role = excluded.role, status = 'active', expires_at = excluded.expires_at, joined_at = now()
    where m.status = 'removed';

  update public.invitations
  set status = 'accepted', accepted_at = now(), accepted_by = new_user
  where id = invitation.id;
end
$$;

create function public.create_invitation(
  org uuid, invitee_email text, invitee_role public.org_role default 'member',
  membership_until timestamptz default null, note text default null
)
returns table (invitation_id uuid, token text)
language plpgsql
security definer
set search_path = ''
as $$
declare
  plain text := encode(extensions.gen_random_bytes(24), 'hex');
  made uuid;
begin
  if not private.has_org_role(org, array['owner', 'admin']) then
    raise exception 'not allowed' using errcode = 'insufficient_privilege';
  end if;
  if invitee_role = 'owner' then
    raise exception 'ownership is transferred, not given by invitation' using errcode = 'insufficient_privilege';
  end if;
  if invitee_role = 'guest' and not exists (
    select 1 from public.organization_settings s where s.organization_id = org and s.allow_guest_invites
  ) then
    raise exception 'guests are turned off' using errcode = 'P0001';
  end if;

  update public.invitations i set status = 'revoked'
  where i.organization_id = org and i.email = lower(btrim(invitee_email)) and i.status = 'pending';

  insert into public.invitations (organization_id, email, role, message, invited_by, membership_expires_at)
  values (
    org, lower(btrim(invitee_email)), invitee_role, note, (select auth.uid()),
    coalesce(membership_until, case when invitee_role = 'guest' then now() + interval '90 days' end)
  )
  returning id into made;
  insert into private.invitation_tokens (invitation_id, token_hash)
  values (made, sha256(convert_to(plain, 'UTF8')));
  return query select made, plain;
end
$$;

create function public.revoke_invitation(invitation uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  update public.invitations i set status = 'revoked'
  where i.id = invitation
    and i.status = 'pending'
    and private.has_org_role(i.organization_id, array['owner', 'admin']);
  if not found then
    raise exception 'no such invitation' using errcode = 'P0002';
  end if;
end
$$;

-- with the link from the mail; the token alone is not enough, the address must match too
create function public.accept_invitation(invitation_token text)
returns uuid
language plpgsql
security definer
set search_path = ''
as $$
declare
  inv public.invitations;
begin
  select i.* into inv
  from public.invitations i
  join private.invitation_tokens t on t.invitation_id = i.id
  where t.token_hash = sha256(convert_to(invitation_token, 'UTF8'))
    and i.status = 'pending'
    and i.expires_at > now()
    and i.email = private.current_user_email()
  for update of i;
  if not found then
    raise exception 'this invitation is not valid' using errcode = 'P0002';
  end if;
  perform private.join_organization(inv, (select auth.uid()));
  return inv.organization_id;
end
$$;

-- from the list of open invitations in the app
create function public.accept_my_invitation(invitation uuid)
returns uuid
language plpgsql
security definer
set search_path = ''
as $$
declare
  inv public.invitations;
begin
  select i.* into inv
  from public.invitations i
  where i.id = invitation
    and i.status = 'pending'
    and i.expires_at > now()
    and i.email = private.current_user_email()
  for update of i;
  if not found then
    raise exception 'this invitation is not valid' using errcode = 'P0002';
  end if;
  perform private.join_organization(inv, (select auth.uid()));
  return inv.organization_id;
end
$$;

grant execute on function
  public.create_invitation(uuid, text, public.org_role, timestamptz, text),
  public.revoke_invitation(uuid),
  public.accept_invitation(text),
  public.accept_my_invitation(uuid)
  to authenticated;
