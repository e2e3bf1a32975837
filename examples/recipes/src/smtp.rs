//! SMTP.

use std::time::Duration;

use lettre::{AsyncSmtpTransport, Tokio1Executor, transport::smtp::Error};
use tower_health::{Check, Outcome, Reason};

/// Says `NOOP` over a connection of the transport's pool, which has authenticated.
pub fn smtp(mailer: AsyncSmtpTransport<Tokio1Executor>) -> Check {
    let ask = |mailer: AsyncSmtpTransport<Tokio1Executor>| async move {
        match mailer.test_connection().await {
            Ok(true) => Outcome::pass(),
            // It has connected and authenticated, and then says no.
            Ok(false) => Outcome::fail(Reason::ConnectionLost),
            Err(error) => refusal(error),
        }
    };
    Check::with("smtp", mailer, ask)
        // Before the pool closes an idle connection, and seldom, for servers count failed logins.
        .period(Duration::from_secs(30))
        .retry_period(Duration::from_secs(30))
        .non_critical()
}

fn refusal(error: Error) -> Outcome {
    let outcome = match error.status().map(u16::from) {
        Some(530 | 534 | 535) => Outcome::fail(Reason::AuthenticationFailed),
        // Too many connections, or it cannot ask who may log in: later it will.
        Some(400..500) => Outcome::warn(Reason::Busy),
        Some(_) => Outcome::fail(Reason::Unhealthy),
        None if error.is_timeout() => Outcome::fail(Reason::TimedOut),
        None => Outcome::fail(Reason::of(&error)),
    };
    outcome.with_cause(error)
}
