//! Statements whose errors PL/pgSQL catches, for the embedded server: those that reach the client wear its session out.

use serde::Deserialize;

use crate::pg::conn::DbError;
use crate::sql::quote;

/// Runs a statement with the rights of who asks; what fails is undone, and left as JSON in a setting.
pub(super) const HELPER: &str = "CREATE OR REPLACE FUNCTION pg_temp.tp_run(statement text, returns boolean) RETURNS SETOF text LANGUAGE plpgsql AS \
$tp$ DECLARE c text; m text; d text; h text; n text; r text; w text; BEGIN \
IF returns THEN RETURN QUERY EXECUTE statement; ELSE EXECUTE statement; END IF; \
EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS c = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, \
h = PG_EXCEPTION_HINT, n = CONSTRAINT_NAME, r = TABLE_NAME, w = PG_EXCEPTION_CONTEXT; \
PERFORM pg_catalog.set_config('tp.error', pg_catalog.json_build_object('code', c, 'message', m, 'detail', d, 'hint', h, \
'constraint', n, 'table', r, 'context', w)::text, true); END $tp$; \
GRANT EXECUTE ON FUNCTION pg_temp.tp_run(text, boolean) TO PUBLIC";

/// A column to select after it: the error.
pub(super) const ERROR: &str = ", pg_catalog.current_setting('tp.error', true)";

/// The statement, shielded. What selects has one column, a text.
pub(super) fn around(sql: &str) -> String {
    let returns = sql.starts_with("SELECT");
    format!("SELECT t FROM pg_temp.tp_run({}, {returns}) AS t", quote::literal(sql))
}

#[derive(Deserialize)]
struct Caught {
    code: String,
    message: String,
    detail: String,
    hint: String,
    constraint: String,
    table: String,
    context: String,
}

/// The error that the setting holds, if it does.
pub(super) fn error(text: &str) -> Option<DbError> {
    let caught: Caught = serde_json::from_str(text).ok()?;
    let some = |text: String| Some(text).filter(|t| !t.is_empty());
    // Of the context only what is not the helper's own.
    let context: Vec<&str> = caught.context.lines().filter(|l| !l.contains("tp_run(")).collect();
    Some(DbError {
        code: caught.code,
        message: caught.message,
        detail: some(caught.detail),
        hint: some(caught.hint),
        position: None,
        constraint: some(caught.constraint),
        table: some(caught.table),
        context: some(context.join("\n")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_as_it_was() {
        let text = r#"{"code": "23505", "message": "m", "detail": "d", "hint": "", "constraint": "k", "table": "t", "context": "PL/pgSQL function pg_temp_3.tp_run(text,boolean) line 1\nSQL function f"}"#;
        let error = error(text).expect("it is one");
        assert_eq!((error.code.as_str(), error.message.as_str()), ("23505", "m"));
        assert_eq!((error.detail.as_deref(), error.hint), (Some("d"), None));
        assert_eq!(error.context.as_deref(), Some("SQL function f"));
        assert!(super::error("").is_none());
    }
}
