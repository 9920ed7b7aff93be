//! Values of every type, as the text that the type's input function reads.
//!
//! A generated value is distinct within its universe and, where the type has room, carries the universe's canary.

use super::keys::Keys;
use crate::model::Column;

/// A value for the column, the `n`th of its universe. `None` where no value of the type is known.
pub fn generate(column: &Column, keys: &Keys, n: u64) -> Option<String> {
    if let Some(label) = column.labels.first() {
        return Some(label.clone());
    }
    if column.category == "A" {
        let element = Column {
            base_type: column.element_type.clone().unwrap_or_default(),
            category: element_category(column.element_type.as_deref().unwrap_or_default()).to_owned(),
            max_length: None,
            ..column.clone()
        };
        return Some(match generate(&element, keys, n) {
            Some(value) if element.category != "U" => format!("{{{}}}", array_element(&value)),
            _ => "{}".to_owned(),
        });
    }
    let number = number(keys, n);
    Some(match column.base_type.as_str() {
        "uuid" => uuid(keys, n),
        "smallint" => {
            (i64::try_from(keys.ordinal).unwrap_or(0) * 1000 + i64::try_from(n % 1000).unwrap_or(0)).to_string()
        }
        "integer" | "bigint" | "numeric" | "oid" => number.to_string(),
        "real" | "double precision" => format!("{number}.5"),
        "money" => format!("{number}.00"),
        "boolean" => "true".to_owned(),
        "text" | "character varying" | "character" | "name" | "citext" | "\"char\"" => text(column, keys, n),
        "ltree" => format!("{}.n{n}", keys.canary),
        "bytea" => format!("\\x{:02x}{n:08x}", keys.ordinal),
        "json" | "jsonb" => format!(r#"{{"note": "{}-{n}"}}"#, keys.canary),
        "date" => "2020-06-15".to_owned(),
        "timestamp without time zone" | "timestamp with time zone" => {
            format!("2020-06-15 {:02}:{:02}:{:02}+00", n / 3600 % 24, n / 60 % 60, n % 60)
        }
        "time without time zone" | "time with time zone" => {
            format!("{:02}:{:02}:{:02}", n / 3600 % 24, n / 60 % 60, n % 60)
        }
        "interval" => format!("{n} seconds"),
        "inet" => format!("10.{}.{}.{}", keys.ordinal, n / 250 % 250, n % 250 + 1),
        "cidr" => format!("10.{}.{}.{}/32", keys.ordinal, n / 250 % 250, n % 250 + 1),
        "macaddr" => format!(
            "02:00:00:{:02x}:{:02x}:{:02x}",
            keys.ordinal % 256,
            n / 256 % 256,
            n % 256
        ),
        "macaddr8" => format!(
            "02:00:00:00:00:{:02x}:{:02x}:{:02x}",
            keys.ordinal % 256,
            n / 256 % 256,
            n % 256
        ),
        "point" => format!("({},{n})", keys.ordinal),
        "box" => format!("((0,0),({},{n}))", keys.ordinal),
        "circle" => format!("<(0,0),{n}>"),
        "line" => "{1,-1,0}".to_owned(),
        "lseg" | "path" => format!("[(0,0),({},{n})]", keys.ordinal),
        "polygon" => format!("((0,0),({0},0),({0},{n}))", keys.ordinal),
        "bit" | "bit varying" => "0".repeat(column.max_length.unwrap_or(1) as usize),
        "tsvector" => keys.canary.clone(),
        "tsquery" => keys.canary.clone(),
        "xml" => format!("<note>{}-{n}</note>", keys.canary),
        "hstore" => format!("note=>{}", keys.canary),
        "int4range" | "int8range" | "numrange" => format!("[{},{})", number, number + 1),
        "daterange" => range_days(keys, n),
        "tsrange" | "tstzrange" => range_days(keys, n),
        "int4multirange" | "int8multirange" | "nummultirange" => format!("{{[{},{})}}", number, number + 1),
        "pg_lsn" => "0/0".to_owned(),
        "vector" | "halfvec" => {
            let dimensions = column
                .type_name
                .split_once('(')
                .and_then(|(_, rest)| rest.trim_end_matches(')').parse::<usize>().ok())
                .unwrap_or(3);
            let mut parts = vec!["0".to_owned(); dimensions];
            parts[0] = (n % 97 + 1).to_string();
            format!("[{}]", parts.join(","))
        }
        _ => return None,
    })
}

/// Values worth trying where a CHECK constraint refuses the generated one: the literals it names and common formats.
pub fn candidates(column: &Column, expression: &str, keys: &Keys, n: u64) -> Vec<String> {
    let mut found: Vec<String> = literals(expression);
    if column.category == "N" {
        let numbers: Vec<f64> = numbers(expression);
        for base in numbers {
            for delta in [0.0, 1.0, -1.0] {
                found.push(format_number(base + delta));
            }
        }
        found.extend(["0", "1", "2", "5", "10", "50", "100", "1000", "-1", "0.5"].map(str::to_owned));
        found.push((n % 100).to_string());
    }
    if column.category == "S" || matches!(column.base_type.as_str(), "citext" | "ltree") {
        let c = &keys.canary;
        found.extend([
            format!("{c}{n}"),
            format!("{c}-{n}"),
            format!("{c}_{n}"),
            format!("{}{n}", c.to_uppercase()),
            format!("{}-{n}", c.to_uppercase()),
            format!("{c}{n}@example.test"),
            format!("https://{c}{n}.example.test/"),
            format!("{c}{n}.example.test"),
            format!("/{c}/{n}"),
            format!("{c}/{n}"),
            format!("{n}"),
            format!("{:04}", n % 10_000),
            format!("{:010}", n),
            format!("+1555{:07}", keys.ordinal * 10_000 + n),
            format!("1.0.{n}"),
            format!("v1.0.{n}"),
            format!("#{:06x}", (keys.ordinal * 65_536 + n) % 0xff_ffff),
            format!("{:032x}", u128::from(keys.ordinal) << 64 | u128::from(n)),
            format!("{:040x}", u128::from(keys.ordinal) << 64 | u128::from(n)),
            format!("{:064x}", u128::from(keys.ordinal) << 64 | u128::from(n)),
            uuid(keys, n),
            format!("{}", (b'a' + (n % 26) as u8) as char),
            format!(
                "{}{}",
                (b'A' + (n % 26) as u8) as char,
                (b'A' + (n / 26 % 26) as u8) as char
            ),
            format!("{0}{0}{0}", (b'A' + (n % 26) as u8) as char),
            "en".to_owned(),
            "en-US".to_owned(),
            "EUR".to_owned(),
            "DE".to_owned(),
            "UTC".to_owned(),
            "2020-06".to_owned(),
            "2020-06-15".to_owned(),
            "{}".to_owned(),
            "x".to_owned(),
            String::new(),
            "x".repeat(20),
            format!("{c}-{n:0>40}"),
        ]);
    }
    if column.category == "D" {
        found.extend(["2020-06-15", "2999-01-01", "2001-01-01", "now"].map(str::to_owned));
    }
    if column.base_type.starts_with("json") {
        found.extend(["{}", "[]", "\"x\"", "1", "true", "null", "[1]"].map(str::to_owned));
    }
    if column.category == "B" {
        found.extend(["true", "false"].map(str::to_owned));
    }
    found.extend(column.labels.iter().cloned());
    if column.category == "A" {
        let inner: Vec<String> = found.iter().map(|v| format!("{{{}}}", array_element(v))).collect();
        found = inner;
        found.push("{}".to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|v| seen.insert(v.clone()) && column.max_length.is_none_or(|max| v.chars().count() <= max as usize));
    found
}

/// String literals of an expression as `pg_get_expr` prints it.
pub fn literals(expression: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find('\'') {
        let mut value = String::new();
        let mut chars = rest[start + 1..].char_indices().peekable();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            if c != '\'' {
                value.push(c);
            } else if chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
                value.push('\'');
            } else {
                end = start + 1 + at + 1;
                break;
            }
        }
        found.push(value);
        rest = &rest[end..];
    }
    found
}

/// Numbers of an expression, outside of string literals' words.
fn numbers(expression: &str) -> Vec<f64> {
    expression
        .split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .filter(|word| word.bytes().any(|b| b.is_ascii_digit()))
        .filter_map(|word| word.trim_matches('.').parse().ok())
        .collect()
}

fn format_number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        value.to_string()
    }
}

/// A number beyond what sequences hand out, distinct for universe and `n`.
fn number(keys: &Keys, n: u64) -> u64 {
    keys.ordinal * 10_000_000 + 1_000 + n
}

fn uuid(keys: &Keys, n: u64) -> String {
    let head = ["", "a1a1a1a1", "b2b2b2b2", "0c0c0c0c"][keys.ordinal.min(3) as usize];
    format!("{head}-2222-4000-8000-{n:012x}")
}

fn text(column: &Column, keys: &Keys, n: u64) -> String {
    if column.name.contains("email") || column.name.contains("e_mail") {
        return fit(format!("{}{n}@example.test", keys.canary), column, n);
    }
    fit(
        format!("{}-{}-{n}", keys.canary, column.name.replace('_', "-")),
        column,
        n,
    )
}

fn fit(value: String, column: &Column, n: u64) -> String {
    match column.max_length {
        Some(max) if value.chars().count() > max as usize => {
            let short = format!("{n:x}");
            let keep = (max as usize).saturating_sub(short.len());
            let head: String = value.chars().take(keep).collect();
            let tail: String = short.chars().take(max as usize).collect();
            head + &tail
        }
        _ => value,
    }
}

fn range_days(keys: &Keys, n: u64) -> String {
    let month = n / 28 % 12 + 1;
    let day = n % 27 + 1;
    format!(
        "[20{:02}-{month:02}-{day:02},20{:02}-{month:02}-{:02})",
        keys.ordinal + 20,
        keys.ordinal + 20,
        day + 1
    )
}

fn array_element(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn element_category(type_name: &str) -> &'static str {
    match type_name {
        "text" | "character varying" | "character" | "name" => "S",
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" | "oid" => "N",
        "boolean" => "B",
        "date" | "timestamp without time zone" | "timestamp with time zone" => "D",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_unescaped() {
        assert_eq!(
            literals("(a = 'it''s'::text) OR (b = ANY (ARRAY['x'::text, 'y z'::text]))"),
            ["it's", "x", "y z"]
        );
    }

    #[test]
    fn numbers_are_found_with_sign() {
        assert_eq!(numbers("((a >= -3) AND (a < 10.5))"), [-3.0, 10.5]);
    }
}
