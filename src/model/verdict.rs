use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{Cause, CheckReport, Probe, Status, timestamp::rfc3339};

/// The answer to one probe: a status, and why.
///
/// A clone costs one reference count.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The question.
    pub probe: Probe,
    /// The answer.
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
    /// The checks that do not pass, as they were when this verdict last changed: first those that fail it,
    /// then those that make it a warning, then the others; each in the order of registration. At most
    /// [`Verdict::MAX_CHECKS`]. For liveness these are workers and runtimes; no dependency decides it.
    pub checks: Arc<[CheckReport]>,
    /// How many more do not pass.
    pub more: usize,
    /// After how long it is worth asking again: the shortest retry delay among the checks that fail it.
    /// `None` where it does not fail, and for liveness.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Verdict {
    /// How many checks a verdict lists.
    pub const MAX_CHECKS: usize = 16;

    /// Whether nobody who reads statuses, reasons and causes can tell the two apart; when to ask again is no part of
    /// that.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let same_check = |(old, new): (&CheckReport, &CheckReport)| {
            old.name == new.name
                && old.status == new.status
                && old.reason == new.reason
                && old.blocked_by == new.blocked_by
                && old.cause == new.cause
                && old.criticality == new.criticality
                && old.component_type == new.component_type
                && old.runbook == new.runbook
        };
        self.status == other.status
            && self.reason == other.reason
            && self.cause == other.cause
            && self.unknown == other.unknown
            && self.more == other.more
            && self.checks.len() == other.checks.len()
            && self.checks.iter().zip(&*other.checks).all(same_check)
    }

    /// Whether each of the same checks has failed as often in a row.
    pub(crate) fn counts_the_same(&self, other: &Self) -> bool {
        let failures = |verdict: &Self| -> u64 {
            let failures = verdict
                .checks
                .iter()
                .map(|check| check.consecutive_failures);
            // Those that fail count up, and never down.
            failures.map(u64::from).sum()
        };
        failures(self) == failures(other)
    }
}

/// Why a [`Verdict`] is not a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerdictReason {
    /// The first run of some check has not ended yet, or a start-up task is not done.
    Starting,
    /// The instance was taken out of rotation for a while: see [`Health::maintenance`](crate::Health::maintenance).
    Maintenance,
    /// The instance is leaving: see [`Health::drain`](crate::Health::drain).
    Draining,
    /// Some check does not pass.
    Checks,
    /// A shared dependency is back after its grace was over, and this replica waits a random while before it
    /// returns, so that not all return at once.
    Returning,
    /// The runtime that ran the checks has ended.
    EngineStopped,
}

impl VerdictReason {
    /// The words that a report shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Maintenance => "maintenance",
            Self::Draining => "draining",
            Self::Checks => "checks",
            Self::Returning => "returning",
            Self::EngineStopped => "engine stopped",
        }
    }
}

impl fmt::Display for VerdictReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// As [`as_str`](VerdictReason::as_str).
impl Serialize for VerdictReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
