-- One profile per auth user, kept by triggers on auth.users.

create table public.profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  -- mirrors auth.users.email; only the trigger writes it
  email text not null default '',
  full_name text not null default '' check (length(full_name) <= 120),
  -- free form, shown on the team page; nobody verifies it
  contact_email public.email_address,
  avatar_path text check (avatar_path !~ '\.\.'),
  phone text check (phone ~ '^\+?[0-9 ()-]{5,24}$'),
  timezone text not null default 'UTC',
  locale text not null default 'en' check (locale ~ '^[a-z]{2}(-[A-Z]{2})?$'),
  preferences jsonb not null default '{}' check (jsonb_typeof(preferences) = 'object'),
  is_staff boolean not null default false,
  deactivated_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index profiles_email_idx on public.profiles (email);

create trigger touch_profiles before update on public.profiles
  for each row execute function private.touch_updated_at();

create function private.handle_new_user()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.profiles (id, email, full_name)
  values (
    new.id,
    lower(coalesce(new.email, '')),
    left(coalesce(new.raw_user_meta_data ->> 'full_name', ''), 120)
  )
  on conflict (id) do nothing;
  return new;
end
$$;

create function private.handle_user_updated()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update public.profiles set email = lower(coalesce(new.email, '')) where id = new.id;
  return new;
end
$$;

create trigger on_auth_user_created after insert on auth.users
  for each row execute function private.handle_new_user();
create trigger on_auth_user_updated after update of email on auth.users
  for each row execute function private.handle_user_updated();

alter table public.profiles enable row level security;

grant select on public.profiles to authenticated;
-- not email, not is_staff, not deactivated_at
grant update (full_name, contact_email, avatar_path, phone, timezone, locale, preferences) on public.profiles to authenticated;

create policy "Users can read their own profile"
  on public.profiles for select to authenticated
  using (id = (select auth.uid()));
create policy "Users can edit their own profile"
  on public.profiles for update to authenticated
  using (id = (select auth.uid()))
  with check (id = (select auth.uid()));
