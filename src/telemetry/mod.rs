//! How operators see the service: logs, metrics, and what requests for probes leave behind. Nothing is decided
//! here.

mod log;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/disabled.rs"]
pub(crate) mod metrics;
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "nobody is told"))]
mod run;

use std::panic::{self, AssertUnwindSafe};

#[cfg(all(unix, feature = "systemd"))]
pub(crate) use self::log::systemd_untold;
pub(crate) use self::{
    log::{
        crowded, disabled, drain_began, drain_closes, drain_ended, engine_stopped, harsh_echo,
        long_drain, no_watchdog, runtime_fails, transition,
    },
    metrics::{Metrics, ProbeRequests, Telling, Totals},
    run::{Asked, CheckFacts, Note, RunResult},
};

/// Calls the code of a subscriber or a recorder. It is foreign, and its panic is not ours.
pub(crate) fn shielded(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        // It may panic itself when it is dropped.
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
        std::mem::forget(dropped);
    }
}
