//! Why a server or a pool does not answer.

use tower_health::{Cause, Failure, Outcome, Reason};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    outcome: Outcome,
    /// Whether it was the server that said so, over a connection that works.
    said: bool,
}

impl Refusal {
    /// What the server says.
    pub(crate) fn said(outcome: Outcome) -> Self {
        Self {
            outcome,
            said: true,
        }
    }

    /// What became of the connection.
    pub(crate) fn lost(failure: impl Into<Failure>) -> Self {
        Self::lost_with(failure.into().into())
    }

    pub(crate) fn lost_with(outcome: Outcome) -> Self {
        Self {
            outcome,
            said: false,
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        self.outcome
    }

    /// Whether nothing was answered.
    pub(crate) fn is_lost(&self) -> bool {
        !self.said
    }

    /// Whether the server answers, and not to this question: what it lacks, or keeps to itself.
    #[cfg(any(
        feature = "sqlx-mysql",
        feature = "sqlx-postgres",
        feature = "tokio-postgres"
    ))]
    pub(crate) fn is_of_the_question(&self) -> bool {
        let reason = self.outcome.reason();
        let is_withheld = matches!(
            reason,
            Some(Reason::PermissionDenied | Reason::Incompatible | Reason::Failed)
        );
        self.said && is_withheld
    }
}

/// What becomes of a check whose pool was closed: a server that answers is of no use to the service then.
pub(crate) fn closed() -> Outcome {
    Outcome::fail(Reason::Misconfigured).with_cause("the pool is closed")
}

/// The public word for what a server said, and its own.
pub(crate) fn said(reason: Reason, text: impl std::fmt::Display) -> Refusal {
    let outcome = match reason {
        // It is there, and has no room.
        Reason::Busy => Outcome::warn(reason),
        _ => Outcome::fail(reason),
    };
    Refusal::said(outcome.with_cause(Cause::new(text).redacted()))
}
