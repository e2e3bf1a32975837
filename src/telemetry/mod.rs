//! What operators see of the service: logs, metrics, and counts of requests for probes. This module
//! makes no decisions.
//!
//! | file | contains |
//! | --- | --- |
//! | `foreign` | the panics of subscribers and recorders |
//! | `log` | one function for each log event |
//! | `metrics` | the public names of the metrics, and their publication |
//! | `metrics/disabled` | its replacement without the feature `metrics` |
//! | `run` | the changes and facts that the engine hands over |
//!
//! The engine calls it on its own task, after readers and subscribers can see a change. Subscribers
//! and recorders are code of the application. They may block that task. Their panics are caught.

mod foreign;
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

#[cfg(all(unix, feature = "systemd"))]
pub(crate) use self::log::systemd_notify_failed;
pub(crate) use self::{
    foreign::catch_panic,
    log::{
        critical_depends_on_shared, disabled, drain_began, drain_closes, drain_ended,
        drain_exceeds_grace_period, engine_stopped, no_watchdog, queue_saturated, registered,
        runtime_fails, transition,
    },
    metrics::{Metrics, ProbeRequests, Recording},
    run::{CheckFacts, Gone, Note, RequestTarget, RunResult, Totals},
};
