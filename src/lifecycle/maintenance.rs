use std::{fmt, time::Duration};

use crate::{Health, engine::Maintenance, model::Cause};

/// The longest that a maintenance may be announced for: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Health {
    /// Takes the instance out of rotation for a while: until [`end_maintenance`](Self::end_maintenance), or until `ttl` is
    /// over, readiness fails with [maintenance](crate::VerdictReason::Maintenance). It holds at once, for every reader.
    /// Another call takes the place of the first, and starts its time anew.
    ///
    /// Liveness and startup stay as they are, the checks run on, and requests are served as before. `reason` is for
    /// operators: it is redacted like a [`Cause`], and shown where [everything](crate::Exposure::Full) is, and in logs.
    /// Probers are told to ask again after what is left of `ttl`. More than a year is a year.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::{Health, Stage};
    ///
    /// let health = Health::builder("orders").start()?;
    /// health.maintenance("reindexing", Duration::from_secs(600));
    /// assert_eq!(health.stage(), Stage::Maintenance);
    /// assert!(health.end_maintenance());
    /// assert_ne!(health.stage(), Stage::Maintenance);
    /// # Ok(())
    /// # }
    /// ```
    pub fn maintenance(&self, reason: impl fmt::Display, ttl: Duration) {
        let board = self.board();
        board.maintain(Some(Maintenance {
            cause: Cause::new(reason),
            until: board.clock.now().plus(ttl.min(LONGEST)),
        }));
    }

    /// Puts the instance back into rotation, as far as its checks allow. Whether there was a maintenance.
    pub fn end_maintenance(&self) -> bool {
        self.board().maintain(None).is_some()
    }
}
