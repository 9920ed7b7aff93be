-- Metering: partitions by range, list and hash, of several levels, with and without a default; inheritance.
DO $$ BEGIN CREATE ROLE app_user NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;

CREATE TABLE utility (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE meter (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES utility, serial_no text NOT NULL, UNIQUE (tenant_id, serial_no), UNIQUE (tenant_id, id));

-- By month, no default.
CREATE TABLE reading (
  tenant_id uuid NOT NULL REFERENCES utility, meter_id uuid NOT NULL, taken_at timestamptz NOT NULL, kwh numeric(10, 3) NOT NULL CHECK (kwh >= 0),
  PRIMARY KEY (tenant_id, meter_id, taken_at), FOREIGN KEY (tenant_id, meter_id) REFERENCES meter (tenant_id, id)) PARTITION BY RANGE (taken_at);
CREATE TABLE reading_2024_01 PARTITION OF reading FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE reading_2024_02 PARTITION OF reading FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
CREATE TABLE reading_2024_03 PARTITION OF reading FOR VALUES FROM ('2024-03-01') TO (MAXVALUE);
-- By date, with a default.
CREATE TABLE bill (
  tenant_id uuid NOT NULL REFERENCES utility, id uuid NOT NULL DEFAULT gen_random_uuid(), due date NOT NULL, amount numeric(10, 2) NOT NULL, PRIMARY KEY (tenant_id, id, due)) PARTITION BY RANGE (due);
CREATE TABLE bill_2023 PARTITION OF bill FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE bill_2024 PARTITION OF bill FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE bill_other PARTITION OF bill DEFAULT;
-- A row that refers to a partitioned table.
CREATE TABLE reminder (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES utility, bill_id uuid NOT NULL, bill_due date NOT NULL, sent_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (tenant_id, bill_id, bill_due) REFERENCES bill (tenant_id, id, due));
-- By list, NULL among the values.
CREATE TABLE event (
  tenant_id uuid NOT NULL REFERENCES utility, id uuid NOT NULL DEFAULT gen_random_uuid(), kind text, body text NOT NULL) PARTITION BY LIST (kind);
CREATE TABLE event_alarm PARTITION OF event FOR VALUES IN ('alarm', 'outage');
CREATE TABLE event_none PARTITION OF event FOR VALUES IN (NULL);
CREATE TABLE event_info PARTITION OF event FOR VALUES IN ('info');
-- By an enum.
CREATE TYPE zone AS ENUM ('north', 'south', 'sea');
CREATE TABLE station (tenant_id uuid NOT NULL REFERENCES utility, id uuid NOT NULL DEFAULT gen_random_uuid(), area zone NOT NULL, name text NOT NULL, PRIMARY KEY (id, area)) PARTITION BY LIST (area);
CREATE TABLE station_north PARTITION OF station FOR VALUES IN ('north');
CREATE TABLE station_rest PARTITION OF station FOR VALUES IN ('south', 'sea');
-- By hash of the tenant, and of something else.
CREATE TABLE account (tenant_id uuid NOT NULL REFERENCES utility, id uuid NOT NULL DEFAULT gen_random_uuid(), name text NOT NULL, PRIMARY KEY (tenant_id, id)) PARTITION BY HASH (tenant_id);
CREATE TABLE account_0 PARTITION OF account FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE account_1 PARTITION OF account FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE sample (tenant_id uuid NOT NULL REFERENCES utility, id uuid NOT NULL DEFAULT gen_random_uuid(), value real NOT NULL, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE sample_0 PARTITION OF sample FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE sample_1 PARTITION OF sample FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE sample_2 PARTITION OF sample FOR VALUES WITH (MODULUS 3, REMAINDER 2);
-- Of two levels and several columns.
CREATE TABLE usage (tenant_id uuid NOT NULL REFERENCES utility, region text NOT NULL, day date NOT NULL, units integer NOT NULL, PRIMARY KEY (tenant_id, region, day)) PARTITION BY LIST (region);
CREATE TABLE usage_eu PARTITION OF usage FOR VALUES IN ('eu') PARTITION BY RANGE (day);
CREATE TABLE usage_eu_2024 PARTITION OF usage_eu FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE usage_us PARTITION OF usage FOR VALUES IN ('us') PARTITION BY RANGE (day);
CREATE TABLE usage_us_old PARTITION OF usage_us FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE usage_us_new PARTITION OF usage_us FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE TABLE tariff (tenant_id uuid NOT NULL REFERENCES utility, level integer NOT NULL, sub integer NOT NULL, price numeric(6, 2) NOT NULL, PRIMARY KEY (tenant_id, level, sub)) PARTITION BY RANGE (level, sub);
CREATE TABLE tariff_low PARTITION OF tariff FOR VALUES FROM (0, 0) TO (10, 0);
CREATE TABLE tariff_high PARTITION OF tariff FOR VALUES FROM (10, 0) TO (20, 0);
-- By an expression, and by a range of texts.
CREATE TABLE log (tenant_id uuid NOT NULL REFERENCES utility, at timestamp NOT NULL, line text NOT NULL) PARTITION BY RANGE ((extract(year FROM at)));
CREATE TABLE log_2024 PARTITION OF log FOR VALUES FROM (2024) TO (2025);
CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM (2025) TO (2026);
CREATE TABLE contact (tenant_id uuid NOT NULL REFERENCES utility, name text NOT NULL, phone text, PRIMARY KEY (tenant_id, name)) PARTITION BY RANGE (name);
CREATE TABLE contact_a_m PARTITION OF contact FOR VALUES FROM (MINVALUE) TO ('n');
CREATE TABLE contact_n_z PARTITION OF contact FOR VALUES FROM ('n') TO (MAXVALUE);
-- By the number of a sequence.
CREATE TABLE ticket (tenant_id uuid NOT NULL REFERENCES utility, no bigint NOT NULL, title text NOT NULL, PRIMARY KEY (tenant_id, no)) PARTITION BY RANGE (no);
CREATE TABLE ticket_1 PARTITION OF ticket FOR VALUES FROM (1) TO (1000);
CREATE TABLE ticket_2 PARTITION OF ticket FOR VALUES FROM (1000) TO (2000);
-- Inheritance of the old kind.
CREATE TABLE asset (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES utility, name text NOT NULL);
CREATE TABLE building (floors smallint NOT NULL CHECK (floors > 0), PRIMARY KEY (id)) INHERITS (asset);
CREATE TABLE truck (plate text NOT NULL, PRIMARY KEY (id)) INHERITS (asset);
-- Children that a trigger of the parent chooses, as before partitions were declared.
CREATE TABLE visit (id uuid NOT NULL DEFAULT gen_random_uuid(), tenant_id uuid NOT NULL REFERENCES utility, on_day date NOT NULL, note text NOT NULL);
CREATE TABLE visit_2020 (CHECK (on_day >= '2020-01-01' AND on_day < '2021-01-01'), PRIMARY KEY (id)) INHERITS (visit);
CREATE TABLE visit_later (CHECK (on_day >= '2021-01-01'), PRIMARY KEY (id)) INHERITS (visit);
CREATE FUNCTION route_visit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.on_day < '2021-01-01' THEN INSERT INTO visit_2020 VALUES (NEW.*); ELSE INSERT INTO visit_later VALUES (NEW.*); END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER route BEFORE INSERT ON visit FOR EACH ROW EXECUTE FUNCTION route_visit();

GRANT USAGE ON SCHEMA public TO app_user;
DO $$
DECLARE t regclass;
BEGIN
  FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'utility' LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY mine ON %s TO app_user USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO app_user', t);
  END LOOP;
END $$;
ALTER TABLE utility ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON utility FOR SELECT TO app_user USING (id = current_tenant());
GRANT SELECT ON utility TO app_user;
