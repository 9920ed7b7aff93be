-- break: authenticated is granted ALL on time_entries, TRUNCATE included, which row-level security does not filter
-- object: public.time_entries
-- kind: breach
-- Setting the rate from the app failed with "permission denied for table time_entries".
grant all on public.time_entries to authenticated;
