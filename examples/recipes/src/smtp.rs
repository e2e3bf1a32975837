//! SMTP.

use std::time::Duration;

use lettre::{AsyncSmtpTransport, Tokio1Executor, transport::smtp::Error};
use tower_health::{Check, Outcome, Reason};

/// Returns a check that sends `NOOP` over an authenticated connection of the transport's pool.
pub fn smtp(mailer: AsyncSmtpTransport<Tokio1Executor>) -> Check {
    let ask = |mailer: AsyncSmtpTransport<Tokio1Executor>| async move {
        match mailer.test_connection().await {
            Ok(true) => Outcome::pass(),
            // The connection is authenticated, but `NOOP` failed.
            Ok(false) => Outcome::fail(Reason::ConnectionLost),
            Err(error) => refusal(error),
        }
    };
    Check::with("smtp", mailer, ask)
        // Shorter than the idle timeout of the pool, so that the connection stays open. Not shorter
        // than needed, because servers count failed logins.
        .period(Duration::from_secs(30))
        .retry_period(Duration::from_secs(30))
        .non_critical()
}

fn refusal(error: Error) -> Outcome {
    let outcome = match error.status().map(u16::from) {
        Some(530 | 534 | 535) => Outcome::fail(Reason::AuthenticationFailed),
        // Temporary: too many connections, or the authentication is unavailable.
        Some(400..500) => Outcome::warn(Reason::Busy),
        Some(_) => Outcome::fail(Reason::Unhealthy),
        None if error.is_timeout() => Outcome::fail(Reason::TimedOut),
        None => Outcome::fail(Reason::of(&error)),
    };
    outcome.with_cause(error)
}
