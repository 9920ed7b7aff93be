create type public.org_role as enum ('owner', 'admin', 'member', 'billing', 'guest');
create type public.org_status as enum ('active', 'past_due', 'suspended');
create type public.member_status as enum ('active', 'suspended', 'removed');
create type public.invitation_status as enum ('pending', 'accepted', 'revoked');
create type public.project_visibility as enum ('organization', 'private');
create type public.project_role as enum ('lead', 'contributor', 'viewer');
create type public.task_priority as enum ('none', 'low', 'medium', 'high', 'urgent');
create type public.status_category as enum ('backlog', 'open', 'done', 'cancelled');
create type public.comment_subject as enum ('task', 'document', 'milestone');
create type public.notification_kind as enum ('assigned', 'mentioned', 'commented', 'billing', 'system');
create type public.subscription_status as enum ('trialing', 'active', 'past_due', 'cancelled');
create type public.invoice_status as enum ('draft', 'open', 'paid', 'void', 'uncollectible');

create domain public.email_address as text
  check (value = lower(value) and value ~ '^[^@\s]+@[^@\s]+\.[^@\s]+$' and length(value) <= 254);

create domain public.slug as text
  check (value ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(value) between 2 and 64);

create domain public.handle as text
  check (value ~ '^[a-z][a-z0-9_]{1,30}$');

create domain public.hex_color as text
  check (value ~ '^#[0-9a-f]{6}$');

create domain public.https_url as text
  check (value ~ '^https://[^\s/]+(/\S*)?$' and length(value) <= 2000);
