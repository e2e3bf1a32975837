//! What operators see of the service: logs, metrics, and counts of requests for probes. This module
//! makes no decisions.

mod log;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/disabled.rs"]
pub(crate) mod metrics;
#[cfg_attr(
    not(feature = "metrics"),
    expect(dead_code, reason = "nothing is published")
)]
mod run;

use std::panic::{self, AssertUnwindSafe};

#[cfg(all(unix, feature = "systemd"))]
pub(crate) use self::log::systemd_notify_failed;
pub(crate) use self::{
    log::{
        critical_depends_on_shared, disabled, drain_began, drain_closes, drain_ended,
        drain_exceeds_grace_period, engine_stopped, no_watchdog, queue_saturated, runtime_fails,
        transition,
    },
    metrics::{Metrics, ProbeRequests, Recording, Totals},
    run::{CheckFacts, Note, RequestTarget, RunResult},
};

/// Calls the code of a subscriber or a recorder, which is foreign, and catches its panics.
pub(crate) fn catch_panic(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        // The payload may panic, too, when it is dropped.
        let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
        std::mem::forget(dropped);
    }
}
