//! Cassandra.

use std::{sync::Arc, time::Duration};

use scylla::{
    client::session::Session,
    errors::{DbError, ExecutionError, PrepareError, RequestAttemptError},
    statement::{Consistency, prepared::PreparedStatement},
};
use tower_health::{Check, Outcome, Reason};

/// The time limit of a read, including the retries of the session's policy. It must be shorter than
/// the timeout of the check.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Returns a check that reads one partition of a table of the service, with a statement such as
/// `SELECT id FROM orders.items WHERE id = 0`. Use the same consistency as the service.
///
/// # Errors
///
/// Returns an error if the statement cannot be prepared.
pub async fn cassandra(
    session: Arc<Session>,
    read: &str,
    consistency: Consistency,
) -> Result<Check, PrepareError> {
    let mut read = session.prepare(read).await?;
    read.set_consistency(consistency);
    read.set_request_timeout(Some(PATIENCE));
    read.set_is_idempotent(true);
    let ask = |(session, read): (Arc<Session>, PreparedStatement)| async move {
        match session.execute_unpaged(&read, ()).await {
            Ok(_) => Outcome::pass(),
            Err(error) => refusal(error),
        }
    };
    Ok(Check::with("cassandra", (session, read), ask).shared())
}

fn refusal(error: ExecutionError) -> Outcome {
    let outcome = match &error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => match error {
            DbError::Overloaded | DbError::RateLimitReached { .. } => Outcome::warn(Reason::Busy),
            DbError::Unavailable { .. } | DbError::ReadFailure { .. } => {
                Outcome::fail(Reason::Unhealthy)
            }
            DbError::ReadTimeout { .. } => Outcome::fail(Reason::TimedOut),
            DbError::IsBootstrapping => Outcome::fail(Reason::StartingUp),
            DbError::AuthenticationError => Outcome::fail(Reason::AuthenticationFailed),
            DbError::Unauthorized => Outcome::fail(Reason::PermissionDenied),
            // The table does not exist any more.
            DbError::Invalid => Outcome::fail(Reason::NotFound),
            _ => Outcome::fail(Reason::UnexpectedAnswer),
        },
        ExecutionError::LastAttemptError(RequestAttemptError::BrokenConnectionError(_)) => {
            Outcome::fail(Reason::ConnectionLost)
        }
        ExecutionError::RequestTimeout(_) => Outcome::fail(Reason::TimedOut),
        ExecutionError::ConnectionPoolError(_) | ExecutionError::EmptyPlan => {
            Outcome::fail(Reason::Unreachable)
        }
        error => Outcome::fail(Reason::of(error)),
    };
    outcome.with_cause(error)
}
