//! Schemas of any size, correct by construction: a tenant root, members with roles, N tables with three policies each that
//! refer to one another, views and functions over them. The same number gives the same text.

use std::fmt::Write as _;

/// Tables of a module: they refer to one another, not to those of other modules.
const MODULE: usize = 10;

/// What the tables keep, beside their keys; one after the other.
const SHAPES: [&str; 5] = [
    "title text NOT NULL, body text, status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed'))",
    "name text NOT NULL, amount numeric(12, 2) NOT NULL DEFAULT 0 CHECK (amount >= 0), due_on date",
    "label varchar(60) NOT NULL, settings jsonb NOT NULL DEFAULT '{}', is_active boolean NOT NULL DEFAULT true",
    "subject text NOT NULL, tags text[] NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now()",
    "code text NOT NULL, quantity integer NOT NULL DEFAULT 1, note text, archived_at timestamptz",
];

/// What is generated.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Tenants are named by text rather than by uuid: many pairs of keys to confuse.
    pub text_keys: bool,
    /// Editors write memberships: rows that decide what others show.
    pub managed_members: bool,
    /// Row security is left off: every table is at fault.
    pub open: bool,
}

impl Kind {
    /// By name: `plain`, or some of `text`, `members`, `open` with `+` between.
    pub fn of(name: &str) -> Self {
        let has = |word: &str| name.split('+').any(|w| w == word);
        Self {
            text_keys: has("text"),
            managed_members: has("members"),
            open: has("open"),
        }
    }
}

/// A schema with this many tables: two of them, `tenant` and `member`, say who belongs where.
pub fn schema(tables: usize, kind: Kind) -> String {
    let mut sql = String::from(PRELUDE);
    if kind.managed_members {
        sql += MANAGED;
    }
    for n in 0..tables.saturating_sub(2) {
        table(&mut sql, n);
        if n % 20 == 19 {
            view(&mut sql, n);
        }
        if n % 25 == 24 {
            function(&mut sql, n);
        }
    }
    if kind.text_keys {
        sql = sql
            .replace("tenant_id uuid", "tenant_id text")
            .replace("app.tenant (id uuid", "app.tenant (id text")
            .replace("app.tenant() RETURNS uuid", "app.tenant() RETURNS text")
            .replace("'app.tenant_id', true), '')::uuid", "'app.tenant_id', true), '')");
    }
    if kind.open {
        sql = sql.replace("ENABLE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY");
    }
    sql
}

fn table(sql: &mut String, n: usize) {
    let module = n / MODULE * MODULE;
    // Within a module a tree: the first is its root.
    let parent = (n > module).then(|| module + (n - module - 1) / 2);
    let refers = parent.map_or(String::new(), |p| {
        format!(
            "  parent_id uuid NOT NULL,\n  FOREIGN KEY (tenant_id, parent_id) REFERENCES app.t{p:04} (tenant_id, id) ON DELETE CASCADE,\n"
        )
    });
    let written_by = if n.is_multiple_of(3) {
        "tenant_id = app.tenant() AND app.has_role('editor')"
    } else {
        "tenant_id = (SELECT app.tenant())"
    };
    let _ = write!(
        sql,
        "CREATE TABLE app.t{n:04} (\n  id uuid NOT NULL DEFAULT gen_random_uuid(),\n  \
         tenant_id uuid NOT NULL REFERENCES app.tenant (id),\n  author_id uuid NOT NULL,\n{refers}  \
         {columns},\n  PRIMARY KEY (tenant_id, id),\n  \
         FOREIGN KEY (tenant_id, author_id) REFERENCES app.member (tenant_id, user_id)\n);\n\
         CREATE INDEX ON app.t{n:04} (tenant_id, author_id);\n\
         ALTER TABLE app.t{n:04} ENABLE ROW LEVEL SECURITY;\n\
         CREATE POLICY fence ON app.t{n:04} AS RESTRICTIVE USING (tenant_id = app.tenant());\n\
         CREATE POLICY reads ON app.t{n:04} FOR SELECT TO app_user USING (tenant_id = app.tenant());\n\
         CREATE POLICY writes ON app.t{n:04} TO app_user USING ({written_by}) WITH CHECK ({written_by});\n\
         GRANT SELECT, INSERT, UPDATE, DELETE ON app.t{n:04} TO app_user;\n",
        columns = SHAPES[n % SHAPES.len()],
    );
}

fn view(sql: &mut String, n: usize) {
    let _ = write!(
        sql,
        "CREATE VIEW app.v{n:04} WITH (security_invoker) AS\n  SELECT t.id, t.tenant_id, m.user_id, m.role\n  \
         FROM app.t{n:04} AS t JOIN app.member AS m ON m.tenant_id = t.tenant_id AND m.user_id = t.author_id;\n\
         GRANT SELECT ON app.v{n:04} TO app_user;\n"
    );
}

fn function(sql: &mut String, n: usize) {
    let _ = write!(
        sql,
        "CREATE FUNCTION app.f{n:04}(wanted uuid) RETURNS SETOF app.t{n:04} LANGUAGE sql STABLE AS\n  \
         $$ SELECT * FROM app.t{n:04} WHERE id = wanted $$;\n"
    );
}

const PRELUDE: &str = "
CREATE ROLE app_user;
CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO app_user;

CREATE FUNCTION app.tenant() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;
CREATE FUNCTION app.uid() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;

CREATE TABLE app.tenant (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE app.member (
  tenant_id uuid NOT NULL REFERENCES app.tenant (id),
  user_id uuid NOT NULL,
  role text NOT NULL CHECK (role IN ('editor', 'reader')),
  PRIMARY KEY (tenant_id, user_id)
);
CREATE FUNCTION app.has_role(wanted text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS
  $$ SELECT EXISTS (SELECT FROM app.member AS m
       WHERE m.tenant_id = app.tenant() AND m.user_id = app.uid() AND m.role = wanted) $$;

ALTER TABLE app.tenant ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON app.tenant FOR SELECT TO app_user USING (id = app.tenant());
GRANT SELECT ON app.tenant TO app_user;
ALTER TABLE app.member ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON app.member FOR SELECT TO app_user USING (tenant_id = app.tenant());
GRANT SELECT ON app.member TO app_user;
";

const MANAGED: &str = "
GRANT INSERT, UPDATE, DELETE ON app.member TO app_user;
CREATE POLICY managed ON app.member TO app_user
  USING (tenant_id = app.tenant() AND app.has_role('editor'))
  WITH CHECK (tenant_id = app.tenant() AND app.has_role('editor'));
";
