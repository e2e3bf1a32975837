//! What is the same of all databases that sqlx speaks to.

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

/// What an error tells.
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

/// What the database's own code means. None is a connection that it closes.
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

/// Ends a connection. An answer that nobody waited for is read first, as one that comes to nobody is an aborted connection to the server.
#[cfg(any(
    feature = "sqlx-migrate",
    feature = "sqlx-mysql",
    feature = "sqlx-postgres"
))]
pub(super) async fn close(mut connection: impl Connection) {
    if connection.ping().await.is_ok() {
        // Whoever ended it has the same.
        _ = connection.close().await;
    }
}
