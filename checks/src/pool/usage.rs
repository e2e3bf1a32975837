//! The usage of a pool. All checks of a pool report it in the same way.

use crate::percent;
use tower_health::{Outcome, Reason};

/// The number of connections of a pool that are in use, and the size of the pool.
///
/// ```
/// use tower_health_checks::pool::Usage;
///
/// assert!(Usage::new(10, 10).is_full());
/// assert!(!Usage::new(9, 10).is_full());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The number of connections in use.
    used: usize,
    /// The number of connections that the pool opens at most. [`usize::MAX`] means no limit.
    size: usize,
}

impl Usage {
    /// Creates a usage of `used` connections of a pool that opens at most `size`. For a pool
    /// without a limit, `size` is [`usize::MAX`]. A pool of size 0 is always full.
    ///
    /// ```
    /// use tower_health_checks::pool::Usage;
    ///
    /// assert!(!Usage::new(1_000, usize::MAX).is_full());
    /// assert!(Usage::new(0, 0).is_full());
    /// ```
    #[must_use]
    pub fn new(used: usize, size: usize) -> Self {
        Self { used, size }
    }

    /// Returns whether all connections are in use, so that the next caller must wait for one.
    ///
    /// ```
    /// use tower_health_checks::pool::Usage;
    ///
    /// // A pool may be above its size while it shrinks.
    /// assert!(Usage::new(12, 10).is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used >= self.size
    }

    /// Returns the usage of a pool of sqlx.
    #[cfg(any(
        feature = "sqlx-mysql",
        feature = "sqlx-postgres",
        feature = "sqlx-sqlite"
    ))]
    pub(crate) fn of<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) -> Self {
        let open = pool.size() as usize;
        Self {
            used: open.saturating_sub(pool.num_idle()),
            size: pool.options().get_max_connections() as usize,
        }
    }

    /// Warns with [`Reason::Busy`] if the pool has no free connection. That is not a failure,
    /// because the server may be up. Measures `pool_used`, and `pool_utilization` in percent.
    pub(crate) fn judge(self) -> Outcome {
        self.measure(self.judge_capacity())
    }

    /// Judges without a measurement.
    fn judge_capacity(self) -> Outcome {
        if !self.is_full() {
            Outcome::pass()
        } else {
            Outcome::warn(Reason::Busy).with_cause(format_args!(
                "all {} connections of the pool are in use",
                self.size
            ))
        }
    }

    /// Adds the measurements to an outcome, without judging it.
    pub(crate) fn measure(self, outcome: Outcome) -> Outcome {
        outcome.measure("pool_used", self.used, "").measure(
            "pool_utilization",
            percent(self.used, self.size),
            "percent",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_health::Status;

    #[test]
    fn a_pool_is_busy_when_its_last_slot_is_taken() {
        let judged = |used, size| Usage { used, size }.judge().status();
        assert_eq!(judged(9, 10), Status::Pass);
        assert_eq!(judged(10, 10), Status::Warn);
        assert_eq!(judged(0, 0), Status::Warn);
    }
}
