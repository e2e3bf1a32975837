//! Reports: the state of the service and of its checks at one moment. Readers create them from the
//! board, and the endpoints render them.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    Cause, CheckSettings, ComponentType, Criticality, Measurement, Name, Reason, Stage, Status,
    VerdictReason,
    timestamp::{millis, millis_option, rfc3339, rfc3339_option},
};

/// A report of the whole service, as for [`Probe::Health`](crate::Probe::Health).
///
/// It is a copy: it does not change after it was created. Its cost is proportional to the number of
/// checks.
///
/// The serialized form withholds every [`Cause`]. It is not the body of an endpoint: those have
/// [dialects](crate::endpoint::Dialect).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status};
///
/// let health = Health::builder("orders")
///     .release("1.4.2")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// health.run_now("clock").await?;
/// let report = health.report();
/// assert_eq!((&*report.service, report.status), ("orders", Status::Pass));
/// assert_eq!(report.checks[0].name, "clock");
///
/// let json = serde_json::to_value(&report)?;
/// assert_eq!((&json["release"], &json["stage"]), (&"1.4.2".into(), &"ready".into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The name of the service.
    pub service: Arc<str>,
    /// The release of the service, if the builder has one.
    pub release: Option<Arc<str>>,
    /// The public version of the service's interface, if the builder has one.
    pub version: Option<Arc<str>>,
    /// The description of the service, if the builder has one.
    pub description: Option<Arc<str>>,
    /// The stage of the instance.
    pub stage: Stage,
    /// The worst of liveness and readiness.
    pub status: Status,
    /// When this status began, whatever the reason.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// Why the status is not a pass.
    pub reason: Option<VerdictReason>,
    /// The private cause behind the reason: the purpose of a
    /// [maintenance](VerdictReason::Maintenance).
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// Whether the instance is starting and nothing is known to keep it from becoming ready.
    #[serde(skip)]
    pub(crate) unknown: bool,
    /// All checks, in the order of registration.
    pub checks: Vec<CheckReport>,
}

/// A report of one check.
///
/// The serialized form withholds its [`Cause`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// let pending = health.check("clock")?;
/// assert!(pending.is_pending());
/// assert_eq!((pending.status, pending.why().as_deref()), (Status::Fail, Some("pending")));
/// let report = health.run_now("clock").await?;
/// assert_eq!((report.status, report.why()), (Status::Pass, None));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// The name of the check.
    pub name: Name,
    /// How a failure of the check affects readiness.
    pub criticality: Criticality,
    /// The kind of component that is checked.
    pub component_type: ComponentType,
    /// The URL of a page that tells operators what to do when the check fails.
    #[serde(skip)]
    pub runbook: Option<Arc<str>>,
    /// The current status. A check that is [pending](Self::is_pending) or [stale](Reason::Stale)
    /// reads as a fail.
    pub status: Status,
    /// Why the check does not pass.
    pub reason: Option<Reason>,
    /// The failing check that this one [depends on](crate::Check::depends_on), if it is
    /// [blocked](Reason::Blocked).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Name>,
    /// The private cause behind the reason.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// The measurements of the last run. Empty if it has not run, or measured nothing.
    pub measurements: Arc<[Measurement]>,
    /// When this status began.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// The last run that ended or was given up at its timeout.
    pub last_run: Option<LastRun>,
    /// The smoothed duration of good runs: an exponential moving average, in which the last run has
    /// a weight of one quarter.
    #[serde(rename = "smoothed_duration_ms", serialize_with = "millis_option")]
    pub smoothed_duration: Option<Duration>,
    /// How long a run may take before it is [slow](Reason::Slow).
    #[serde(rename = "slow_above_ms", serialize_with = "millis_option")]
    pub slow_above: Option<Duration>,
    /// The number of consecutive outcomes of the same kind, good or failing, up to the last one. It
    /// is compared with [`fail_after`](crate::Check::fail_after) and
    /// [`pass_after`](crate::Check::pass_after). A good streak ends when the result becomes stale.
    pub streak: u32,
    /// The number of consecutive runs that failed, up to the last one. It is 0 after a good run,
    /// even while the status is still a fail because of [`pass_after`](crate::Check::pass_after).
    pub consecutive_failures: u32,
    /// When the last good run ended.
    #[serde(serialize_with = "rfc3339_option")]
    pub last_success: Option<SystemTime>,
    /// Whether the check [flaps](crate::Check::flapping): its status changed often among its last
    /// runs. The status is that of the last run all the same, within the thresholds.
    pub flapping: bool,
    /// The settings that are in effect.
    pub settings: CheckSettings,
    /// Whether it fails the verdict that was requested, and not only itself.
    #[serde(skip)]
    pub(crate) fails: bool,
}

impl CheckReport {
    /// Whether no outcome has taken effect yet, or none since the check was
    /// [blocked](Reason::Blocked). Such a check reads as a fail, but nothing is known to be wrong
    /// with it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.reason == Some(Reason::Pending)
    }

    /// Returns why the check does not pass, in public words: the [reason](Self::reason), and the
    /// dependency that it is [blocked by](Self::blocked_by). Returns `None` for a pass.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Outcome, Probe, Reason, Status};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("network", || async { Outcome::fail(Reason::Unreachable) }))
    ///     .check(Check::new("database", || async { Status::Pass }).depends_on("network"))
    ///     .start()?;
    /// health.wait_until_good(Probe::Startup).await?;
    /// assert_eq!(health.check("network")?.why().as_deref(), Some("unreachable"));
    /// assert_eq!(health.check("database")?.why().as_deref(), Some("blocked by network"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn why(&self) -> Option<Cow<'static, str>> {
        Some(match (self.reason?, &self.blocked_by) {
            (Reason::Blocked, Some(by)) => format!("{} by {by}", Reason::Blocked).into(),
            (reason, _) => reason.as_str().into(),
        })
    }
}

/// The end, the duration and the age of a run.
///
/// The serialized durations are in milliseconds, as numbers with a fraction.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tower_health::{Check, Health, Status, report::LastRun};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// let report = health.run_now("clock").await?;
/// let last_run: LastRun = report.last_run.expect("it has run");
/// assert!(last_run.duration <= Duration::from_secs(2), "the timeout");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LastRun {
    /// When it ended or was given up.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// How long ago that was when the report was created. It is measured on a clock that continues
    /// while the machine sleeps and that cannot be set.
    #[serde(rename = "age_ms", serialize_with = "millis")]
    pub age: Duration,
}

impl LastRun {
    pub(crate) fn new(time: SystemTime, duration: Duration, age: Duration) -> Self {
        Self {
            time,
            duration,
            age,
        }
    }
}
