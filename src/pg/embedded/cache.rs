//! Where the embedded runtime unpacks itself: 60 MB, once for each user, in the user's cache folder.
//!
//! The place is oliphaunt-wasix's choice; this finds it, sees whether it can be written, and offers another.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::EmbeddedError;

/// What oliphaunt-wasix derives its folder from.
const VARIABLE: &str = if cfg!(target_os = "macos") {
    "HOME"
} else {
    "XDG_CACHE_HOME"
};

/// A variable and a value with which [`Embedded::start`](super::Embedded::start) would find a writable cache, where as
/// things are it would not.
///
/// A process cannot safely change its own environment, so a command runs itself anew with it. `None` when the cache is
/// writable already, or no other folder is to be had. The folder is below the temporary one, and private to this user:
/// machine code is loaded from it.
#[must_use]
pub fn cache_fallback() -> Option<(&'static str, PathBuf)> {
    if writable().is_ok() {
        return None;
    }
    let folder = std::env::temp_dir().join(format!("tenantproof-cache-{}", rustix::process::geteuid().as_raw()));
    let tried = std::env::var_os(VARIABLE).is_some_and(|value| Path::new(&value) == folder);
    (!tried && private(&folder).is_ok_and(|private| private)).then_some((VARIABLE, folder))
}

/// The runtime's cache folder, once it is known to be writable.
pub(super) fn writable() -> Result<PathBuf, EmbeddedError> {
    let project = directories::ProjectDirs::from("dev", "oliphaunt-wasix", "oliphaunt-wasix");
    let folder = project.ok_or(EmbeddedError::NoCache)?.cache_dir().to_owned();
    fs::create_dir_all(&folder)
        .and_then(|()| tempfile::tempfile_in(&folder))
        .map_err(|source| EmbeddedError::Cache {
            folder: folder.clone(),
            source,
        })?;
    Ok(folder)
}

/// Makes a folder that only this user can change, or says whether the one that is there is such.
fn private(folder: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => {
            let found = fs::symlink_metadata(folder)?;
            let owner = rustix::process::geteuid().as_raw();
            Ok(found.is_dir() && found.uid() == owner && found.mode() & 0o077 == 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_folder_of_ones_own_is_trusted() {
        let above = tempfile::tempdir().expect("makes a folder");
        let folder = above.path().join("cache");
        assert!(private(&folder).expect("makes it"));
        assert!(private(&folder).expect("finds it"));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("opens it to all");
        assert!(!private(&folder).expect("finds it"));
        let link = above.path().join("link");
        std::os::unix::fs::symlink(above.path(), &link).expect("links");
        assert!(!private(&link).expect("finds it"));
    }
}
