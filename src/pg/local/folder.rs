//! The folder of one server: data, socket and log, gone with the server.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::Account;
use crate::pg::error::ServerError;
use crate::pg::stamp::Stamp;

/// `sockaddr_un.sun_path` holds 108 bytes on Linux and 104 on macOS, a closing zero among them.
const SOCKET_PATH_LIMIT: usize = 103;
/// Linux's file system in memory. A server is files by the thousand: it starts, and makes databases, up to ten times as
/// fast here.
const MEMORY: &str = "/dev/shm";
/// Containers get 64 MB of it unless they ask for more; a server takes 40, a scratch database 8 and what is put into it.
const ROOM: u64 = 1 << 30;
const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// The longest name a [`Stamp`] has.
const NAME_LIMIT: usize = 61;

/// A private folder named by its owner; removed on drop, by the watchdog, or by the next run.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes one that only the server's user and we can enter.
    pub(super) fn create(account: Account) -> Result<Self, ServerError> {
        let parents = parents();
        let fits = |parent: &&PathBuf| {
            let length = parent.as_os_str().len() + 1 + NAME_LIMIT + 1 + SOCKET_NAME.len();
            length <= SOCKET_PATH_LIMIT
                && (parent.as_path() != Path::new(MEMORY) || is_roomy(parent))
                && (account == Account::Ourselves || is_open_to_all(parent))
        };
        let Some(parent) = parents.iter().find(fits) else {
            let looked_in = parents
                .iter()
                .map(|parent| parent.display().to_string())
                .collect::<Vec<_>>()
                .join(", ");
            return Err(ServerError::NoRunFolder { looked_in });
        };
        let folder = Self {
            path: parent.join(Stamp::new().to_string()),
        };
        let made = std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder.path)
            .and_then(|()| account.own(&folder.path));
        match made {
            Ok(()) => Ok(folder),
            Err(source) => Err(ServerError::Local {
                doing: "create",
                path: folder.path.clone(),
                source,
            }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Where the programs run here write to.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The last lines of the log, for a message.
    pub(super) fn log_end(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Where run folders may be, best first: the sweep looks in all of them.
pub(in crate::pg) fn parents() -> Vec<PathBuf> {
    let mut parents: Vec<PathBuf> = Vec::new();
    for parent in [MEMORY.into(), std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()] {
        if let Ok(parent) = Path::canonicalize(&parent)
            && !parents.contains(&parent)
        {
            parents.push(parent);
        }
    }
    parents
}

fn is_roomy(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|system| system.f_bavail.saturating_mul(system.f_frsize) >= ROOM)
}

/// Whether a user without rights of their own comes through to this folder.
fn is_open_to_all(path: &Path) -> bool {
    path.ancestors().all(|folder| {
        folder
            .metadata()
            .is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
    })
}
