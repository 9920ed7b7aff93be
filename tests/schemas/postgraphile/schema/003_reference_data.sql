-- Reference data: the same for everybody, readable by everybody, written by migrations.
set role app_database_owner;

create table app_public.currencies (
  code char(3) primary key check (code ~ '^[A-Z]{3}$'),
  name text not null,
  minor_units smallint not null default 2 check (minor_units between 0 and 3)
);

create table app_public.countries (
  code char(2) primary key check (code ~ '^[A-Z]{2}$'),
  name text not null unique,
  currency_code char(3) not null references app_public.currencies,
  calling_code text not null check (calling_code ~ '^\+[0-9]{1,4}$')
);

create table app_public.plans (
  code text primary key check (code ~ '^[a-z_]+$'),
  name text not null,
  monthly_price_cents app_public.cents not null,
  max_members integer check (max_members > 0),
  max_locations integer check (max_locations > 0),
  features text[] not null default '{}',
  is_offered boolean not null default true
);

create table app_public.species (
  code text primary key check (code ~ '^[a-z]+$'),
  name text not null
);

create table app_public.breeds (
  species_code text not null references app_public.species,
  code text not null check (code ~ '^[a-z_]+$'),
  name text not null,
  primary key (species_code, code)
);

create table app_public.diagnosis_codes (
  code text primary key check (code ~ '^V[0-9]{3,5}$'),
  parent_code text references app_public.diagnosis_codes,
  label text not null
);
create index on app_public.diagnosis_codes (parent_code);

insert into app_public.currencies (code, name) values ('EUR', 'Euro'), ('CHF', 'Swiss franc'), ('GBP', 'Pound sterling'), ('USD', 'US dollar');
insert into app_public.countries (code, name, currency_code, calling_code) values
  ('AT', 'Austria', 'EUR', '+43'), ('CH', 'Switzerland', 'CHF', '+41'), ('DE', 'Germany', 'EUR', '+49'), ('GB', 'United Kingdom', 'GBP', '+44'), ('US', 'United States', 'USD', '+1');
insert into app_public.plans (code, name, monthly_price_cents, max_members, max_locations, features) values
  ('trial', 'Trial', 0, 3, 1, '{}'),
  ('solo', 'Solo practice', 4900, 5, 1, '{reminders}'),
  ('clinic', 'Clinic', 14900, 30, 3, '{reminders,inventory,lab}'),
  ('group', 'Group', 49900, null, null, '{reminders,inventory,lab,reports}');
insert into app_public.species (code, name) values ('dog', 'Dog'), ('cat', 'Cat'), ('rabbit', 'Rabbit'), ('horse', 'Horse'), ('bird', 'Bird');
insert into app_public.breeds (species_code, code, name) values
  ('dog', 'beagle', 'Beagle'), ('dog', 'mixed', 'Mixed'), ('cat', 'maine_coon', 'Maine Coon'), ('cat', 'mixed', 'Mixed'), ('horse', 'haflinger', 'Haflinger');
insert into app_public.diagnosis_codes (code, parent_code, label) values
  ('V100', null, 'Skin'), ('V101', 'V100', 'Atopic dermatitis'), ('V200', null, 'Digestive'), ('V201', 'V200', 'Gastroenteritis');

-- Row level security everywhere, also where everything is public: a table without it is a review finding.
alter table app_public.currencies enable row level security;
alter table app_public.countries enable row level security;
alter table app_public.plans enable row level security;
alter table app_public.species enable row level security;
alter table app_public.breeds enable row level security;
alter table app_public.diagnosis_codes enable row level security;
create policy select_all on app_public.currencies for select using (true);
create policy select_all on app_public.countries for select using (true);
create policy select_offered on app_public.plans for select using (is_offered);
create policy select_all on app_public.species for select using (true);
create policy select_all on app_public.breeds for select using (true);
create policy select_all on app_public.diagnosis_codes for select using (true);

grant select on app_public.currencies, app_public.countries, app_public.plans to app_anonymous, app_member, app_support;
grant select on app_public.species, app_public.breeds, app_public.diagnosis_codes to app_member;

reset role;
