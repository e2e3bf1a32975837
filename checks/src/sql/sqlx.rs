//! Common code for all databases that sqlx supports.
//!
//! sqlx has one error type for all databases. The code of a database error has a different meaning
//! in each of them, so [`reason`] finds the database first.

#[cfg(any(
    feature = "sqlx-migrate",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres"
))]
use sqlx::Connection;
use sqlx::{Error, error::DatabaseError};

use super::tls;
use tower_health::{Cause, Failure, Reason};

use crate::refusal::{Refusal, said};

/// Converts an error of sqlx. An error that the database reported is one of the server, unless the
/// database closes the connection with it. All others, among them errors of TLS and of the
/// configuration, mean that no connection works.
pub(super) fn refusal(error: Error) -> Refusal {
    let lost = |reason| move |cause: String| Refusal::lost(Failure::new(reason).with_cause(cause));
    match error {
        Error::Database(error) => match reason(&*error) {
            Some(reason) => said(reason, error.message()),
            None => lost(Reason::ConnectionLost)(error.message().to_owned()),
        },
        Error::Tls(error) => lost(tls::reason(&*error))(Cause::of(&*error).redacted().to_owned()),
        Error::Configuration(error) => lost(Reason::Misconfigured)(error.to_string()),
        Error::Protocol(text) => lost(Reason::UnexpectedAnswer)(text),
        error => Refusal::lost(error),
    }
}

/// Returns the reason for an error code of the database, or `None` if the database closes the
/// connection with it.
fn reason(error: &dyn DatabaseError) -> Option<Reason> {
    #[cfg(feature = "sqlx-postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return super::postgres::reason(error.code(), error.message());
    }
    #[cfg(feature = "sqlx-mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return super::mysql::reason(error.number());
    }
    #[cfg(feature = "sqlx-sqlite")]
    if error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
    {
        let code = error.code().and_then(|code| code.parse().ok());
        return Some(super::sqlite::reason(code.unwrap_or_default()));
    }
    _ = error;
    Some(Reason::Failed)
}

/// Closes a connection. The response of a dropped run is read first, because a server counts a
/// connection that is closed before its response was read as aborted.
#[cfg(any(
    feature = "sqlx-migrate",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres"
))]
pub(super) async fn close(mut connection: impl Connection) {
    if connection.ping().await.is_ok() {
        // If this fails, the connection is closed as well.
        _ = connection.close().await;
    }
}
