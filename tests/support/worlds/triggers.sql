-- A shop: triggers that make rows, rewrite them, refuse them, ask who comes, or wait for the end of the transaction.
DO $$ BEGIN CREATE ROLE app_user NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;
CREATE FUNCTION current_person() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;

CREATE TABLE shop (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE person (id uuid PRIMARY KEY, email text NOT NULL, tenant_id uuid NOT NULL REFERENCES shop, UNIQUE (tenant_id, id));
-- Made by triggers: one profile a person, one counter a shop, a membership for who comes.
CREATE TABLE profile (person_id uuid PRIMARY KEY REFERENCES person, tenant_id uuid REFERENCES shop, nickname text);
CREATE TABLE counter (tenant_id uuid PRIMARY KEY REFERENCES shop, value bigint NOT NULL DEFAULT 0);
CREATE TABLE membership (tenant_id uuid NOT NULL REFERENCES shop, person_id uuid NOT NULL, role text NOT NULL DEFAULT 'clerk' CHECK (role IN ('owner', 'clerk')), PRIMARY KEY (tenant_id, person_id),
  FOREIGN KEY (tenant_id, person_id) REFERENCES person (tenant_id, id));
CREATE FUNCTION on_person() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO profile (person_id, nickname) VALUES (NEW.id, split_part(NEW.email, '@', 1));
  INSERT INTO membership (tenant_id, person_id) VALUES (NEW.tenant_id, NEW.id);
  RETURN NEW;
END $$;
CREATE TRIGGER on_person AFTER INSERT ON person FOR EACH ROW EXECUTE FUNCTION on_person();
CREATE FUNCTION on_shop() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN INSERT INTO counter (tenant_id) VALUES (NEW.id); RETURN NEW; END $$;
CREATE TRIGGER on_shop AFTER INSERT ON shop FOR EACH ROW EXECUTE FUNCTION on_shop();

-- The tenant comes from the request, whatever is given.
CREATE TABLE article (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, sku text NOT NULL, price numeric(8, 2) NOT NULL, slug text, UNIQUE (tenant_id, sku), UNIQUE (tenant_id, id));
CREATE FUNCTION stamp_tenant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.tenant_id := current_tenant(); RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON article FOR EACH ROW EXECUTE FUNCTION stamp_tenant();
CREATE FUNCTION make_slug() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.slug := lower(regexp_replace(NEW.sku, '[^a-zA-Z0-9]+', '-', 'g')); RETURN NEW; END $$;
CREATE TRIGGER slug BEFORE INSERT OR UPDATE ON article FOR EACH ROW EXECUTE FUNCTION make_slug();
-- Refused without a request.
CREATE TABLE basket (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, person_id uuid NOT NULL, state text NOT NULL DEFAULT 'open', UNIQUE (tenant_id, id), FOREIGN KEY (tenant_id, person_id) REFERENCES person (tenant_id, id));
CREATE FUNCTION needs_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_person() IS NULL THEN RAISE EXCEPTION 'not signed in' USING ERRCODE = '28000'; END IF;
  IF NEW.tenant_id <> current_tenant() THEN RAISE EXCEPTION 'another shop'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER request BEFORE INSERT ON basket FOR EACH ROW EXECUTE FUNCTION needs_request();
-- Begins as a draft, or not at all.
CREATE TABLE purchase (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, status text NOT NULL CHECK (status IN ('paid', 'draft', 'sent')), total numeric(10, 2) NOT NULL, UNIQUE (tenant_id, id));
CREATE FUNCTION begins_as_draft() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.status <> 'draft' THEN RAISE EXCEPTION 'a purchase begins as a draft, not as %', NEW.status; END IF; RETURN NEW; END $$;
CREATE TRIGGER draft BEFORE INSERT ON purchase FOR EACH ROW EXECUTE FUNCTION begins_as_draft();
-- At the end of the transaction an order has a line, and a line adds to its order.
CREATE TABLE purchase_order (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, placed_at timestamptz NOT NULL DEFAULT now(), UNIQUE (tenant_id, id));
CREATE TABLE order_line (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, order_id uuid NOT NULL, article_id uuid NOT NULL, quantity integer NOT NULL CHECK (quantity > 0),
  FOREIGN KEY (tenant_id, order_id) REFERENCES purchase_order (tenant_id, id) ON DELETE CASCADE, FOREIGN KEY (tenant_id, article_id) REFERENCES article (tenant_id, id));
CREATE FUNCTION order_has_lines() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM order_line l WHERE l.order_id = NEW.id) THEN RAISE EXCEPTION 'order without lines'; END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER lines AFTER INSERT ON purchase_order DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION order_has_lines();
-- Accepts nothing any more.
CREATE TABLE ledger (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, amount numeric(10, 2) NOT NULL);
CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the ledger is closed'; END $$;
CREATE TRIGGER closed BEFORE INSERT OR UPDATE ON ledger FOR EACH ROW EXECUTE FUNCTION closed();
-- Swallowed, for whom it is not meant.
CREATE TABLE telemetry (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, payload jsonb NOT NULL);
CREATE FUNCTION sampled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER sampled BEFORE INSERT ON telemetry FOR EACH ROW EXECUTE FUNCTION sampled();
-- Written by triggers of others.
CREATE TABLE audit (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, table_name text NOT NULL, row_id uuid NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN INSERT INTO audit (tenant_id, table_name, row_id) VALUES (NEW.tenant_id, TG_TABLE_NAME, NEW.id); RETURN NULL; END $$;
CREATE TRIGGER log AFTER INSERT ON purchase FOR EACH ROW EXECUTE FUNCTION log_change();
CREATE TRIGGER log AFTER INSERT OR UPDATE ON article FOR EACH ROW EXECUTE FUNCTION log_change();
-- Numbered by a trigger, per shop.
CREATE TABLE invoice (tenant_id uuid NOT NULL REFERENCES shop, no bigint NOT NULL, purchase_id uuid NOT NULL, PRIMARY KEY (tenant_id, no), FOREIGN KEY (tenant_id, purchase_id) REFERENCES purchase (tenant_id, id));
CREATE FUNCTION number_invoice() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN UPDATE counter SET value = value + 1 WHERE tenant_id = NEW.tenant_id RETURNING value INTO STRICT NEW.no; RETURN NEW; END $$;
CREATE TRIGGER number BEFORE INSERT ON invoice FOR EACH ROW EXECUTE FUNCTION number_invoice();
-- Looks at other rows before it lets one in.
CREATE TABLE stock (tenant_id uuid NOT NULL REFERENCES shop, article_id uuid NOT NULL, on_hand integer NOT NULL, PRIMARY KEY (tenant_id, article_id), FOREIGN KEY (tenant_id, article_id) REFERENCES article (tenant_id, id));
CREATE TABLE reservation (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, article_id uuid NOT NULL, quantity integer NOT NULL, FOREIGN KEY (tenant_id, article_id) REFERENCES article (tenant_id, id));
CREATE FUNCTION enough() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  IF NEW.quantity > coalesce((SELECT on_hand FROM stock s WHERE s.tenant_id = NEW.tenant_id AND s.article_id = NEW.article_id), 0) THEN RAISE EXCEPTION 'not enough in stock' USING ERRCODE = '23514'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER enough BEFORE INSERT ON reservation FOR EACH ROW EXECUTE FUNCTION enough();
-- A row for every other.
CREATE TABLE price_history (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES shop, article_id uuid NOT NULL, price numeric(8, 2) NOT NULL, FOREIGN KEY (tenant_id, article_id) REFERENCES article (tenant_id, id));
CREATE FUNCTION keep_price() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO price_history (tenant_id, article_id, price) VALUES (NEW.tenant_id, NEW.id, NEW.price); RETURN NULL; END $$;
CREATE TRIGGER keep AFTER INSERT OR UPDATE OF price ON article FOR EACH ROW EXECUTE FUNCTION keep_price();

GRANT USAGE ON SCHEMA public TO app_user;
DO $$
DECLARE t regclass;
BEGIN
  FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'shop' LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY mine ON %s FOR SELECT TO app_user USING (tenant_id = current_tenant())', t);
    EXECUTE format('GRANT SELECT ON %s TO app_user', t);
    IF t::text = ANY (ARRAY['article', 'basket', 'purchase', 'stock', 'reservation']) THEN
      EXECUTE format('CREATE POLICY add ON %s FOR INSERT TO app_user WITH CHECK (tenant_id = current_tenant())', t);
      EXECUTE format('CREATE POLICY change ON %s FOR UPDATE TO app_user USING (tenant_id = current_tenant())', t);
      EXECUTE format('CREATE POLICY remove ON %s FOR DELETE TO app_user USING (tenant_id = current_tenant())', t);
      EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO app_user', t);
    END IF;
  END LOOP;
END $$;
ALTER TABLE shop ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON shop FOR SELECT TO app_user USING (id = current_tenant());
GRANT SELECT ON shop TO app_user;
