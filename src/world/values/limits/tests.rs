use super::*;
use crate::world::keys::{KeyType, common};

fn made(type_name: &str, check: &str) -> Option<String> {
    let keys = common(KeyType::Uuid, KeyType::Uuid);
    let limits = Limit::of_conditions(&[parse(check)]);
    limits.get("c")?.value(
        &Target {
            name: "c",
            type_name,
            max_length: None,
        },
        &keys,
        7,
    )?
}

#[test]
fn values_are_within_what_one_column_is_asked() {
    for (type_name, check, value) in [
        ("text", "(c = ANY (ARRAY['open'::text, 'shut'::text]))", "open"),
        ("text", "((c = 'x'::text) OR (c = 'y'::text))", "x"),
        ("text", "((c IS NULL) OR ((c)::text ~~ 'doc_%'::text))", "docacwm07"),
        ("integer", "((c >= 1) AND (c <= 1))", "1"),
        ("smallint", "(c < 0)", "-8"),
        ("numeric(5,4)", "((c > (0)::numeric) AND (c < (1)::numeric))", "0.12"),
        (
            "jsonb",
            "((c ? 'theme'::text) AND (((c ->> 'days'::text))::integer >= 3))",
            r#"{"days":3,"theme":"cwm0-theme-7"}"#,
        ),
        ("jsonb", "(jsonb_typeof(c) = 'array'::text)", "[]"),
        ("text[]", "(c <@ ARRAY['read'::text, 'write'::text])", r#"{"read"}"#),
        (
            "date",
            "((c >= '2024-01-01'::date) AND (c < '2024-01-02'::date))",
            "2024-01-01",
        ),
        ("boolean", "(NOT c)", "false"),
    ] {
        assert_eq!(made(type_name, check).as_deref(), Some(value), "{check}");
    }
}

#[test]
fn texts_keep_to_length_pattern_and_case() {
    let text = made("text", "((length(c) >= 30) AND (length(c) <= 40))").expect("a text");
    assert!((30..=40).contains(&text.len()), "{text}");
    let text = made("text", "(char_length(c) = 3)").expect("a text");
    assert_eq!(text.len(), 3);
    let text = made("text", "((c ~ '^[A-Z]{3}$'::text) AND (c = upper(c)))").expect("a text");
    assert!(
        regex::Regex::new("^[A-Z]{3}$").expect("a pattern").is_match(&text),
        "{text}"
    );
    assert_eq!(
        made("text", "(c = lower(c))").expect("a text").to_lowercase(),
        made("text", "(c = lower(c))").expect("a text")
    );
}

#[test]
fn what_is_about_two_columns_says_nothing_of_one() {
    assert_eq!(made("integer", "(c < d)"), None);
}
