//! A server the user named: reached, and looked at, before anything is created on it.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row};

use super::error::ServerError;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connects.
pub(super) async fn connect(url: &str) -> Result<(PgConnectOptions, PgConnection), ServerError> {
    let options: PgConnectOptions = url.parse().map_err(ServerError::InvalidUrl)?;
    let options = options.disable_statement_logging();
    let at = place(&options);
    let connecting = PgConnection::connect_with(&options);
    let connection = match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
        Ok(connected) => connected.map_err(|error| refusal(error, &options))?,
        Err(_) => {
            return Err(ServerError::NoAnswer {
                at,
                seconds: CONNECT_LIMIT.as_secs(),
            });
        }
    };
    Ok((options, connection))
}

/// Host and port, or the socket's folder: what a message may show of a URL.
pub(super) fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

fn refusal(source: sqlx::Error, options: &PgConnectOptions) -> ServerError {
    let (at, user) = (place(options), options.get_username().to_owned());
    let Some(error) = source.as_database_error() else {
        return ServerError::Unreachable { at, source };
    };
    match error.code().as_deref() {
        Some("28P01") => ServerError::WrongPassword { at, user, source },
        Some("3D000") => {
            let database = options.get_database().unwrap_or(&user).to_owned();
            ServerError::NoSuchDatabase { at, database, source }
        }
        _ => ServerError::Refused { at, user, source },
    }
}

/// Refuses a server on which we may not create databases, load schemas as their owners would, and look at roles.
pub(super) async fn check_rights(connection: &mut PgConnection, options: &PgConnectOptions) -> Result<(), ServerError> {
    let (at, user) = (place(options), options.get_username().to_owned());
    let row = sqlx::query(include_str!("url/rights.sql")).fetch_one(connection).await;
    let rights = row.and_then(|row| {
        Ok((
            row.try_get::<bool, _>(0)?,
            row.try_get::<bool, _>(1)?,
            row.try_get::<bool, _>(2)?,
        ))
    });
    match rights {
        Err(source) => Err(ServerError::Refused { at, user, source }),
        Ok((_, _, true)) => Err(ServerError::Standby { at }),
        Ok((true, _, _)) => Ok(()),
        Ok((false, true, _)) => Err(ServerError::MissingRight {
            at,
            user,
            missing: "SUPERUSER",
        }),
        Ok((false, false, _)) => Err(ServerError::MissingRight {
            at,
            user,
            missing: "SUPERUSER (and CREATEDB)",
        }),
    }
}
