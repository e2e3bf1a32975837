use crate::percent;
use tower_health::{Outcome, Reason};

/// How many connections of a pool are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    used: usize,
    size: usize,
}

impl Usage {
    /// `used` connections are in use, of the `size` that the pool opens at most: [`usize::MAX`] of a pool without a limit. One of size 0 is always full.
    ///
    /// ```
    /// use tower_health_checks::pool::Usage;
    ///
    /// assert!(Usage::new(10, 10).is_full());
    /// assert!(!Usage::new(9, 10).is_full());
    /// ```
    #[must_use]
    pub fn new(used: usize, size: usize) -> Self {
        Self { used, size }
    }

    /// Whether the next caller waits for a connection.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used >= self.size
    }

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

    /// A pool without a free slot is busy, which is not down.
    pub(crate) fn judge(self) -> Outcome {
        self.measure(self.judge_room())
    }

    fn judge_room(self) -> Outcome {
        match self.is_full() {
            false => Outcome::pass(),
            true => Outcome::warn(Reason::Busy).with_cause(format_args!(
                "all {} connections of the pool are in use",
                self.size
            )),
        }
    }

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
