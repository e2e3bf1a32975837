//! Waiting for a verdict: for one status, or for each change.
//!
//! A wait registers with the board before it reads the verdict, so that no wakeup is lost. It never
//! runs a check.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{Health, Stopped};
use crate::{
    engine::{Board, Wait},
    model::{Probe, Status, Verdict},
};

impl Health {
    /// Waits until a verdict has exactly this status. The future resolves immediately if the
    /// verdict already has it.
    ///
    /// Waiting runs no check. If the result of a check [on demand](crate::Check::on_demand) becomes
    /// stale while nothing reads it, the future may notice that only when something else changes.
    ///
    /// Use [`wait_until_good`](Self::wait_until_good) to wait for a service that works, with or
    /// without a warning.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .start()?;
    /// let verdict = health.wait_until(Probe::Readiness, Status::Pass).await?;
    /// assert_eq!(verdict.status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The future returns [`Stopped`] if no checks run any more, so that the verdict will not
    /// change.
    pub fn wait_until(&self, probe: Probe, status: Status) -> WaitUntil {
        self.wait_for(probe, Wanted::Exactly(status))
    }

    /// Waits until a verdict is a pass or a warning. The future resolves immediately if it already
    /// is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, Probe};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let verdict = health.wait_until_good(Probe::Readiness).await?;
    /// assert!(verdict.status.is_good());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The future returns the same errors as that of [`wait_until`](Self::wait_until).
    pub fn wait_until_good(&self, probe: Probe) -> WaitUntil {
        self.wait_for(probe, Wanted::Good)
    }

    fn wait_for(&self, probe: Probe, wanted: Wanted) -> WaitUntil {
        let board = Arc::clone(self.board());
        WaitUntil {
            wait: board.wait(),
            board,
            probe,
            wanted,
        }
    }

    /// Returns a watch of a verdict: its current state, and each later change. Watching runs no
    /// check: see [`wait_until`](Self::wait_until).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::{Health, Probe, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let prices = health.reporter("prices", Duration::from_secs(60)).await?;
    /// let mut readiness = health.watch(Probe::Readiness);
    /// prices.report(Status::Fail);
    /// prices.report(Status::Warn);
    /// // The failure is over, and is not delivered.
    /// assert_eq!(readiness.changed().await?.status, Status::Warn);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self, probe: Probe) -> VerdictWatch {
        let board = Arc::clone(self.board());
        let seen = board.published().view.of(probe).verdict.clone();
        VerdictWatch { board, probe, seen }
    }
}

/// The status that a future waits for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Exactly(Status),
    Good,
}

impl Wanted {
    fn is(self, status: Status) -> bool {
        match self {
            Self::Exactly(wanted) => status == wanted,
            Self::Good => status.is_good(),
        }
    }
}

pin_project! {
    /// Future that resolves when a verdict has a wanted status. Returned by [`Health::wait_until`]
    /// and [`Health::wait_until_good`].
    ///
    /// It does not keep the checks running.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tokio::time::timeout;
    /// use tower_health::{Health, Probe, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let failed = health.wait_until(Probe::Readiness, Status::Fail);
    /// assert!(timeout(Duration::from_secs(1), failed).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct WaitUntil {
        board: Arc<Board>,
        probe: Probe,
        wanted: Wanted,
        #[pin]
        wait: Wait,
    }
}

impl Future for WaitUntil {
    type Output = Result<Verdict, Stopped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (board, probe, wanted) = (&*this.board, *this.probe, *this.wanted);
        this.wait.poll_until(cx, |_| {
            let last = board.is_final();
            let verdict = board.verdict(probe);
            if wanted.is(verdict.status) {
                return Some(Ok(verdict));
            }
            last.then_some(Err(Stopped))
        })
    }
}

impl fmt::Debug for WaitUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitUntil")
            .field("probe", &self.probe)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

/// A watch of one verdict. Returned by [`Health::watch`].
///
/// It does not keep the checks running. A slow reader sees the latest change, and not every change.
/// [Subscribe](Health::subscribe) to receive every change.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, Probe, Status};
///
/// let health = Health::builder("orders").start()?;
/// let mut readiness = health.watch(Probe::Readiness);
/// assert_eq!(readiness.current().status, Status::Pass);
/// health.drain();
/// assert_eq!(readiness.changed().await?.status, Status::Fail);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct VerdictWatch {
    board: Arc<Board>,
    probe: Probe,
    seen: Verdict,
}

impl VerdictWatch {
    /// Returns the current verdict. This does not affect what [`changed`](Self::changed) waits for.
    #[must_use]
    pub fn current(&self) -> Verdict {
        self.board.verdict(self.probe)
    }

    /// Waits until the verdict differs from the one when the watch was created, or when this method
    /// last returned. A change is a change of its status, its reason, its cause, the checks that it
    /// lists or their number, or the status, reason, blocking dependency, cause, criticality,
    /// component type or runbook of a listed check.
    ///
    /// It is cancel-safe: no change is lost if the future is dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, Probe, error::Stopped, report::VerdictReason};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let mut liveness = health.watch(Probe::Liveness);
    /// drop(health);
    /// let last = liveness.changed().await?;
    /// assert_eq!(last.reason, Some(VerdictReason::EngineStopped));
    /// assert_eq!(liveness.changed().await.unwrap_err(), Stopped);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`Stopped`] if no checks run any more. If the verdict changes because of that, the
    /// changed verdict is returned first.
    pub async fn changed(&mut self) -> Result<Verdict, Stopped> {
        let (board, probe) = (Arc::clone(&self.board), self.probe);
        let changed = board.wait().until(|| {
            let last = board.is_final();
            let verdict = board.verdict(probe);
            if !verdict.looks_the_same(&self.seen) {
                return Some(Ok(verdict));
            }
            last.then_some(Err(Stopped))
        });
        let verdict = changed.await?;
        self.seen = verdict.clone();
        Ok(verdict)
    }
}

impl fmt::Debug for VerdictWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerdictWatch")
            .field("probe", &self.probe)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
