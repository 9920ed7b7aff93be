//! Where PostgreSQL's server programs are: distribution packages keep them off PATH.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pg::error::ServerError;
use crate::pg::server::MINIMUM_MAJOR;

/// The folders of versioned packages: Debian, Red Hat (PGDG), Homebrew on arm64 and on x86-64.
const PACKAGED: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// The server programs of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    folder: PathBuf,
    /// Such as `15.18`.
    pub(super) version: String,
}

impl Programs {
    /// The newest installation, or the newest of the version asked for (`15`, or `15.18`).
    ///
    /// `PG_BIN` beats everything: where it is set, nothing else is looked at.
    pub(super) fn find(asked: Option<&str>) -> Result<Self, ServerError> {
        let pg_bin = std::env::var_os("PG_BIN")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from);
        let (folders, looked_in) = match pg_bin {
            Some(folder) => (vec![folder.clone()], format!("PG_BIN ({})", folder.display())),
            None => (candidates(), describe_candidates()),
        };
        let found: Vec<Self> = folders.iter().filter_map(|folder| Self::in_folder(folder)).collect();
        choose(found, asked, looked_in)
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.split_ascii_whitespace().nth(2)?.to_owned();
        Some(Self {
            folder: folder.to_path_buf(),
            version,
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `18beta1` and `15.18` have majors 18 and 15.
    fn major(&self) -> u32 {
        leading_number(&self.version)
    }

    fn order(&self) -> (u32, u32) {
        (
            self.major(),
            self.version
                .split_once('.')
                .map_or(0, |(_, minor)| leading_number(minor)),
        )
    }
}

fn choose(mut found: Vec<Programs>, asked: Option<&str>, looked_in: String) -> Result<Programs, ServerError> {
    // Stable, and the best last: among equals the folder named first wins.
    found.reverse();
    found.sort_by_key(Programs::order);
    let versions = found
        .iter()
        .rev()
        .map(|programs| programs.version.clone())
        .collect::<Vec<_>>()
        .join(", ");
    if found.is_empty() {
        return Err(ServerError::NoPrograms { looked_in });
    }
    let fits = |programs: &Programs| match asked {
        Some(asked) => programs.version == asked || programs.major().to_string() == asked,
        None => true,
    };
    let Some(best) = found.into_iter().rev().find(fits) else {
        let asked = asked.unwrap_or_default().to_owned();
        return Err(ServerError::NoSuchVersion { asked, found: versions });
    };
    if best.major() < MINIMUM_MAJOR {
        return Err(ServerError::TooOld {
            at: best.folder.display().to_string(),
            found: best.version,
        });
    }
    Ok(best)
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(folder) = Command::new("pg_config")
        .arg("--bindir")
        .output()
        .ok()
        .filter(|output| output.status.success())
    {
        folders.push(PathBuf::from(String::from_utf8_lossy(&folder.stdout).trim()));
    }
    for (root, prefix, sub) in PACKAGED {
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name
                .to_str()
                .and_then(|name| name.strip_prefix(prefix))
                .is_some_and(|rest| leading_number(rest) > 0)
            {
                folders.push(entry.path().join(sub));
            }
        }
    }
    if let Some(folder) = which::which("postgres")
        .ok()
        .and_then(|path| Some(path.canonicalize().ok()?.parent()?.to_path_buf()))
    {
        folders.push(folder);
    }
    folders.sort();
    folders.dedup();
    folders
}

fn describe_candidates() -> String {
    let packaged = PACKAGED
        .map(|(root, prefix, sub)| format!("{root}/{prefix}*/{sub}"))
        .join(", ");
    format!("`pg_config --bindir`, {packaged} and PATH")
}

fn leading_number(text: &str) -> u32 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &str, version: &str) -> Programs {
        Programs {
            folder: folder.into(),
            version: version.into(),
        }
    }

    #[track_caller]
    fn chosen(asked: Option<&str>) -> Result<String, ServerError> {
        let found = vec![
            at("/a", "15.18"),
            at("/b", "17.2"),
            at("/c", "15.3"),
            at("/d", "9.6.24"),
            at("/e", "18beta1"),
        ];
        choose(found, asked, "nowhere".into()).map(|programs| programs.version)
    }

    #[test]
    fn the_newest_wins_unless_one_is_asked_for() {
        assert_eq!(chosen(None).unwrap(), "18beta1");
        assert_eq!(chosen(Some("15")).unwrap(), "15.18");
        assert_eq!(chosen(Some("15.3")).unwrap(), "15.3");
    }

    #[test]
    fn a_version_that_is_not_there_names_those_that_are() {
        let error = chosen(Some("16")).unwrap_err();
        assert!(matches!(error, ServerError::NoSuchVersion { .. }));
        assert!(
            error.to_string().contains("18beta1, 17.2, 15.18, 15.3, 9.6.24"),
            "{error}"
        );
    }

    #[test]
    fn too_old_is_refused() {
        assert!(matches!(chosen(Some("9")), Err(ServerError::TooOld { .. })));
    }
}
