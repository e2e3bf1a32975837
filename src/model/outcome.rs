use std::{borrow::Cow, fmt};

use super::{Cause, Failure, Measurement, Reason, Status, Value};

/// The outcome of one run of a check: pass, warn or fail, with a public reason, a private cause and
/// measurements.
///
/// ```
/// use tower_health::{Outcome, Reason, Status};
///
/// let outcome = Outcome::warn(Reason::Busy)
///     .with_cause("8 of 8 connections in use")
///     .measure("connections", 8, "");
/// assert_eq!(outcome.status(), Status::Warn);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an outcome that is not returned is not recorded"]
pub struct Outcome {
    status: Status,
    reason: Option<Reason>,
    cause: Option<Cause>,
    measurements: Vec<Measurement>,
}

impl Outcome {
    /// Creates an outcome that passes.
    pub fn pass() -> Self {
        Self::new(Status::Pass, None)
    }

    /// Creates a warning: the dependency works, but needs attention.
    pub fn warn(reason: Reason) -> Self {
        Self::new(Status::Warn, Some(reason))
    }

    /// Creates a failure: the dependency does not work.
    pub fn fail(reason: Reason) -> Self {
        Self::new(Status::Fail, Some(reason))
    }

    fn new(status: Status, reason: Option<Reason>) -> Self {
        Self {
            status,
            reason,
            cause: None,
            measurements: Vec::new(),
        }
    }

    /// Sets the private cause, for operators only. The text is redacted: see [`Cause::new`].
    /// Defaults to none.
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(Cause::new(cause));
        self
    }

    /// Adds a measurement with a name, a value and a unit. Defaults to none.
    pub fn measure(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
        unit: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.measurements.push(Measurement::new(name, value, unit));
        self
    }

    /// Returns the worse of two outcomes, with the measurements of both. If both have the same
    /// status, the reason and the cause are those of `self`.
    ///
    /// ```
    /// use tower_health::{Outcome, Reason};
    ///
    /// let pool = Outcome::warn(Reason::Busy).measure("utilization", 100, "percent");
    /// let lag = Outcome::fail(Reason::LimitExceeded).measure("lag", 90, "s");
    /// let both = pool.merge(lag);
    /// assert_eq!(both.reason(), Some(Reason::LimitExceeded));
    /// assert_eq!(both.measurements().len(), 2);
    /// ```
    pub fn merge(self, other: Self) -> Self {
        let (mut worse, measurements) = if other.status > self.status {
            (other, self.measurements)
        } else {
            (self, other.measurements)
        };
        worse.measurements.extend(measurements);
        worse
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns the public reason. It is `None` for a pass.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Returns the private cause, if there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Returns the measurements.
    #[must_use]
    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    pub(crate) fn into_parts(self) -> (Status, Option<Reason>, Option<Cause>, Vec<Measurement>) {
        (self.status, self.reason, self.cause, self.measurements)
    }
}

/// An outcome with only a status. Its reason is [`Degraded`](Reason::Degraded) for a warning and
/// [`Failed`](Reason::Failed) for a failure.
impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        match status {
            Status::Pass => Self::pass(),
            Status::Warn => Self::warn(Reason::Degraded),
            Status::Fail => Self::fail(Reason::Failed),
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        let (reason, cause) = failure.into_parts();
        Self {
            cause,
            ..Self::fail(reason)
        }
    }
}
