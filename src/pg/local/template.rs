//! The data folder: made by `initdb` once an installation, kept, and copied for every server.
//!
//! `initdb` takes most of a second, copying its result a tenth of that.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::Account;
use super::folder::RunFolder;
use super::programs::Programs;
use super::watched::Watched;
use crate::pg::error::ServerError;
use crate::pg::server::SETTINGS;
use crate::pg::stamp::{PREFIX, Stamp, fnv};

/// Small WAL segments: the folder is 28 MB instead of 39, and made and copied the faster.
const INITDB: [&str; 6] = [
    "--username=postgres",
    "--auth=trust",
    "--encoding=UTF8",
    "--no-sync",
    "--no-instructions",
    "--wal-segsize=1",
];

/// The C library's locale that sorts by code point and knows Unicode's letters; not there on every system.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// What only a server in a folder of ours is told, beside [`SETTINGS`].
const LOCAL_SETTINGS: [(&str, &str); 4] = [
    ("listen_addresses", ""),
    // Shared memory in the data folder goes with it, even when the server is killed.
    ("dynamic_shared_memory_type", "mmap"),
    ("shared_buffers", "64MB"),
    // The folder may be in memory.
    ("max_wal_size", "256MB"),
];

/// Whether the data folder is a copy, which may be one of a damaged original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Copied,
    Made,
}

/// Fills the data folder, from the kept original where there is one.
pub(super) async fn fill(programs: &Programs, account: Account, run: &RunFolder) -> Result<Origin, ServerError> {
    let original = original(programs);
    if let Some(original) = &original
        && original.join("PG_VERSION").exists()
    {
        if copy(original, &run.data(), account).is_ok() {
            return Ok(Origin::Copied);
        }
        let _ = fs::remove_dir_all(run.data());
    }
    initdb(programs, account, run).await?;
    if let Some(original) = &original {
        // Not being able to keep it costs time, nothing else.
        let _ = keep(&run.data(), original);
    }
    Ok(Origin::Made)
}

/// Removes the kept original: a server did not start from a copy of it.
pub(super) fn discard(programs: &Programs) {
    if let Some(original) = original(programs) {
        let _ = fs::remove_dir_all(original);
    }
}

async fn initdb(programs: &Programs, account: Account, run: &RunFolder) -> Result<(), ServerError> {
    for locale in LOCALES {
        let mut arguments: Vec<String> = INITDB.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.push(format!("--locale={locale}"));
        arguments.push(format!("--pgdata={}", run.data().display()));
        let status = Watched::spawn(&programs.program("initdb"), &arguments, account, run)?
            .ended()
            .await?;
        if status.success() {
            return configure(&run.data()).map_err(|source| ServerError::Local {
                doing: "configure",
                path: run.data(),
                source,
            });
        }
        let log = run.log_end();
        if locale == LOCALES[LOCALES.len() - 1] || !log.contains("locale") {
            return Err(ServerError::Ended {
                program: "initdb".into(),
                log,
            });
        }
        let _ = fs::remove_dir_all(run.data());
    }
    unreachable!("the last locale returns")
}

fn configure(data: &Path) -> io::Result<()> {
    use io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
    file.write_all(configuration().as_bytes())
}

fn configuration() -> String {
    SETTINGS
        .iter()
        .chain(&LOCAL_SETTINGS)
        .map(|(name, value)| format!("{name} = '{value}'\n"))
        .collect()
}

/// The original of an installation; another version, place or setting has another.
fn original(programs: &Programs) -> Option<PathBuf> {
    let what = [
        programs.program("initdb").to_string_lossy().into_owned(),
        INITDB.concat(),
        configuration(),
    ]
    .join("\n");
    Some(cache()?.join(format!("initdb-{}-{:016x}", programs.version, fnv(what.as_bytes()))))
}

/// A folder that is ours alone: what lies in it is run as a server.
pub(in crate::pg) fn cache() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let uid = rustix::process::geteuid().as_raw();
    [
        absolute("XDG_CACHE_HOME").map(|folder| folder.join(PREFIX)),
        absolute("HOME").map(|folder| folder.join(".cache").join(PREFIX)),
        Some(std::env::temp_dir().join(format!("{PREFIX}-cache-{uid}"))),
    ]
    .into_iter()
    .flatten()
    .find(|folder| {
        let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        folder
            .symlink_metadata()
            .is_ok_and(|data| data.is_dir() && data.uid() == uid && data.permissions().mode() & 0o022 == 0)
    })
}

fn keep(data: &Path, original: &Path) -> io::Result<()> {
    // Two runs may do this at once: each copies under a name of its own, the first rename wins, and a half-done copy of a
    // killed run is swept by its name.
    let draft = original.with_file_name(Stamp::new().to_string());
    let kept = copy(data, &draft, Account::Ourselves).and_then(|()| fs::rename(&draft, original));
    if kept.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    kept
}

fn copy(from: &Path, to: &Path, account: Account) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    account.own(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, account)?;
        } else {
            fs::copy(entry.path(), &target)?;
            account.own(&target)?;
        }
    }
    Ok(())
}
