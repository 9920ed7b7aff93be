//! A program under a watchdog: it ends when we ask, when we are dropped, and when we are killed.
//!
//! The watchdog is a shell that holds the other end of a pipe from us. The kernel closes our end whatever kills us, which
//! no signal handler of ours could promise; a parent-death signal would fire when a worker thread ends.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::account::Account;
use super::folder::RunFolder;
use crate::pg::error::ServerError;

const WATCHDOG: &str = include_str!("watchdog.sh");
const POLL: Duration = Duration::from_millis(2);
/// The watchdog stops asking after 1.6 s and kills; this is when we stop waiting for it.
const PATIENCE: Duration = Duration::from_secs(4);

/// A running program and the shell that watches over it.
#[derive(Debug)]
pub(super) struct Watched {
    watchdog: Child,
}

impl Watched {
    /// Starts `program` as `account`, its output going to the folder's log.
    pub(super) fn spawn(
        program: &Path,
        arguments: &[String],
        account: Account,
        run: &RunFolder,
    ) -> Result<Self, ServerError> {
        let failed = |path: &Path, doing| {
            let path = path.to_path_buf();
            move |source| ServerError::Local { doing, path, source }
        };
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(run.log())
            .map_err(failed(&run.log(), "open"))?;
        let log_too = log.try_clone().map_err(failed(&run.log(), "open"))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(run.path())
            .arg(program)
            .args(arguments);
        // PGDATA, PGPORT, PGOPTIONS and their like are somebody else's; a TZ spares initdb a search through all zones.
        command.env_clear().env("TZ", "UTC").env("LC_ALL", "C");
        for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        account.become_in(&mut command);
        // A group of its own: Ctrl-C at the terminal is for us to act on.
        command
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(log_too);
        let watchdog = command.spawn().map_err(failed(program, "run"))?;
        Ok(Self { watchdog })
    }

    /// How it ended, where it has.
    pub(super) fn try_ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.watchdog.try_wait()
    }

    /// Waits for it to end by itself.
    pub(super) async fn ended(mut self) -> Result<ExitStatus, ServerError> {
        loop {
            let ended = self.try_ended();
            match ended.map_err(|source| ServerError::Local {
                doing: "wait for",
                path: "/bin/sh".into(),
                source,
            })? {
                Some(status) => return Ok(status),
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Ends it, and waits until program and folder are gone.
    pub(super) async fn stop(mut self) {
        drop(self.watchdog.stdin.take());
        let start = Instant::now();
        while matches!(self.watchdog.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let start = Instant::now();
        while matches!(self.watchdog.try_wait(), Ok(None)) && start.elapsed() < PATIENCE {
            std::thread::sleep(POLL);
        }
    }
}
