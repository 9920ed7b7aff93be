-- break: the next year's partition was made by hand, with the parent's grant but without row level security
-- object: app_public.activity_log_2027
-- kind: leak
set role app_database_owner;
create table app_public.activity_log_2027 partition of app_public.activity_log for values from ('2027-01-01') to ('2028-01-01');
comment on table app_public.activity_log_2027 is E'@omit';
grant select on app_public.activity_log_2027 to app_manager;
reset role;
