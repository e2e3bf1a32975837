//! Verdicts: the answers to probes, which the engine derives from the states of all checks.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{Cause, CheckReport, Probe, Status, timestamp::rfc3339, verdict_reason::VerdictReason};

/// The answer to a probe: a status and its reason.
///
/// It is cheap to clone, because it shares its contents. It is a copy, which does not change when
/// the service does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Probe, Status, report::VerdictReason};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Fail }))
///     .start()?;
/// health.run_now("clock").await?;
/// let verdict = health.verdict(Probe::Readiness);
/// assert_eq!((verdict.status, verdict.reason), (Status::Fail, Some(VerdictReason::Checks)));
/// assert_eq!(verdict.checks[0].name, "clock");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The probe that this answers.
    pub probe: Probe,
    /// The status.
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
    /// Up to when runs are included.
    #[serde(skip)]
    pub(crate) as_of: SystemTime,
    /// The checks that do not pass, as they were when this verdict last changed. Checks that fail
    /// the verdict come first, then those that make it a warning, then the others, each in the
    /// order of registration. There are at most [`Verdict::MAX_CHECKS`]. For startup, these are the
    /// checks that it still waits for. For liveness, these are workers and runtimes, because no
    /// dependency affects it.
    pub checks: Arc<[CheckReport]>,
    /// The number of further checks that are not listed.
    pub more: usize,
    /// How long to wait before the next probe, if the verdict fails: the shortest retry delay among
    /// the checks that fail it. For readiness it is 1 s while the instance is draining, and `None`
    /// during maintenance, for which an endpoint sends the time that is left. For health it is the
    /// shorter of the delay for readiness and that of the checks that fail liveness. It is `None`
    /// for liveness, for a verdict that does not fail, and if the reason is [engine
    /// stopped](VerdictReason::EngineStopped).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let ledger = Check::new("ledger", || async { Status::Fail });
    /// let health = Health::builder("orders")
    ///     .check(ledger.retry_period(Duration::from_secs(3)))
    ///     .start()?;
    /// health.run_now("ledger").await?;
    /// assert_eq!(health.verdict(Probe::Readiness).retry_after, Some(Duration::from_secs(3)));
    /// assert_eq!(health.verdict(Probe::Liveness).retry_after, None);
    /// # Ok(())
    /// # }
    /// ```
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Verdict {
    /// The maximum number of checks that a verdict lists. [`more`](Self::more) counts the others,
    /// and [`Health::report`](crate::Health::report) lists all.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status, report::Verdict};
    ///
    /// let shard = |number| Check::new(format!("shard-{number}"), || async { Status::Fail });
    /// let health = Health::builder("orders").checks((0..20).map(shard)).start()?;
    /// health.wait_until_good(Probe::Startup).await?;
    /// let verdict = health.verdict(Probe::Readiness);
    /// assert_eq!((verdict.checks.len(), verdict.more), (Verdict::MAX_CHECKS, 4));
    /// # Ok(())
    /// # }
    /// ```
    pub const MAX_CHECKS: usize = 16;

    /// Whether two verdicts look the same to readers of statuses, reasons, causes and the settings
    /// of checks. The retry delay and the times are not compared. A watch reports a change only if
    /// this is false.
    pub(crate) fn looks_the_same(&self, other: &Self) -> bool {
        let same_check = |(old, new): (&CheckReport, &CheckReport)| {
            old.name == new.name
                && old.status == new.status
                && old.reason == new.reason
                && old.blocked_by == new.blocked_by
                && old.cause == new.cause
                && old.criticality == new.criticality
                && old.component_type == new.component_type
                && old.runbook == new.runbook
                && old.flapping == new.flapping
                && old.settings == new.settings
        };
        self.status == other.status
            && self.reason == other.reason
            && self.cause == other.cause
            && self.unknown == other.unknown
            && self.more == other.more
            && self.checks.len() == other.checks.len()
            && self.checks.iter().zip(&*other.checks).all(same_check)
    }

    /// Whether the same checks have the same numbers of consecutive failures. The engine publishes
    /// a verdict again if this is false, although nothing that a watch reports has changed.
    pub(crate) fn has_same_failure_counts(&self, other: &Self) -> bool {
        let failures = |verdict: &Self| -> u64 {
            let failures = verdict
                .checks
                .iter()
                .map(|check| check.consecutive_failures);
            // While checks fail, their numbers only increase.
            failures.map(u64::from).sum()
        };
        failures(self) == failures(other)
    }
}
