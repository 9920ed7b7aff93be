set role app_database_owner;

create table app_public.visits (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id() references app_public.organizations on delete cascade,
  patient_id uuid not null,
  appointment_id uuid,
  location_id uuid,
  veterinarian_id uuid not null default app_public.current_user_id(),
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  reason text not null,
  subjective text,
  objective text,
  assessment text,
  plan text,
  vitals jsonb not null default '{}' check (jsonb_typeof(vitals) = 'object' and (vitals - '{temperature,pulse,respiration,crt}'::text[]) = '{}'),
  body_condition smallint check (body_condition between 1 and 9),
  follow_up_on date,
  status app_public.visit_status not null default 'draft',
  signed_at timestamptz,
  signed_by uuid references app_public.users on delete set null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  check (ended_at >= started_at),
  check ((status = 'draft') = (signed_at is null)),
  foreign key (organization_id, patient_id) references app_public.patients (organization_id, id),
  foreign key (organization_id, appointment_id) references app_public.appointments (organization_id, id) on delete set null (appointment_id),
  foreign key (organization_id, location_id) references app_public.locations (organization_id, id) on delete set null (location_id),
  foreign key (organization_id, veterinarian_id) references app_public.organization_memberships (organization_id, user_id)
);
alter table app_public.visits enable row level security;
create index on app_public.visits (organization_id, patient_id, started_at);

create table app_public.visit_diagnoses (
  organization_id uuid not null default app_hidden.current_organization_id(),
  visit_id uuid not null,
  diagnosis_code text not null references app_public.diagnosis_codes,
  certainty text not null default 'tentative' check (certainty in ('tentative', 'differential', 'confirmed')),
  note text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, visit_id, diagnosis_code),
  foreign key (organization_id, visit_id) references app_public.visits (organization_id, id) on delete cascade
);
alter table app_public.visit_diagnoses enable row level security;

create table app_public.lab_orders (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null default app_hidden.current_organization_id(),
  visit_id uuid not null,
  laboratory text not null,
  panel text not null,
  ordered_by uuid default app_public.current_user_id() references app_public.users on delete set null,
  ordered_at timestamptz not null default now(),
  received_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (organization_id, id),
  foreign key (organization_id, visit_id) references app_public.visits (organization_id, id) on delete cascade
);
alter table app_public.lab_orders enable row level security;

create table app_public.lab_results (
  organization_id uuid not null default app_hidden.current_organization_id(),
  lab_order_id uuid not null,
  analyte text not null,
  value numeric not null,
  unit text not null,
  reference numrange,
  is_abnormal boolean generated always as (not (value <@ reference)) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, lab_order_id, analyte),
  foreign key (organization_id, lab_order_id) references app_public.lab_orders (organization_id, id) on delete cascade
);
alter table app_public.lab_results enable row level security;

do $$
declare
  t text;
begin
  foreach t in array '{visits,visit_diagnoses,lab_orders,lab_results}'::text[] loop
    execute format('create trigger _100_timestamps before insert or update on app_public.%I for each row execute procedure app_private.tg__timestamps()', t);
    execute format('grant select on app_public.%I to app_member', t);
  end loop;
end
$$;

create policy select_own on app_public.visits for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_clinical on app_public.visits for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical()) and status = 'draft');
create policy update_draft on app_public.visits for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical()) and status = 'draft')
  with check (organization_id = (select app_hidden.current_organization_id()) and status = 'draft');
create policy needs_subscription on app_public.visits as restrictive for insert to app_member
  with check ((select app_hidden.organization_is_writable()));
grant insert (patient_id, appointment_id, location_id, veterinarian_id, started_at, ended_at, reason, subjective, objective, assessment, plan, vitals, body_condition, follow_up_on)
  on app_public.visits to app_member;
grant update (appointment_id, location_id, ended_at, reason, subjective, objective, assessment, plan, vitals, body_condition, follow_up_on)
  on app_public.visits to app_member;

-- Children of a visit follow the visit: visible with it, open while it is a draft.
create policy select_own on app_public.visit_diagnoses for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy manage_draft on app_public.visit_diagnoses for all to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical())
         and exists (select 1 from app_public.visits v
                      where v.organization_id = visit_diagnoses.organization_id and v.id = visit_diagnoses.visit_id and v.status = 'draft'))
  with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical())
         and exists (select 1 from app_public.visits v
                      where v.organization_id = visit_diagnoses.organization_id and v.id = visit_diagnoses.visit_id and v.status = 'draft'));
grant insert (visit_id, diagnosis_code, certainty, note), update (certainty, note), delete on app_public.visit_diagnoses to app_member;

create policy select_own on app_public.lab_orders for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_clinical on app_public.lab_orders for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical()));
create policy update_clinical on app_public.lab_orders for update to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical()))
  with check (organization_id = (select app_hidden.current_organization_id()));
grant insert (visit_id, laboratory, panel), update (laboratory, panel, received_at) on app_public.lab_orders to app_member;

create policy select_own on app_public.lab_results for select to app_member using (organization_id = (select app_hidden.current_organization_id()));
create policy insert_clinical on app_public.lab_results for insert to app_member
  with check (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical()));
create policy delete_clinical on app_public.lab_results for delete to app_member
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_clinical()));
grant insert (lab_order_id, analyte, value, unit, reference), delete on app_public.lab_results to app_member;

create function app_private.tg__visits__last_visit() returns trigger as $$
begin
  update app_public.patients p set last_visit_at = greatest(p.last_visit_at, new.started_at)
   where p.organization_id = new.organization_id and p.id = new.patient_id;
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;
create trigger _500_last_visit after insert on app_public.visits for each row execute procedure app_private.tg__visits__last_visit();

create function app_public.sign_visit(visit_id uuid) returns app_public.visits as $$
declare
  v_visit app_public.visits;
begin
  if app_hidden.current_member_role() not in ('owner', 'manager', 'veterinarian') then
    raise exception 'Only veterinarians sign' using errcode = 'DNIED';
  end if;
  update app_public.visits v
     set status = 'signed', signed_at = now(), signed_by = app_public.current_user_id(), ended_at = coalesce(v.ended_at, greatest(now(), v.started_at))
   where v.id = sign_visit.visit_id and v.organization_id = app_hidden.current_organization_id() and v.status = 'draft'
  returning * into v_visit;
  if v_visit is null then
    raise exception 'We could not find that draft' using errcode = 'NTFND';
  end if;
  update app_public.appointments a set status = 'done' where a.organization_id = v_visit.organization_id and a.id = v_visit.appointment_id;
  return v_visit;
end;
$$ language plpgsql volatile strict security definer set search_path to pg_catalog, public, pg_temp;
grant execute on function app_public.sign_visit(uuid) to app_member;

reset role;
