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

pub(crate) use self::{
    log::{crowded, disabled, engine_stopped, transition},
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
