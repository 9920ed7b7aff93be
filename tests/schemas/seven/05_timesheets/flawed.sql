-- break: the workspace of a request is the one that the user's own row names, and users write that row
-- object: public.current_workspace()
-- or: public.users
-- kind: escalation

-- Time sheets. The web server sets app.user_id; a user may belong to several workspaces and switches between them in the
-- interface, which remembers the choice in users.workspace.

DO $$ BEGIN
  IF to_regrole('seven5_web') IS NULL THEN CREATE ROLE seven5_web NOLOGIN; END IF;
END $$;
GRANT USAGE ON SCHEMA public TO seven5_web;

CREATE TYPE member_role AS ENUM ('guest', 'member', 'manager');
CREATE TYPE member_status AS ENUM ('invited', 'active', 'left');

CREATE TABLE public_holidays (
  country char(2) NOT NULL,
  day     date NOT NULL,
  name    text NOT NULL,
  PRIMARY KEY (country, day));

CREATE TABLE workspaces (
  slug       text PRIMARY KEY CHECK (slug ~ '^[a-z0-9-]{1,30}$'),
  title      text NOT NULL,
  country    char(2) NOT NULL DEFAULT 'AT',
  week_hours numeric(4,1) NOT NULL DEFAULT 38.5 CHECK (week_hours BETWEEN 1 AND 80));

-- workspace: where the interface was last; no foreign key, workspaces come and go
CREATE TABLE users (
  id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email          text NOT NULL UNIQUE,
  full_name      text NOT NULL,
  locale         text NOT NULL DEFAULT 'de',
  workspace      text,
  deactivated_at timestamptz);

CREATE TABLE memberships (
  workspace text NOT NULL REFERENCES workspaces ON DELETE CASCADE,
  user_id   uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  role      member_role NOT NULL DEFAULT 'member',
  status    member_status NOT NULL DEFAULT 'invited',
  PRIMARY KEY (workspace, user_id));

CREATE TABLE clients (
  workspace text NOT NULL REFERENCES workspaces ON DELETE CASCADE,
  client_no integer NOT NULL CHECK (client_no > 0),
  name      text NOT NULL,
  hourly    numeric(8,2) NOT NULL CHECK (hourly >= 0),
  PRIMARY KEY (workspace, client_no),
  UNIQUE (workspace, name));

CREATE TABLE projects (
  workspace text NOT NULL,
  project   text NOT NULL CHECK (project ~ '^[A-Z]{2,6}$'),
  client_no integer NOT NULL,
  archived  boolean NOT NULL DEFAULT false,
  PRIMARY KEY (workspace, project),
  FOREIGN KEY (workspace, client_no) REFERENCES clients ON DELETE CASCADE);

CREATE TABLE time_entries (
  workspace text NOT NULL,
  id        uuid NOT NULL DEFAULT gen_random_uuid(),
  user_id   uuid NOT NULL,
  project   text NOT NULL,
  day       date NOT NULL,
  minutes   integer NOT NULL CHECK (minutes BETWEEN 1 AND 1440),
  what      text NOT NULL DEFAULT '',
  PRIMARY KEY (workspace, id),
  FOREIGN KEY (workspace, user_id) REFERENCES memberships ON DELETE CASCADE,
  FOREIGN KEY (workspace, project) REFERENCES projects ON UPDATE CASCADE ON DELETE CASCADE);

CREATE TABLE invoices (
  workspace  text NOT NULL,
  invoice_no integer NOT NULL CHECK (invoice_no > 0),
  client_no  integer NOT NULL,
  issued_on  date NOT NULL DEFAULT current_date,
  paid_on    date,
  PRIMARY KEY (workspace, invoice_no),
  FOREIGN KEY (workspace, client_no) REFERENCES clients,
  CHECK (paid_on >= issued_on));

CREATE TABLE invoice_lines (
  workspace  text NOT NULL,
  invoice_no integer NOT NULL,
  line_no    smallint NOT NULL,
  body       text NOT NULL,
  amount     numeric(10,2) NOT NULL,
  PRIMARY KEY (workspace, invoice_no, line_no),
  FOREIGN KEY (workspace, invoice_no) REFERENCES invoices ON DELETE CASCADE);

CREATE FUNCTION app_user_id() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;

CREATE FUNCTION current_workspace() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT u.workspace
  FROM public.users u
  WHERE u.id = public.app_user_id() AND u.deactivated_at IS NULL
$$;

CREATE FUNCTION is_manager() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM public.memberships m
    WHERE m.user_id = public.app_user_id() AND m.workspace = public.current_workspace()
      AND m.role = 'manager' AND m.status = 'active')
$$;
REVOKE EXECUTE ON FUNCTION current_workspace(), is_manager() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_workspace(), is_manager() TO seven5_web;

CREATE VIEW hours_by_project WITH (security_invoker = true) AS
  SELECT workspace, project, date_trunc('month', day)::date AS month, sum(minutes) / 60.0 AS hours
  FROM time_entries GROUP BY 1, 2, 3;

ALTER TABLE public_holidays ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON public_holidays FOR SELECT TO seven5_web USING (true);
GRANT SELECT ON public_holidays TO seven5_web;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON users FOR SELECT TO seven5_web
  USING (id = app_user_id()
    OR EXISTS (SELECT FROM memberships m WHERE m.user_id = users.id AND m.workspace = current_workspace()));
CREATE POLICY change ON users FOR UPDATE TO seven5_web USING (id = app_user_id()) WITH CHECK (id = app_user_id());
-- colleagues need not know where else one works
GRANT SELECT (id, email, full_name, locale, deactivated_at), UPDATE (full_name, locale, workspace) ON users TO seven5_web;

ALTER TABLE workspaces ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON workspaces FOR SELECT TO seven5_web
  USING (slug = current_workspace()
    OR EXISTS (SELECT FROM memberships m WHERE m.workspace = slug AND m.user_id = app_user_id() AND m.status = 'active'));
CREATE POLICY change ON workspaces FOR UPDATE TO seven5_web
  USING (slug = current_workspace() AND is_manager()) WITH CHECK (slug = current_workspace() AND is_manager());
GRANT SELECT, UPDATE (title, country, week_hours) ON workspaces TO seven5_web;

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON memberships FOR SELECT TO seven5_web
  USING (user_id = app_user_id() OR workspace = current_workspace());
GRANT SELECT ON memberships TO seven5_web;

ALTER TABLE clients ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON clients TO seven5_web
  USING (workspace = current_workspace()) WITH CHECK (workspace = current_workspace());
GRANT SELECT, INSERT, UPDATE, DELETE ON clients TO seven5_web;

ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON projects TO seven5_web
  USING (workspace = current_workspace()) WITH CHECK (workspace = current_workspace());
GRANT SELECT, INSERT, UPDATE, DELETE ON projects TO seven5_web;

ALTER TABLE time_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON time_entries FOR SELECT TO seven5_web USING (workspace = current_workspace());
CREATE POLICY own ON time_entries TO seven5_web
  USING (workspace = current_workspace() AND user_id = app_user_id())
  WITH CHECK (workspace = current_workspace() AND user_id = app_user_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON time_entries TO seven5_web;
GRANT SELECT ON hours_by_project TO seven5_web;

ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
CREATE POLICY managers ON invoices TO seven5_web
  USING (workspace = current_workspace() AND is_manager()) WITH CHECK (workspace = current_workspace() AND is_manager());
ALTER TABLE invoice_lines ENABLE ROW LEVEL SECURITY;
CREATE POLICY managers ON invoice_lines TO seven5_web
  USING (workspace = current_workspace() AND is_manager()) WITH CHECK (workspace = current_workspace() AND is_manager());
GRANT SELECT, INSERT, UPDATE, DELETE ON invoices, invoice_lines TO seven5_web;
