-- Who changed what. One partition a year; read through the parent, partitions are granted to nobody.
set role app_database_owner;

create table app_public.activity_log (
  id uuid not null default gen_random_uuid(),
  organization_id uuid not null references app_public.organizations on delete cascade,
  actor_id uuid,
  action text not null check (action in ('insert', 'update', 'delete')),
  subject_table text not null,
  subject_id uuid,
  changes jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (created_at, id)
) partition by range (created_at);
alter table app_public.activity_log enable row level security;
create index on app_public.activity_log (organization_id, created_at);
comment on table app_public.activity_log is E'@omit create,update,delete';

-- Also done by a yearly job: create, enable row level security, comment.
create table app_public.activity_log_2025 partition of app_public.activity_log for values from ('2025-01-01') to ('2026-01-01');
create table app_public.activity_log_2026 partition of app_public.activity_log for values from ('2026-01-01') to ('2027-01-01');
create table app_public.activity_log_rest partition of app_public.activity_log default;
alter table app_public.activity_log_2025 enable row level security;
alter table app_public.activity_log_2026 enable row level security;
alter table app_public.activity_log_rest enable row level security;
comment on table app_public.activity_log_2025 is E'@omit';
comment on table app_public.activity_log_2026 is E'@omit';
comment on table app_public.activity_log_rest is E'@omit';

create policy select_manager on app_public.activity_log for select to app_manager
  using (organization_id = (select app_hidden.current_organization_id()) and (select app_hidden.is_manager()));
grant select on app_public.activity_log to app_manager;

create function app_private.tg__log_activity() returns trigger as $$
declare
  v_row jsonb = to_jsonb(case when tg_op = 'DELETE' then old else new end) - '{search,custom_fields}'::text[];
  v_changes jsonb = '{}';
begin
  if tg_op = 'UPDATE' then
    select coalesce(jsonb_object_agg(n.key, jsonb_build_array(o.value, n.value)), '{}') into v_changes
      from jsonb_each(v_row) n join jsonb_each(to_jsonb(old)) o using (key)
     where n.value is distinct from o.value and n.key <> 'updated_at';
  end if;
  insert into app_public.activity_log (organization_id, actor_id, action, subject_table, subject_id, changes)
  values ((v_row ->> 'organization_id')::uuid, app_public.current_user_id(), lower(tg_op), tg_table_name, (v_row ->> 'id')::uuid, v_changes);
  return null;
end;
$$ language plpgsql volatile security definer set search_path to pg_catalog, public, pg_temp;

create trigger _900_log after insert or update or delete on app_public.clients for each row execute procedure app_private.tg__log_activity();
create trigger _900_log after insert or update or delete on app_public.visits for each row execute procedure app_private.tg__log_activity();
create trigger _900_log after insert or update on app_public.invoices for each row execute procedure app_private.tg__log_activity();
create trigger _900_log after insert or update on app_public.payments for each row execute procedure app_private.tg__log_activity();
create trigger _900_log after update on app_public.organization_memberships for each row execute procedure app_private.tg__log_activity();

reset role;
