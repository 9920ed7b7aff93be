//! Values worth trying where a condition refuses the generated one. The list of a column and a condition has the same places
//! whatever the universe, so that a place that was found to fit is used again for the next row.

use super::condition::parse;
use super::limits::{Limit, Target};
use super::{array_element, dates, literals, number, uuid};
use crate::model::{Column, TypeFacts};
use crate::world::keys::Keys;

/// Candidates of a column for conditions (their texts, one after the other).
pub fn candidates(types: &[TypeFacts], column: &Column, conditions: &[&str], keys: &Keys, n: u64) -> Vec<String> {
    let target = Target::of(column, types);
    let mut found: Vec<String> = Vec::new();
    let parsed: Vec<_> = conditions.iter().map(|c| parse(c)).collect();
    let domain = parsed.iter().all(|c| c.columns() == ["value"]);
    let together = Limit::of_conditions(&parsed);
    if let Some(limit) = together.get(if domain { "value" } else { column.name.as_str() }) {
        found.push(limit.value(&target, keys, n).flatten().unwrap_or_default());
        if limit.is_pattern() {
            // What a function asks on top of the pattern may be rare.
            found.extend((1..60).map(|at| limit.value(&target, keys, n * 61 + at).flatten().unwrap_or_default()));
        }
    }
    for (text, condition) in conditions.iter().zip(&parsed) {
        let name = if condition.columns() == ["value"] {
            "value"
        } else {
            &column.name
        };
        let all = Limit::of_conditions(std::slice::from_ref(condition));
        let whole = all.get(name).into_iter().cloned();
        for limit in whole.chain(Limit::of_parts(condition, name)) {
            // A place is kept for every limit, also where it gives nothing.
            found.push(limit.value(&target, keys, n).flatten().unwrap_or_default());
        }
        found.extend(literals(text));
    }
    let all = conditions.join(" ");
    if column.category == "N" {
        for base in numbers(&all) {
            for delta in [0.0, 1.0, -1.0] {
                found.push(format_number(base + delta));
            }
        }
        found.extend(["0", "1", "2", "5", "10", "50", "100", "1000", "-1", "0.5"].map(str::to_owned));
        found.push((n % 100).to_string());
        found.extend((0..8).map(|at| (number(keys, n) + at).to_string()));
    }
    if column.base_type == "uuid" {
        found.extend((1..24).map(|at| uuid(keys, n + at * 100_000)));
    }
    if column.category == "S" || matches!(column.base_type.as_str(), "citext" | "ltree") {
        found.extend(texts(keys, n));
    }
    if column.category == "D" {
        for literal in literals(&all) {
            if let Some(day) = dates::parse(&literal) {
                found.extend([dates::day(day + 1), dates::day(day - 1)]);
            }
        }
        for year in numbers(&all).into_iter().filter(|y| (1900.0..2200.0).contains(y)) {
            found.push(format!("{year:.0}-06-{:02}", n % 28 + 1));
        }
        let later = 18_500 + i64::try_from(n % 3000).unwrap_or(0);
        found.extend(["2020-06-15", "2999-01-01", "2001-01-01", "now"].map(str::to_owned));
        found.extend([
            dates::day(later),
            // The first of a month, Monday, midnight, the whole hour: what checks of calendars ask for.
            format!("20{:02}-{:02}-01", 20 + n / 12 % 70, n % 12 + 1),
            dates::day(4 + 7 * (2600 + i64::try_from(n % 3000).unwrap_or(0))),
            format!("{} {:02}:00:00+00", dates::day(later), n % 24),
        ]);
    }
    if column.base_type.starts_with("json") {
        let names = literals(&all);
        let mut every = serde_json::json!({});
        for name in &names {
            every[name.as_str()] = serde_json::Value::from(format!("{}-{n}", keys.canary));
        }
        found.push(every.to_string());
        found.extend(["{}", "[]", "\"x\"", "1", "true", "null", "[1]", r#"["x"]"#, "[{}]"].map(str::to_owned));
    }
    if column.category == "B" {
        found.extend(["true", "false"].map(str::to_owned));
    }
    if column.category == "T" {
        found.extend(["1 second", "1 hour", "1 day", "30 days", "1 month", "1 year", "0"].map(str::to_owned));
    }
    if column.category == "I" {
        found.extend([
            format!("10.{}.{}.0/24", keys.ordinal, n % 250),
            format!("192.168.{}.{}", n / 250 % 250, n % 250 + 1),
            format!("2001:db8::{:x}:{n:x}", keys.ordinal),
        ]);
    }
    if column.category == "R" {
        let day = 18_500 + i64::try_from(n).unwrap_or(0) % 20_000;
        found.extend([
            format!("[{},{})", dates::day(day), dates::day(day + 1)),
            format!("[{},)", dates::day(day)),
            format!("[{0},{0}]", n),
            format!("[{},{})", n, n + 1),
        ]);
    }
    found.extend(column.labels.iter().cloned());
    if column.category == "A" {
        let literals = literals(&all);
        let mut inner: Vec<String> = found
            .iter()
            .map(|v| {
                if v.starts_with('{') {
                    v.clone()
                } else {
                    format!("{{{}}}", array_element(v))
                }
            })
            .collect();
        inner.push(format!(
            "{{{}}}",
            literals.iter().map(|l| array_element(l)).collect::<Vec<_>>().join(",")
        ));
        inner.push("{}".to_owned());
        inner.push(format!("{{{n}}}"));
        inner.push(format!("{{{},{}}}", n, n + 1));
        found = inner;
    }
    found
}

/// Texts of common formats, those with the canary first.
fn texts(keys: &Keys, n: u64) -> Vec<String> {
    let c = &keys.canary;
    let letter = |at: u64| (b'a' + u8::try_from(at % 26).unwrap_or(0)) as char;
    let upper = |at: u64| letter(at).to_ascii_uppercase();
    vec![
        format!("{c}{n}"),
        format!("{c}-{n}"),
        format!("{c}_{n}"),
        format!("{}{n}", c.to_uppercase()),
        format!("{}-{n}", c.to_uppercase()),
        format!("{c}.n{n}"),
        format!("{c}{n}@example.test"),
        format!("https://{c}{n}.example.test/"),
        format!("http://{c}{n}.example.test/"),
        format!("{c}{n}.example.test"),
        format!("/{c}/{n}"),
        format!("{c}/{n}"),
        format!("{c}:{n}"),
        format!("{c} {n}"),
        format!("{c}-{n:0>40}"),
        format!("{n}"),
        format!("{:04}", n % 10_000),
        format!("{n:010}"),
        format!("+1555{:07}", keys.ordinal * 10_000 + n),
        format!("1.0.{n}"),
        format!("v1.0.{n}"),
        format!("#{:06x}", (keys.ordinal * 65_536 + n) % 0xff_ffff),
        format!("{:032x}", u128::from(keys.ordinal) << 64 | u128::from(n)),
        format!("{:040x}", u128::from(keys.ordinal) << 64 | u128::from(n)),
        format!("{:064x}", u128::from(keys.ordinal) << 64 | u128::from(n)),
        uuid(keys, n),
        letter(n).to_string(),
        format!("{}{}", upper(n), upper(n / 26)),
        format!("{}{}{}", upper(n), upper(n / 26), upper(n / 676)),
        format!("{}{}", letter(n), letter(n / 26)),
        "en".to_owned(),
        "en-US".to_owned(),
        "en_US".to_owned(),
        "EUR".to_owned(),
        "DE".to_owned(),
        "UTC".to_owned(),
        "Europe/Berlin".to_owned(),
        "2020-06".to_owned(),
        "2020-06-15".to_owned(),
        "application/pdf".to_owned(),
        "0 0 * * *".to_owned(),
        "{}".to_owned(),
        "x".to_owned(),
        String::new(),
        "x".repeat(20),
    ]
}

/// Numbers of an expression, outside of string literals' words.
pub(crate) fn numbers(expression: &str) -> Vec<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_with_sign() {
        assert_eq!(numbers("((a >= -3) AND (a < 10.5))"), [-3.0, 10.5]);
    }
}
