-- People who log in. A user is nobody's tenant data: one person may work for several practices.
set role app_database_owner;

create function app_public.current_user_id() returns uuid as $$
  select nullif(pg_catalog.current_setting('jwt.claims.user_id', true), '')::uuid;
$$ language sql stable;
comment on function app_public.current_user_id() is 'Handy method to get the current user ID. NULL when nobody is logged in.';
grant execute on function app_public.current_user_id() to app_anonymous, app_member, app_support;

create table app_public.users (
  id uuid primary key default gen_random_uuid(),
  display_name text not null check (length(display_name) between 1 and 120),
  given_name text,
  family_name text,
  avatar_url app_public.url,
  locale text not null default 'en' check (locale ~ '^[a-z]{2}(-[A-Z]{2})?$'),
  deactivated_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
alter table app_public.users enable row level security;
comment on column app_public.users.deactivated_at is E'@omit';

create table app_private.user_secrets (
  user_id uuid primary key references app_public.users on delete cascade,
  password_hash text,
  last_login_at timestamptz,
  failed_password_attempts integer not null default 0,
  first_failed_password_attempt timestamptz,
  reset_password_token text,
  reset_password_token_generated timestamptz
);
alter table app_private.user_secrets enable row level security;

create table app_private.sessions (
  uuid uuid primary key default gen_random_uuid(),
  user_id uuid not null references app_public.users on delete cascade,
  created_at timestamptz not null default now(),
  last_active timestamptz not null default now()
);
alter table app_private.sessions enable row level security;
create index on app_private.sessions (user_id);

create table app_public.user_emails (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null default app_public.current_user_id() references app_public.users on delete cascade,
  email public.citext not null check (email ~ '[^@]+@[^@]+\.[^@]+'),
  is_verified boolean not null default false,
  is_primary boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_emails_user_id_email_key unique (user_id, email),
  constraint user_emails_must_be_verified_to_be_primary check (is_primary is false or is_verified is true)
);
alter table app_public.user_emails enable row level security;
-- An address belongs to whoever has proven it. Anybody may *claim* any address (and learn nothing by it).
create unique index uniq_user_emails_verified_email on app_public.user_emails (email) where is_verified;
create unique index uniq_user_emails_primary_email on app_public.user_emails (user_id) where is_primary;

create table app_private.user_email_secrets (
  user_email_id uuid primary key references app_public.user_emails on delete cascade,
  verification_token text not null default encode(public.gen_random_bytes(16), 'hex'),
  verification_email_sent_at timestamptz
);
alter table app_private.user_email_secrets enable row level security;

create table app_public.user_preferences (
  user_id uuid primary key default app_public.current_user_id() references app_public.users on delete cascade,
  theme text not null default 'system' check (theme in ('system', 'light', 'dark')),
  week_starts_on smallint not null default 1 check (week_starts_on between 0 and 6),
  calendar jsonb not null default '{"view": "week"}' check (jsonb_typeof(calendar) = 'object' and calendar ? 'view'),
  email_digest boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
alter table app_public.user_preferences enable row level security;

create trigger _100_timestamps before insert or update on app_public.users for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.user_emails for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.user_preferences for each row execute procedure app_private.tg__timestamps();

create policy select_self on app_public.users for select to app_member using (id = app_public.current_user_id());
create policy update_self on app_public.users for update to app_member
  using (id = app_public.current_user_id() and deactivated_at is null) with check (id = app_public.current_user_id());
grant select on app_public.users to app_member;
grant update (display_name, given_name, family_name, avatar_url, locale) on app_public.users to app_member;

create policy select_own on app_public.user_emails for select to app_member using (user_id = app_public.current_user_id());
create policy insert_own on app_public.user_emails for insert to app_member with check (user_id = app_public.current_user_id());
create policy delete_own on app_public.user_emails for delete to app_member using (user_id = app_public.current_user_id() and not is_primary);
grant select on app_public.user_emails to app_member;
grant insert (email) on app_public.user_emails to app_member;
grant delete on app_public.user_emails to app_member;

create policy manage_own on app_public.user_preferences for all to app_member
  using (user_id = app_public.current_user_id()) with check (user_id = app_public.current_user_id());
grant select on app_public.user_preferences to app_member;
grant insert (theme, week_starts_on, calendar, email_digest) on app_public.user_preferences to app_member;
grant update (theme, week_starts_on, calendar, email_digest) on app_public.user_preferences to app_member;

create function app_private.tg__user_emails__send_verification() returns trigger as $$
begin
  insert into app_private.user_email_secrets (user_email_id) values (new.id);
  perform app_private.add_job('user_emails__send_verification', json_build_object('id', new.id));
  return new;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_send_verification after insert on app_public.user_emails for each row
  when (not new.is_verified) execute procedure app_private.tg__user_emails__send_verification();

-- Computed column.
create function app_public.users_full_name(u app_public.users) returns text as $$
  select coalesce(nullif(concat_ws(' ', u.given_name, u.family_name), ''), u.display_name);
$$ language sql stable;
grant execute on function app_public.users_full_name(app_public.users) to app_member;

-- The addresses the current user has proven to own; invitations are matched against these.
create function app_hidden.current_user_emails() returns setof public.citext as $$
  select email from app_public.user_emails
  where user_id = app_public.current_user_id() and is_verified;
$$ language sql stable security definer rows 3 set search_path to pg_catalog, public, pg_temp;
grant execute on function app_hidden.current_user_emails() to app_member;

create function app_public.current_user_profile() returns app_public.users as $$
  select * from app_public.users where id = app_public.current_user_id() and deactivated_at is null;
$$ language sql stable security definer set search_path to pg_catalog, public, pg_temp;
comment on function app_public.current_user_profile() is 'The currently logged in user (or null if not logged in).';
grant execute on function app_public.current_user_profile() to app_anonymous, app_member;

-- The answer is the same whether the address is known or not.
create function app_public.register_user(email text, password text, display_name text) returns boolean as $$
declare
  v_user_id uuid;
begin
  if length(password) < 8 then
    raise exception 'Password is too weak' using errcode = 'WEAKP';
  end if;
  insert into app_public.users (display_name) values (register_user.display_name) returning id into v_user_id;
  insert into app_private.user_secrets (user_id, password_hash) values (v_user_id, crypt(password, gen_salt('bf', 6)));
  insert into app_public.user_emails (user_id, email) values (v_user_id, register_user.email);
  return true;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.register_user(text, text, text) to app_anonymous;

create function app_public.verify_email(user_email_id uuid, token text) returns boolean as $$
begin
  update app_public.user_emails e
     set is_verified = true,
         is_primary = is_primary or not exists (select 1 from app_public.user_emails o where o.user_id = e.user_id and o.is_primary)
   where e.id = verify_email.user_email_id
     and not e.is_verified
     and exists (select 1 from app_private.user_email_secrets s where s.user_email_id = e.id and s.verification_token = token);
  return found;
exception when unique_violation then
  return false;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.verify_email(uuid, text) to app_anonymous, app_member;

create function app_public.make_email_primary(email_id uuid) returns app_public.user_emails as $$
declare
  v_email app_public.user_emails;
begin
  select * into v_email from app_public.user_emails
   where id = email_id and user_id = app_public.current_user_id() and is_verified for update;
  if v_email is null then
    raise exception 'That is not an address of yours, or it is not verified yet' using errcode = 'DNIED';
  end if;
  update app_public.user_emails set is_primary = false where user_id = v_email.user_id and is_primary and id <> v_email.id;
  update app_public.user_emails set is_primary = true where id = v_email.id returning * into v_email;
  return v_email;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.make_email_primary(uuid) to app_member;

create function app_public.request_password_reset(email text) returns boolean as $$
declare
  v_user_id uuid;
begin
  select e.user_id into v_user_id from app_public.user_emails e where e.email = request_password_reset.email::citext and e.is_verified;
  if v_user_id is not null then
    update app_private.user_secrets
       set reset_password_token = encode(gen_random_bytes(16), 'hex'), reset_password_token_generated = now()
     where user_id = v_user_id;
    perform app_private.add_job('users__send_password_reset', json_build_object('user_id', v_user_id));
  end if;
  return true;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.request_password_reset(text) to app_anonymous;

create function app_public.reset_password(user_id uuid, reset_token text, new_password text) returns boolean as $$
begin
  if length(new_password) < 8 then
    raise exception 'Password is too weak' using errcode = 'WEAKP';
  end if;
  update app_private.user_secrets s
     set password_hash = crypt(new_password, gen_salt('bf', 6)), reset_password_token = null,
         failed_password_attempts = 0, first_failed_password_attempt = null
   where s.user_id = reset_password.user_id
     and s.reset_password_token = reset_token
     and s.reset_password_token_generated > now() - interval '1 hour';
  return found;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.reset_password(uuid, text, text) to app_anonymous;

create function app_public.change_password(old_password text, new_password text) returns boolean as $$
begin
  if length(new_password) < 8 then
    raise exception 'Password is too weak' using errcode = 'WEAKP';
  end if;
  update app_private.user_secrets s set password_hash = crypt(new_password, gen_salt('bf', 6))
   where s.user_id = app_public.current_user_id() and s.password_hash = crypt(old_password, s.password_hash);
  return found;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.change_password(text, text) to app_member;

reset role;
