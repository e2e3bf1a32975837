//! The connection limit of a server, and the lag of a replica.

use std::time::Duration;

use super::percent;
use tower_health::{Outcome, Reason, checks::contradiction};

/// The number of connections that are in use, and that a server allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) used: usize,
    pub(super) allowed: usize,
}

impl Limit {
    /// Warns if the utilization is above `above`, which is in percent, or at 100 %.
    pub(super) fn judge(self, above: f64) -> Outcome {
        let Self { used, allowed } = self;
        let utilization = percent(used, allowed);
        let outcome = match utilization {
            full if full >= 100.0 => Outcome::warn(Reason::Busy),
            near if near > above => Outcome::warn(Reason::LimitNear),
            _ => Outcome::pass(),
        };
        let outcome = match outcome.reason() {
            Some(_) => outcome.with_cause(format_args!(
                "{used} of {allowed} connections of the server are in use"
            )),
            None => outcome,
        };
        outcome.measure("connections", used, "").measure(
            "connection_utilization",
            utilization,
            "percent",
        )
    }
}

/// The bounds of a replica's lag.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LagBounds {
    pub(super) warn: Option<Duration>,
    pub(super) fail: Option<Duration>,
}

impl LagBounds {
    /// Returns the problems of the configured bounds.
    pub(super) fn problems(&self) -> Vec<String> {
        let warn = ("warn_lag_above", self.warn);
        let fail = ("fail_lag_above", self.fail);
        contradiction(warn, fail).into_iter().collect()
    }

    pub(super) fn is_bound(&self) -> bool {
        self.warn.or(self.fail).is_some()
    }

    pub(super) fn judge(&self, lag: Duration) -> Outcome {
        let is_above = |bound: Option<Duration>| bound.is_some_and(|bound| lag > bound);
        let outcome = match () {
            () if is_above(self.fail) => Outcome::fail(Reason::LimitExceeded),
            () if is_above(self.warn) => Outcome::warn(Reason::LimitExceeded),
            () => Outcome::pass(),
        };
        let seconds = lag.as_secs_f64();
        let outcome = match outcome.reason() {
            Some(_) => outcome.with_cause(format_args!("the replica is {seconds} s behind")),
            None => outcome,
        };
        outcome.measure("lag", seconds, "s")
    }
}
