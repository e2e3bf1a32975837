use std::{borrow::Cow, fmt};

use super::{Cause, Failure, Measurement, Reason, Status, Value};

/// What one run of a check said: pass, warn or fail, with a public reason, a private cause and measurements.
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
    /// All is well.
    pub fn pass() -> Self {
        Self::new(Status::Pass, None)
    }

    /// It works, and somebody should look.
    pub fn warn(reason: Reason) -> Self {
        Self::new(Status::Warn, Some(reason))
    }

    /// It does not work.
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

    /// Says what stands behind it, for the operator alone. The text is redacted: see [`Cause::new`].
    /// Defaults to nothing.
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(Cause::new(cause));
        self
    }

    /// Adds a measurement: its name, its value and its unit. Defaults to none.
    pub fn measure(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Value>,
        unit: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.measurements.push(Measurement::new(name, value, unit));
        self
    }

    /// The worse of the two, with the measurements of both. Of two that are equally bad, this one gives the reason.
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
        let (mut worse, measurements) = match other.status > self.status {
            true => (other, self.measurements),
            false => (self, other.measurements),
        };
        worse.measurements.extend(measurements);
        worse
    }

    /// Pass, warn or fail.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Why it is not a pass.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// What stands behind the reason.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// What was measured.
    #[must_use]
    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    pub(crate) fn into_parts(self) -> (Status, Option<Reason>, Option<Cause>, Vec<Measurement>) {
        (self.status, self.reason, self.cause, self.measurements)
    }
}

/// A bare status; its reason is [`Degraded`](Reason::Degraded) or [`Failed`](Reason::Failed).
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
