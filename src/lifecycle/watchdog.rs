//! The watchdog of the runtimes, as the builder sets it and as ports need it.

#[cfg(any(feature = "server", all(unix, feature = "systemd")))]
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::{Health, HealthBuilder};
#[cfg(any(feature = "server", all(unix, feature = "systemd")))]
use crate::{
    engine::Pushed,
    model::ComponentType,
    watchdog::{BOUND, HOLDS, OWN, Runtime, policy},
};

impl HealthBuilder {
    /// Watches, from a dedicated thread, whether the runtime still polls tasks that are ready. If
    /// it polls none for `bound`, liveness fails with [runtime
    /// stalled](crate::Reason::RuntimeStalled). From a tenth of `bound` on, liveness warns with
    /// [runtime lags](crate::Reason::RuntimeLags). Reports contain this as the check `runtime`, and
    /// metrics contain the lag as `health_runtime_lag_seconds`. Defaults to no watchdog. The
    /// exception is a management port with its own thread, which has a watchdog with a bound of 10
    /// s.
    ///
    /// A stalled runtime cannot report the stall itself: a port that it serves does not answer.
    /// Serve liveness from a separate thread to get a correct answer: see
    /// `ServerBuilder::own_thread`.
    ///
    /// The runtime is sampled 4 times per second. A stall is reported no sooner than `bound` after
    /// it begins, and at most 0.25 s later. A ready task is polled within microseconds, and on a
    /// busy multi-threaded runtime as soon as one worker is free. A suspension of the whole process
    /// does not count as a stall, and neither does a time in which a busy machine gives the process
    /// no CPU. Choose a bound that is longer than any pause that the runtime may have in normal
    /// operation, because a process that fails liveness is killed. A bound outside 1 s to 1 h is a
    /// problem.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::{Health, Probe, Status, error::ConfigError};
    ///
    /// let health = Health::builder("orders").watchdog(Duration::from_secs(10)).start()?;
    /// assert_eq!(health.report().checks[0].name, "runtime");
    /// assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
    ///
    /// let bound = Duration::from_millis(100);
    /// let error = Health::builder("orders").watchdog(bound).start().unwrap_err();
    /// assert_eq!(error.problems(), [ConfigError::Watchdog(bound)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watchdog(mut self, bound: Duration) -> Self {
        self.watchdog.bound = Some((self.next_call(), bound));
        self
    }

    /// Watches another runtime, which must not end before this one. If it does, liveness fails with
    /// [runtime ended](crate::Reason::RuntimeEnded). `name` is its name in reports and among the
    /// checks, and follows the rules of a check's name. Its bound is that of the
    /// [watchdog](Self::watchdog), or 10 s. Defaults to none.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::Health;
    ///
    /// let (main, batch) = (tokio::runtime::Runtime::new()?, tokio::runtime::Runtime::new()?);
    /// let health = Health::builder("orders")
    ///     .runtime(main.handle().clone())
    ///     .watchdog(Duration::from_secs(10))
    ///     .watch_runtime("batch", batch.handle())
    ///     .start()?;
    /// let names: Vec<_> = health.report().checks.into_iter().map(|check| check.name).collect();
    /// assert_eq!(names, ["runtime", "batch"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_runtime(mut self, name: impl Into<String>, runtime: &Handle) -> Self {
        let call = self.next_call();
        self.watchdog
            .others
            .push((call, name.into(), runtime.clone()));
        self
    }
}

/// Starts a thread that detects when the process is suspended.
pub(super) fn watch_process(health: &Health) {
    if health.board().runtime().is_some() {
        health.watchdog().watch(health.board(), Vec::new(), false);
    }
}

/// Watches the runtime of the checks, unless it is already watched.
#[cfg(any(feature = "server", all(unix, feature = "systemd")))]
pub(crate) fn watch_own(health: &Health) {
    let board = health.board();
    let Some(runtime) = board.runtime() else {
        return;
    };
    if health.watchdog().claim_own() {
        return;
    }
    // An existing check of that name keeps it.
    let name = match board.cell(OWN) {
        None => OWN,
        Some(_) => "runtime.watchdog",
    };
    let pushed = Arc::new(Pushed::lasting());
    let spoken = Arc::clone(&pushed);
    // Its registration is not awaited: there is nothing to wait for.
    let system = ComponentType::System;
    drop(health.register_pushed(name, HOLDS, policy(), system, None, spoken));
    let runtime = Runtime {
        name: name.into(),
        handle: runtime.clone(),
        pushed,
        bound: BOUND,
    };
    health.watchdog().watch(board, vec![runtime], true);
}
