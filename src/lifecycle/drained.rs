use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;

use crate::{
    Health,
    engine::{Board, DrainCause},
};

impl Health {
    /// Leaves. Readiness fails at once and for good, [draining](crate::VerdictReason::Draining): every reader sees it from
    /// now on, whatever the runtime does. Then
    ///
    /// 1. *serve on*: for the [delay](crate::HealthBuilder::drain_delay) everything is served, while load balancers learn of it;
    /// 2. *finish*: still accepting, the service waits until nothing is in flight, or [that time](crate::HealthBuilder::drain_finish)
    ///    is over;
    /// 3. *close*: the future that is returned, and each of [`drained`](Self::drained), resolves; servers stop accepting, say goodbye
    ///    to their connections, and finish what is on them, in a [time of its own](crate::HealthBuilder::drain_close);
    /// 4. *cut*: what is left is ended, by [`run`](Self::run), and reported. Once nothing is in flight that is 2 s later at most.
    ///
    /// It accepts until the third part because whoever probes it opens a new connection for each probe. A client that always has
    /// something in flight is told to go elsewhere in the third part at the latest, and loses nothing if it does. Liveness and startup
    /// stay as they are, and the checks run on. What is in flight is for the [layer](crate::layer::probes) to count: a request is from
    /// its arrival until the body of its response has ended or was dropped. Connections that were upgraded do not count, nor do
    /// responses that are [`Endless`](crate::layer::probes::Endless), nor a request whose handler waits for the drain itself, as that of
    /// a `preStop` hook does. Meanwhile ordinary responses over HTTP/1 say `Connection: close`.
    ///
    /// The drain goes on whether or not the future is polled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, Probe, Stage, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let drained = health.drain();
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Fail);
    /// assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
    /// assert_eq!(health.stage(), Stage::Draining);
    /// drained.await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain(&self) -> Drained {
        self.board().drain(DrainCause::Asked);
        self.drained()
    }

    /// Waits for the moment in a [drain](Self::drain) when servers are to stop accepting: whenever it begins, and whatever begins
    /// it.
    ///
    /// ```no_run
    /// # async fn serve(listener: tokio::net::TcpListener, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// # let health = tower_health::Health::builder("orders").start()?;
    /// axum::serve(listener, app).with_graceful_shutdown(health.drained()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A server that is ended by this alone waits for a request that is stuck for as long as that takes: let it
    /// [run](Self::run), and it ends when the drain is over. A worker may wait for this as well.
    #[must_use = "a drain that nobody waits for ends no server"]
    pub fn drained(&self) -> Drained {
        Drained::new(self.board(), false)
    }

    /// Waits for the moment when a [drain](Self::drain) begins, long before [`drained`](Self::drained): for workers and streams
    /// that end themselves, such as a consumer that takes no new message, or an event stream whose clients are to go elsewhere.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let draining = health.draining();
    /// let consumer = tokio::spawn(async move {
    ///     // It takes messages until then.
    ///     draining.await;
    ///     "took no more"
    /// });
    /// drop(health.drain());
    /// assert_eq!(consumer.await?, "took no more");
    /// # Ok(())
    /// # }
    /// ```
    pub fn draining(&self) -> Draining {
        Draining {
            board: Arc::clone(self.board()),
            bell: self.board().change(),
        }
    }

    /// Counts what is no request as in flight, until the guard is dropped: a [drain](Self::drain) waits for it as for a request,
    /// such as for a message that a worker has taken and not yet acknowledged.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tokio::time::{Instant, sleep};
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").drain_delay(Duration::ZERO).start()?;
    /// let message = health.in_flight();
    /// tokio::spawn(async move {
    ///     sleep(Duration::from_secs(3)).await;
    ///     drop(message);
    /// });
    /// let began = Instant::now();
    /// health.drain().await;
    /// assert_eq!(began.elapsed().as_secs(), 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_flight(&self) -> InFlightGuard {
        self.board().departure.enter();
        InFlightGuard {
            board: Arc::clone(self.board()),
        }
    }
}

pin_project! {
    /// Waits until a drain begins: the future of [`Health::draining`].
    ///
    /// It is ready as well when nothing could ever begin one any more, because the runtime of the checks has ended, or the last
    /// [`Health`], layer and service was dropped. It does not keep the checks running.
    #[must_use = "futures do nothing unless polled"]
    pub struct Draining {
        board: Arc<Board>,
        #[pin]
        bell: OwnedNotified,
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            // First the ear to the bell, then the look: a change in between is heard.
            this.bell.as_mut().enable();
            if this.board.is_draining() || this.board.is_final() {
                return Poll::Ready(());
            }
            ready!(this.bell.as_mut().poll(cx));
            this.bell.set(this.board.change());
        }
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining").finish_non_exhaustive()
    }
}

/// Something that is in flight until this is dropped: see [`Health::in_flight`]. It does not keep the checks running.
#[must_use = "it is in flight until the guard is dropped"]
pub struct InFlightGuard {
    board: Arc<Board>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.board.leave();
    }
}

impl fmt::Debug for InFlightGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlightGuard").finish_non_exhaustive()
    }
}

pin_project! {
    /// Waits until servers are to stop accepting: the future of [`Health::drain`] and [`Health::drained`].
    ///
    /// It is ready when servers are to stop accepting, or when nothing could ever begin a drain any more because the runtime of
    /// the checks has ended, or the last [`Health`], layer and service was dropped. It does not keep the checks running.
    pub struct Drained {
        taker: Taker,
        #[pin]
        bell: OwnedNotified,
    }
}

/// Whoever waits for the end of the drain, once it was polled.
struct Taker {
    board: Arc<Board>,
    waits: bool,
    /// Whether it runs a server to its end.
    runs: bool,
    /// How often the request is counted that it is in, which is not in flight meanwhile.
    excluded: usize,
}

impl Drained {
    pub(super) fn new(board: &Arc<Board>, runs: bool) -> Self {
        Self {
            bell: board.change(),
            taker: Taker {
                board: Arc::clone(board),
                waits: false,
                runs,
                excluded: 0,
            },
        }
    }

    pub(super) fn board(&self) -> &Arc<Board> {
        &self.taker.board
    }
}

impl Taker {
    fn wait(&mut self) {
        if !self.waits {
            self.waits = true;
            self.board.departure.take(self.runs);
        }
    }

    /// The request that it is in, if it is in one, is not waited for.
    fn exclude(&mut self) {
        let times = self.board.departure.exclude();
        self.excluded += times;
        for _ in 0..times {
            self.board.leave();
        }
    }

    /// And is in flight again.
    fn go_on(&mut self) {
        self.board.departure.include(mem::take(&mut self.excluded));
    }

    /// Where nothing runs, nothing has to be waited for.
    fn is_over(&self) -> bool {
        let board = &self.board;
        board.departure.is_over()
            || (board.is_final() && (board.is_stopped() || board.is_draining()))
    }
}

impl Future for Drained {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        this.taker.wait();
        loop {
            // First the ear to the bell, then the look: a change in between is heard.
            this.bell.as_mut().enable();
            if this.taker.is_over() {
                this.taker.go_on();
                return Poll::Ready(());
            }
            this.taker.exclude();
            ready!(this.bell.as_mut().poll(cx));
            this.bell.set(this.taker.board.change());
        }
    }
}

/// Who waited to the end counts for good: it ends its server.
impl Drop for Taker {
    fn drop(&mut self) {
        self.go_on();
        if self.waits && !self.is_over() {
            self.board.departure.untake(self.runs);
        }
    }
}

/// Waits until something is so of the board, which changes with a bell.
#[cfg(feature = "server")]
pub(crate) async fn until(board: &Arc<Board>, is_so: impl Fn(&Board) -> bool) {
    loop {
        let mut bell = std::pin::pin!(board.change());
        bell.as_mut().enable();
        if is_so(board) {
            return;
        }
        bell.await;
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").finish_non_exhaustive()
    }
}
