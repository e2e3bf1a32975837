//! The front door: [`Health`], what builds it, and what can be wrong with that.

mod builder;
mod change;
mod config;
mod error;
#[cfg(feature = "testing")]
mod fixed;
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
    engine::Board,
    lifecycle::watchdog::Watchdog,
    model::{CheckReport, Probe, Report, Stage, UnknownCheck, Verdict},
};

/// The health of a service: its checks run as long as this, a clone of it, or a layer or service made from it
/// lives.
///
/// A clone is cheap and shares everything. When the last one goes, the checks stop at once: runs are cancelled,
/// and threads of [blocking](crate::Check::blocking) code are left to end by themselves.
///
/// Futures, watches and subscriptions that it hands out do not keep the checks running: they end with them.
///
/// There can be several in a process, for parts that are up or down on their own; none knows of another.
///
/// # Runtimes, statics and forks
///
/// The checks run on the runtime that is current at the start, or on the one that the builder was given; when
/// it ends, so do they. So a `Health` in a `static` belongs on a runtime that lives as long: in tests, where each has
/// a runtime of its own, start one in each, or give the builder the handle of a runtime that the `static` holds
/// too.
///
/// Start it after a `fork`, as with everything that has threads: in the child of a process that forked after the
/// start nothing runs, and every check becomes [stale](crate::Reason::Stale) there.
///
/// # Reading
///
/// Readers never wait, never take a lock and never run a check. They work on any thread, with or without a
/// runtime. When the runtime that ran the checks has ended, every check and every verdict but a startup that
/// passed reads as a fail, [engine stopped](crate::Reason::EngineStopped).
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
/// // Nothing has run yet, so nothing is promised.
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

#[derive(Debug)]
struct Running {
    board: Arc<Board>,
    watchdog: Watchdog,
    /// What makes the board what it is, and ends when it is dropped.
    _source: Box<dyn fmt::Debug + Send + Sync>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.board.release();
    }
}

impl Health {
    /// Starts building the health of the service `service`.
    ///
    /// The name follows the rule of [`Name`](crate::report::Name), and may be a reserved word.
    pub fn builder(service: impl Into<String>) -> HealthBuilder {
        HealthBuilder::new(service.into())
    }

    fn new(board: Arc<Board>, source: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self {
            running: Arc::new(Running {
                board,
                watchdog: Watchdog::default(),
                _source: Box::new(source),
            }),
        }
    }

    /// Everything that is known now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.board().report(Probe::Health, &[], &|_| true).0
    }

    /// The answer to one probe: a lock-free read, whatever the number of checks.
    #[must_use]
    pub fn verdict(&self, probe: Probe) -> Verdict {
        self.board().verdict(probe)
    }

    /// What is known of one check now.
    ///
    /// # Errors
    ///
    /// [`UnknownCheck`] lists the names that are registered.
    pub fn check(&self, name: &str) -> Result<CheckReport, UnknownCheck> {
        match self.board().check(name) {
            Some((report, ..)) => Ok(report),
            None => Err(self.unknown(name)),
        }
    }

    /// Where the instance is in its life: a lock-free read.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.board().stage()
    }

    fn unknown(&self, name: &str) -> UnknownCheck {
        UnknownCheck::new(name, self.board().names())
    }

    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.running.watchdog
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.running.board
    }
}
