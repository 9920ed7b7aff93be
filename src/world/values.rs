//! Values of every type, as the text that the type's input function reads.
//!
//! A generated value is distinct within its universe and, where the type has room, carries the universe's canary.

pub(crate) mod candidates;
pub(crate) mod condition;
pub(crate) mod dates;
pub(crate) mod limits;
pub(crate) mod pattern;

use super::keys::Keys;
use crate::model::{Column, TypeFacts};

pub use candidates::candidates;

/// A value for the column, the `n`th of its universe. `None` where no value of the type is known.
pub fn generate(column: &Column, keys: &Keys, n: u64) -> Option<String> {
    generate_among(&[], column, keys, n)
}

/// [`generate`], where the types that the schema makes itself are known.
pub fn generate_among(types: &[TypeFacts], column: &Column, keys: &Keys, n: u64) -> Option<String> {
    if let Some(label) = column.labels.first() {
        return Some(label.clone());
    }
    let known = types.iter().any(|t| t.name == column.type_name);
    let is_domain = !known && !column.type_name.starts_with(base_word(&column.base_type));
    let type_name = if is_domain {
        &column.base_type
    } else {
        &column.type_name
    };
    let maker = Maker {
        types,
        keys,
        name: &column.name,
        max_length: column.max_length,
    };
    maker.value(type_name, n, 0).or_else(|| match column.category.as_str() {
        "S" => Some(maker.text(column.max_length, n)),
        "A" => Some("{}".to_owned()),
        _ => None,
    })
}

fn base_word(type_name: &str) -> &str {
    type_name.split([' ', '(', '[']).next().unwrap_or(type_name)
}

/// What a type is, below domains: with modifiers, as `format_type` prints it.
pub fn below_domains<'a>(types: &'a [TypeFacts], type_name: &'a str) -> &'a str {
    let mut name = type_name;
    for _ in 0..8 {
        match types.iter().find(|t| t.name == name).and_then(|t| t.base.as_deref()) {
            Some(base) => name = base,
            None => break,
        }
    }
    name
}

/// A type's name without modifiers and schema, and its modifiers.
fn split_type(type_name: &str) -> (String, Vec<String>) {
    let (mut name, mut modifiers) = (type_name.to_owned(), Vec::new());
    if let (Some(open), Some(close)) = (type_name.find('('), type_name.rfind(')'))
        && open < close
    {
        modifiers = type_name[open + 1..close]
            .split(',')
            .map(|m| m.trim().to_owned())
            .collect();
        name = format!("{}{}", &type_name[..open], &type_name[close + 1..]);
    }
    if name.starts_with("interval") && !name.ends_with("[]") {
        return ("interval".to_owned(), modifiers);
    }
    let bare = name.rsplit('.').next().unwrap_or(&name).trim_matches('"').to_owned();
    (bare, modifiers)
}

struct Maker<'a> {
    types: &'a [TypeFacts],
    keys: &'a Keys,
    name: &'a str,
    max_length: Option<u32>,
}

impl<'a> Maker<'a> {
    fn value(&self, type_name: &str, n: u64, depth: usize) -> Option<String> {
        if depth > 6 {
            return None;
        }
        if let Some(element) = type_name.strip_suffix("[]") {
            return Some(match self.value(element, n, depth + 1) {
                Some(value) => format!("{{{}}}", array_element(&value)),
                None => "{}".to_owned(),
            });
        }
        if let Some(facts) = self.types.iter().find(|t| t.name == type_name) {
            return self.own_type(facts, n, depth);
        }
        let keys = self.keys;
        let number = number(keys, n);
        let (bare, modifiers) = split_type(type_name);
        let modifier = |at: usize| modifiers.get(at).and_then(|m| m.parse::<u32>().ok());
        Some(match bare.as_str() {
            "uuid" => uuid(keys, n),
            "smallint" => small(keys, n).to_string(),
            "integer" | "bigint" | "oid" | "xid8" => number.to_string(),
            "numeric" => match modifier(0) {
                Some(precision) => numeric(keys, n, precision, modifier(1).unwrap_or(0)),
                None => number.to_string(),
            },
            "real" | "double precision" => format!("{number}.5"),
            "money" => format!("{number}.00"),
            "boolean" => "true".to_owned(),
            "text" | "character varying" | "character" | "bpchar" | "name" | "citext" => {
                let declared = if bare == "character" {
                    Some(modifier(0).unwrap_or(1))
                } else {
                    modifier(0)
                };
                let max = if depth == 0 {
                    self.max_length.or(declared)
                } else {
                    declared
                };
                self.text(if bare == "name" { Some(63) } else { max }, n)
            }
            "char" => char::from(b'a' + u8::try_from(n % 26).unwrap_or(0)).to_string(),
            "ltree" => format!("{}.n{n}", keys.canary),
            "lquery" => format!("{}.*", keys.canary),
            "ltxtquery" => keys.canary.clone(),
            "bytea" => format!("\\x{:02x}{n:08x}", keys.ordinal),
            "json" | "jsonb" => format!(r#"{{"note": "{}-{n}"}}"#, keys.canary),
            "jsonpath" => format!("$.{}", keys.canary),
            "date" => dates::day(DAY_ZERO + i64::try_from(n % 1000).unwrap_or(0)),
            "timestamp without time zone" | "timestamp with time zone" => {
                format!("2020-06-15 {}+00", clock(n))
            }
            "time without time zone" => clock(n),
            "time with time zone" => format!("{}+00", clock(n)),
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
            "circle" => format!("<({},0),{n}>", keys.ordinal),
            "line" => format!("{{{},-1,{n}}}", keys.ordinal),
            "lseg" | "path" => format!("[(0,0),({},{n})]", keys.ordinal),
            "polygon" => format!("((0,0),({0},0),({0},{n}))", keys.ordinal),
            "cube" => format!("({}, {n})", keys.ordinal),
            "seg" => format!("{} .. {}", number, number + 1),
            "bit" => bits(keys, n, self.max_length.or(modifier(0)).unwrap_or(1), true),
            "bit varying" => bits(keys, n, self.max_length.or(modifier(0)).unwrap_or(32), false),
            "tsvector" | "tsquery" => keys.canary.clone(),
            "xml" => format!("<note>{}-{n}</note>", keys.canary),
            "hstore" => format!("note=>{}-{n}", keys.canary),
            "int4range" | "int8range" | "numrange" => format!("[{},{})", number, number + 1),
            "daterange" | "tsrange" | "tstzrange" => days(keys, n),
            "int4multirange" | "int8multirange" | "nummultirange" => format!("{{[{},{})}}", number, number + 1),
            "datemultirange" | "tsmultirange" | "tstzmultirange" => format!("{{{}}}", days(keys, n)),
            "pg_lsn" => format!("{:X}/{n:X}", keys.ordinal),
            "pg_snapshot" | "txid_snapshot" => format!("{0}:{0}:", number),
            "xid" | "cid" => (n + 3).to_string(),
            "tid" => format!("({n},1)"),
            // Any object of the catalog will do: these are everywhere.
            "regclass" => "pg_catalog.pg_class".to_owned(),
            "regtype" => "pg_catalog.int4".to_owned(),
            "regproc" => "pg_catalog.now".to_owned(),
            "regprocedure" => "pg_catalog.now()".to_owned(),
            "regoper" => "pg_catalog.||/".to_owned(),
            "regoperator" => "pg_catalog.=(integer,integer)".to_owned(),
            "regnamespace" => "pg_catalog".to_owned(),
            "regrole" => "pg_monitor".to_owned(),
            "regconfig" | "regdictionary" => "pg_catalog.simple".to_owned(),
            "regcollation" => "pg_catalog.\"C\"".to_owned(),
            "refcursor" => format!("{}-{n}", keys.canary),
            "oidvector" | "int2vector" => format!("{} {}", keys.ordinal, n % 1000),
            "vector" | "halfvec" => {
                let mut parts = vec!["0".to_owned(); modifier(0).unwrap_or(3) as usize];
                if let Some(first) = parts.first_mut() {
                    *first = (n % 97 + 1).to_string();
                }
                format!("[{}]", parts.join(","))
            }
            "sparsevec" => format!("{{1:{}}}/{}", n % 97 + 1, modifier(0).unwrap_or(3)),
            "geometry" | "geography" => shape(keys, n, &modifiers),
            _ => return None,
        })
    }

    /// A type of the schema's own: its parts.
    fn own_type(&self, facts: &'a TypeFacts, n: u64, depth: usize) -> Option<String> {
        match facts.kind.as_str() {
            "d" => {
                let base = facts.base.as_deref()?;
                let name = Self {
                    max_length: None,
                    ..*self
                };
                let column = limits::Target {
                    type_name: base,
                    ..limits::Target::bare(base)
                };
                let limit = limits::Limit::of_domain(facts);
                limit
                    .value(&column, self.keys, n)
                    .flatten()
                    .or_else(|| name.value(base, n, depth + 1))
            }
            "e" => facts.labels.first().cloned(),
            "c" => {
                let fields: Vec<String> = facts
                    .fields
                    .iter()
                    .map(|f| {
                        let part = Self {
                            name: &f.name,
                            max_length: None,
                            ..*self
                        };
                        part.value(&f.type_name, n, depth + 1).map_or_else(String::new, |v| {
                            format!("\"{}\"", v.replace('\\', "\\\\").replace('"', "\"\""))
                        })
                    })
                    .collect();
                Some(format!("({})", fields.join(",")))
            }
            "r" | "m" => {
                let subtype = facts.subtype.as_deref()?;
                let bare = Self {
                    max_length: None,
                    ..*self
                };
                let (low, high) = (
                    bare.value(subtype, n, depth + 1)?,
                    bare.value(subtype, n + 1, depth + 1)?,
                );
                let (low, high) = if low.len() == high.len() && low > high {
                    (high, low)
                } else {
                    (low, high)
                };
                let range = format!("[\"{low}\",\"{high}\")");
                Some(if facts.kind == "m" {
                    format!("{{{range}}}")
                } else {
                    range
                })
            }
            _ => None,
        }
    }

    fn text(&self, max_length: Option<u32>, n: u64) -> String {
        let canary = &self.keys.canary;
        let value = if self.name.contains("email") || self.name.contains("e_mail") {
            format!("{canary}{n}@example.test")
        } else {
            format!("{canary}-{}-{n}", self.name.replace('_', "-"))
        };
        fit(value, max_length, n * 4 + self.keys.ordinal)
    }
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

/// 2020-06-15, in days since 1970-01-01.
const DAY_ZERO: i64 = 18_428;

/// A number beyond what sequences hand out, distinct for universe and `n`.
pub(crate) fn number(keys: &Keys, n: u64) -> u64 {
    keys.ordinal * 10_000_000 + 1_000 + n
}

fn small(keys: &Keys, n: u64) -> u64 {
    keys.ordinal * 1000 + n % 1000
}

/// A number of so many digits, of which so many are behind the point.
fn numeric(keys: &Keys, n: u64, precision: u32, scale: u32) -> String {
    match precision.saturating_sub(scale) {
        0 => format!("0.{}", keys.ordinal % 10),
        digits @ 1..=8 => {
            let tenth = 10u64.pow(digits - 1);
            (keys.ordinal % 10 * tenth + n % tenth).to_string()
        }
        _ => number(keys, n).to_string(),
    }
}

fn bits(keys: &Keys, n: u64, length: u32, exact: bool) -> String {
    let value = format!("{:b}", n * 4 + keys.ordinal);
    let length = length as usize;
    if value.len() > length {
        value[value.len() - length..].to_owned()
    } else if exact {
        format!("{value:0>length$}")
    } else {
        value
    }
}

fn clock(n: u64) -> String {
    format!("{:02}:{:02}:{:02}", n / 3600 % 24, n / 60 % 60, n % 60)
}

/// A day that no other row of any universe has.
fn days(keys: &Keys, n: u64) -> String {
    let start = DAY_ZERO + i64::try_from(keys.ordinal * 20_000 + n % 20_000).unwrap_or(0);
    format!("[{},{})", dates::day(start), dates::day(start + 1))
}

pub(crate) fn uuid(keys: &Keys, n: u64) -> String {
    let head = ["", "a1a1a1a1", "b2b2b2b2", "0c0c0c0c"][keys.ordinal.min(3) as usize];
    format!("{head}-2222-4000-8000-{n:012x}")
}

/// Well-known text of the kind that a column of PostGIS asks for.
fn shape(keys: &Keys, n: u64, modifiers: &[String]) -> String {
    let kind = modifiers.first().map(|m| m.to_uppercase()).unwrap_or_default();
    let (x, y) = (keys.ordinal % 90, n % 90);
    let (z, suffix) = match kind
        .strip_suffix("ZM")
        .map(|_| 2)
        .or(kind.strip_suffix(['Z', 'M']).map(|_| 1))
    {
        Some(2) => (" 0 0", " ZM"),
        Some(_) if kind.ends_with('M') => (" 0", " M"),
        Some(_) => (" 0", " Z"),
        None => ("", ""),
    };
    let at = |dx: u64, dy: u64| format!("{} {}{z}", x + dx, y + dy);
    let line = format!("({}, {})", at(0, 0), at(1, 1));
    let ring = format!("(({}, {}, {}, {}))", at(0, 0), at(0, 1), at(1, 1), at(0, 0));
    let text = match kind.trim_end_matches(['Z', 'M']) {
        "LINESTRING" => format!("LINESTRING{suffix}{line}"),
        "POLYGON" => format!("POLYGON{suffix}{ring}"),
        "MULTIPOINT" => format!("MULTIPOINT{suffix}({})", at(0, 0)),
        "MULTILINESTRING" => format!("MULTILINESTRING{suffix}({line})"),
        "MULTIPOLYGON" => format!("MULTIPOLYGON{suffix}({ring})"),
        "GEOMETRYCOLLECTION" => format!("GEOMETRYCOLLECTION{suffix}(POINT{suffix}({}))", at(0, 0)),
        _ => format!("POINT{suffix}({})", at(0, 0)),
    };
    match modifiers.get(1) {
        Some(srid) => format!("SRID={srid};{text}"),
        None => text,
    }
}

/// Shortens a text to a length and keeps it distinct.
pub(crate) fn fit(value: String, max_length: Option<u32>, n: u64) -> String {
    match max_length {
        Some(max) if value.chars().count() > max as usize => {
            let mut short = radix36(n);
            let max = max as usize;
            if short.len() > max {
                short = short[short.len() - max..].to_owned();
            }
            let head: String = value.chars().take(max - short.len()).collect();
            head + &short
        }
        _ => value,
    }
}

fn radix36(mut n: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(n % 36).unwrap_or(0)] as char);
        n /= 36;
        if n == 0 {
            return digits.iter().rev().collect();
        }
    }
}

pub(crate) fn array_element(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
