//! The connection limit of a server, and the lag of a replica.
//!
//! The checks of PostgreSQL, MySQL and Redis share these rules, so that the same setting means the
//! same for each of them. A value that is equal to a bound is within it.

use std::time::Duration;

use super::percent;
use tower_health::{Outcome, Reason, checks::contradiction};

/// The number of connections that are in use, and that a server allows to clients. A server that
/// allows none is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) used: usize,
    pub(super) allowed: usize,
}

impl Limit {
    /// Warns with [`Reason::LimitNear`] if the utilization is above `above`, which is in percent,
    /// and with [`Reason::Busy`] at 100 %. It never fails, because a server at its limit still
    /// serves the connections that it has. Measures `connections` and `connection_utilization`.
    pub(super) fn judge(self, above: f64) -> Outcome {
        let Self { used, allowed } = self;
        let utilization = percent(used, allowed);
        let outcome = match utilization {
            full if full >= 100.0 => Outcome::warn(Reason::Busy),
            near if near > above => Outcome::warn(Reason::LimitNear),
            _ => Outcome::pass(),
        };
        let outcome = crate::explain(
            outcome,
            format_args!("{used} of {allowed} connections of the server are in use"),
        );
        outcome.measure("connections", used, "").measure(
            "connection_utilization",
            utilization,
            "percent",
        )
    }
}

/// The bounds of a replica's lag. Defaults to no bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LagBounds {
    /// Above this lag the check warns.
    pub(super) warn: Option<Duration>,
    /// Above this lag the check fails.
    pub(super) fail: Option<Duration>,
}

impl LagBounds {
    /// Returns the problems of the configured bounds.
    pub(super) fn problems(&self) -> Vec<String> {
        let warn = ("warn_lag_above", self.warn);
        let fail = ("fail_lag_above", self.fail);
        contradiction(warn, fail).into_iter().collect()
    }

    /// Returns whether one of the bounds is set, so that the lag must be known.
    pub(super) fn is_bound(&self) -> bool {
        self.warn.or(self.fail).is_some()
    }

    /// Judges a lag and measures it as `lag`, in seconds. Both a warning and a failure have the
    /// reason [`Reason::LimitExceeded`].
    pub(super) fn judge(&self, lag: Duration) -> Outcome {
        let is_above = |bound: Option<Duration>| bound.is_some_and(|bound| lag > bound);
        let outcome = match () {
            () if is_above(self.fail) => Outcome::fail(Reason::LimitExceeded),
            () if is_above(self.warn) => Outcome::warn(Reason::LimitExceeded),
            () => Outcome::pass(),
        };
        let seconds = lag.as_secs_f64();
        let outcome = crate::explain(outcome, format_args!("the replica is {seconds} s behind"));
        outcome.measure("lag", seconds, "s")
    }
}
