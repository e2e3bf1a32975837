//! Health that the application reports itself: by reporters, and by the heartbeats of its workers.
//!
//! A report is written to the board by the thread that makes it. Readers see it immediately, even
//! while the runtime is stalled. The engine records it afterwards, for subscribers, logs and
//! metrics.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use crate::{
    Health,
    check::{AffectedProbe, IntoOutcome, Policy},
    engine::{Board, Message, Pushed},
    health::{Change, ChangeError},
    model::{ComponentType, Criticality, Outcome, Reason},
};

impl Health {
    /// Returns a builder for a check whose result the application reports (push), whenever it
    /// changes. Examples are the state of a leader election and the result of the last import. A
    /// report is valid for `ttl`. After that the check is [stale](Reason::Stale).
    ///
    /// A pending check does not take the instance out of rotation. If `ttl` is over before the
    /// first report, the check is stale. The reporter does not keep the checks running.
    /// [`run_now`](Self::run_now) has nothing to run for it, and `replace` is an error. Use
    /// [`remove`](Self::remove) when there is nothing to report any more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::{Health, Outcome, Probe, Reason, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let prices = health.reporter("prices", Duration::from_secs(60)).non_critical().await?;
    /// prices.report(Outcome::warn(Reason::Degraded).measure("missing", 3, "symbols"));
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Warn);
    /// prices.report(Status::Pass);
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reporter(&self, name: impl Into<String>, ttl: Duration) -> ReporterBuilder {
        ReporterBuilder {
            spoken: Spoken::new(self, name.into(), ttl),
        }
    }

    /// Returns a builder for a check that a background worker is alive. The worker calls
    /// [tick](Heartbeat::tick) at least once in each `ttl`. Otherwise the check is
    /// [stale](Reason::Stale). If the worker ends without a call to [`Heartbeat::stop`], because it
    /// panicked, returned or was cancelled, the check fails immediately with the reason
    /// [died](Reason::Died), and stays failed until another worker registers a heartbeat with the
    /// same name.
    ///
    /// A heartbeat exists only from its registration on. If the worker ends before that, nothing
    /// reports it, and readiness does not wait for the registration. Register it in a [start-up
    /// task](crate::HealthBuilder::startup_task) if startup has to wait for the worker.
    ///
    /// By default a missing worker makes the instance not ready. With
    /// [`liveness`](HeartbeatBuilder::liveness) it fails liveness, so that the process is
    /// restarted.
    ///
    /// A suspended process does not count as a dead worker: after it resumes, each heartbeat has
    /// its full `ttl` again. A worker that ends while the instance is [draining](Self::drain) does
    /// not count as dead either.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::{Health, Probe, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let heartbeat = health.heartbeat("consumer", Duration::from_secs(30)).await?;
    /// let worker = tokio::spawn(async move {
    ///     for _message in ["one", "two"] {
    ///         heartbeat.tick();
    ///     }
    ///     heartbeat.stop(); // a planned end
    /// });
    /// worker.await?;
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn heartbeat(&self, name: impl Into<String>, ttl: Duration) -> HeartbeatBuilder {
        HeartbeatBuilder {
            spoken: Spoken::new(self, name.into(), ttl),
        }
    }
}

/// The settings of a check to register, and how long a report of it is valid.
#[derive(Debug)]
struct Spoken {
    health: Health,
    name: String,
    ttl: Duration,
    policy: Policy,
    component_type: ComponentType,
    runbook: Option<String>,
}

impl Spoken {
    fn new(health: &Health, name: String, ttl: Duration) -> Self {
        Self {
            health: health.clone(),
            name,
            ttl,
            policy: Policy::pushed(AffectedProbe::Readiness, ttl),
            component_type: ComponentType::default(),
            runbook: None,
        }
    }

    /// Registers the check. `first` is its initial report, if there is one.
    fn register(self, first: Option<Outcome>) -> (Change, PushHandle) {
        super::watchdog::watch_process(&self.health);
        let handle = PushHandle {
            board: Arc::clone(self.health.board()),
            pushed: Arc::new(Pushed::new(self.ttl)),
        };
        if let Some(first) = first {
            handle.report(&first);
        }
        let pushed = Arc::clone(&handle.pushed);
        let change = self.health.register_pushed(
            &self.name,
            self.ttl,
            self.policy,
            self.component_type,
            self.runbook,
            pushed,
        );
        (change, handle)
    }
}

macro_rules! settings {
    ($builder:ident) => {
        impl $builder {
            /// Sets how a failure of this check affects readiness. Defaults to
            /// [`Criticality::Critical`].
            pub fn criticality(mut self, criticality: Criticality) -> Self {
                self.spoken.policy.criticality = criticality;
                self
            }

            /// Marks the dependency as shared: all replicas lose it at the same time. See
            /// [`Criticality::Shared`]. Defaults to critical.
            pub fn shared(self) -> Self {
                self.criticality(Criticality::Shared)
            }

            /// Marks the check as non-critical: the service works without it. See
            /// [`Criticality::NonCritical`]. Defaults to critical.
            pub fn non_critical(self) -> Self {
                self.criticality(Criticality::NonCritical)
            }

            /// Sets the kind of component that the check reports on. Defaults to
            /// [`ComponentType::Component`].
            pub fn component_type(mut self, component_type: ComponentType) -> Self {
                self.spoken.component_type = component_type;
                self
            }

            /// Sets the URL of the instructions for a failure of this check: see
            /// [`Check::runbook`](crate::Check::runbook). Defaults to none.
            pub fn runbook(mut self, url: impl Into<String>) -> Self {
                self.spoken.runbook = Some(url.into());
                self
            }
        }
    };
}

/// Builder of a [`Reporter`]. Returned by [`Health::reporter`]. Await it to register the check. The
/// builder contains a [`Health`], so it keeps the checks running until then.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_health::{ComponentType, Criticality, Health, error::ChangeError};
///
/// let health = Health::builder("orders").start()?;
/// let ttl = Duration::from_secs(60);
/// let prices = health
///     .reporter("prices", ttl)
///     .component_type(ComponentType::Datastore)
///     .non_critical()
///     .await?;
/// let report = health.check("prices")?;
/// assert!(report.is_pending());
/// assert_eq!(report.criticality, Criticality::NonCritical);
///
/// // The name is taken.
/// let error = health.reporter("prices", ttl).await.unwrap_err();
/// assert!(matches!(error, ChangeError::Config(_)));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns the same errors as [`Health::add`].
#[derive(Debug)]
#[must_use = "nothing is registered until it is awaited"]
pub struct ReporterBuilder {
    spoken: Spoken,
}

settings!(ReporterBuilder);

impl IntoFuture for ReporterBuilder {
    type Output = Result<Reporter, ChangeError>;
    type IntoFuture = Registering<Reporter>;

    fn into_future(self) -> Registering<Reporter> {
        let (change, handle) = self.spoken.register(None);
        Registering {
            change,
            registered: Some(Reporter { handle }),
        }
    }
}

/// Builder of a [`Heartbeat`]. Returned by [`Health::heartbeat`]. Await it to register the check.
/// The builder contains a [`Health`], so it keeps the checks running until then.
///
/// The registration counts as the first tick, so the check is never pending.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_health::{Health, Probe, Status};
///
/// let health = Health::builder("orders").start()?;
/// let heartbeat = health
///     .heartbeat("consumer", Duration::from_secs(30))
///     .non_critical()
///     .await?;
/// assert_eq!(health.check("consumer")?.status, Status::Pass);
/// drop(heartbeat);
/// assert_eq!(health.verdict(Probe::Readiness).status, Status::Warn);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Returns the same errors as [`Health::add`].
#[derive(Debug)]
#[must_use = "nothing is registered until it is awaited"]
pub struct HeartbeatBuilder {
    spoken: Spoken,
}

settings!(HeartbeatBuilder);

impl HeartbeatBuilder {
    /// Lets the worker affect liveness, and not readiness: without the worker the process is of no
    /// use and must be restarted. Use it only for work that nothing outside this process can stop.
    /// A worker that waits for a database must tick while it waits. Defaults to readiness.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::{Health, Probe, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let heartbeat = health
    ///     .heartbeat("scheduler", Duration::from_secs(30))
    ///     .liveness()
    ///     .await?;
    /// drop(heartbeat); // the worker panicked, for example
    /// assert_eq!(health.verdict(Probe::Liveness).status, Status::Fail);
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn liveness(mut self) -> Self {
        self.spoken.policy.affects = AffectedProbe::Liveness;
        self
    }
}

impl IntoFuture for HeartbeatBuilder {
    type Output = Result<Heartbeat, ChangeError>;
    type IntoFuture = Registering<Heartbeat>;

    fn into_future(self) -> Registering<Heartbeat> {
        let (change, handle) = self.spoken.register(Some(Outcome::pass()));
        Registering {
            change,
            registered: Some(Heartbeat {
                handle,
                ended: false,
            }),
        }
    }
}

/// Future that registers a check that the application reports. Returned by [`ReporterBuilder`] and
/// [`HeartbeatBuilder`]. It does not keep the checks running.
///
/// The registration proceeds whether or not the future is polled. Dropping the future drops the
/// handle that it would return. A reporter's check stays, and becomes stale. A heartbeat that is
/// not registered yet will not be.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_health::{Health, future::Registering, push::Reporter};
///
/// let health = Health::builder("orders").start()?;
/// let prices = health.reporter("prices", Duration::from_secs(60));
/// let registering: Registering<Reporter> = prices.into_future();
/// assert!(health.check("prices").is_err());
/// let _prices = registering.await?;
/// assert!(health.check("prices").is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the future returns what was registered"]
pub struct Registering<T> {
    change: Change,
    registered: Option<T>,
}

impl<T: Unpin> Future for Registering<T> {
    type Output = Result<T, ChangeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let changed = ready!(Pin::new(&mut self.change).poll(cx));
        match (changed, self.registered.take()) {
            (Ok(_), Some(registered)) => Poll::Ready(Ok(registered)),
            (Err(error), _) => Poll::Ready(Err(error)),
            // Polled again after it was ready. There is no value left to return.
            (Ok(_), None) => Poll::Pending,
        }
    }
}

/// Handle that pushes reports of one check.
#[derive(Clone)]
struct PushHandle {
    board: Arc<Board>,
    pushed: Arc<Pushed>,
}

impl PushHandle {
    /// Pushes a report. It is recorded at the registration, if that comes later.
    fn report(&self, outcome: &Outcome) {
        self.board.push(&self.pushed, outcome);
    }
}

impl fmt::Debug for PushHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushHandle").finish_non_exhaustive()
    }
}

/// Handle that reports the result of a check. Returned by [`Health::reporter`]. A clone reports on
/// the same check.
///
/// It can be used on any thread, and does not keep the checks running. If no handle reports any
/// more, the check becomes stale.
#[derive(Clone, Debug)]
pub struct Reporter {
    handle: PushHandle,
}

impl Reporter {
    /// Reports the current result, which is anything that the code of a check may return. It is
    /// visible to every reader immediately. It needs no runtime.
    ///
    /// Until the engine has recorded them, at most 8 reports are kept. A report with the same
    /// status as the report before it replaces that report. If an application reports changes
    /// faster than they are recorded, subscribers may thus miss some. The last one is never lost.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{io, time::Duration};
    /// use tower_health::{Health, Reason, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let import = health.reporter("import", Duration::from_secs(3600)).await?;
    /// let imported: io::Result<()> = Err(io::ErrorKind::PermissionDenied.into());
    /// import.report(imported);
    /// assert_eq!(health.check("import")?.reason, Some(Reason::PermissionDenied));
    /// import.clone().report(Status::Pass);
    /// assert_eq!(health.check("import")?.status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn report(&self, outcome: impl IntoOutcome) {
        self.handle.report(&outcome.into_outcome());
    }
}

/// Handle that reports that a worker is alive. Returned by [`Health::heartbeat`]. The worker should
/// own it.
///
/// It can be used on any thread, and does not keep the checks running.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::{thread, time::Duration};
/// use tower_health::{Health, Reason, Status};
///
/// let health = Health::builder("orders").start()?;
/// let heartbeat = health.heartbeat("consumer", Duration::from_secs(30)).await?;
/// let worker = thread::spawn(move || {
///     heartbeat.tick();
///     // It returns without a call to `stop`, which drops the heartbeat.
/// });
/// worker.join().expect("no panic");
/// assert_eq!(health.check("consumer")?.reason, Some(Reason::Died));
///
/// // Another worker takes over.
/// let _heartbeat = health.heartbeat("consumer", Duration::from_secs(30)).await?;
/// assert_eq!(health.check("consumer")?.status, Status::Pass);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the worker has died when this is dropped"]
pub struct Heartbeat {
    handle: PushHandle,
    /// Whether it was stopped.
    ended: bool,
}

impl Heartbeat {
    /// Reports that the worker is alive. It is cheap enough for each iteration of a loop: usually
    /// it only stores the time. A tick after the check became stale makes it pass immediately.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tokio::time::sleep;
    /// use tower_health::{Health, Reason, Status};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let heartbeat = health.heartbeat("consumer", Duration::from_secs(30)).await?;
    /// sleep(Duration::from_secs(31)).await;
    /// assert_eq!(health.check("consumer")?.reason, Some(Reason::Stale));
    /// heartbeat.tick();
    /// assert_eq!(health.check("consumer")?.status, Status::Pass);
    /// # Ok(())
    /// # }
    /// ```
    pub fn tick(&self) {
        if !self.handle.board.confirm(&self.handle.pushed) {
            self.handle.report(&Outcome::pass());
        }
    }

    /// Ends the heartbeat as planned, and removes its check. The call only requests the removal,
    /// which the engine does shortly after.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::{Health, event::Event};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let heartbeat = health.heartbeat("import", Duration::from_secs(30)).await?;
    /// let mut events = health.subscribe();
    /// heartbeat.stop();
    /// assert!(matches!(events.next().await, Some(Event::Removed(name)) if name == "import"));
    /// assert!(health.check("import").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop(mut self) {
        self.withdraw();
    }

    /// Has the engine remove the check, once. If another heartbeat has taken its name, the check
    /// stays.
    fn withdraw(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let withdraws = Message::Withdraw(Arc::clone(&self.handle.pushed));
            // Without an engine there is no check to remove.
            _ = self.handle.board.send(withdraws);
        }
    }
}

impl Drop for Heartbeat {
    /// Reports that the worker has died, unless the instance is draining.
    fn drop(&mut self) {
        // If it is not registered yet, it will not be.
        self.handle.pushed.abandon();
        if self.handle.pushed.is_unregistered() {
            return;
        }
        if self.handle.board.is_draining() {
            return self.withdraw();
        }
        if !self.ended {
            let how = if thread::panicking() {
                "the worker panicked"
            } else {
                "the worker ended without being stopped"
            };
            self.handle
                .report(&Outcome::fail(Reason::Died).with_cause(how));
        }
    }
}
