//! The effective access of a schema as text for review: one file a relation, one for the functions, one for the roles and
//! one for what belongs to the database as a whole.
//!
//! The text names no object id, no server version and no name of the server's own superuser, and lists everything in an
//! order of its own, so that a schema gives the same bytes wherever it is loaded. It takes a catalog that was read
//! canonically (`introspect::read_catalog_canonically`). Files on disk are `run::snapshots`.

mod database;
mod functions;
mod name;
mod page;
mod relation;
mod roles;

use similar::TextDiff;

use crate::model::Catalog;
use page::Names;

/// What the first line of each file begins with, whatever the version of the format.
pub const MARK: &str = "-- tenantproof snapshot ";

/// The first line of each file.
pub const HEADER: &str = "-- tenantproof snapshot 1";

/// A file of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name, such as `public.documents.txt`: lower-case ASCII, so that it means the same on every file system.
    pub name: String,
    /// Its text; the first line is [`HEADER`], the last ends with a newline.
    pub text: String,
}

/// The whole snapshot, by file name.
pub fn render(catalog: &Catalog) -> Vec<SnapshotFile> {
    let names = Names::of(catalog);
    let mut files = vec![
        SnapshotFile {
            name: "database.txt".to_owned(),
            text: database::text(catalog, &names),
        },
        SnapshotFile {
            name: "functions.txt".to_owned(),
            text: functions::text(catalog, &names),
        },
        SnapshotFile {
            name: "roles.txt".to_owned(),
            text: roles::text(catalog, &names),
        },
    ];
    files.extend(catalog.relations.iter().map(|relation| SnapshotFile {
        name: name::of_relation(&relation.name),
        text: relation::text(relation, catalog, &names),
    }));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// How a file differs from the accepted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// There is no accepted file.
    Added {
        /// File name.
        name: String,
    },
    /// What it was about is gone.
    Removed {
        /// File name.
        name: String,
    },
    /// Both are there and differ.
    Changed {
        /// File name.
        name: String,
        /// Unified diff from accepted to current.
        diff: String,
    },
}

impl Difference {
    /// The file's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Added { name } | Self::Removed { name } | Self::Changed { name, .. } => name,
        }
    }
}

/// What changed since the accepted snapshot, by file name; nothing where all is as it was.
pub fn compare(accepted: &[SnapshotFile], current: &[SnapshotFile]) -> Vec<Difference> {
    let find = |files: &[SnapshotFile], name: &str| files.iter().position(|f| f.name == name);
    let mut differences: Vec<Difference> = accepted
        .iter()
        .filter(|file| find(current, &file.name).is_none())
        .map(|file| Difference::Removed {
            name: file.name.clone(),
        })
        .collect();
    for file in current {
        let name = file.name.clone();
        match find(accepted, &name).map(|at| &accepted[at]) {
            None => differences.push(Difference::Added { name }),
            Some(before) if before.text != file.text => differences.push(Difference::Changed {
                diff: unified(&name, &before.text, &file.text),
                name,
            }),
            Some(_) => {}
        }
    }
    differences.sort_by(|a, b| a.name().cmp(b.name()));
    differences
}

fn unified(name: &str, accepted: &str, current: &str) -> String {
    TextDiff::from_lines(accepted, current)
        .unified_diff()
        .context_radius(3)
        .header(&format!("accepted/{name}"), &format!("current/{name}"))
        .to_string()
}

#[cfg(test)]
mod tests;
