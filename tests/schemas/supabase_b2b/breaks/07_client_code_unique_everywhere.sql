-- break: client codes are unique over all organizations, so a duplicate tells that another one has the client
-- object: public.clients
-- kind: reveal
-- The new importer upserts with "on conflict (code)" and needs a constraint on just that column.
alter table public.clients drop constraint clients_code_key;
alter table public.clients add constraint clients_code_key unique (code);
