-- safe twin: cards are upserted by brand and printed number

-- Loyalty cards for shops. A tenant is a brand; the till's back end sets app.brand_id. Cards are written by functions only,
-- so that points and PINs stay what they are.

DO $$ DECLARE r text; BEGIN
  FOREACH r IN ARRAY '{seven6_owner,seven6_till}'::text[] LOOP
    IF to_regrole(r) IS NULL THEN EXECUTE format('CREATE ROLE %I NOLOGIN', r); END IF;
  END LOOP;
END $$;

CREATE SCHEMA loyalty AUTHORIZATION seven6_owner;
GRANT USAGE ON SCHEMA loyalty TO seven6_till;
SET ROLE seven6_owner;

CREATE FUNCTION loyalty.brand() RETURNS uuid LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN nullif(current_setting('app.brand_id', true), '')::uuid;
END $$;

CREATE TABLE loyalty.brands (
  brand_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name     text NOT NULL,
  greeting text NOT NULL DEFAULT 'Welcome!',
  enabled  boolean NOT NULL DEFAULT true);

CREATE TABLE loyalty.shops (
  brand_id uuid NOT NULL DEFAULT loyalty.brand() REFERENCES loyalty.brands,
  shop_id  uuid NOT NULL DEFAULT gen_random_uuid(),
  city     text NOT NULL,
  PRIMARY KEY (brand_id, shop_id));

CREATE TABLE loyalty.tiers (
  brand_id    uuid NOT NULL DEFAULT loyalty.brand() REFERENCES loyalty.brands,
  tier        text NOT NULL,
  from_points integer NOT NULL CHECK (from_points >= 0),
  PRIMARY KEY (brand_id, tier),
  UNIQUE (brand_id, from_points));

CREATE TABLE loyalty.cards (
  card_id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  brand_id  uuid NOT NULL REFERENCES loyalty.brands,
  card_no   text NOT NULL CHECK (card_no ~ '^[0-9]{8}$'),
  holder    text NOT NULL,
  pin_hash  bytea NOT NULL,
  points    integer NOT NULL DEFAULT 0 CHECK (points >= 0),
  blocked   boolean NOT NULL DEFAULT false,
  linked_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (brand_id, card_id),
  UNIQUE (brand_id, card_no));

CREATE TABLE loyalty.points_entries (
  brand_id uuid NOT NULL DEFAULT loyalty.brand(),
  entry_id uuid NOT NULL DEFAULT gen_random_uuid(),
  card_id  uuid NOT NULL,
  shop_id  uuid,
  points   integer NOT NULL CHECK (points <> 0),
  at       timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (brand_id, entry_id),
  FOREIGN KEY (brand_id, card_id) REFERENCES loyalty.cards (brand_id, card_id),
  FOREIGN KEY (brand_id, shop_id) REFERENCES loyalty.shops);

CREATE TABLE loyalty.rewards (
  brand_id  uuid NOT NULL DEFAULT loyalty.brand() REFERENCES loyalty.brands,
  reward_id uuid NOT NULL DEFAULT gen_random_uuid(),
  title     text NOT NULL,
  cost      integer NOT NULL CHECK (cost > 0),
  min_tier  text,
  PRIMARY KEY (brand_id, reward_id),
  FOREIGN KEY (brand_id, min_tier) REFERENCES loyalty.tiers);

CREATE TABLE loyalty.redemptions (
  brand_id      uuid NOT NULL DEFAULT loyalty.brand(),
  redemption_id uuid NOT NULL DEFAULT gen_random_uuid(),
  card_id       uuid NOT NULL,
  reward_id     uuid NOT NULL,
  at            timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (brand_id, redemption_id),
  FOREIGN KEY (brand_id, card_id) REFERENCES loyalty.cards (brand_id, card_id),
  FOREIGN KEY (brand_id, reward_id) REFERENCES loyalty.rewards);

CREATE FUNCTION loyalty.add_points() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE loyalty.cards c SET points = c.points + NEW.points WHERE c.brand_id = NEW.brand_id AND c.card_id = NEW.card_id;
  RETURN NULL;
END $$;
CREATE TRIGGER add_points AFTER INSERT ON loyalty.points_entries FOR EACH ROW EXECUTE FUNCTION loyalty.add_points();

CREATE FUNCTION loyalty.charge() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO loyalty.points_entries (brand_id, card_id, points)
  SELECT NEW.brand_id, NEW.card_id, -r.cost FROM loyalty.rewards r
  WHERE r.brand_id = NEW.brand_id AND r.reward_id = NEW.reward_id;
  RETURN NULL;
END $$;
CREATE TRIGGER charge AFTER INSERT ON loyalty.redemptions FOR EACH ROW EXECUTE FUNCTION loyalty.charge();

-- the till calls this for a new card, and again when the holder has a new name or forgot the PIN
CREATE FUNCTION loyalty.link_card(p_card_no text, p_holder text, p_pin text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  mine    uuid := loyalty.brand();
  balance integer;
BEGIN
  IF mine IS NULL OR NOT EXISTS (SELECT FROM loyalty.brands b WHERE b.brand_id = mine AND b.enabled) THEN
    RAISE EXCEPTION 'no brand' USING ERRCODE = 'insufficient_privilege';
  END IF;
  INSERT INTO loyalty.cards AS c (brand_id, card_no, holder, pin_hash)
  VALUES (mine, p_card_no, p_holder, sha256(convert_to(mine || ':' || p_pin, 'UTF8')))
  ON CONFLICT (brand_id, card_no) DO UPDATE SET holder = excluded.holder, pin_hash = excluded.pin_hash, linked_at = now()
  RETURNING c.points INTO balance;
  RETURN balance;
END $$;

CREATE FUNCTION loyalty.pin_matches(card_no text, pin text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM loyalty.cards c
    WHERE c.brand_id = loyalty.brand() AND c.card_no = $1 AND NOT c.blocked
      AND c.pin_hash = sha256(convert_to(c.brand_id || ':' || $2, 'UTF8')))
$$;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA loyalty FROM PUBLIC;
GRANT EXECUTE ON FUNCTION loyalty.brand(), loyalty.link_card(text, text, text), loyalty.pin_matches(text, text) TO seven6_till;

ALTER TABLE loyalty.brands ENABLE ROW LEVEL SECURITY;
ALTER TABLE loyalty.shops ENABLE ROW LEVEL SECURITY;
ALTER TABLE loyalty.tiers ENABLE ROW LEVEL SECURITY;
ALTER TABLE loyalty.cards ENABLE ROW LEVEL SECURITY;
ALTER TABLE loyalty.points_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE loyalty.rewards ENABLE ROW LEVEL SECURITY;
ALTER TABLE loyalty.redemptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY brand_only ON loyalty.brands TO seven6_till USING (brand_id = loyalty.brand());
CREATE POLICY brand_only ON loyalty.shops TO seven6_till USING (brand_id = loyalty.brand());
CREATE POLICY brand_only ON loyalty.tiers TO seven6_till USING (brand_id = loyalty.brand());
CREATE POLICY brand_only ON loyalty.cards TO seven6_till USING (brand_id = loyalty.brand());
CREATE POLICY brand_only ON loyalty.points_entries TO seven6_till USING (brand_id = loyalty.brand());
CREATE POLICY brand_only ON loyalty.rewards TO seven6_till USING (brand_id = loyalty.brand());
CREATE POLICY brand_only ON loyalty.redemptions TO seven6_till USING (brand_id = loyalty.brand());

GRANT SELECT, UPDATE (greeting) ON loyalty.brands TO seven6_till;
GRANT SELECT, INSERT, UPDATE, DELETE ON loyalty.shops, loyalty.tiers, loyalty.rewards TO seven6_till;
GRANT SELECT (card_id, brand_id, card_no, holder, points, blocked, linked_at), UPDATE (blocked) ON loyalty.cards TO seven6_till;
GRANT SELECT, INSERT ON loyalty.points_entries, loyalty.redemptions TO seven6_till;
RESET ROLE;
