//! The result of a run, before the thresholds of the check are applied to it.

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
    /// Creates an outcome that passes. It has no reason.
    ///
    /// ```
    /// use tower_health::{Outcome, Status};
    ///
    /// let outcome = Outcome::pass();
    /// assert_eq!((outcome.status(), outcome.reason()), (Status::Pass, None));
    /// ```
    pub fn pass() -> Self {
        Self::new(Status::Pass, None)
    }

    /// Creates a warning: the dependency works, but needs attention. A check that warns is good,
    /// and never makes the instance not ready.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Outcome, Probe, Reason, Status};
    ///
    /// let pool = Check::new("pool", || async { Outcome::warn(Reason::Busy) });
    /// let health = Health::builder("orders").check(pool).start()?;
    /// let verdict = health.wait_until_good(Probe::Readiness).await?;
    /// assert_eq!(verdict.status, Status::Warn);
    /// assert_eq!(verdict.checks[0].reason, Some(Reason::Busy));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warn(reason: Reason) -> Self {
        Self::new(Status::Warn, Some(reason))
    }

    /// Creates a failure: the dependency does not work. Returning it and returning a [`Failure`] as
    /// an error are equivalent, except that only an outcome can have measurements.
    ///
    /// ```
    /// use tower_health::{Failure, Outcome, Reason};
    ///
    /// let outcome = Outcome::fail(Reason::ReadOnly);
    /// assert_eq!(outcome, Outcome::from(Failure::new(Reason::ReadOnly)));
    /// assert_eq!(outcome.measure("replicas", 2, "").measurements().len(), 1);
    /// ```
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
    ///
    /// A second call replaces the first.
    ///
    /// ```
    /// use tower_health::{Outcome, Reason};
    ///
    /// let outcome = Outcome::warn(Reason::LimitNear).with_cause("token=s3cr3t expires in 3 days");
    /// assert_eq!(outcome.cause().unwrap().redacted(), "token=*** expires in 3 days");
    /// ```
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(Cause::new(cause));
        self
    }

    /// Adds a measurement with a name, a value and a unit. Measurements keep their order. Each
    /// needs a name of its own that contains no `:`. A text is redacted: see [`Measurement::new`].
    /// Defaults to none.
    ///
    /// ```
    /// use tower_health::{Outcome, outcome::Value};
    ///
    /// let outcome = Outcome::pass().measure("lag", 1.5, "s").measure("role", "primary", "");
    /// let [lag, role] = outcome.measurements() else { panic!() };
    /// assert_eq!((&*lag.name, &lag.value, &*lag.unit), ("lag", &Value::Float(1.5), "s"));
    /// assert_eq!(role.value, Value::Text("primary".into()));
    /// ```
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

    /// Returns the measurements, in the order in which they were added.
    #[must_use]
    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    /// Returns all parts, for the state of the check.
    pub(crate) fn into_parts(self) -> (Status, Option<Reason>, Option<Cause>, Vec<Measurement>) {
        (self.status, self.reason, self.cause, self.measurements)
    }
}

/// An outcome with only a status. Its reason is [`Degraded`](Reason::Degraded) for a warning and
/// [`Failed`](Reason::Failed) for a failure.
///
/// ```
/// use tower_health::{Outcome, Reason, Status};
///
/// assert_eq!(Outcome::from(Status::Pass), Outcome::pass());
/// assert_eq!(Outcome::from(Status::Warn).reason(), Some(Reason::Degraded));
/// assert_eq!(Outcome::from(Status::Fail).reason(), Some(Reason::Failed));
/// ```
impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        match status {
            Status::Pass => Self::pass(),
            Status::Warn => Self::warn(Reason::Degraded),
            Status::Fail => Self::fail(Reason::Failed),
        }
    }
}

/// An outcome that fails, with the reason and the cause of the failure and without measurements.
impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        let (reason, cause) = failure.into_parts();
        Self {
            cause,
            ..Self::fail(reason)
        }
    }
}
