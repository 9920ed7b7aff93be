-- Where and by whom animals are treated.
set role app_database_owner;

create table app_public.locations (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  name text not null,
  code text not null check (code ~ '^[A-Z]{2,5}$'),
  address_line1 text,
  address_line2 text,
  postal_code text,
  city text,
  country_code char(2) references app_public.countries,
  phone text,
  email public.citext,
  coordinates point,
  is_default boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique (organization_id, code)
);
create unique index on app_public.locations (organization_id) where is_default;

create table app_public.rooms (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id(),
  location_id uuid not null,
  name text not null,
  kind text not null default 'consultation' check (kind in ('consultation', 'surgery', 'imaging', 'ward')),
  capacity smallint not null default 1 check (capacity between 1 and 50),
  equipment text[] not null default '{}',
  is_bookable boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique (organization_id, location_id, name),
  foreign key (organization_id, location_id) references app_public.locations (organization_id, id) on delete cascade
);

create table app_public.opening_hours (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id(),
  location_id uuid not null,
  weekday smallint not null check (weekday between 1 and 7),
  hours app_public.time_range not null check (not isempty(hours)),
  by_appointment_only boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (organization_id, location_id) references app_public.locations (organization_id, id) on delete cascade,
  constraint opening_hours_no_overlap exclude using gist (organization_id with =, location_id with =, weekday with =, hours with &&)
);

create table app_public.location_closures (
  organization_id uuid not null default app_hidden.current_organization_id(),
  location_id uuid not null,
  days daterange not null check (not isempty(days)),
  reason text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, location_id, days),
  foreign key (organization_id, location_id) references app_public.locations (organization_id, id) on delete cascade
);

create table app_public.staff_profiles (
  organization_id uuid not null default app_hidden.current_organization_id(),
  user_id uuid not null,
  licence_number text check (licence_number ~ '^[A-Z0-9/-]{3,20}$'),
  specialties text[] not null default '{}' check (app_hidden.valid_tags(specialties)),
  bio text,
  languages text[] not null default '{en}',
  accepts_online_bookings boolean not null default false,
  primary_location_id uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, user_id),
  unique (organization_id, licence_number),
  foreign key (organization_id, user_id) references app_public.organization_memberships on delete cascade,
  foreign key (organization_id, primary_location_id) references app_public.locations (organization_id, id) on delete set null (primary_location_id)
);

create table app_public.staff_compensations (
  organization_id uuid not null default app_hidden.current_organization_id(),
  user_id uuid not null,
  valid_from date not null default current_date,
  hourly_rate_cents app_public.cents not null check (hourly_rate_cents >= 0),
  weekly_hours numeric(4,1) not null default 38.5 check (weekly_hours between 0 and 60),
  note text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, user_id, valid_from),
  foreign key (organization_id, user_id) references app_public.organization_memberships on delete cascade
);

create table app_public.shifts (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id(),
  user_id uuid not null,
  location_id uuid not null,
  during tstzrange not null check (not isempty(during) and not lower_inf(during) and not upper_inf(during)),
  is_on_call boolean not null default false,
  note text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (organization_id, user_id) references app_public.organization_memberships on delete cascade,
  foreign key (organization_id, location_id) references app_public.locations (organization_id, id) on delete cascade,
  constraint shifts_no_overlap exclude using gist (organization_id with =, user_id with =, during with &&)
);

do $$
declare
  t text;
begin
  foreach t in array '{locations,rooms,opening_hours,location_closures,staff_profiles,staff_compensations,shifts}'::text[] loop
    execute format('create trigger _100_timestamps before insert or update on app_public.%I for each row execute procedure app_private.tg__timestamps()', t);
    execute format('alter table app_public.%I enable row level security', t);
  end loop;
  -- Everybody looks, managers arrange.
  foreach t in array '{locations,rooms,opening_hours,location_closures,shifts}'::text[] loop
    execute format('create policy select_own on app_public.%I for select to app_member using (organization_id = (select app_hidden.current_organization_id()))', t);
    execute format('create policy manage_own on app_public.%I for all to app_manager
                      using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()))
                      with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()))', t);
    execute format('grant select on app_public.%I to app_member', t);
    execute format('grant insert, delete on app_public.%I to app_manager', t);
  end loop;
end
$$;
grant update (name, code, address_line1, address_line2, postal_code, city, country_code, phone, email, coordinates, is_default) on app_public.locations to app_manager;
grant update (location_id, name, kind, capacity, equipment, is_bookable) on app_public.rooms to app_manager;
grant update (weekday, hours, by_appointment_only) on app_public.opening_hours to app_manager;
grant update (days, reason) on app_public.location_closures to app_manager;
grant update (user_id, location_id, during, is_on_call, note) on app_public.shifts to app_manager;

create policy select_own on app_public.staff_profiles for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_self on app_public.staff_profiles for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id()) and user_id = app_public.current_user_id());
create policy update_self on app_public.staff_profiles for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and user_id = app_public.current_user_id())
  with check (organization_id = (select app_hidden.current_organization_id()) and user_id = app_public.current_user_id());
create policy manage_own on app_public.staff_profiles for all to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()))
  with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
grant select on app_public.staff_profiles to app_member;
grant insert (user_id, licence_number, specialties, bio, languages, accepts_online_bookings, primary_location_id) on app_public.staff_profiles to app_member;
grant update (licence_number, specialties, bio, languages, accepts_online_bookings, primary_location_id) on app_public.staff_profiles to app_member;

create policy manage_own on app_public.staff_compensations for all to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()))
  with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
grant select, insert, update, delete on app_public.staff_compensations to app_manager;

create function app_public.locations_is_open(l app_public.locations, moment timestamptz default now()) returns boolean as $$
  select exists (
           select 1 from app_public.opening_hours h
             join app_public.organizations o on o.id = h.organization_id
            where h.organization_id = l.organization_id and h.location_id = l.id
              and h.weekday = extract(isodow from moment at time zone o.time_zone)
              and h.hours @> (moment at time zone o.time_zone)::time)
     and not exists (
           select 1 from app_public.location_closures c
             join app_public.organizations o on o.id = c.organization_id
            where c.organization_id = l.organization_id and c.location_id = l.id
              and c.days @> (moment at time zone o.time_zone)::date);
$$ language sql stable;
grant execute on function app_public.locations_is_open(app_public.locations, timestamptz) to app_member;

reset role;
