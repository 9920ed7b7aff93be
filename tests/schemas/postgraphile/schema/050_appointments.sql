set role app_database_owner;

create table app_public.appointment_types (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  name text not null,
  duration_minutes smallint not null default 20 check (duration_minutes between 5 and 480),
  color app_public.color not null default '#3366cc',
  price_cents app_public.cents,
  is_bookable_online boolean not null default false,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  unique (organization_id, name)
);
alter table app_public.appointment_types enable row level security;

create table app_public.appointments (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  location_id uuid not null,
  room_id uuid,
  appointment_type_id uuid,
  client_id uuid not null,
  patient_id uuid,
  veterinarian_id uuid,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  during tstzrange generated always as (tstzrange(starts_at, ends_at)) stored,
  status app_public.appointment_status not null default 'confirmed',
  reason text,
  note text,
  is_emergency boolean not null default false,
  reminder_sent_at timestamptz,
  arrived_at timestamptz,
  cancelled_at timestamptz,
  cancellation_reason text,
  created_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  check (ends_at > starts_at and ends_at < starts_at + interval '1 day'),
  foreign key (organization_id, location_id) references app_public.locations (organization_id, id),
  foreign key (organization_id, room_id) references app_public.rooms (organization_id, id) on delete set null (room_id),
  foreign key (organization_id, appointment_type_id) references app_public.appointment_types (organization_id, id),
  foreign key (organization_id, client_id) references app_public.clients (organization_id, id),
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id),
  foreign key (organization_id, veterinarian_id) references app_public.organization_memberships (organization_id, user_id) on delete set null (veterinarian_id),
  constraint appointments_room_is_free exclude using gist (organization_id with =, room_id with =, during with &&)
    where (status not in ('cancelled', 'no_show')),
  constraint appointments_veterinarian_is_free exclude using gist (organization_id with =, veterinarian_id with =, during with &&)
    where (status not in ('cancelled', 'no_show') and not is_emergency)
);
alter table app_public.appointments enable row level security;
create index on app_public.appointments (organization_id, starts_at);
create index on app_public.appointments (organization_id, patient_id);

create table app_public.waitlist_entries (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  client_id uuid not null,
  patient_id uuid,
  wanted_days daterange not null,
  wanted_hours app_public.time_range,
  priority smallint not null default 3 check (priority between 1 and 5),
  appointment_id uuid,
  note text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  foreign key (organization_id, client_id) references app_public.clients (organization_id, id) on delete cascade,
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id) on delete cascade,
  foreign key (organization_id, appointment_id) references app_public.appointments (organization_id, id) on delete set null (appointment_id)
);
alter table app_public.waitlist_entries enable row level security;

create trigger _100_timestamps before insert or update on app_public.appointment_types for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.appointments for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.waitlist_entries for each row execute procedure app_private.tg__timestamps();

create policy select_own on app_public.appointment_types for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_manager on app_public.appointment_types for insert to app_manager
  with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
create policy update_manager on app_public.appointment_types for update to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()))
  with check (organization_id = (select app_hidden.current_organization_id()));
grant select on app_public.appointment_types to app_member;
grant insert (name, duration_minutes, color, price_cents, is_bookable_online) on app_public.appointment_types to app_manager;
grant update (name, duration_minutes, color, price_cents, is_bookable_online, archived_at) on app_public.appointment_types to app_manager;

create policy select_own on app_public.appointments for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_own on app_public.appointments for insert to app_member with check (organization_id = (select app_hidden.current_organization_id()));
create policy update_own on app_public.appointments for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and status <> 'done')
  with check (organization_id = (select app_hidden.current_organization_id()));
create policy needs_subscription on app_public.appointments as restrictive for insert to app_member
  with check ((select app_hidden.organization_is_writable()));
grant select on app_public.appointments to app_member;
grant insert (location_id, room_id, appointment_type_id, client_id, patient_id, veterinarian_id, starts_at, ends_at, status, reason, note, is_emergency)
  on app_public.appointments to app_member;
grant update (location_id, room_id, appointment_type_id, patient_id, veterinarian_id, starts_at, ends_at, status, reason, note, is_emergency)
  on app_public.appointments to app_member;

create policy manage_own on app_public.waitlist_entries for all to app_member
  using (organization_id = (select app_hidden.current_organization_id()))
  with check (organization_id = (select app_hidden.current_organization_id()));
grant select, insert, delete on app_public.waitlist_entries to app_member;
grant update (wanted_days, wanted_hours, priority, appointment_id, note) on app_public.waitlist_entries to app_member;

create function app_public.cancel_appointment(appointment_id uuid, reason text default null) returns app_public.appointments as $$
declare
  v_appointment app_public.appointments;
begin
  update app_public.appointments a
     set status = 'cancelled', cancelled_at = now(), cancellation_reason = cancel_appointment.reason
   where a.id = cancel_appointment.appointment_id
     and a.organization_id = app_hidden.current_organization_id()
     and a.status in ('requested', 'confirmed')
  returning * into v_appointment;
  if v_appointment is null then
    raise exception 'That appointment cannot be cancelled' using errcode = 'NTFND';
  end if;
  perform app_private.add_job('appointments__cancelled', json_build_object('id', v_appointment.id));
  return v_appointment;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.cancel_appointment(uuid, text) to app_member;

create function app_public.check_in(appointment_id uuid) returns app_public.appointments as $$
  update app_public.appointments a set status = 'arrived', arrived_at = now()
   where a.id = check_in.appointment_id and a.organization_id = app_hidden.current_organization_id() and a.status = 'confirmed'
  returning *;
$$ language sql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.check_in(uuid) to app_member;

-- Rooms of a location that are free in a period.
create function app_public.free_rooms(location_id uuid, during tstzrange) returns setof app_public.rooms as $$
  select r.* from app_public.rooms r
   where r.location_id = free_rooms.location_id and r.is_bookable
     and not exists (select 1 from app_public.appointments a
                      where a.organization_id = r.organization_id and a.room_id = r.id
                        and a.during && free_rooms.during and a.status not in ('cancelled', 'no_show'))
   order by r.name;
$$ language sql stable;
grant execute on function app_public.free_rooms(uuid, tstzrange) to app_member;

reset role;
