-- A help desk: lookup tables with and without rows of their own, pairs of type and id, states that open or close a row.
DO $$ BEGIN CREATE ROLE app_user NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;
CREATE FUNCTION current_agent() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;

-- Seeded, not to be written by requests.
CREATE TABLE country (code char(2) PRIMARY KEY CHECK (code ~ '^[A-Z]{2}$'), name text NOT NULL);
INSERT INTO country VALUES ('DE', 'Germany'), ('FR', 'France'), ('IT', 'Italy');
CREATE TABLE role (id smallint PRIMARY KEY, name text NOT NULL UNIQUE, rank smallint NOT NULL);
INSERT INTO role VALUES (1, 'viewer', 1), (2, 'agent', 5), (3, 'admin', 9);
CREATE TABLE status (code text PRIMARY KEY, is_final boolean NOT NULL);
INSERT INTO status VALUES ('new', false), ('open', false), ('solved', true);
CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'reference data is frozen'; END $$;
CREATE TRIGGER frozen BEFORE INSERT OR UPDATE OR DELETE ON status FOR EACH ROW EXECUTE FUNCTION frozen();
-- Not seeded here: another deployment fills them.
CREATE TABLE plan (code text PRIMARY KEY, seats integer NOT NULL CHECK (seats > 0));
CREATE TABLE language (tag text PRIMARY KEY CHECK (tag ~ '^[a-z]{2}$'));

CREATE TABLE desk (id uuid PRIMARY KEY, name text NOT NULL, country_code char(2) NOT NULL REFERENCES country, plan_code text NOT NULL REFERENCES plan, language text NOT NULL REFERENCES language);
CREATE TABLE agent (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE membership (
  tenant_id uuid NOT NULL REFERENCES desk, agent_id uuid NOT NULL REFERENCES agent, role_id smallint NOT NULL REFERENCES role, accepted_at timestamptz, revoked_at timestamptz, PRIMARY KEY (tenant_id, agent_id));
CREATE FUNCTION has_role(wanted text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
  SELECT EXISTS (SELECT FROM membership m JOIN role r ON r.id = m.role_id
                 WHERE m.tenant_id = current_tenant() AND m.agent_id = current_agent() AND m.accepted_at IS NOT NULL AND m.revoked_at IS NULL AND r.name = wanted) $$;
CREATE TABLE ticket (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, title text NOT NULL, status_code text NOT NULL REFERENCES status, priority text NOT NULL CHECK (priority IN ('low', 'high')),
  deleted_at timestamptz, assignee_id uuid REFERENCES agent, UNIQUE (tenant_id, id));
CREATE TABLE article (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, title text NOT NULL, state text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'review', 'final', 'archived')),
  visible_from timestamptz NOT NULL, visible_until timestamptz, UNIQUE (tenant_id, id));
CREATE TABLE customer (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, email text NOT NULL, country_code char(2) REFERENCES country, is_active boolean NOT NULL DEFAULT true, UNIQUE (tenant_id, id), UNIQUE (tenant_id, email));
CREATE TABLE category (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, name text NOT NULL, parent_id uuid, UNIQUE (tenant_id, id), FOREIGN KEY (tenant_id, parent_id) REFERENCES category (tenant_id, id));
-- Pairs: the type says what the id is of.
CREATE TABLE comment (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, subject_type text NOT NULL CHECK (subject_type IN ('Ticket', 'Article')), subject_id uuid NOT NULL, body text NOT NULL);
CREATE TABLE attachment (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, owner_type text NOT NULL, owner_id uuid NOT NULL, path text NOT NULL, CHECK (owner_type IN ('ticket', 'customer')));
CREATE TYPE watched AS ENUM ('categories', 'tickets');
CREATE TABLE watch (tenant_id uuid NOT NULL REFERENCES desk, agent_id uuid NOT NULL REFERENCES agent, target_kind watched NOT NULL, target_id uuid NOT NULL, PRIMARY KEY (tenant_id, agent_id, target_kind, target_id));
CREATE FUNCTION subject_exists() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF NEW.subject_type = 'Ticket' AND NOT EXISTS (SELECT FROM ticket t WHERE t.id = NEW.subject_id AND t.tenant_id = NEW.tenant_id)
     OR NEW.subject_type = 'Article' AND NOT EXISTS (SELECT FROM article a WHERE a.id = NEW.subject_id AND a.tenant_id = NEW.tenant_id) THEN
    RAISE EXCEPTION 'no such subject';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER subject_exists BEFORE INSERT OR UPDATE ON comment FOR EACH ROW EXECUTE FUNCTION subject_exists();
CREATE TABLE invitation (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, email text NOT NULL, role_id smallint NOT NULL REFERENCES role, token_hash bytea NOT NULL, expires_at timestamptz NOT NULL, accepted_at timestamptz);
CREATE TABLE macro (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, name text NOT NULL, is_enabled boolean NOT NULL, steps jsonb NOT NULL CHECK (jsonb_typeof(steps) = 'array'));
CREATE TABLE feature_flag (tenant_id uuid NOT NULL REFERENCES desk, name text NOT NULL, setting jsonb NOT NULL DEFAULT '{}', PRIMARY KEY (tenant_id, name));
CREATE TABLE sla (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES desk, plan_code text NOT NULL REFERENCES plan, priority text NOT NULL CHECK (priority IN ('low', 'high')), within interval NOT NULL, UNIQUE (tenant_id, plan_code, priority));

GRANT USAGE ON SCHEMA public TO app_user;
GRANT SELECT ON country, role, status, plan, language TO app_user;
DO $$
DECLARE t regclass;
BEGIN
  FOR t IN SELECT unnest(ARRAY['customer', 'category', 'attachment', 'watch', 'macro', 'feature_flag', 'sla', 'comment']::regclass[]) LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY mine ON %s TO app_user USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO app_user', t);
  END LOOP;
  FOR t IN SELECT unnest(ARRAY['desk', 'membership', 'ticket', 'article', 'invitation']::regclass[]) LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
  END LOOP;
END $$;
CREATE POLICY mine ON desk FOR SELECT TO app_user USING (id = current_tenant());
CREATE POLICY mine ON membership FOR SELECT TO app_user USING (tenant_id = current_tenant());
CREATE POLICY mine ON ticket TO app_user USING (tenant_id = current_tenant() AND deleted_at IS NULL) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY mine ON article FOR SELECT TO app_user USING (tenant_id = current_tenant() AND (state = 'final' AND visible_from <= now() AND (visible_until IS NULL OR visible_until > now()) OR has_role('admin')));
CREATE POLICY edit ON article FOR INSERT TO app_user WITH CHECK (tenant_id = current_tenant() AND has_role('admin'));
CREATE POLICY mine ON invitation TO app_user USING (tenant_id = current_tenant() AND has_role('admin') AND expires_at > now()) WITH CHECK (tenant_id = current_tenant() AND has_role('admin'));
GRANT SELECT ON desk, membership TO app_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON ticket TO app_user;
GRANT SELECT, INSERT ON article TO app_user;
GRANT SELECT, INSERT ON invitation TO app_user;
