//! A server of our own from the programs installed on this machine, in a folder of its own, reached over a socket there.
//!
//! It ends with us, however we end; see [`watched`]. What is made durable nowhere need not be written durably: the
//! settings trade all safety for speed.

mod account;
mod folder;
mod programs;
mod template;
mod watched;

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use self::account::Account;
use self::folder::RunFolder;
use self::programs::Programs;
use self::template::Origin;
use self::watched::Watched;
use super::error::ServerError;

pub(super) use self::folder::parents as run_folder_parents;
pub(super) use self::template::cache as template_cache;

/// The user that local servers run as where it is not ourselves.
pub(super) fn server_uid() -> Option<u32> {
    match Account::for_server() {
        Ok(Account::Other { uid, .. }) => Some(uid),
        Ok(Account::Ourselves) | Err(_) => None,
    }
}

const POLL: Duration = Duration::from_millis(5);
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server and its folder.
#[derive(Debug)]
pub(super) struct Local {
    // INVARIANT: before `run`, so that the server is gone when its folder is removed.
    postmaster: Watched,
    run: RunFolder,
}

impl Local {
    /// Starts one: the newest version installed, or the one asked for.
    pub(super) async fn start(asked: Option<&str>) -> Result<(Self, PgConnectOptions, PgConnection), ServerError> {
        let programs = Programs::find(asked)?;
        let account = Account::for_server()?;
        match Self::attempt(&programs, account).await {
            // A cleaner of temporary files may have eaten into the original we keep.
            Err((Origin::Copied, ServerError::Ended { .. })) => {
                template::discard(&programs);
                Self::attempt(&programs, account).await.map_err(|(_, error)| error)
            }
            outcome => outcome.map_err(|(_, error)| error),
        }
    }

    async fn attempt(
        programs: &Programs,
        account: Account,
    ) -> Result<(Self, PgConnectOptions, PgConnection), (Origin, ServerError)> {
        let run = RunFolder::create(account).map_err(|error| (Origin::Made, error))?;
        let origin = template::fill(programs, account, &run)
            .await
            .map_err(|error| (Origin::Made, error))?;
        let arguments = [
            "-D".into(),
            run.data().display().to_string(),
            "-k".into(),
            run.path().display().to_string(),
        ];
        let postmaster = Watched::spawn(&programs.program("postgres"), &arguments, account, &run)
            .map_err(|error| (origin, error))?;
        let mut server = Self { postmaster, run };
        let options = server.options();
        let connection = server.ready(&options).await.map_err(|error| (origin, error))?;
        Ok((server, options, connection))
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.run.path())
            .port(5432)
            .username("postgres")
            .password("")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
    }

    async fn ready(&mut self, options: &PgConnectOptions) -> Result<PgConnection, ServerError> {
        let start = Instant::now();
        loop {
            if let Ok(connection) = PgConnection::connect_with(options).await {
                return Ok(connection);
            }
            if !matches!(self.postmaster.try_ended(), Ok(None)) {
                return Err(ServerError::Ended {
                    program: "postgres".into(),
                    log: self.run.log_end(),
                });
            }
            if start.elapsed() > START_LIMIT {
                return Err(ServerError::NotReady {
                    seconds: START_LIMIT.as_secs(),
                    log: self.run.log_end(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends it: immediately, as nothing in it is to be kept.
    pub(super) async fn stop(self) {
        self.postmaster.stop().await;
    }
}
