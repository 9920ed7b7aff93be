//! Values within limits.

use super::super::{Maker, array_element, dates, fit, number, pattern, split_type};
use super::{Limit, Place, Target, put};
use crate::world::keys::Keys;

impl Limit {
    /// A value within the limit, the `n`th; nothing where the limit says nothing of the type. The inner option is NULL.
    pub(crate) fn value(&self, target: &Target<'_>, keys: &Keys, n: u64) -> Option<Option<String>> {
        if self.null == Some(true) {
            return Some(None);
        }
        let mut allowed = self.one_of.iter().filter(|v| !self.none_of.contains(v));
        if let Some(value) = allowed.next() {
            return Some(Some(value.clone()));
        }
        let (bare, _) = split_type(target.type_name);
        match bare.as_str() {
            "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" | "money" => {
                self.number(&bare, target, keys, n).map(Some)
            }
            "date" | "timestamp without time zone" | "timestamp with time zone" => self.day(n).map(Some),
            "text" | "character varying" | "character" | "bpchar" | "citext" | "name" => {
                self.text(target, keys, n).map(Some)
            }
            "json" | "jsonb" => self.document(keys, n).map(|d| Some(d.to_string())),
            _ if bare.ends_with("[]") => self.array(target, keys, n).map(Some),
            _ => None,
        }
    }

    fn number(&self, bare: &str, target: &Target<'_>, keys: &Keys, n: u64) -> Option<String> {
        let read = |limit: &Option<(String, bool)>| {
            limit
                .as_ref()
                .and_then(|(v, within)| Some((v.parse::<f64>().ok()?, *within)))
        };
        let (low, high) = (read(&self.low), read(&self.high));
        if low.is_none() && high.is_none() {
            return None;
        }
        let whole = matches!(bare, "smallint" | "integer" | "bigint");
        let least = low.map(|(v, within)| if within { v } else { v + 1.0 });
        let most = high.map(|(v, within)| if within { v } else { v - 1.0 });
        let plain = Maker {
            types: &[],
            keys,
            name: target.name,
            max_length: None,
        }
        .value(target.type_name, n, 0)
        .and_then(|v| v.parse::<f64>().ok())
        .unwrap_or(number(keys, n) as f64);
        let fits = |v: f64| least.is_none_or(|l| v >= l) && most.is_none_or(|m| v <= m);
        if fits(plain) {
            return None;
        }
        let value = match (least, most) {
            (Some(least), Some(most)) if most > least => {
                let room = (most - least).floor() as u64 + 1;
                if whole || room > 1 {
                    least + ((n * 4 + keys.ordinal) % room) as f64
                } else {
                    (least + most) / 2.0
                }
            }
            (Some(least), Some(most)) => {
                // Open limits so close that no whole number lies between.
                let (l, m) = (low.map_or(least, |l| l.0), high.map_or(most, |h| h.0));
                if whole {
                    least
                } else {
                    l + (m - l) * ((n % 89 + 5) as f64 / 100.0)
                }
            }
            (Some(least), None) => least + (n % 1000) as f64,
            (None, Some(most)) => most - (n % 1000) as f64,
            (None, None) => return None,
        };
        Some(plain_number((value * 10_000.0).round() / 10_000.0))
    }

    fn day(&self, n: u64) -> Option<String> {
        let read = |limit: &Option<(String, bool)>| limit.as_ref().and_then(|(v, _)| dates::parse(v));
        let n = i64::try_from(n).ok()?;
        Some(match (read(&self.low), read(&self.high)) {
            (Some(low), Some(high)) => {
                let room = (high - low - 1).max(1);
                dates::day(low + i64::from(room > 1) + n % (room - i64::from(room > 1)).max(1))
            }
            (Some(low), None) => dates::day(low + 1 + n % 1000),
            (None, Some(high)) => dates::day(high - 1 - n % 1000),
            (None, None) => return None,
        })
    }

    fn text(&self, target: &Target<'_>, keys: &Keys, n: u64) -> Option<String> {
        let seed = n * 4 + keys.ordinal;
        let longest = match (self.longest, target.max_length) {
            (Some(a), Some(b)) => Some(a.min(b as usize)),
            (a, b) => a.or(b.map(|b| b as usize)),
        };
        let length = longest.and_then(|l| u32::try_from(l).ok());
        let mut value = if let Some(regex) = self.patterns.first() {
            let fits = |v: &String| {
                let count = v.chars().count();
                self.shortest.is_none_or(|s| count >= s) && longest.is_none_or(|l| count <= l)
            };
            [4, 1, 12, 40, 2, 8, 20]
                .into_iter()
                .find_map(|stretch| pattern::stretched(regex, seed, stretch).filter(fits))?
        } else if let Some(like) = self.likes.first() {
            pattern::like(like, &format!("{}{n}", keys.canary))
        } else if let Some((low, _)) = &self.low {
            // After the lowest in the order of texts, and with the same beginning.
            format!("{low}-{}-{n}", keys.canary)
        } else if self.high.is_some() {
            format!("!{}-{n}", keys.canary)
        } else if self.shortest.is_some() || self.longest.is_some() || self.lower_case || self.upper_case {
            Maker {
                types: &[],
                keys,
                name: target.name,
                max_length: length,
            }
            .value("text", n, 0)?
        } else {
            return None;
        };
        if self.lower_case {
            value = value.to_lowercase();
        }
        if self.upper_case {
            value = value.to_uppercase();
        }
        if self.patterns.is_empty() {
            value = fit(value, length, seed);
        }
        if let Some(shortest) = self.shortest {
            while value.chars().count() < shortest.min(100_000) {
                value.push('x');
            }
        }
        Some(value)
    }

    fn array(&self, target: &Target<'_>, keys: &Keys, n: u64) -> Option<String> {
        if self.elements.is_empty() && self.count.is_none() {
            return None;
        }
        let count = self.count.unwrap_or(1);
        let element = target.type_name.trim_end_matches("[]");
        let maker = Maker {
            types: &[],
            keys,
            name: target.name,
            max_length: None,
        };
        let items: Option<Vec<String>> = (0..count as u64)
            .map(|at| {
                match self
                    .elements
                    .get(usize::try_from(at).ok()? % self.elements.len().max(1))
                {
                    Some(element) => Some(element.clone()),
                    None => maker.value(element, n + at, 0),
                }
            })
            .map(|v| v.map(|v| array_element(&v)))
            .collect();
        Some(format!("{{{}}}", items?.join(",")))
    }

    /// A JSON document with the places that are asked for; nothing where none is.
    pub(crate) fn document(&self, keys: &Keys, n: u64) -> Option<serde_json::Value> {
        let text = |path: &[String]| serde_json::Value::from(format!("{}-{}-{n}", keys.canary, path.join("-")));
        let of_type = |kind: &str, path: &[String]| match kind {
            "array" => serde_json::json!([]),
            "object" => serde_json::json!({}),
            "number" => serde_json::Value::from(number(keys, n)),
            "boolean" => serde_json::Value::from(true),
            "null" => serde_json::Value::Null,
            _ => text(path),
        };
        if self.places.is_empty() {
            let kind = self.json_type.as_deref()?;
            if kind == "array" {
                return Some((0..self.count.unwrap_or(0)).map(|at| text(&[at.to_string()])).collect());
            }
            return Some(if kind == "object" {
                serde_json::json!({ "note": text(&[]) })
            } else {
                of_type(kind, &[])
            });
        }
        let mut document = serde_json::json!({});
        for (path, place) in &self.places {
            let value = match place {
                Place::Present => text(path),
                Place::Text(value) => serde_json::Value::from(value.as_str()),
                Place::Number(low, high) => {
                    let value = low.or(*high).unwrap_or(0.0);
                    if value.fract() == 0.0 {
                        serde_json::Value::from(value as i64)
                    } else {
                        serde_json::Value::from(value)
                    }
                }
                Place::Type(kind) => of_type(kind, path),
            };
            put(&mut document, path, value);
        }
        Some(document)
    }
}

fn plain_number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        value.to_string()
    }
}
