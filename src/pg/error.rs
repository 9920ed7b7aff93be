//! What can go wrong with servers and scratch databases. Messages fit after "failed to" and never hold a password.

use std::path::PathBuf;

use super::server::Provider;

/// Why there is no server, or no scratch database on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The text names no provider and is no URL.
    #[error("understand the server choice `{0}`: give auto, container, local, embedded or a postgres:// URL")]
    UnknownChoice(String),
    /// Options in the environment would reach every session on a server of ours.
    #[error("keep PGOPTIONS out of the sessions under test: unset it")]
    ForeignOptions,
    /// The URL does not parse.
    #[error("read the server URL: it must look like postgres://user:password@host:port/database")]
    InvalidUrl(#[source] sqlx::Error),
    /// Nothing answers where the URL points.
    #[error("reach a PostgreSQL server at {at}: start it there, or correct host and port in the URL")]
    Unreachable {
        /// Host and port, or the socket's folder.
        at: String,
        /// The driver's or the system's error.
        #[source]
        source: sqlx::Error,
    },
    /// The server did not answer in time.
    #[error("reach a PostgreSQL server at {at} within {seconds} s: check the network between, or the host in the URL")]
    NoAnswer {
        /// Host and port, or the socket's folder.
        at: String,
        /// How long we waited.
        seconds: u64,
    },
    /// The server refused the password.
    #[error("log in to {at} as `{user}`: the server refused the password; correct it in the URL or in PGPASSWORD")]
    WrongPassword {
        /// Host and port, or the socket's folder.
        at: String,
        /// The user of the URL.
        user: String,
        /// The server's error.
        #[source]
        source: sqlx::Error,
    },
    /// The database of the URL is not there.
    #[error("log in to {at}: there is no database `{database}`; name one that exists, such as `postgres`")]
    NoSuchDatabase {
        /// Host and port, or the socket's folder.
        at: String,
        /// The database of the URL.
        database: String,
        /// The server's error.
        #[source]
        source: sqlx::Error,
    },
    /// The server refused the connection for another reason.
    #[error("log in to {at} as `{user}`")]
    Refused {
        /// Host and port, or the socket's folder.
        at: String,
        /// The user of the URL.
        user: String,
        /// The server's error.
        #[source]
        source: sqlx::Error,
    },
    /// The server is older than what is supported.
    #[error("use the server at {at}: it is PostgreSQL {found}, and 15 or later is needed")]
    TooOld {
        /// Host and port, the image or the program.
        at: String,
        /// Its version as it tells it.
        found: String,
    },
    /// The user of the URL may not do what is needed.
    #[error(
        "use the server at {at}: `{user}` lacks {missing}; name a superuser, or use --server auto for a server of our own"
    )]
    MissingRight {
        /// Host and port, or the socket's folder.
        at: String,
        /// The user of the URL.
        user: String,
        /// The role attribute that is missing.
        missing: &'static str,
    },
    /// The server is a standby.
    #[error("use the server at {at}: it is a standby and takes no writes; name its primary")]
    Standby {
        /// Host and port, or the socket's folder.
        at: String,
    },
    /// No container engine answers.
    #[error("use a container engine: {reason}; start one, or use --server local")]
    NoEngine {
        /// What was tried and what came back.
        reason: String,
    },
    /// The engine has no image to start.
    #[error(
        "find the image {image}: {reason}; run `docker pull {image}`, or scripts/container-image where there is no registry"
    )]
    NoImage {
        /// The image as it was asked for.
        image: String,
        /// Why it is not there.
        reason: String,
    },
    /// The container did not come up.
    #[error("start a container of {image}")]
    Container {
        /// The image that was started.
        image: String,
        /// The engine's error.
        #[source]
        source: Box<testcontainers::TestcontainersError>,
    },
    /// There are no server programs.
    #[error(
        "find PostgreSQL's server programs (initdb, postgres): looked in {looked_in}; install postgresql, or set PG_BIN"
    )]
    NoPrograms {
        /// Folders and patterns that were looked at.
        looked_in: String,
    },
    /// There are server programs, but not of the version asked for.
    #[error("find PostgreSQL {asked}'s server programs: there is only {found}; install it, or set PG_BIN")]
    NoSuchVersion {
        /// The version asked for.
        asked: String,
        /// The versions that are there.
        found: String,
    },
    /// PostgreSQL does not run as root, and there is nobody to run it as.
    #[error("run PostgreSQL as root: neither `postgres` nor `nobody` is in /etc/passwd to step down to")]
    NoAccount,
    /// A folder or process of the local server could not be set up.
    #[error("{doing} {}", path.display())]
    Local {
        /// What was being done, such as "create".
        doing: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// No folder is fit to hold the server's socket.
    #[error(
        "find a folder for the server's socket: none of {looked_in} is short enough and open to the server's user; set TMPDIR"
    )]
    NoRunFolder {
        /// The folders that were looked at.
        looked_in: String,
    },
    /// A server program ended instead of running.
    #[error("run {program}: it ended with this log:\n{log}")]
    Ended {
        /// initdb or postgres.
        program: String,
        /// The end of its log.
        log: String,
    },
    /// The server did not take connections in time.
    #[error("connect to the server that was started: no connection within {seconds} s; its log:\n{log}")]
    NotReady {
        /// How long we waited.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// PostgreSQL inside the process did not start, or is not built in.
    #[error("start the embedded server")]
    Embedded(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The embedded server is of another version than the one asked for.
    #[error("find PostgreSQL {asked} for the embedded server: it is {found}")]
    EmbeddedVersion {
        /// The version asked for.
        asked: String,
        /// The version there is.
        found: &'static str,
    },
    /// No provider could start a server.
    #[error("find a server: {}", passed_over(reasons))]
    NoServer {
        /// Each provider that was tried and why it was passed over.
        reasons: Vec<(Provider, String)>,
    },
    /// A scratch database could not be made, read or dropped.
    #[error("{doing} the scratch database {name}")]
    Scratch {
        /// What was being done, such as "create".
        doing: &'static str,
        /// Its name.
        name: String,
        /// The server's error.
        #[source]
        source: sqlx::Error,
    },
    /// The server cannot copy a database.
    #[error("copy a scratch database on the embedded server: each of its instances holds one database")]
    NoCopies,
    /// Roles are told apart by the transaction that made them, and there is none.
    #[error("note the roles a statement created: it must run in a transaction that is still open")]
    NoTransaction,
}

impl ServerError {
    /// The message with those of its sources, on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(source) = next {
            let message = source.to_string();
            if !text.contains(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            next = source.source();
        }
        text
    }
}

fn passed_over(reasons: &[(Provider, String)]) -> String {
    reasons
        .iter()
        .map(|(provider, reason)| format!("{provider}: failed to {reason}"))
        .collect::<Vec<_>>()
        .join("; ")
}
