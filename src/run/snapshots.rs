//! Accepted snapshots on disk: the folder `access` below the snapshot folder, one file a page.
//!
//! A file is ours when its first line says so; what is not ours is neither read, written nor removed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::snapshot::{MARK, SnapshotFile};

/// The folder, below the one that the user names, where our files are: other tools keep snapshots beside it.
pub const FOLDER: &str = "access";

/// What stopped a snapshot from being read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotsError {
    /// A file or the folder could not be read.
    #[error("read the accepted snapshot `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file or the folder could not be written.
    #[error("write the snapshot `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file that is not ours has the name that one of ours needs.
    #[error("write the snapshot `{}`: a file of that name is there and is no snapshot; move it, or choose another --dir", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// What writing came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that are new or have another text now.
    pub written: usize,
    /// Files that had the text already.
    pub unchanged: usize,
    /// Stale files of ours that were removed.
    pub removed: usize,
}

/// The accepted files below `dir`, by name; none where the folder is not there yet.
///
/// # Errors
///
/// When the folder or one of our files cannot be read.
pub fn read(dir: &Path) -> Result<Vec<SnapshotFile>, SnapshotsError> {
    let folder = dir.join(FOLDER);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SnapshotsError::Read { path, source }
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&folder)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed(&folder))?.path();
        // INVARIANT: our names are ASCII, so one that is no UTF-8 is not ours.
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            continue;
        };
        if !name.ends_with(".txt") || !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).map_err(failed(&path))?;
        if !bytes.starts_with(MARK.as_bytes()) {
            continue;
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| failed(&path)(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        files.push(SnapshotFile {
            name: name.to_owned(),
            // A checkout on Windows may have changed the line ends.
            text: text.replace("\r\n", "\n"),
        });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Accepts `files`: writes those that differ and removes ours that are stale. All new text is on disk before the first
/// name changes hands, and each file is either the old or the new one, never a part.
///
/// # Errors
///
/// When something cannot be read or written, or a file that is not ours is in the way; nothing is changed in that last case.
pub fn write(dir: &Path, files: &[SnapshotFile]) -> Result<Written, SnapshotsError> {
    let folder = dir.join(FOLDER);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SnapshotsError::Write { path, source }
    };
    let before = read(dir)?;
    let stands = |name: &str| before.iter().find(|f| f.name == name);
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let changed: Vec<&SnapshotFile> = files.iter().filter(|f| stands(&f.name) != Some(f)).collect();
    for file in &changed {
        let path = folder.join(&file.name);
        if stands(&file.name).is_none() && path.symlink_metadata().is_ok() {
            return Err(SnapshotsError::Foreign { path });
        }
    }
    let mut ready = Vec::new();
    for file in &changed {
        let path = folder.join(&file.name);
        let mut temporary = new_file(&folder).map_err(failed(&path))?;
        temporary.write_all(file.text.as_bytes()).map_err(failed(&path))?;
        temporary.as_file().sync_all().map_err(failed(&path))?;
        ready.push((temporary, path));
    }
    let mut done = Written {
        written: changed.len(),
        unchanged: files.len() - changed.len(),
        removed: 0,
    };
    for (temporary, path) in ready {
        temporary.persist(&path).map_err(|e| failed(&path)(e.error))?;
    }
    for stale in before.iter().filter(|b| files.iter().all(|f| f.name != b.name)) {
        let path = folder.join(&stale.name);
        fs::remove_file(&path).map_err(failed(&path))?;
        done.removed += 1;
    }
    Ok(done)
}

/// A temporary file beside the others that whoever may read those may read as well.
fn new_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tenantproof-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::HEADER;

    fn file(name: &str, text: &str) -> SnapshotFile {
        SnapshotFile {
            name: name.to_owned(),
            text: format!("{HEADER}\n{text}\n"),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir.join(FOLDER))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_that_is_not_there_holds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), []);
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let files = [file("a.x.txt", "1"), file("b.y.txt", "2")];
        assert_eq!(write(dir.path(), &files).unwrap().written, 2);
        assert_eq!(read(dir.path()).unwrap(), files);
    }

    #[test]
    fn stale_files_go_and_the_same_text_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[file("a.x.txt", "1"), file("b.y.txt", "2")]).unwrap();
        let done = write(dir.path(), &[file("b.y.txt", "2"), file("c.z.txt", "3")]).unwrap();
        assert_eq!(
            done,
            Written {
                written: 1,
                unchanged: 1,
                removed: 1
            }
        );
        assert_eq!(names(dir.path()), ["b.y.txt", "c.z.txt"]);
    }

    #[test]
    fn files_of_others_are_neither_read_nor_removed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[file("a.x.txt", "1")]).unwrap();
        for name in ["notes.txt", "suite__report.snap"] {
            fs::write(dir.path().join(FOLDER).join(name), "not ours").unwrap();
        }
        fs::create_dir(dir.path().join(FOLDER).join("folder.txt")).unwrap();
        write(dir.path(), &[]).unwrap();
        assert_eq!(read(dir.path()).unwrap(), []);
        assert_eq!(names(dir.path()), ["folder.txt", "notes.txt", "suite__report.snap"]);
    }

    #[test]
    fn a_file_of_others_in_the_way_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join(FOLDER).join("b.y.txt");
        fs::create_dir_all(taken.parent().unwrap()).unwrap();
        fs::write(&taken, "mine").unwrap();
        let error = write(dir.path(), &[file("a.x.txt", "1"), file("b.y.txt", "2")]).unwrap_err();
        assert!(matches!(error, SnapshotsError::Foreign { path } if path == taken));
        assert_eq!(names(dir.path()), ["b.y.txt"]);
        assert_eq!(fs::read_to_string(taken).unwrap(), "mine");
    }

    #[test]
    fn line_ends_of_a_checkout_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let accepted = file("a.x.txt", "1");
        write(dir.path(), std::slice::from_ref(&accepted)).unwrap();
        let path = dir.path().join(FOLDER).join("a.x.txt");
        fs::write(path, accepted.text.replace('\n', "\r\n")).unwrap();
        assert_eq!(read(dir.path()).unwrap(), [accepted]);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_mask_lets_them_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[file("a.x.txt", "1")]).unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(dir.path().join(FOLDER).join("a.x.txt")), mode(plain));
    }
}
