use std::collections::BTreeSet;

use super::*;
use crate::model::{Generated, Identity, TypeField};
use crate::world::keys::{KeyType, Keys, common, pairs};

fn universes() -> [Keys; 3] {
    let pair = pairs(KeyType::Uuid, KeyType::Uuid, &[]).remove(0);
    [pair.a, pair.b, common(KeyType::Uuid, KeyType::Uuid)]
}

fn column(type_name: &str) -> Column {
    let (bare, _) = split_type(type_name);
    Column {
        name: "part_no".to_owned(),
        type_name: type_name.to_owned(),
        base_type: bare,
        category: String::new(),
        labels: Vec::new(),
        domain_checks: Vec::new(),
        element_type: None,
        not_null: true,
        default: None,
        generated: Generated::No,
        identity: Identity::No,
        max_length: None,
    }
}

#[test]
fn literals_are_unescaped() {
    assert_eq!(
        literals("(a = 'it''s'::text) OR (b = ANY (ARRAY['x'::text, 'y z'::text]))"),
        ["it's", "x", "y z"]
    );
}

#[test]
fn values_differ_within_and_between_universes() {
    for type_name in [
        "uuid",
        "integer",
        "bigint",
        "smallint",
        "numeric",
        "numeric(12,2)",
        "text",
        "character varying(8)",
        "character(6)",
        "citext",
        "bytea",
        "jsonb",
        "inet",
        "macaddr",
        "daterange",
        "tstzrange",
        "int4range",
        "extensions.ltree",
        "bit(16)",
    ] {
        let made: Vec<String> = universes()
            .iter()
            .flat_map(|keys| (1..60).map(|n| generate(&column(type_name), keys, n).expect(type_name)))
            .collect();
        let distinct: BTreeSet<&String> = made.iter().collect();
        assert_eq!(distinct.len(), made.len(), "{type_name}");
    }
}

#[test]
fn every_built_in_type_has_a_value() {
    let [keys, ..] = universes();
    for (type_name, value) in [
        ("numeric(3,2)", "1"),
        ("numeric(2,2)", "0.1"),
        ("bit(4)", "1101"),
        ("vector(3)", "[4,0,0]"),
        ("geometry(Point,4326)", "SRID=4326;POINT(1 3)"),
        ("integer[]", "{\"10001003\"}"),
        ("money", "10001003.00"),
        ("date", "2020-06-18"),
        ("datemultirange", "{[2075-03-22,2075-03-23)}"),
        ("regclass", "pg_catalog.pg_class"),
        ("pg_lsn", "1/3"),
        ("hstore", "note=>axq7-3"),
        ("\"char\"", "d"),
    ] {
        assert_eq!(
            generate(&column(type_name), &keys, 3).as_deref(),
            Some(value),
            "{type_name}"
        );
    }
    assert_eq!(generate(&column("some_type"), &keys, 3), None);
}

#[test]
fn types_of_the_schema_are_made_of_their_parts() {
    let [keys, ..] = universes();
    let fact = |name: &str, kind: &str| TypeFacts {
        name: name.to_owned(),
        kind: kind.to_owned(),
        ..TypeFacts::default()
    };
    let field = |name: &str, type_name: &str| TypeField {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
    };
    let types = [
        TypeFacts {
            labels: vec!["low".to_owned(), "high".to_owned()],
            ..fact("level", "e")
        },
        TypeFacts {
            fields: vec![field("n", "integer"), field("l", "level")],
            ..fact("pair", "c")
        },
        TypeFacts {
            subtype: Some("numeric".to_owned()),
            ..fact("span", "r")
        },
        TypeFacts {
            base: Some("integer".to_owned()),
            checks: vec!["((VALUE >= 1) AND (VALUE <= 5))".to_owned()],
            ..fact("stars", "d")
        },
        TypeFacts {
            base: Some("stars".to_owned()),
            ..fact("grade", "d")
        },
        TypeFacts {
            base: Some("numeric(6,2)".to_owned()),
            ..fact("price", "d")
        },
    ];
    for (type_name, value) in [
        ("level[]", "{\"low\"}"),
        ("pair", "(\"10001007\",\"low\")"),
        ("span", "[\"10001007\",\"10001008\")"),
        ("stars", "5"),
        ("grade", "5"),
        ("price", "1007"),
    ] {
        assert_eq!(
            generate_among(&types, &column(type_name), &keys, 7).as_deref(),
            Some(value),
            "{type_name}"
        );
    }
}
