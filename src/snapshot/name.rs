//! File names for relations: any two relations get different ones, on every file system.

use crate::model::QualifiedName;

/// Longer names are not safe everywhere; ecryptfs, the strictest in use, allows 143 bytes.
const LONGEST: usize = 140;

/// Names that Windows keeps for devices, with whatever extension.
const DEVICES: &[&str] = &["aux", "con", "nul", "prn"];

/// `schema.name.txt`. Lower-case ASCII letters, digits, `_` and `-` stay; every other byte is `%` and two hexadecimal
/// digits, capitals too, since there are file systems that take `A` and `a` for the same. A name that would be too long is its
/// beginning, `~`, and all of it in base 32.
pub fn of_relation(name: &QualifiedName) -> String {
    let mut file = format!("{}.{}.txt", encoded(&name.schema), encoded(&name.name));
    if is_device(&name.schema) {
        file.replace_range(..1, &format!("%{:02x}", file.as_bytes()[0]));
    }
    if file.len() <= LONGEST {
        return file;
    }
    let mut whole = name.schema.clone().into_bytes();
    whole.push(0);
    whole.extend_from_slice(name.name.as_bytes());
    format!("{}~{}.txt", &file[..20], base32(&whole))
}

fn is_device(schema: &str) -> bool {
    let port = |s: &str| s.len() == 1 && s.bytes().all(|b| b.is_ascii_digit());
    DEVICES.contains(&schema) || ["com", "lpt"].iter().any(|d| schema.strip_prefix(d).is_some_and(port))
}

fn encoded(name: &str) -> String {
    name.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => char::from(b).to_string(),
            _ => format!("%{b:02x}"),
        })
        .collect()
}

fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    bytes
        .chunks(5)
        .flat_map(|chunk| {
            let value = chunk
                .iter()
                .chain(std::iter::repeat(&0))
                .take(5)
                .fold(0u64, |v, b| v << 8 | u64::from(*b));
            let digits = (chunk.len() * 8).div_ceil(5);
            (0..digits).map(move |at| char::from(DIGITS[(value >> (35 - 5 * at) & 31) as usize]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn file(schema: &str, name: &str) -> String {
        of_relation(&QualifiedName {
            schema: schema.to_owned(),
            name: name.to_owned(),
        })
    }

    #[rstest]
    #[case::plain_names_are_readable("public", "documents", "public.documents.txt")]
    #[case::capitals_are_told_apart_on_every_file_system("public", "Doc", "public.%44oc.txt")]
    #[case::dots_belong_to_the_name("a.b", "c", "a%2eb.c.txt")]
    #[case::no_name_leaves_the_folder("..", "/etc", "%2e%2e.%2fetc.txt")]
    #[case::percent_signs_are_encoded("public", "%44oc", "public.%2544oc.txt")]
    #[case::devices_are_not_opened("con", "t", "%63on.t.txt")]
    #[case::letters_beyond_ascii_are_encoded("public", "ö", "public.%c3%b6.txt")]
    fn names(#[case] schema: &str, #[case] name: &str, #[case] expected: &str) {
        assert_eq!(file(schema, name), expected);
    }

    #[test]
    fn the_longest_names_fit_in_a_file_name() {
        assert!(file(&"Ö".repeat(31), &"Ä".repeat(31)).len() < 255);
    }

    fn identifier() -> impl Strategy<Value = String> {
        prop_oneof!["[a%.~A0]{1,4}", "[aA]{50,63}", "\\PC{1,15}", Just("con".to_owned())]
    }

    proptest! {
        #[test]
        fn different_relations_have_different_files(
            a in (identifier(), identifier()), b in (identifier(), identifier()),
        ) {
            let (x, y) = (file(&a.0, &a.1), file(&b.0, &b.1));
            prop_assert_eq!(a == b, x == y);
            prop_assert_eq!(x.to_lowercase(), x.clone());
            prop_assert!(x.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"%._-~".contains(&b)));
            prop_assert!(x.len() < 255 && x.matches('.').count() + x.matches('~').count() >= 2);
        }
    }
}
