use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;

use super::{Health, Stopped};
use crate::{
    engine::Board,
    model::{Probe, Status, Verdict},
};

impl Health {
    /// Waits until a verdict has this very status; it may have it already.
    ///
    /// Waiting runs nothing. That the result of a check [on demand](crate::Check::on_demand) becomes too old while
    /// nobody reads it may be noticed only when something else happens.
    ///
    /// To wait for a service that is up, whether or not there is a warning, use
    /// [`wait_until_good`](Self::wait_until_good).
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
    /// The future's error is [`Stopped`] if nothing runs checks any more, and the verdict will not change.
    pub fn wait_until(&self, probe: Probe, status: Status) -> WaitUntil {
        self.wait_for(probe, Wanted::Exactly(status))
    }

    /// Waits until a verdict is a pass or a warning; it may be already.
    ///
    /// # Errors
    ///
    /// As of [`wait_until`](Self::wait_until).
    pub fn wait_until_good(&self, probe: Probe) -> WaitUntil {
        self.wait_for(probe, Wanted::Good)
    }

    fn wait_for(&self, probe: Probe, wanted: Wanted) -> WaitUntil {
        let board = Arc::clone(self.board());
        WaitUntil {
            bell: board.change(),
            board,
            probe,
            wanted,
        }
    }

    /// Watches a verdict: how it is, and each time that it becomes another. Watching runs nothing; see
    /// [`wait_until`](Self::wait_until).
    pub fn watch(&self, probe: Probe) -> VerdictWatch {
        let board = Arc::clone(self.board());
        let seen = board.published().view.face(probe).verdict.clone();
        VerdictWatch { board, probe, seen }
    }
}

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
    /// Waits for a verdict: the future of [`Health::wait_until`] and [`Health::wait_until_good`].
    ///
    /// It does not keep the checks running.
    #[must_use = "futures do nothing unless polled"]
    pub struct WaitUntil {
        board: Arc<Board>,
        probe: Probe,
        wanted: Wanted,
        #[pin]
        bell: OwnedNotified,
    }
}

impl Future for WaitUntil {
    type Output = Result<Verdict, Stopped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            // First the ear to the bell, then the look: a change in between is heard.
            this.bell.as_mut().enable();
            let last = this.board.is_final();
            let verdict = this.board.verdict(*this.probe);
            if this.wanted.is(verdict.status) {
                return Poll::Ready(Ok(verdict));
            }
            if last {
                return Poll::Ready(Err(Stopped));
            }
            ready!(this.bell.as_mut().poll(cx));
            this.bell.set(this.board.change());
        }
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

/// Watches one verdict: made by [`Health::watch`].
///
/// It does not keep the checks running. Whoever reads slowly sees the last change, and not each: for each,
/// [subscribe](Health::subscribe).
#[derive(Clone)]
pub struct VerdictWatch {
    board: Arc<Board>,
    probe: Probe,
    seen: Verdict,
}

impl VerdictWatch {
    /// The verdict as it is now. What [`changed`](Self::changed) waits for is not touched by that.
    #[must_use]
    pub fn current(&self) -> Verdict {
        self.board.verdict(self.probe)
    }

    /// Waits until the verdict is another than it was when this watch was made, or when this method last
    /// returned: its status, its reason, the checks that it lists, or theirs.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if nothing runs checks any more. The verdict that says so comes before that.
    pub async fn changed(&mut self) -> Result<Verdict, Stopped> {
        loop {
            let mut bell = pin!(self.board.change());
            bell.as_mut().enable();
            let last = self.board.is_final();
            let verdict = self.current();
            if !verdict.says_the_same(&self.seen) {
                self.seen = verdict.clone();
                return Ok(verdict);
            }
            if last {
                return Err(Stopped);
            }
            bell.await;
        }
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
