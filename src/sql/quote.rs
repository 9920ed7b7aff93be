//! Names and values written as SQL, exactly as PostgreSQL's `quote_ident` and `quote_literal` write them.
//!
//! The one place of the crate that knows quoting. It decides nothing about what a name refers to.

/// Words that need quotes as a name in at least one of PostgreSQL 15 to 18: every keyword that is not "unreserved"
/// (`pg_get_keywords`). The `json_*` words, `merge_action` and `system_user` came with 16 and 17; an older server leaves them
/// bare, which means the same.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization",
    "between", "bigint", "binary", "bit", "boolean", "both", "case", "cast", "char", "character",
    "check", "coalesce", "collate", "collation", "column", "concurrently", "constraint", "create",
    "cross", "current_catalog", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable", "desc",
    "distinct", "do", "else", "end", "except", "exists", "extract", "false", "fetch", "float",
    "for", "foreign", "freeze", "from", "full", "grant", "greatest", "group", "grouping", "having",
    "ilike", "in", "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into",
    "is", "isnull", "join", "json", "json_array", "json_arrayagg", "json_exists", "json_object",
    "json_objectagg", "json_query", "json_scalar", "json_serialize", "json_table", "json_value",
    "lateral", "leading", "least", "left", "like", "limit", "localtime", "localtimestamp",
    "merge_action", "national", "natural", "nchar", "none", "normalize", "not", "notnull", "null",
    "nullif", "numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps",
    "overlay", "placing", "position", "precision", "primary", "real", "references", "returning",
    "right", "row", "select", "session_user", "setof", "similar", "smallint", "some", "substring",
    "symmetric", "system_user", "table", "tablesample", "then", "time", "timestamp", "to",
    "trailing", "treat", "trim", "true", "union", "unique", "user", "using", "values", "varchar",
    "variadic", "verbose", "when", "where", "window", "with", "xmlattributes", "xmlconcat",
    "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot",
    "xmlserialize", "xmltable",
];

/// A name as SQL: bare where the server would leave it bare, else in double quotes.
///
/// ```
/// use tenantproof::sql::quote::ident;
/// assert_eq!(ident("tenant_id"), "tenant_id");
/// assert_eq!(ident("Tenant"), "\"Tenant\"");
/// assert_eq!(ident("user"), "\"user\"");
/// ```
pub fn ident(name: &str) -> String {
    let bare = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !is_keyword(name);
    if bare {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A schema-qualified name as SQL.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A value as a string constant; `E''` notation where it holds a backslash, so that it means the same whatever
/// `standard_conforming_strings` says. PostgreSQL's text knows no NUL character, and neither does this.
///
/// ```
/// use tenantproof::sql::quote::literal;
/// assert_eq!(literal("it's"), "'it''s'");
/// assert_eq!(literal("a\\b"), "E'a\\\\b'");
/// ```
pub fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Whether a word in lower case is a keyword that cannot stand as every kind of name.
pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lex::{self, TokenKind};
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn keywords_are_in_order() {
        assert!(KEYWORDS.is_sorted());
    }

    #[rstest]
    #[case::lower_case_stays_bare("invoice", "invoice")]
    #[case::underscore_first_stays_bare("_x1", "_x1")]
    #[case::unreserved_keywords_stay_bare("name", "name")]
    #[case::capitals_are_quoted("Invoice", "\"Invoice\"")]
    #[case::a_digit_first_is_quoted("1st", "\"1st\"")]
    #[case::dollars_are_quoted("a$b", "\"a$b\"")]
    #[case::letters_beyond_ascii_are_quoted("größe", "\"größe\"")]
    #[case::the_empty_name_is_quoted("", "\"\"")]
    #[case::quotes_are_doubled("a\"b", "\"a\"\"b\"")]
    #[case::reserved_words_are_quoted("order", "\"order\"")]
    #[case::names_of_types_are_quoted("timestamp", "\"timestamp\"")]
    #[case::words_of_later_majors_are_quoted("system_user", "\"system_user\"")]
    fn names(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(ident(name), expected);
    }

    proptest! {
        #[test]
        fn a_quoted_name_reads_back_as_itself(value in "\\PC*") {
            let sql = ident(&value);
            let tokens = lex::significant(&sql);
            prop_assert_eq!(tokens.len(), 1);
            prop_assert_eq!(lex::name(&sql, &tokens[0]), Some(value));
        }

        #[test]
        fn a_literal_reads_back_as_itself_whatever_the_server_thinks_of_backslashes(
            value in prop_oneof!["\\PC*", "[\\\\'\n$E-]{0,12}"], standard: bool,
        ) {
            let sql = literal(&value);
            let token = lex::token(&sql, 0, standard).expect("a whole literal");
            prop_assert_eq!(token.range.clone(), 0..sql.len());
            prop_assert!(matches!(token.kind, TokenKind::String | TokenKind::EscapeString));
            prop_assert_eq!(lex::string(&sql, &token), Some(value));
        }

        #[test]
        fn qualified_names_keep_their_parts(schema in "\\PC{1,8}", name in "\\PC{1,8}") {
            let sql = qualified(&schema, &name);
            let parts: Vec<_> = lex::significant(&sql).iter().filter_map(|t| lex::name(&sql, t)).collect();
            prop_assert_eq!(parts, vec![schema, name]);
        }
    }
}
