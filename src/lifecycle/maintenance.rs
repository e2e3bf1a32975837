//! A maintenance: an instance that is out of rotation temporarily, by a decision of the
//! application.
//!
//! It is part of the control state of the board, so every reader sees it immediately.

use std::{fmt, time::Duration};

use crate::{Health, engine::Maintenance, model::Cause};

/// The longest duration of a maintenance: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

impl Health {
    /// Takes the instance out of rotation temporarily. Readiness fails with
    /// [maintenance](crate::report::VerdictReason::Maintenance) until
    /// [`end_maintenance`](Self::end_maintenance) is called or `ttl` is over. It takes effect
    /// immediately, for every reader. Another call replaces the first, and starts the time again.
    ///
    /// Liveness and startup do not change, the checks continue to run, and requests are served as
    /// before. `reason` is for operators. It is redacted like a [`Cause`], and appears in logs and
    /// where the exposure is [full](crate::endpoint::Exposure::Full). Probers receive the rest of
    /// `ttl` as the time to wait before they retry. A `ttl` of more than a year is reduced to a
    /// year.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::{Health, report::Stage};
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

    /// Ends the maintenance, so that readiness depends on the checks again. Returns whether the
    /// instance was in maintenance.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tokio::time::sleep;
    /// use tower_health::{Health, Probe, Status, report::VerdictReason};
    ///
    /// let health = Health::builder("orders").start()?;
    /// health.maintenance("reindexing", Duration::from_secs(60));
    /// let verdict = health.verdict(Probe::Readiness);
    /// assert_eq!(verdict.reason, Some(VerdictReason::Maintenance));
    ///
    /// sleep(Duration::from_secs(60)).await;
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
    /// assert!(!health.end_maintenance(), "it is over");
    /// # Ok(())
    /// # }
    /// ```
    pub fn end_maintenance(&self) -> bool {
        self.board().maintain(None).is_some()
    }
}
