use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    Cause, ComponentType, Criticality, Measurement, Name, Reason, Stage, Status, VerdictReason,
    timestamp::{millis, millis_option, rfc3339, rfc3339_option},
};

/// Everything that is known now: what [`Probe::Health`](crate::Probe::Health) asks.
///
/// Serialised, it withholds every [`Cause`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The name of the service.
    pub service: Arc<str>,
    /// The release that runs, where the builder was told.
    pub release: Option<Arc<str>>,
    /// The public version of the service's interface, where the builder was told.
    pub version: Option<Arc<str>>,
    /// What the service is, where the builder was told.
    pub description: Option<Arc<str>>,
    /// Where the instance is in its life.
    pub stage: Stage,
    /// The worst of liveness and readiness.
    pub status: Status,
    /// Since when it has this status, whatever the reason.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// Why it is not a pass.
    pub reason: Option<VerdictReason>,
    /// What stands behind the reason: what a [maintenance](VerdictReason::Maintenance) is for.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// Whether it starts, and nothing is known yet that will keep it from being ready.
    #[serde(skip)]
    pub(crate) unknown: bool,
    /// Every check, in the order of registration.
    pub checks: Vec<CheckReport>,
}

/// What is known of one check.
///
/// Serialised, it withholds its [`Cause`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// The name of the check.
    pub name: Name,
    /// What it does to readiness.
    pub criticality: Criticality,
    /// What kind of thing it asks.
    pub component_type: ComponentType,
    /// The page that tells operators what to do when it fails.
    #[serde(skip)]
    pub runbook: Option<Arc<str>>,
    /// How it is. A check that is [pending](Self::is_pending) or [stale](Reason::Stale) reads as a fail.
    pub status: Status,
    /// Why it does not pass.
    pub reason: Option<Reason>,
    /// The check that it stands behind and that fails, if it is [blocked](Reason::Blocked).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Name>,
    /// What stands behind the reason.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// What the last run measured.
    pub measurements: Arc<[Measurement]>,
    /// Since when it has this status.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// The last run that ended or was given up.
    pub last_run: Option<LastRun>,
    /// How long good runs take of late: an average that gives the last run a quarter of the weight, and those before it the rest
    /// in the same way.
    #[serde(rename = "smoothed_duration_ms", serialize_with = "millis_option")]
    pub smoothed_duration: Option<Duration>,
    /// How long a run may take before it is [slow](Reason::Slow).
    #[serde(rename = "slow_above_ms", serialize_with = "millis_option")]
    pub slow_above: Option<Duration>,
    /// How many outcomes of the same sort, good or failing, came in a row up to the last one.
    pub streak: u32,
    /// How many runs failed in a row, up to the last one.
    pub consecutive_failures: u32,
    /// When a run was last good.
    #[serde(serialize_with = "rfc3339_option")]
    pub last_success: Option<SystemTime>,
    /// Whether it fails what was asked, and not only itself.
    #[serde(skip)]
    pub(crate) fails: bool,
}

impl CheckReport {
    /// Whether no outcome has taken effect yet, or none since it was [blocked](Reason::Blocked).
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.reason == Some(Reason::Pending)
    }

    /// Why it does not pass, in words that anyone may read: the [reason](Self::reason), and what it is
    /// [blocked by](Self::blocked_by).
    #[must_use]
    pub fn why(&self) -> Option<Cow<'static, str>> {
        Some(match (self.reason?, &self.blocked_by) {
            (Reason::Blocked, Some(by)) => format!("{} by {by}", Reason::Blocked).into(),
            (reason, _) => reason.as_str().into(),
        })
    }
}

/// When a run ended, how long it took, and how old that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LastRun {
    /// When it ended or was given up.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// How long ago that was when this was read, on a clock that goes on while a machine sleeps and that nobody sets.
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
