//! What killed runs left: found by name, removed where the owner is dead for certain.
//!
//! Nothing here fails: what could not be removed is left to the next run. Containers are swept by the module that knows
//! the engine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::local;
use super::scratch;
use super::stamp::Stamp;

/// What a start removed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Folders of local servers, the servers in them included.
    pub folders: Vec<String>,
    /// Containers, by the name in their label.
    pub containers: Vec<String>,
    /// Databases on the user's server.
    pub databases: Vec<String>,
    /// Roles on the user's server.
    pub roles: Vec<String>,
}

impl Swept {
    pub(super) fn add(&mut self, other: Self) {
        let Self {
            folders,
            containers,
            databases,
            roles,
        } = other;
        self.folders.extend(folders);
        self.containers.extend(containers);
        self.databases.extend(databases);
        self.roles.extend(roles);
    }
}

/// Removes the folders of dead local servers, and half-done originals in the cache.
pub(super) async fn folders() -> Swept {
    let mut swept = Swept::default();
    for parent in local::run_folder_parents().into_iter().chain(local::template_cache()) {
        for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(owner) = name.to_str().and_then(|name| name.parse::<Stamp>().ok()) else {
                continue;
            };
            let folder = entry.path();
            if !owner.owner_is_dead() || !may_remove(&folder) {
                continue;
            }
            end_server(&folder.join("data")).await;
            if std::fs::remove_dir_all(&folder).is_ok() {
                swept.folders.push(owner.to_string());
            }
        }
    }
    swept
}

/// Anybody may put a folder with a name of ours where temporary files go.
fn may_remove(folder: &Path) -> bool {
    let us = rustix::process::geteuid();
    let is_ours = |uid: u32| us.as_raw() == uid || local::server_uid() == Some(uid);
    folder
        .symlink_metadata()
        .is_ok_and(|data| data.is_dir() && is_ours(data.uid()))
}

/// Ends a server whose watchdog was killed along with us.
async fn end_server(data: &Path) {
    let Ok(pid_file) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return;
    };
    let pid = pid_file
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<i32>().ok())
        .filter(|pid| *pid > 1);
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return;
    };
    let start = Instant::now();
    while is_server_of(pid, data) && start.elapsed() < Duration::from_secs(4) {
        let signal = if start.elapsed() < Duration::from_secs(2) {
            Signal::QUIT
        } else {
            Signal::KILL
        };
        let _ = rustix::process::kill_process(pid, signal);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The pid may be another program's by now.
fn is_server_of(pid: Pid, data: &Path) -> bool {
    let arguments = if cfg!(target_os = "linux") {
        std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default()
    } else {
        let ps = std::process::Command::new("ps")
            .args(["-o", "command=", "-p", &pid.as_raw_nonzero().to_string()])
            .output();
        ps.map(|output| output.stdout).unwrap_or_default()
    };
    String::from_utf8_lossy(&arguments).contains(&*data.to_string_lossy())
}

/// Drops the databases and roles of dead runs on a server of the user's.
pub(super) async fn databases(connection: &mut PgConnection, admin: &PgConnectOptions) -> Swept {
    let mut swept = Swept::default();
    let is_dead = |name: &str| name.parse::<Stamp>().is_ok_and(|owner| owner.owner_is_dead());
    let rows = sqlx::query(include_str!("sweep/databases.sql"))
        .fetch_all(&mut *connection)
        .await
        .unwrap_or_default();
    let names: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    // Marks outlive a database when a run is killed between its drop and that of its roles, so they are asked for too.
    let marks = scratch::marked_roles(connection).await.unwrap_or_default();
    for name in names.iter().filter(|name| is_dead(name)) {
        if scratch::drop_database(connection, admin, name).await.is_ok() {
            swept.databases.push(name.clone());
        }
    }
    let mut owners: Vec<&String> = marks
        .iter()
        .map(|(owner, _)| owner)
        .filter(|owner| is_dead(owner))
        .collect();
    owners.dedup();
    for owner in owners {
        let _ = scratch::drop_roles(connection, owner).await;
    }
    let left = scratch::marked_roles(connection)
        .await
        .unwrap_or_else(|_| marks.clone());
    swept.roles = marks
        .into_iter()
        .filter(|mark| is_dead(&mark.0) && !left.contains(mark))
        .map(|(_, role)| role)
        .collect();
    swept
}
