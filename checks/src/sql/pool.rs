use tower_health::{Outcome, Reason};

use crate::percent;

/// How full a pool of connections is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    /// How many connections are in use.
    pub(super) used: usize,
    /// How many there may be.
    pub(super) size: usize,
}

impl Pool {
    #[cfg(any(
        feature = "sqlx-mysql",
        feature = "sqlx-postgres",
        feature = "sqlx-sqlite"
    ))]
    pub(super) fn of<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) -> Self {
        let size = pool.size() as usize;
        Self {
            used: size.saturating_sub(pool.num_idle()),
            size: pool.options().get_max_connections() as usize,
        }
    }

    /// A pool without a free slot is busy, which is not down.
    pub(super) fn judge(self) -> Outcome {
        self.measure(self.judge_room())
    }

    fn judge_room(self) -> Outcome {
        match self.used < self.size {
            true => Outcome::pass(),
            false => Outcome::warn(Reason::Busy).with_cause(format_args!(
                "all {} connections of the pool are in use",
                self.size
            )),
        }
    }

    pub(super) fn measure(self, outcome: Outcome) -> Outcome {
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
        let judged = |used, size| Pool { used, size }.judge().status();
        assert_eq!(judged(9, 10), Status::Pass);
        assert_eq!(judged(10, 10), Status::Warn);
        assert_eq!(judged(0, 0), Status::Warn);
    }
}
