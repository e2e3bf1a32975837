//! [`Health`], its builder and their errors.
//!
//! A [`Health`] is a handle of a board. Reads go to the board. What changes something is a message
//! to the engine. `change`, `subscription` and `watch` add methods to [`Health`], each with the
//! future or stream that it returns. The methods of a graceful shutdown, of reporters and of
//! heartbeats are in the module `lifecycle`.

mod builder;
mod change;
mod config;
mod error;
#[cfg(feature = "testing")]
mod fixed;
mod problems;
mod subscription;
mod watch;

use std::{fmt, sync::Arc};

pub use self::{
    builder::HealthBuilder,
    change::{Change, RunNow},
    config::{CheckConfig, HealthConfig},
    error::{ChangeError, ConfigError, RunError, StartError, Stopped},
    subscription::Subscription,
    watch::{VerdictWatch, WaitUntil},
};
use crate::{
    check::CheckDefaults,
    engine::Board,
    model::{CheckReport, Probe, Report, Stage, UnknownCheck, Verdict},
    watchdog::Watchdog,
};

/// The health of a service.
///
/// The checks run as long as a `Health`, a clone of it, or a layer or service made from it exists.
/// A clone is cheap and shares everything. When the last one is dropped, the checks stop
/// immediately: runs are cancelled, and threads of [blocking](crate::Check::blocking) code end by
/// themselves.
///
/// Futures, watches and subscriptions that it returns do not keep the checks running. They end with
/// the checks.
///
/// A process can have several, for parts that are available independently. They share nothing.
///
/// # Runtimes, statics and forks
///
/// The checks run on the runtime that is current at the start, or on the runtime that the builder
/// was given. When that runtime ends, so do the checks. A `Health` in a `static` therefore needs a
/// runtime that lives as long. In tests each test has its own runtime: start a `Health` in each
/// test, or give the builder the handle of a runtime that is also in the `static`.
///
/// Start it after a `fork`, as with everything that has threads. If the process forks after the
/// start, nothing runs in the child, and every check becomes [stale](crate::Reason::Stale) there.
///
/// # Reading
///
/// The methods that read, such as [`verdict`](Self::verdict) and [`check`](Self::check), never
/// wait, never take a lock and never run a check. They work on any thread, with or without a
/// runtime.
///
/// When the runtime of the checks has ended, every check fails with [engine
/// stopped](crate::Reason::EngineStopped), and so does every verdict. A startup that has passed
/// still passes. If the instance was already [draining](Self::drain), its liveness passes and its
/// readiness keeps the reason [draining](crate::report::VerdictReason::Draining).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Probe, Status};
///
/// let health = Health::builder("orders")
///     .release("1.4.2")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
///
/// // No check has run yet, so the service is not ready.
/// assert_eq!(health.verdict(Probe::Readiness).status, Status::Fail);
/// assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "the checks stop when the last `Health`, layer or service is dropped"]
pub struct Health {
    running: Arc<Running>,
}

/// What all clones of a [`Health`] share. When the last clone is dropped, this stops the checks.
#[derive(Debug)]
struct Running {
    board: Arc<Board>,
    /// The settings of checks that are added later.
    defaults: CheckDefaults,
    watchdog: Watchdog,
    /// Updates the board. Stops when it is dropped.
    _source: Box<dyn fmt::Debug + Send + Sync>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.board.release();
    }
}

impl Health {
    /// Creates a handle of this board. `source` updates the board until it is dropped.
    fn new(
        board: Arc<Board>,
        defaults: CheckDefaults,
        source: impl fmt::Debug + Send + Sync + 'static,
    ) -> Self {
        Self {
            running: Arc::new(Running {
                board,
                defaults,
                watchdog: Watchdog::default(),
                _source: Box::new(source),
            }),
        }
    }

    /// Returns a report of the whole service: its state, and that of every check in the order of
    /// registration. The status is computed from the listed checks, so the two always agree. The
    /// cost is proportional to the number of checks.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status, report::Stage};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("search", || async { Status::Fail }).non_critical())
    ///     .start()?;
    /// health.wait_until(Probe::Readiness, Status::Warn).await?;
    /// let report = health.report();
    /// assert_eq!((report.stage, report.status), (Stage::Ready, Status::Warn));
    /// assert_eq!(report.checks[0].status, Status::Fail);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn report(&self) -> Report {
        self.board().report(Probe::Health, &[], &|_| true).0
    }

    /// Returns the current verdict of one probe. It lists the checks that do not pass. This is a
    /// lock-free read, whatever the number of checks. The exception is a read that finds a change
    /// which the engine has not processed yet, such as a result that became stale, a drain, or a
    /// report of the application. That read computes the verdict anew, and stores it for later
    /// readers.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status, report::VerdictReason};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .check(Check::new("mount", || async { Status::Fail }))
    ///     .start()?;
    /// assert_eq!(health.verdict(Probe::Readiness).reason, Some(VerdictReason::Starting));
    ///
    /// health.wait_until_good(Probe::Startup).await?;
    /// let verdict = health.verdict(Probe::Readiness);
    /// assert_eq!(verdict.reason, Some(VerdictReason::Checks));
    /// assert_eq!(verdict.checks.len(), 1);
    /// assert_eq!(verdict.checks[0].name, "mount");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn verdict(&self, probe: Probe) -> Verdict {
        self.board().verdict(probe)
    }

    /// Returns the current report of one check. A check that was [added](Self::add) has a report
    /// once its first run has ended.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .start()?;
    /// // No run has ended yet.
    /// assert!(health.check("clock")?.is_pending());
    /// health.run_now("clock").await?;
    /// assert_eq!(health.check("clock")?.status, Status::Pass);
    /// assert_eq!(health.check("clok").unwrap_err().known(), ["clock"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an [`UnknownCheck`] with the registered names if no check has that name.
    pub fn check(&self, name: &str) -> Result<CheckReport, UnknownCheck> {
        match self.board().check(name) {
            Some((report, ..)) => Ok(report),
            None => Err(self.unknown(name)),
        }
    }

    /// Returns the current stage of the instance. This is a lock-free read, like that of a
    /// [verdict](Self::verdict).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status, report::Stage};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("mount", || async { Status::Fail }))
    ///     .start()?;
    /// assert_eq!(health.stage(), Stage::Starting);
    /// health.wait_until(Probe::Startup, Status::Pass).await?;
    /// assert_eq!(health.stage(), Stage::NotReady);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.board().stage()
    }

    fn unknown(&self, name: &str) -> UnknownCheck {
        UnknownCheck::new(name, self.board().names())
    }

    fn defaults(&self) -> &CheckDefaults {
        &self.running.defaults
    }

    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.running.watchdog
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.running.board
    }
}
