//! Identity that a connection starts with: a default of the database or the role says which tenant a request is that says
//! nothing itself.

use crate::model::{Catalog, Command, ContextState, ObjectType, Session, Severity};
use crate::probe::binding::identity_settings;
use crate::probe::judge::Hit;
use crate::probe::oracle;
use crate::probe::scenery::Scenery;
use crate::sql::quote;
use crate::world::{Class, Classes};

/// Defaults that hold an identity.
pub fn judge(catalog: &Catalog, classes: &Classes, sessions: &[Session]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for session in sessions {
        for name in identity_settings(session) {
            for default in &catalog.default_settings {
                let value = default
                    .settings
                    .iter()
                    .find_map(|s| s.strip_prefix(name)?.strip_prefix('='))
                    .filter(|v| !v.is_empty() && *v != "\"\"" && *v != "{}");
                let is_ours = default.role.as_deref().is_none_or(|role| session.role == role);
                if let Some(value) = value.filter(|_| is_ours) {
                    hits.push(hit(catalog, classes, session, name, default.role.as_deref(), value));
                }
            }
        }
    }
    hits
}

fn hit(catalog: &Catalog, classes: &Classes, session: &Session, name: &str, role: Option<&str>, value: &str) -> Hit {
    let whose = role.map_or_else(|| "the database".to_owned(), |r| format!("role {r}"));
    // What is reached by it is a table of tenants; the default itself has no name of its own.
    let table = catalog
        .tables()
        .find(|t| !t.policies.is_empty() && !classes.columns_of(t, Class::Tenant).is_empty())
        .or_else(|| catalog.tables().next());
    let object = table.map_or_else(|| "pg_db_role_setting".to_owned(), |t| t.name.to_string());
    let message = format!(
        "table {object}: {whose} starts every connection with `{name}` = `{value}`, so a request of session `{}` that sets nothing runs as that tenant",
        session.name
    );
    let condition = role.map_or_else(
        || {
            "s.setrole = 0 AND s.setdatabase = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())"
                .to_owned()
        },
        |r| format!("s.setrole = (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = {})", quote::literal(r)),
    );
    let evidence = format!(
        "-- {message}\n-- Run as superuser on a fresh database that holds the schema: psql -X -q -At -f FILE\n\
         SELECT CASE WHEN EXISTS (\n  SELECT FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS c\n  \
         WHERE {condition}\n    AND pg_catalog.starts_with(c, {}) AND c <> {0}\n) THEN 'VIOLATED' ELSE 'HELD' END;\n",
        quote::literal(&format!("{name}="))
    );
    Hit {
        oracle: &oracle::CONTEXT_BY_DEFAULT,
        severity: Severity::High,
        route: (object.clone(), ObjectType::Table, Command::Select),
        object,
        object_type: ObjectType::Table,
        session: session.name.clone(),
        state: ContextState::Unset,
        message,
        evidence,
        through: Vec::new(),
        scenery: std::sync::Arc::new(Scenery::none(std::sync::Arc::clone(classes.reach()))),
    }
}
