-- The people who pay, and their animals.
set role app_database_owner;

create table app_public.clients (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  client_number integer not null,
  salutation text,
  given_name text,
  family_name text,
  company_name text,
  email public.citext check (email ~ '[^@]+@[^@]+\.[^@]+'),
  phone text,
  mobile text check (mobile ~ '^\+?[0-9 ()/-]{5,25}$'),
  address_line1 text,
  address_line2 text,
  postal_code text,
  city text,
  country_code char(2) references app_public.countries,
  language text not null default 'de',
  date_of_birth date check (date_of_birth between '1900-01-01' and '2100-01-01'),
  preferred_contact app_public.contact_channel not null default 'email',
  preferred_location_id uuid,
  marketing_opt_in boolean not null default false,
  credit_limit_cents app_public.cents not null default 0,
  balance_cents app_public.cents not null default 0,
  patient_count integer not null default 0 check (patient_count >= 0),
  tags text[] not null default '{}' check (app_hidden.valid_tags(tags)),
  custom_fields jsonb not null default '{}' check (jsonb_typeof(custom_fields) = 'object'),
  note text,
  search tsvector generated always as (
    to_tsvector('simple'::regconfig, coalesce(given_name, '') || ' ' || coalesce(family_name, '') || ' ' || coalesce(company_name, '') || ' ' || coalesce(email::text, ''))) stored,
  created_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  constraint clients_organization_id_client_number_key unique (organization_id, client_number),
  foreign key (organization_id, preferred_location_id) references app_public.locations (organization_id, id) on delete set null (preferred_location_id),
  check (num_nonnulls(family_name, company_name) >= 1)
);
alter table app_public.clients enable row level security;
create unique index clients_organization_id_email_key on app_public.clients (organization_id, email) where archived_at is null;
create index on app_public.clients using gin (search);
create index on app_public.clients using gin (tags);
comment on column app_public.clients.search is E'@omit';

create table app_public.patients (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  client_id uuid not null,
  name text not null check (length(name) between 1 and 80),
  species_code text not null references app_public.species,
  breed_code text,
  sex app_public.animal_sex not null default 'unknown',
  is_neutered boolean,
  date_of_birth date,
  date_of_birth_is_estimate boolean not null default false,
  died_on date,
  color text,
  weight_grams integer check (weight_grams between 1 and 2000000),
  microchip_number app_public.microchip,
  passport_number text check (passport_number ~ '^[A-Z]{2}-[0-9A-Z-]{4,14}$'),
  insurer text,
  insurance_number text,
  allergies text[] not null default '{}',
  tags text[] not null default '{}' check (app_hidden.valid_tags(tags)),
  temperament smallint check (temperament between 1 and 5),
  photo_url app_public.url,
  custom_fields jsonb not null default '{}' check (jsonb_typeof(custom_fields) = 'object'),
  note text,
  last_visit_at timestamptz,
  search tsvector generated always as (to_tsvector('simple'::regconfig, name || ' ' || coalesce(color, '') || ' ' || coalesce(insurance_number, ''))) stored,
  created_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  archived_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  constraint patients_microchip_number_key unique (organization_id, microchip_number),
  foreign key (organization_id, client_id) references app_public.clients (organization_id, id),
  foreign key (species_code, breed_code) references app_public.breeds,
  check (died_on >= date_of_birth)
);
alter table app_public.patients enable row level security;
create index on app_public.patients (organization_id, client_id);
create index on app_public.patients using gin (search);
comment on column app_public.patients.search is E'@omit';
comment on constraint patients_microchip_number_key on app_public.patients is
  'Per practice: the same animal may well be a patient of two of them.';

create table app_public.patient_weights (
  organization_id uuid not null default app_hidden.current_organization_id(),
  patient_id uuid not null,
  measured_at timestamptz not null default now(),
  weight_grams integer not null check (weight_grams between 1 and 2000000),
  measured_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  primary key (organization_id, patient_id, measured_at),
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id) on delete cascade
);
alter table app_public.patient_weights enable row level security;

-- Breeder, co-owner, stable: people other than the client.
create table app_public.patient_contacts (
  organization_id uuid not null default app_hidden.current_organization_id(),
  patient_id uuid not null,
  client_id uuid not null,
  relation text not null check (relation in ('co_owner', 'breeder', 'stable', 'sitter', 'emergency')),
  may_decide boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, patient_id, client_id),
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id) on delete cascade,
  foreign key (organization_id, client_id) references app_public.clients (organization_id, id) on delete cascade
);
alter table app_public.patient_contacts enable row level security;

create trigger _100_timestamps before insert or update on app_public.clients for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.patients for each row execute procedure app_private.tg__timestamps();
create trigger _100_timestamps before insert or update on app_public.patient_contacts for each row execute procedure app_private.tg__timestamps();

create function app_private.tg__clients__number() returns trigger as $$
begin
  new.client_number = app_private.next_number(new.organization_id, 'client');
  return new;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _200_number before insert on app_public.clients for each row when (new.client_number is null) execute procedure app_private.tg__clients__number();

create function app_private.tg__patients__count() returns trigger as $$
begin
  if tg_op <> 'DELETE' then
    update app_public.clients c
       set patient_count = (select count(*) from app_public.patients p
                             where p.organization_id = c.organization_id and p.client_id = c.id and p.archived_at is null)
     where c.organization_id = new.organization_id and c.id = new.client_id;
  end if;
  if tg_op <> 'INSERT' then
    update app_public.clients c
       set patient_count = (select count(*) from app_public.patients p
                             where p.organization_id = c.organization_id and p.client_id = c.id and p.archived_at is null)
     where c.organization_id = old.organization_id and c.id = old.client_id;
  end if;
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_count after insert or delete or update of client_id, archived_at on app_public.patients
  for each row execute procedure app_private.tg__patients__count();

create function app_private.tg__patient_weights__latest() returns trigger as $$
begin
  update app_public.patients set weight_grams = new.weight_grams
   where organization_id = new.organization_id and id = new.patient_id
     and not exists (select 1 from app_public.patient_weights w
                      where w.organization_id = new.organization_id and w.patient_id = new.patient_id and w.measured_at > new.measured_at);
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_latest after insert on app_public.patient_weights for each row execute procedure app_private.tg__patient_weights__latest();

create policy select_active on app_public.clients for select to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and archived_at is null);
create policy select_archived on app_public.clients for select to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
create policy insert_own on app_public.clients for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id()));
create policy update_own on app_public.clients for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()))
  with check (organization_id = (select app_hidden.current_organization_id()));
create policy needs_subscription on app_public.clients as restrictive for insert to app_member
  with check ((select app_hidden.organization_is_writable()));
grant select on app_public.clients to app_member;
grant insert (salutation, given_name, family_name, company_name, email, phone, mobile, address_line1, address_line2, postal_code, city, country_code,
              language, date_of_birth, preferred_contact, preferred_location_id, marketing_opt_in, tags, custom_fields, note) on app_public.clients to app_member;
grant update (salutation, given_name, family_name, company_name, email, phone, mobile, address_line1, address_line2, postal_code, city, country_code,
              language, date_of_birth, preferred_contact, preferred_location_id, marketing_opt_in, tags, custom_fields, note) on app_public.clients to app_member;
grant update (credit_limit_cents) on app_public.clients to app_manager;

create policy select_active on app_public.patients for select to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and archived_at is null);
create policy select_archived on app_public.patients for select to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
create policy insert_own on app_public.patients for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id()));
create policy update_own on app_public.patients for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()))
  with check (organization_id = (select app_hidden.current_organization_id()));
create policy needs_subscription on app_public.patients as restrictive for insert to app_member
  with check ((select app_hidden.organization_is_writable()));
grant select on app_public.patients to app_member;
grant insert (client_id, name, species_code, breed_code, sex, is_neutered, date_of_birth, date_of_birth_is_estimate, color, weight_grams, microchip_number,
              passport_number, insurer, insurance_number, allergies, tags, temperament, photo_url, custom_fields, note) on app_public.patients to app_member;
grant update (client_id, name, species_code, breed_code, sex, is_neutered, date_of_birth, date_of_birth_is_estimate, died_on, color, microchip_number,
              passport_number, insurer, insurance_number, allergies, tags, temperament, photo_url, custom_fields, note) on app_public.patients to app_member;

create policy select_own on app_public.patient_weights for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_own on app_public.patient_weights for insert to app_member with check (organization_id = (select app_hidden.current_organization_id()));
create policy delete_own on app_public.patient_weights for delete to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and measured_by = app_public.current_user_id());
grant select, delete on app_public.patient_weights to app_member;
grant insert (patient_id, measured_at, weight_grams) on app_public.patient_weights to app_member;

create policy manage_own on app_public.patient_contacts for all to app_member
  using (organization_id = (select app_hidden.current_organization_id()))
  with check (organization_id = (select app_hidden.current_organization_id()));
grant select, insert, delete on app_public.patient_contacts to app_member;
grant update (relation, may_decide) on app_public.patient_contacts to app_member;

-- Computed columns.
create function app_public.clients_full_name(c app_public.clients) returns text as $$
  select case when c.family_name is null then c.company_name else concat_ws(' ', c.salutation, c.given_name, c.family_name) end;
$$ language sql stable;
grant execute on function app_public.clients_full_name(app_public.clients) to app_member;

create function app_public.patients_age_in_months(p app_public.patients) returns integer as $$
  select (extract(year from a) * 12 + extract(month from a))::integer from age(coalesce(p.died_on, current_date), p.date_of_birth) a;
$$ language sql stable;
grant execute on function app_public.patients_age_in_months(app_public.patients) to app_member;

create function app_public.patients_weight_history(p app_public.patients) returns setof app_public.patient_weights as $$
  select * from app_public.patient_weights w where w.organization_id = p.organization_id and w.patient_id = p.id order by w.measured_at desc;
$$ language sql stable;
grant execute on function app_public.patients_weight_history(app_public.patients) to app_member;

-- Search. Invoker: the policies of the tables do the rest.
create function app_public.search_patients(term text) returns setof app_public.patients as $$
  select p.* from app_public.patients p
   where p.search @@ plainto_tsquery('simple', term)
      or p.microchip_number = trim(term)
      or p.name ilike trim(term) || '%'
   order by p.name;
$$ language sql stable;
grant execute on function app_public.search_patients(text) to app_member;

create function app_public.search_clients(term text, tagged text[] default '{}') returns setof app_public.clients as $$
  select c.* from app_public.clients c
   where (c.search @@ plainto_tsquery('simple', term) or c.mobile = term or c.client_number::text = term)
     and c.tags @> tagged
   order by c.family_name, c.given_name;
$$ language sql stable;
grant execute on function app_public.search_clients(text, text[]) to app_member;

-- Mutations.
create function app_public.archive_patient(patient_id uuid, reason text default null) returns app_public.patients as $$
declare
  v_patient app_public.patients;
begin
  update app_public.patients p
     set archived_at = now(), note = concat_ws(E'\n', p.note, 'Archived: ' || reason)
   where p.id = archive_patient.patient_id
     and p.organization_id = app_hidden.current_organization_id()
     and p.archived_at is null
  returning * into v_patient;
  if v_patient is null then
    raise exception 'We could not find that patient' using errcode = 'NTFND';
  end if;
  return v_patient;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.archive_patient(uuid, text) to app_member;

create function app_public.restore_patient(patient_id uuid) returns app_public.patients as $$
  update app_public.patients p set archived_at = null
   where p.id = restore_patient.patient_id
     and p.organization_id = app_hidden.current_organization_id()
     and app_hidden.is_manager()
  returning *;
$$ language sql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.restore_patient(uuid) to app_manager;

create function app_public.archive_client(client_id uuid) returns app_public.clients as $$
declare
  v_client app_public.clients;
begin
  update app_public.clients c set archived_at = now()
   where c.id = archive_client.client_id and c.organization_id = app_hidden.current_organization_id() and app_hidden.is_manager()
  returning * into v_client;
  update app_public.patients p set archived_at = now()
   where p.organization_id = v_client.organization_id and p.client_id = v_client.id and p.archived_at is null;
  return v_client;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.archive_client(uuid) to app_manager;

-- Two cards for one person. The keys are composite, so nothing can move to another practice.
create function app_public.merge_clients(keep_id uuid, duplicate_id uuid) returns app_public.clients as $$
declare
  v_organization_id uuid = app_hidden.current_organization_id();
  v_keep app_public.clients;
begin
  select * into v_keep from app_public.clients c where c.organization_id = v_organization_id and c.id = keep_id and c.archived_at is null for update;
  if v_keep is null or keep_id = duplicate_id
     or not exists (select 1 from app_public.clients c where c.organization_id = v_organization_id and c.id = duplicate_id) then
    raise exception 'We could not find those clients' using errcode = 'NTFND';
  end if;
  update app_public.patients p set client_id = keep_id where p.organization_id = v_organization_id and p.client_id = duplicate_id;
  update app_public.clients c set archived_at = now() where c.organization_id = v_organization_id and c.id = duplicate_id;
  return v_keep;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.merge_clients(uuid, uuid) to app_member;

reset role;
