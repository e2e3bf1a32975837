//! Errors of a probe: a server or a pool that refuses it, or a connection that is lost.
//!
//! Each driver has its own error type. The module of a driver converts its errors to a [`Refusal`],
//! which keeps two facts: the outcome of the check, and whether the server answered. A check whose
//! connection was [lost](Refusal::is_lost) opens another one in the same run. A check that the
//! server refused does not, because the server answered over a connection that works.

use tower_health::{Cause, Failure, Outcome, Reason};

/// The reason why a probe was not answered.
#[derive(Debug)]
pub(crate) struct Refusal {
    outcome: Outcome,
    /// Whether the server reported it, over a connection that works.
    said: bool,
}

impl Refusal {
    /// Creates a refusal that the server reported. The outcome may also be a warning, such as for a
    /// server at its connection limit.
    pub(crate) fn said(outcome: Outcome) -> Self {
        Self {
            outcome,
            said: true,
        }
    }

    /// Creates a refusal for a connection that could not be opened or was lost.
    pub(crate) fn lost(failure: impl Into<Failure>) -> Self {
        Self::lost_with(failure.into().into())
    }

    /// As [`lost`](Self::lost), for a reason that is already an outcome.
    pub(crate) fn lost_with(outcome: Outcome) -> Self {
        Self {
            outcome,
            said: false,
        }
    }

    /// Returns the outcome of a run that ends with this refusal.
    pub(crate) fn outcome(self) -> Outcome {
        self.outcome
    }

    /// Whether the server sent no answer. If that happens over a kept connection, the run opens
    /// another one.
    pub(crate) fn is_lost(&self) -> bool {
        !self.said
    }

    /// Whether the server answers but rejects this query, because it does not support it or does
    /// not permit it.
    #[cfg(any(
        feature = "sqlx-mysql",
        feature = "sqlx-postgres",
        feature = "tokio-postgres"
    ))]
    pub(crate) fn is_rejected_query(&self) -> bool {
        let reason = self.outcome.reason();
        let is_withheld = matches!(
            reason,
            Some(Reason::PermissionDenied | Reason::Incompatible | Reason::Failed)
        );
        self.said && is_withheld
    }
}

/// Returns the outcome of a check whose pool was closed. It fails even if the server answers,
/// because the service gets no connection to it any more.
pub(crate) fn closed() -> Outcome {
    Outcome::fail(Reason::Misconfigured).with_cause("the pool is closed")
}

/// Creates a refusal from the reason of a server's error, with the error's text as its cause. The
/// text is redacted. [`Reason::Busy`] is a warning, every other reason a failure.
pub(crate) fn said(reason: Reason, text: impl std::fmt::Display) -> Refusal {
    let outcome = match reason {
        // The server is up, but at its limit.
        Reason::Busy => Outcome::warn(reason),
        _ => Outcome::fail(reason),
    };
    Refusal::said(outcome.with_cause(Cause::new(text).redacted()))
}
