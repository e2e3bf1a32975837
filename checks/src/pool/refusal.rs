//! Reasons for the errors of drivers, which a pool passes on without interpreting them.
//!
//! A pool returns whatever error its manager or its user has. The reason is found in this order:
//!
//! 1. by the type of the error, or of one of its sources, if the feature of that driver is enabled;
//! 2. by a [`Failure`] or an error of the operating system among them;
//! 3. by the text, for drivers that keep nothing else.

use std::{error::Error, iter::successors};

use tower_health::{BoxError, Cause, Failure, Reason};

use crate::refusal::{Refusal, said};

/// The maximum number of errors that are followed in a chain of sources.
const MAX_SOURCES: usize = 16;

/// Converts an error by reference.
#[cfg(any(test, feature = "r2d2"))]
pub(super) fn refusal(error: &(dyn Error + 'static)) -> Refusal {
    by_driver(error).unwrap_or_else(|| {
        let failure = Failure::new(Reason::of(error)).with_cause(Cause::of(error).redacted());
        of_failure(failure, reason_from_messages(error))
    })
}

/// Converts an error, which may be a [`Failure`] that already has a reason.
pub(super) fn of_boxed(error: BoxError) -> Refusal {
    by_driver(&*error).unwrap_or_else(|| {
        let reason_from_messages = reason_from_messages(&*error);
        of_failure(Failure::of(error), reason_from_messages)
    })
}

/// Uses the reason found in the error's text only if the failure has no specific reason.
fn of_failure(failure: Failure, reason_from_messages: Option<Reason>) -> Refusal {
    let failure = match (failure.reason(), reason_from_messages) {
        (Reason::Failed, Some(reason)) => {
            Failure::new(reason).with_cause(failure.cause().map_or("", Cause::redacted))
        }
        _ => failure,
    };
    let reason = failure.reason();
    if is_reported_by_server(reason) {
        said(reason, failure.cause().map_or("", Cause::redacted))
    } else {
        Refusal::lost(failure)
    }
}

/// Returns the reason of the first text that is recognized, from the error to its sources.
fn reason_from_messages(error: &(dyn Error + 'static)) -> Option<Reason> {
    sources(error).find_map(|source| reason_from_text(&source.to_string()))
}

/// Converts an error whose type is known, in the chain of an error.
fn by_driver(error: &(dyn Error + 'static)) -> Option<Refusal> {
    sources(error).find_map(of_driver)
}

/// Returns an iterator over an error and its sources.
fn sources<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source()).take(MAX_SOURCES)
}

/// Converts an error of a driver whose error type this crate knows.
fn of_driver(error: &(dyn Error + 'static)) -> Option<Refusal> {
    #[cfg(feature = "tokio-postgres")]
    if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
        return Some(crate::sql::of_tokio_postgres(error));
    }
    #[cfg(feature = "redis")]
    if let Some(error) = error.downcast_ref::<redis::RedisError>() {
        return Some(crate::redis::of_redis(error));
    }
    _ = error;
    None
}

/// Whether a server reports this reason over a connection that works. The text of an error does not
/// show that, so it follows from the reason.
fn is_reported_by_server(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::AuthenticationFailed
            | Reason::Busy
            | Reason::Incompatible
            | Reason::NotFound
            | Reason::PermissionDenied
            | Reason::ReadOnly
            | Reason::StartingUp
            | Reason::Unhealthy
    )
}

/// Texts of servers and of the system, for drivers that keep only the text of an error. The first
/// match counts.
const MESSAGES: &[(Reason, &[&str])] = &[
    (
        Reason::Busy,
        &[
            "max number of clients reached",
            "no more connections allowed",
            "remaining connection slots",
            "too many clients",
            "too many connections",
        ],
    ),
    (
        Reason::AuthenticationFailed,
        &[
            "access denied for user",
            "authentication failed",
            "no such user",
            "noauth",
            "no pg_hba.conf entry",
            "wrongpass",
        ],
    ),
    (
        Reason::StartingUp,
        &[
            "database system is in recovery mode",
            "database system is not yet accepting connections",
            "database system is shutting down",
            "database system is starting up",
            "loading redis is loading",
        ],
    ),
    (
        Reason::Unhealthy,
        &["clusterdown", "offline mode", "wsrep has not yet prepared"],
    ),
    (
        Reason::ReadOnly,
        &[
            "read-only transaction",
            "--read-only option",
            "readonly you can't write",
        ],
    ),
    (
        Reason::PermissionDenied,
        &[
            "access denied",
            "because of many connection errors",
            "command denied to user",
            "not allowed to connect",
            "permission denied",
        ],
    ),
    (Reason::ConnectionRefused, &["connection refused"]),
    (
        Reason::Unreachable,
        &[
            "could not translate host name",
            "error connecting to server",
            "network is unreachable",
            "no route to host",
        ],
    ),
    (
        Reason::ConnectionLost,
        &[
            "broken pipe",
            "closed the connection",
            "connection closed",
            "connection is closed",
            "connection reset",
            "error communicating with the server",
            "gone away",
            "lost connection",
            "terminating connection",
            "unexpected end of file",
            "unexpected eof",
        ],
    ),
    (
        Reason::TimedOut,
        &["query_wait_timeout", "timed out", "timeout expired"],
    ),
];

/// Returns the reason that the text of an error implies. The case of the text does not matter.
fn reason_from_text(text: &str) -> Option<Reason> {
    if let Some(reason) = Reason::from_message(text) {
        return Some(reason);
    }
    let text = text.to_ascii_lowercase();
    if text.contains("access denied") && text.contains("to database") {
        return Some(Reason::PermissionDenied);
    }
    let is_unknown = |what: &str| text.contains(what) && text.contains("does not exist");
    let known = MESSAGES.iter().find(|(_, reason_from_messages)| {
        reason_from_messages
            .iter()
            .any(|reason_from_messages| text.contains(reason_from_messages))
    });
    match known {
        Some((reason, _)) => Some(*reason),
        None if is_unknown("role \"") => Some(Reason::AuthenticationFailed),
        None if is_unknown("database \"")
            || ["no such database", "unknown database"]
                .iter()
                .any(|reason_from_messages| text.contains(reason_from_messages)) =>
        {
            Some(Reason::NotFound)
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use tower_health::Status;

    #[test]
    fn reasons_are_derived_from_messages() {
        for (text, reason) in [
            ("FATAL: sorry, too many clients already", Reason::Busy),
            ("ERROR 1040 (HY000): Too many connections", Reason::Busy),
            (
                "password authentication failed for user \"app\"",
                Reason::AuthenticationFailed,
            ),
            (
                "Access denied for user 'app'@'localhost' (using password: YES)",
                Reason::AuthenticationFailed,
            ),
            (
                "Access denied for user 'app'@'%' to database 'orders'",
                Reason::PermissionDenied,
            ),
            (
                "FATAL: role \"app\" does not exist",
                Reason::AuthenticationFailed,
            ),
            (
                "FATAL: database \"orders\" does not exist",
                Reason::NotFound,
            ),
            ("Unknown database 'orders'", Reason::NotFound),
            ("no such database: orders", Reason::NotFound),
            ("no such user: app", Reason::AuthenticationFailed),
            (
                "SELECT command denied to user 'app'@'%' for table 'items'",
                Reason::PermissionDenied,
            ),
            // The only text that diesel-async keeps for a refused connection.
            ("error connecting to server", Reason::Unreachable),
            (
                "FATAL: the database system is starting up",
                Reason::StartingUp,
            ),
            (
                "Host '10.0.0.7' is blocked because of many connection errors",
                Reason::PermissionDenied,
            ),
            (
                "terminating connection due to administrator command",
                Reason::ConnectionLost,
            ),
            (
                "error connecting to server: Connection refused (os error 111)",
                Reason::ConnectionRefused,
            ),
            (
                "failed to lookup address information: Name or service not known",
                Reason::Unreachable,
            ),
            ("relation \"orders\" does not exist", Reason::Failed),
        ] {
            let error: BoxError = text.into();
            let outcome = refusal(&*error).outcome();
            assert_eq!(outcome.reason(), Some(reason), "{text}");
            let is_busy = reason == Reason::Busy;
            assert_eq!(outcome.status() == Status::Warn, is_busy, "{text}");
        }
    }

    #[test]
    fn a_failure_keeps_its_reason_and_its_cause() {
        let failure = Failure::new(Reason::PermissionDenied).with_cause("app may not read items");
        let outcome = of_boxed(failure.into()).outcome();
        assert_eq!(outcome.reason(), Some(Reason::PermissionDenied));
        let cause = outcome.cause().map(Cause::redacted);
        assert_eq!(cause, Some("app may not read items"));
        let secret: BoxError = "no luck with postgres://app:hunter2@db.internal/orders".into();
        let outcome = of_boxed(secret).outcome();
        let cause = outcome.cause().map(Cause::redacted);
        assert_eq!(
            cause,
            Some("no luck with postgres://***@db.internal/orders")
        );
    }

    #[test]
    fn the_kind_of_a_source_comes_before_the_text() {
        let error = io::Error::from(io::ErrorKind::ConnectionReset);
        let error: BoxError = Box::new(io::Error::other(error));
        let outcome = refusal(&*error);
        assert!(outcome.is_lost());
        let outcome = outcome.outcome();
        assert_eq!(outcome.reason(), Some(Reason::ConnectionLost));
    }
}
