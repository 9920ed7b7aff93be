-- break: letters that nobody has sorted yet have no organisation, and the policy shows them to all organisations
-- object: public.letters
-- kind: leak

-- A digital mailroom on a Supabase-like stack: PostgREST puts the verified token into request.jwt.claims, the organisation
-- is app_metadata.org_id, which only the service writes. Letters are scanned at the post centre and belong to whom the
-- mailbox belongs; a clerk of that organisation takes them in.

DO $$ DECLARE r text; BEGIN
  FOREACH r IN ARRAY '{seven4_anon,seven4_authenticated,seven4_service}'::text[] LOOP
    IF to_regrole(r) IS NULL THEN EXECUTE format('CREATE ROLE %I NOLOGIN', r); END IF;
  END LOOP;
END $$;
ALTER ROLE seven4_service BYPASSRLS;

CREATE SCHEMA app;
GRANT USAGE ON SCHEMA public, app TO seven4_anon, seven4_authenticated, seven4_service;

create function app.claims() returns jsonb language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
$$;
create function app.user_id() returns uuid language sql stable as $$ select (app.claims() ->> 'sub')::uuid $$;
create function app.org_id() returns uuid language sql stable as $$
  select (app.claims() -> 'app_metadata' ->> 'org_id')::uuid
$$;
create function app.is_admin() returns boolean language sql stable as $$
  select coalesce(app.claims() -> 'app_metadata' ->> 'org_role' = 'admin', false)
$$;

create table public.plans (
  plan text primary key,
  letters_per_month integer not null check (letters_per_month > 0),
  price_cents integer not null);
insert into public.plans values ('small', 50, 1900), ('office', 500, 9900);

create table public.orgs (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  plan text not null default 'small' references public.plans,
  settings jsonb not null default '{}' check (jsonb_typeof(settings) = 'object'));

create table public.org_members (
  org_id uuid not null references public.orgs on delete cascade,
  user_id uuid not null,
  org_role text not null default 'clerk' check (org_role in ('clerk', 'admin')),
  joined_at timestamptz not null default now(),
  primary key (org_id, user_id));

create table public.mailboxes (
  id uuid primary key default gen_random_uuid(),
  org_id uuid not null default app.org_id() references public.orgs on delete cascade,
  label text not null,
  street_address text not null,
  unique (org_id, id),
  unique (org_id, label));

create table public.folders (
  id uuid primary key default gen_random_uuid(),
  org_id uuid not null default app.org_id() references public.orgs on delete cascade,
  parent_id uuid,
  name text not null check (name !~ '/'),
  unique (org_id, id),
  unique (org_id, parent_id, name),
  foreign key (org_id, parent_id) references public.folders (org_id, id) on delete cascade,
  check (parent_id <> id));

-- org_id is null from the scanner until a clerk takes the letter in
create table public.letters (
  id uuid primary key default gen_random_uuid(),
  mailbox_id uuid not null references public.mailboxes,
  org_id uuid,
  folder_id uuid,
  sender text,
  subject text,
  full_text text not null default '',
  scanned_at timestamptz not null default now(),
  unique (org_id, id),
  foreign key (org_id, mailbox_id) references public.mailboxes (org_id, id),
  foreign key (org_id, folder_id) references public.folders (org_id, id) on delete set null (folder_id),
  check (org_id is not null or folder_id is null));
create index on public.letters (mailbox_id) where org_id is null;

create table public.letter_pages (
  letter_id uuid not null references public.letters on delete cascade,
  page smallint not null check (page > 0),
  image_path text not null,
  primary key (letter_id, page));

create table public.tags (
  org_id uuid not null default app.org_id() references public.orgs on delete cascade,
  tag text not null check (tag = lower(tag)),
  colour text not null default '#999999' check (colour ~ '^#[0-9a-f]{6}$'),
  primary key (org_id, tag));

create table public.letter_tags (
  org_id uuid not null default app.org_id(),
  letter_id uuid not null,
  tag text not null,
  tagged_by uuid not null default app.user_id(),
  primary key (org_id, letter_id, tag),
  foreign key (org_id, letter_id) references public.letters (org_id, id) on delete cascade,
  foreign key (org_id, tag) references public.tags on delete cascade);

create table public.forwardings (
  id uuid primary key default gen_random_uuid(),
  org_id uuid not null default app.org_id(),
  letter_id uuid not null,
  to_email text not null check (position('@' in to_email) > 1),
  sent_at timestamptz,
  foreign key (org_id, letter_id) references public.letters (org_id, id) on delete cascade);

-- rpc: take a letter in
create function public.take_in(letter uuid, folder uuid default null) returns boolean language plpgsql as $$
begin
  update public.letters l set org_id = app.org_id(), folder_id = take_in.folder
  where l.id = take_in.letter and l.org_id is null;
  return found;
end $$;
revoke execute on function public.take_in(uuid, uuid) from public;
grant execute on function public.take_in(uuid, uuid) to seven4_authenticated;

alter table public.plans enable row level security;
alter table public.orgs enable row level security;
alter table public.org_members enable row level security;
alter table public.mailboxes enable row level security;
alter table public.folders enable row level security;
alter table public.letters enable row level security;
alter table public.letter_pages enable row level security;
alter table public.tags enable row level security;
alter table public.letter_tags enable row level security;
alter table public.forwardings enable row level security;

create policy "plans are public" on public.plans for select to seven4_anon, seven4_authenticated using (true);
create policy "own org" on public.orgs for select to seven4_authenticated using (id = (select app.org_id()));
create policy "admins change the org" on public.orgs for update to seven4_authenticated
  using (id = (select app.org_id()) and (select app.is_admin()))
  with check (id = (select app.org_id()) and (select app.is_admin()));
create policy "colleagues" on public.org_members for select to seven4_authenticated using (org_id = (select app.org_id()));
create policy "read mailboxes" on public.mailboxes for select to seven4_authenticated using (org_id = (select app.org_id()));
create policy "admins rename mailboxes" on public.mailboxes for update to seven4_authenticated
  using (org_id = (select app.org_id()) and (select app.is_admin()))
  with check (org_id = (select app.org_id()) and (select app.is_admin()));
create policy "folders" on public.folders for all to seven4_authenticated
  using (org_id = (select app.org_id())) with check (org_id = (select app.org_id()));
create policy "letters" on public.letters for all to seven4_authenticated
  using (org_id = (select app.org_id()) or org_id is null)
  with check (org_id = (select app.org_id()));
create policy "pages of letters taken in" on public.letter_pages for select to seven4_authenticated
  using (exists (select 1 from public.letters l where l.id = letter_pages.letter_id and l.org_id = (select app.org_id())));
create policy "tags" on public.tags for all to seven4_authenticated
  using (org_id = (select app.org_id())) with check (org_id = (select app.org_id()));
create policy "letter tags" on public.letter_tags for all to seven4_authenticated
  using (org_id = (select app.org_id())) with check (org_id = (select app.org_id()));
create policy "forwardings" on public.forwardings for all to seven4_authenticated
  using (org_id = (select app.org_id())) with check (org_id = (select app.org_id()));

grant select on public.plans to seven4_anon, seven4_authenticated;
grant select on public.orgs, public.org_members, public.mailboxes, public.letters, public.letter_pages to seven4_authenticated;
grant update (name, settings) on public.orgs to seven4_authenticated;
grant update (label) on public.mailboxes to seven4_authenticated;
grant update (org_id, folder_id, sender, subject) on public.letters to seven4_authenticated;
grant select, insert, update, delete on public.folders, public.tags, public.letter_tags to seven4_authenticated;
grant select, delete, insert (letter_id, to_email) on public.forwardings to seven4_authenticated;
grant select, insert, update, delete on all tables in schema public to seven4_service;
