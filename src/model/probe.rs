//! The four questions of probers.

use std::fmt;

use serde::Serialize;

/// The question that a prober asks.
///
/// | probe | question | prober |
/// | --- | --- | --- |
/// | [`Liveness`](Self::Liveness) | must the process be restarted? | the system that restarts it |
/// | [`Readiness`](Self::Readiness) | should it receive traffic? | the system that routes to it |
/// | [`Startup`](Self::Startup) | has it finished starting? | the system that waits before it sends the other probes |
/// | [`Health`](Self::Health) | what is its full state? | operators and monitoring |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Probe, Status};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
/// assert_eq!(health.verdict(Probe::Startup).status, Status::Fail);
/// health.wait_until(Probe::Startup, Status::Pass).await?;
/// assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Probe {
    /// Fails only if a restart is the remedy: a [worker](crate::Health::heartbeat) that affects
    /// liveness is missing, a [watched](crate::HealthBuilder::watchdog) runtime is stalled or has
    /// ended, or the runtime of the checks has ended. It never fails because of a dependency,
    /// startup, a drain or maintenance.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("database", || async { Status::Fail }))
    ///     .start()?;
    /// health.run_now("database").await?;
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Fail);
    /// assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    Liveness,
    /// Fails while this instance should not receive requests: while it is starting, while a check
    /// [takes it out of rotation](crate::Criticality), during a
    /// [maintenance](crate::Health::maintenance) and a [drain](crate::Health::drain), and after the
    /// runtime of the checks has ended.
    Readiness,
    /// Fails until every [start-up task](crate::HealthBuilder::startup_task) is done and the first
    /// run of every check that was registered before the start has ended, whatever its outcome.
    /// After that it passes permanently.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("database", || async { Status::Fail }))
    ///     .start()?;
    /// health.run_now("database").await?;
    /// assert_eq!(health.verdict(Probe::Startup).status, Status::Pass, "it has run");
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Fail);
    /// # Ok(())
    /// # }
    /// ```
    Startup,
    /// The worst of liveness and readiness, with every check. It is for people and dashboards: a
    /// system that restarts or routes needs one of the other probes.
    Health,
}

impl Probe {
    /// All probes. The engine keeps one verdict for each, in this order.
    pub(crate) const ALL: [Self; 4] =
        [Self::Liveness, Self::Startup, Self::Readiness, Self::Health];

    /// Returns the name of this probe in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::Health => "health",
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
