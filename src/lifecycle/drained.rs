//! Waiting for a drain, and counting what it waits for.
//!
//! The engine advances the phases of a drain. The futures here only observe them. Each registers
//! with the board before it looks, so that no wakeup is lost.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{
    Health,
    engine::{Board, DrainCause, Named, Wait},
};

impl Health {
    /// Starts a drain. Readiness fails immediately and permanently, with the reason
    /// [draining](crate::report::VerdictReason::Draining). Every reader sees it from now on,
    /// whatever the state of the runtime. The drain has four phases:
    ///
    /// 1. *Serve on*: for the [delay](crate::HealthBuilder::drain_delay) all requests are served,
    ///    while load balancers notice the change.
    /// 2. *Finish*: the service still accepts connections and waits until nothing is in flight, or
    ///    until [its time limit](crate::HealthBuilder::drain_finish) is over.
    /// 3. *Close*: the returned future and every future of [`drained`](Self::drained) resolve.
    ///    Servers stop accepting, announce the shutdown on their connections, and finish the
    ///    requests on them, within the [time limit of this
    ///    phase](crate::HealthBuilder::drain_close).
    /// 4. *Cut*: [`run`](Self::run) ends what is left and reports it. This phase begins when the
    ///    third has nothing in flight for 2 s, or at the time limit of the third.
    ///
    /// Connections are accepted until the third phase because a prober opens a new connection for
    /// each probe. A client that always has a request in flight is notified to go elsewhere in the
    /// third phase at the latest, and loses nothing if it does. Liveness and startup do not change,
    /// and the checks continue to run. The [layer](crate::layer::probes) counts what is in flight.
    /// A request counts from its arrival until the body of its response has ended or was dropped.
    /// Not counted are upgraded connections, responses that are
    /// [`Endless`](crate::layer::probes::Endless), and a request whose handler waits for the drain
    /// itself, such as the handler of a `preStop` hook. During the drain, ordinary responses (those
    /// to requests that are not probes) over HTTP/1 carry `Connection: close`.
    ///
    /// The drain continues whether or not the future is polled. It cannot be undone. Another call
    /// begins no second drain, and returns one more future for the first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, Probe, Status, report::Stage};
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
        self.board().drain(DrainCause::Requested);
        self.drained()
    }

    /// Returns a future that resolves when servers are to stop accepting in a [drain](Self::drain):
    /// at the beginning of *close*, when requests may still be in flight. (`GET /drained` of a
    /// management port responds later: when nothing is in flight any more.) It does not matter when
    /// the drain begins, or what begins it.
    ///
    /// ```no_run
    /// # async fn serve(listener: tokio::net::TcpListener, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// # let health = tower_health::Health::builder("orders").start()?;
    /// axum::serve(listener, app).with_graceful_shutdown(health.drained()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A server that is stopped by this alone waits for a stuck request without limit. Use
    /// [run](Self::run) to end the server when the drain is over. A worker may wait for this future
    /// as well.
    #[must_use = "a drain that nobody waits for ends no server"]
    pub fn drained(&self) -> Drained {
        Drained::new(self.board(), false)
    }

    /// Returns a future that resolves when a [drain](Self::drain) begins, long before
    /// [`drained`](Self::drained) does. Use it for workers and streams that end themselves, such as
    /// a consumer that takes no new message, or an event stream whose clients are to go elsewhere.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let draining = health.draining();
    /// let consumer = tokio::spawn(async move {
    ///     // The consumer takes messages until the drain begins.
    ///     draining.await;
    ///     "took no more"
    /// });
    /// health.drain();
    /// assert_eq!(consumer.await?, "took no more");
    /// # Ok(())
    /// # }
    /// ```
    pub fn draining(&self) -> Draining {
        Draining {
            board: Arc::clone(self.board()),
            wait: self.board().wait(),
        }
    }

    /// Whether a [drain](Self::drain) has begun: one atomic load, from any thread. It is for code
    /// that cannot wait for a future, such as the loop of a blocking worker. It is the flag that
    /// readers of readiness see, so it is true before [`draining`](Self::draining) resolves.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let worker = health.clone();
    /// let worker = std::thread::spawn(move || {
    ///     while !worker.is_draining() {
    ///         std::thread::yield_now();
    ///     }
    /// });
    /// assert!(!health.is_draining());
    /// health.drain();
    /// assert!(worker.join().is_ok());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.board().is_draining()
    }

    /// Counts work that is not a request as in flight, until the guard is dropped. A
    /// [drain](Self::drain) waits for it as for a request. An example is a message that a worker
    /// has taken and not yet acknowledged.
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
        self.board().control.in_flight.enter();
        InFlightGuard {
            board: Arc::clone(self.board()),
            name: None,
        }
    }
}

pin_project! {
    /// Future that resolves when a drain begins. Returned by [`Health::draining`].
    ///
    /// It also resolves when no drain can begin any more, because the runtime of the checks has
    /// ended, or because no [`Health`], layer or [`ProbeService`](crate::endpoint::ProbeService) is
    /// left. It does not keep the checks running.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, future::Draining};
    ///
    /// async fn consume(draining: Draining) -> usize {
    ///     tokio::pin!(draining);
    ///     let mut taken = 0;
    ///     loop {
    ///         tokio::select! {
    ///             biased;
    ///             () = &mut draining => return taken,
    ///             () = tokio::task::yield_now() => taken += 1,
    ///         }
    ///     }
    /// }
    ///
    /// let health = Health::builder("orders").start()?;
    /// let consumer = tokio::spawn(consume(health.draining()));
    /// // Without a `Health` there is nothing that could drain.
    /// drop(health);
    /// consumer.await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct Draining {
        board: Arc<Board>,
        #[pin]
        wait: Wait,
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let board = &*this.board;
        this.wait.poll_until(cx, |_| {
            (board.is_draining() || board.is_final()).then_some(())
        })
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining").finish_non_exhaustive()
    }
}

/// Guard that counts as in flight until it is dropped: see [`Health::in_flight`]. It can be dropped
/// on any thread, and does not keep the checks running. A guard that is still there when the drain
/// is over appears in [`DrainTimeout`](crate::error::DrainTimeout).
#[must_use = "it is in flight until the guard is dropped"]
pub struct InFlightGuard {
    board: Arc<Board>,
    name: Option<Named>,
}

impl InFlightGuard {
    /// Names the work, for the log of a [drain](Health::drain): if it is still in flight when
    /// servers stop accepting, or when it is cut, the line has its name and the number of all that
    /// have the same. 64 names are kept, each with at most 128 characters. Work with a further name
    /// counts without it. Defaults to no name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    /// let job = health.in_flight().named("nightly report");
    /// // INFO servers stop accepting and finish the requests in flight
    /// //   service="orders" in_flight=1 names="nightly report (1)" seconds_left=5.0
    /// health.drain().await;
    /// drop(job);
    /// # Ok(())
    /// # }
    /// ```
    pub fn named(mut self, name: &str) -> Self {
        self.name = self.board.control.names.enter(name);
        self
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.board.leave();
    }
}

impl fmt::Debug for InFlightGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlightGuard")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// Future that resolves when servers are to stop accepting. Returned by [`Health::drain`] and
    /// [`Health::drained`].
    ///
    /// It also resolves when no drain can begin any more, because the runtime of the checks has
    /// ended, or because no [`Health`], layer or [`ProbeService`](crate::endpoint::ProbeService) is
    /// left. It does not keep the checks running. Each server needs its own future. A future counts
    /// as something that [waits for the drain](Health::drain) only once it was polled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::time::Instant;
    /// use tower_health::{Health, future::Drained};
    ///
    /// async fn serve(drained: Drained) -> Instant {
    ///     drained.await;
    ///     Instant::now()
    /// }
    ///
    /// let health = Health::builder("orders").start()?;
    /// let servers = [health.drained(), health.drained()].map(|it| tokio::spawn(serve(it)));
    /// health.drain();
    /// let [http, grpc] = servers;
    /// assert_eq!(http.await?, grpc.await?);
    /// # Ok(())
    /// # }
    /// ```
    pub struct Drained {
        waiter: Waiter,
        #[pin]
        wait: Wait,
    }
}

/// A waiter for the end of the drain. It registers when it is first polled.
struct Waiter {
    board: Arc<Board>,
    /// Whether it has registered.
    waits: bool,
    /// Whether it runs a server until the server ends.
    runs: bool,
    /// How often the enclosing request is counted. That request is not in flight while it waits.
    excluded: usize,
}

impl Drained {
    /// Creates a waiter. `runs` says whether it runs a server until the server ends.
    pub(super) fn new(board: &Arc<Board>, runs: bool) -> Self {
        Self {
            wait: board.wait(),
            waiter: Waiter {
                board: Arc::clone(board),
                waits: false,
                runs,
                excluded: 0,
            },
        }
    }

    pub(super) fn board(&self) -> &Arc<Board> {
        &self.waiter.board
    }
}

impl Waiter {
    /// Registers the waiter once. Signals treat a process that waits differently from one that does
    /// not.
    fn register(&mut self) {
        if !self.waits {
            self.waits = true;
            self.board.control.add_waiter(self.runs);
        }
    }

    /// Excludes the enclosing request, if there is one, from what is in flight.
    fn exclude(&mut self) {
        let times = self.board.control.in_flight.exclude();
        self.excluded += times;
        for _ in 0..times {
            self.board.leave();
        }
    }

    /// Counts the enclosing request as in flight again.
    fn include(&mut self) {
        let times = mem::take(&mut self.excluded);
        self.board.control.in_flight.include(times);
    }

    /// Whether the wait is over. Once the engine no longer runs, there is nothing to wait for.
    fn is_over(&self) -> bool {
        let board = &self.board;
        board.control.is_closing()
            || (board.is_final() && (board.is_stopped() || board.is_draining()))
    }
}

impl Future for Drained {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let waiter = this.waiter;
        waiter.register();
        this.wait.poll_until(cx, |_| {
            if waiter.is_over() {
                waiter.include();
                return Some(());
            }
            waiter.exclude();
            None
        })
    }
}

/// A waiter that waited until the end stays counted, because it ends its server.
impl Drop for Waiter {
    fn drop(&mut self) {
        self.include();
        if self.waits && !self.is_over() {
            self.board.control.remove_waiter(self.runs);
        }
    }
}

/// Waits until a condition of the board holds. Each change of the board notifies its waiters.
#[cfg(feature = "server")]
pub(crate) async fn until(board: &Arc<Board>, is_so: impl Fn(&Board) -> bool) {
    board.wait().until(|| is_so(board).then_some(())).await;
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").finish_non_exhaustive()
    }
}
