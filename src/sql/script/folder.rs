//! Which files of a folder are the schema, in which order, and what their bytes say.
//!
//! Knows how migration tools name files, and mark parts of files, that take a migration back. What the text means is [`super::scan`]'s part.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use super::ScriptError;

/// The files that a path stands for.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, ScriptError> {
    let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = entries(path)?;
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    let mut undo_only = false;
    for (name, entry) in &entries {
        if entry.is_dir() {
            let migration = ["migration.sql", "up.sql"]
                .map(|file| entry.join(file))
                .into_iter()
                .find(|file| file.is_file());
            found.extend(migration.map(|file| (name.clone(), file)));
        } else if is_sql(name) {
            if undoes(name) {
                undo_only = true;
            } else {
                found.push((name.clone(), entry.clone()));
            }
        }
    }
    if found.is_empty() {
        return Err(no_sql(path, &entries, undo_only));
    }
    found.sort_by(|(a, _), (b, _)| order(a, b));
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

/// The text of a file: UTF-8, or UTF-16 where a byte order mark says so.
pub(super) fn text(path: &Path) -> Result<String, ScriptError> {
    let bytes = fs::read(path).map_err(|source| unreadable(path, source))?;
    decode(bytes).map_err(|(problem, offset, advice)| ScriptError::NotText {
        path: path.to_owned(),
        problem,
        offset,
        advice,
    })
}

fn decode(bytes: Vec<u8>) -> Result<String, (&'static str, usize, &'static str)> {
    const UTF8: &str = "save the file as UTF-8";
    if bytes.starts_with(b"PGDMP") {
        return Err((
            "a pg_dump archive, not SQL,",
            0,
            "turn it into SQL with `pg_restore --file=schema.sql ARCHIVE`",
        ));
    }
    let wide = |decode: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes[2..].as_chunks::<2>();
        let mut text = String::with_capacity(pairs.len());
        let mut offset = 2;
        for unit in char::decode_utf16(pairs.iter().map(|&pair| decode(pair))) {
            let unit = unit.map_err(|_| ("invalid UTF-16", offset, UTF8))?;
            offset += unit.len_utf16() * 2;
            text.push(unit);
        }
        if rest.is_empty() {
            Ok(text)
        } else {
            Err(("half a character of UTF-16", offset, UTF8))
        }
    };
    let text = match bytes[..] {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes)?,
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes)?,
        _ => String::from_utf8(bytes).map_err(|error| ("invalid UTF-8", error.utf8_error().valid_up_to(), UTF8))?,
    };
    match text.find('\0') {
        Some(offset) => Err(("a NUL character, which no SQL text can hold,", offset, UTF8)),
        None => Ok(text),
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> ScriptError {
    match source.kind() {
        std::io::ErrorKind::NotFound => ScriptError::Missing { path: path.to_owned() },
        _ => ScriptError::Read {
            path: path.to_owned(),
            source,
        },
    }
}

/// What a folder holds that is not hidden, by name.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, ScriptError> {
    let failed = |source| ScriptError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

fn no_sql(path: &Path, entries: &[(String, PathBuf)], undo_only: bool) -> ScriptError {
    let below = entries.iter().find(|(_, entry)| entry.is_dir() && files(entry).is_ok());
    let found = match (entries.is_empty(), undo_only) {
        (true, _) => "the folder is empty",
        (false, true) => "it only holds files that undo migrations",
        (false, false) => "no file in it ends in `.sql`",
    };
    let advice = match below {
        Some((_, entry)) => format!("`{}` does hold SQL: name that folder", entry.display()),
        None => "name the folder of the schema or of its migrations".to_owned(),
    };
    ScriptError::NoSql {
        path: path.to_owned(),
        found,
        advice,
    }
}

fn is_sql(name: &str) -> bool {
    name.len() > 4 && name.is_char_boundary(name.len() - 4) && name[name.len() - 4..].eq_ignore_ascii_case(".sql")
}

/// Whether a file of this name takes a migration back.
fn undoes(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let stem = &lower[..lower.len() - 4];
    stem == "down"
        || ["down.", "down_", "down-"].iter().any(|start| stem.starts_with(start))
        || [".down", "_down", "-down", ".undo"]
            .iter()
            .any(|end| stem.ends_with(end))
        || flyway(name) == Some('U')
}

/// The letter of `V1_2__name.sql`, `U1__name.sql`, `B1__name.sql` and `R__name.sql`.
fn flyway(name: &str) -> Option<char> {
    let letter = name.chars().next().filter(|c| matches!(c, 'V' | 'U' | 'B' | 'R'))?;
    let (version, _) = name[1..].split_once("__")?;
    let numbered = version.starts_with(|c: char| c.is_ascii_digit())
        && version.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '_');
    (numbered != (letter == 'R') && (numbered || version.is_empty())).then_some(letter)
}

/// Names with a version in the same place go by version; others byte by byte, where the first difference decides between
/// a version and a letter, so that the order is total. Flyway's repeatable migrations come last.
fn order(a: &str, b: &str) -> Ordering {
    let repeatable = |name| flyway(name) == Some('R');
    repeatable(a)
        .cmp(&repeatable(b))
        .then_with(|| match (version(a), version(b)) {
            (Some((prefix_a, version_a, rest_a)), Some((prefix_b, version_b, rest_b))) if prefix_a == prefix_b => {
                version_a
                    .cmp(&version_b)
                    .then_with(|| rest_a.cmp(rest_b))
                    .then_with(|| a.cmp(b))
            }
            _ => a.cmp(b),
        })
}

/// What stands before a version number, the number part by part, and the rest of a name. Numbers are the count of their
/// digits and the digits, so that none is too long.
type Version<'a> = (&'a str, Vec<(usize, &'a str)>, &'a str);

fn version(name: &str) -> Option<Version<'_>> {
    let (prefix, mut rest) = name.split_at(usize::from(name.starts_with('V')));
    let mut version = Vec::new();
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let number = rest[..digits].trim_start_matches('0');
        version.push((number.len(), number));
        rest = &rest[digits..];
        // Only Flyway has versions of several parts: `V1_2__x`, while elsewhere `1_2` is a version and a name.
        let separated =
            !prefix.is_empty() && rest.starts_with(['.', '_']) && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        if !separated {
            return Some((prefix, version, rest));
        }
        rest = &rest[1..];
    }
}

/// A comment by which migration tools part a file.
pub(super) enum Mark {
    Up,
    Down,
    /// `-- up` alone, which is a mark for some tools and a remark for everyone else.
    BareUp,
    BareDown,
}

/// The mark that a line comment is, if it is one.
pub(super) fn mark(comment: &str) -> Option<Mark> {
    let body = comment
        .strip_prefix("--")?
        .trim_matches(|c: char| c == '-' || c.is_whitespace())
        .to_ascii_lowercase();
    let begins = |marks: &[&str]| {
        marks.iter().any(|mark| {
            body.strip_prefix(mark)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
        })
    };
    // dbmate, goose, sql-migrate, Play, MyBatis, Rambler, node-pg-migrate, tern.
    if begins(&[
        "migrate:down",
        "+goose down",
        "+migrate down",
        "!downs",
        "//@undo",
        "@undo",
        "rambler down",
    ]) || matches!(body.as_str(), "down migration" | "create above / drop below")
    {
        Some(Mark::Down)
    } else if begins(&["migrate:up", "+goose up", "+migrate up", "!ups", "rambler up"]) || body == "up migration" {
        Some(Mark::Up)
    } else {
        match body.as_str() {
            "up" => Some(Mark::BareUp),
            "down" => Some(Mark::BareDown),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::padded_numbers(&["002_b.sql", "001_a.sql", "010_c.sql"], &["001_a.sql", "002_b.sql", "010_c.sql"])]
    #[case::numbers_without_padding(&["10_c.sql", "2_b.sql", "1_a.sql"], &["1_a.sql", "2_b.sql", "10_c.sql"])]
    #[case::timestamps(&["20240102000000_b.sql", "20240101120000_a.sql"], &["20240101120000_a.sql", "20240102000000_b.sql"])]
    #[case::flyway_by_version_and_repeatable_last(
        &["R__views.sql", "V10__c.sql", "V2__b.sql", "V1_1__a.sql"], &["V1_1__a.sql", "V2__b.sql", "V10__c.sql", "R__views.sql"])]
    #[case::a_version_before_a_letter(&["schema.sql", "10_a.sql", "V1x.sql", "V10__b.sql"], &["10_a.sql", "V1x.sql", "V10__b.sql", "schema.sql"])]
    #[case::names_byte_by_byte(&["b.sql", "B.sql", "a.sql", "_c.sql"], &["B.sql", "_c.sql", "a.sql", "b.sql"])]
    fn orders(#[case] names: &[&str], #[case] expected: &[&str]) {
        let mut names = names.to_vec();
        names.sort_by(|a, b| order(a, b));
        assert_eq!(names, expected);
    }

    #[rstest]
    #[case::golang_migrate("1_a.down.sql", true)]
    #[case::diesel("down.sql", true)]
    #[case::flyway("U2__b.sql", true)]
    #[case::undo("3_c.undo.sql", true)]
    #[case::forward("1_a.up.sql", false)]
    #[case::a_table_of_downloads("downloads.sql", false)]
    #[case::a_name_that_begins_with_u("U_turns.sql", false)]
    #[case::users("Users.sql", false)]
    fn knows_what_goes_back(#[case] name: &str, #[case] expected: bool) {
        assert_eq!(undoes(name), expected);
    }

    #[rstest]
    #[case::utf8("a\u{fe}".as_bytes(), Ok("a\u{fe}"))]
    #[case::utf16_little_endian(b"\xff\xfea\0\n\0", Ok("a\n"))]
    #[case::utf16_big_endian(b"\xfe\xff\0a", Ok("a"))]
    #[case::latin1(b"ab\xe9c", Err(("invalid UTF-8", 2)))]
    #[case::utf16_without_mark(b"a\0", Err(("a NUL character, which no SQL text can hold,", 1)))]
    #[case::archive(b"PGDMP\x01\x0e", Err(("a pg_dump archive, not SQL,", 0)))]
    #[case::a_lone_surrogate(b"\xff\xfea\0\x00\xd8", Err(("invalid UTF-16", 4)))]
    fn decodes(#[case] bytes: &[u8], #[case] expected: Result<&str, (&str, usize)>) {
        let decoded = decode(bytes.to_vec());
        assert_eq!(
            decoded.as_deref().map_err(|&(problem, offset, _)| (problem, offset)),
            expected
        );
    }
}
