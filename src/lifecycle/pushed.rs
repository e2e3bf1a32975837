//! What the application says itself: by reporters, and by the heartbeats of its workers.

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
    Change, ChangeError, Health,
    check::{IntoOutcome, Part, Policy},
    engine::{Board, Message, Pushed},
    model::{ComponentType, Criticality, Outcome, Reason},
};

impl Health {
    /// A check of which the application itself says how it is, whenever it learns that: the state of a leader
    /// election, the last import. What was said holds for `ttl`; after that the check is [stale](Reason::Stale).
    ///
    /// While it is pending it takes no instance out of rotation; if `ttl` is over before the first report, it is stale.
    /// It does not keep the checks running. There is nothing that [`run_now`](Self::run_now) could run, and `replace` is an error;
    /// [`remove`](Self::remove) it when it has nothing to say any more.
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

    /// A check that a worker in the background is at work: it [ticks](Heartbeat::tick) at least each `ttl`, or the check is
    /// [stale](Reason::Stale). If the worker ends without saying that it does so on purpose, because it panicked, returned
    /// or was cancelled, the check fails at once and for good: [died](Reason::Died). A worker that takes its place may take its
    /// name.
    ///
    /// By default a worker that is missing makes the instance not ready. With [`liveness`](HeartbeatBuilder::liveness) it is to
    /// be restarted.
    ///
    /// A process that was suspended is no dead worker: each gets its `ttl` anew. Nor is one that ends while the instance
    /// [leaves](Self::drain).
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
    ///     heartbeat.stop(); // on purpose
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

/// What is to be registered, and for how long what is said of it holds.
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
            policy: Policy::pushed(Part::Readiness, ttl),
            component_type: ComponentType::default(),
            runbook: None,
        }
    }

    /// Registers it, with what is said of it from the start.
    fn register(self, first: Option<Outcome>) -> (Change, Voice) {
        super::watchdog::watch_process(&self.health);
        let voice = Voice {
            board: Arc::clone(self.health.board()),
            pushed: Arc::new(Pushed::new(self.ttl)),
        };
        if let Some(first) = first {
            voice.say(&first);
        }
        let pushed = Arc::clone(&voice.pushed);
        let change = self.health.enlist(
            &self.name,
            self.ttl,
            self.policy,
            self.component_type,
            self.runbook,
            pushed,
        );
        (change, voice)
    }
}

macro_rules! settings {
    ($builder:ident) => {
        impl $builder {
            /// What it does to readiness when it fails. Defaults to [`Criticality::Critical`].
            pub fn criticality(mut self, criticality: Criticality) -> Self {
                self.spoken.policy.criticality = criticality;
                self
            }

            /// Every replica loses it at once: see [`Criticality::Shared`]. Defaults to critical.
            pub fn shared(self) -> Self {
                self.criticality(Criticality::Shared)
            }

            /// The service can do without it: see [`Criticality::NonCritical`]. Defaults to critical.
            pub fn non_critical(self) -> Self {
                self.criticality(Criticality::NonCritical)
            }

            /// What kind of thing it tells of. Defaults to [`ComponentType::Component`].
            pub fn component_type(mut self, component_type: ComponentType) -> Self {
                self.spoken.component_type = component_type;
                self
            }

            /// What to do when it fails: see [`Check::runbook`](crate::Check::runbook). Defaults to none.
            pub fn runbook(mut self, url: impl Into<String>) -> Self {
                self.spoken.runbook = Some(url.into());
                self
            }
        }
    };
}

/// A [`Reporter`] to be: made by [`Health::reporter`], and registered by being awaited.
///
/// # Errors
///
/// As of [`Health::add`].
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
        let (change, voice) = self.spoken.register(None);
        Registering {
            change,
            registered: Some(Reporter { voice }),
        }
    }
}

/// A [`Heartbeat`] to be: made by [`Health::heartbeat`], and registered by being awaited.
///
/// # Errors
///
/// As of [`Health::add`].
#[derive(Debug)]
#[must_use = "nothing is registered until it is awaited"]
pub struct HeartbeatBuilder {
    spoken: Spoken,
}

settings!(HeartbeatBuilder);

impl HeartbeatBuilder {
    /// Without it the process is of no use and has to be restarted: it decides liveness, and not readiness. For work that
    /// nothing but this process can be the reason of; a worker that waits for a database is to tick while it waits.
    /// Defaults to readiness.
    pub fn liveness(mut self) -> Self {
        self.spoken.policy.part = Part::Liveness;
        self
    }
}

impl IntoFuture for HeartbeatBuilder {
    type Output = Result<Heartbeat, ChangeError>;
    type IntoFuture = Registering<Heartbeat>;

    fn into_future(self) -> Registering<Heartbeat> {
        let (change, voice) = self.spoken.register(Some(Outcome::pass()));
        Registering {
            change,
            registered: Some(Heartbeat {
                voice,
                ended: false,
            }),
        }
    }
}

/// Registers what the application speaks of itself: the future of [`ReporterBuilder`] and [`HeartbeatBuilder`]. It does not
/// keep the checks running.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
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
            // Polled again after it was ready, it has nothing to say.
            (Ok(_), None) => Poll::Pending,
        }
    }
}

/// What is spoken by.
#[derive(Clone)]
struct Voice {
    board: Arc<Board>,
    pushed: Arc<Pushed>,
}

impl Voice {
    fn say(&self, outcome: &Outcome) {
        self.board.push(&self.pushed, outcome);
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").finish_non_exhaustive()
    }
}

/// Says how a check is: made by [`Health::reporter`]. A clone speaks of the same check.
///
/// It may be used on any thread, and does not keep the checks running. If nobody speaks any more, the check becomes stale.
#[derive(Clone, Debug)]
pub struct Reporter {
    voice: Voice,
}

impl Reporter {
    /// Says how it is, from now on: what a check's code returns. Every reader knows at once.
    pub fn report(&self, outcome: impl IntoOutcome) {
        self.voice.say(&outcome.into_outcome());
    }
}

/// Says that a worker is at work: made by [`Health::heartbeat`]. Let the worker own it.
///
/// It may be used on any thread, and does not keep the checks running.
#[derive(Debug)]
#[must_use = "the worker has died when this is dropped"]
pub struct Heartbeat {
    voice: Voice,
    /// Whether it was stopped.
    ended: bool,
}

impl Heartbeat {
    /// The worker is at work: cheap enough for each turn of a loop.
    pub fn tick(&self) {
        if !self.voice.board.confirm(&self.voice.pushed) {
            self.voice.say(&Outcome::pass());
        }
    }

    /// The worker ends on purpose. Its check goes.
    pub fn stop(mut self) {
        self.withdraw();
    }

    fn withdraw(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let withdraws = Message::Withdraw(Arc::clone(&self.voice.pushed));
            // If there is no engine, there is no check.
            _ = self.voice.board.tell(withdraws);
        }
    }
}

impl Drop for Heartbeat {
    /// The worker has died, unless the instance leaves.
    fn drop(&mut self) {
        // If it is not registered yet, it will not be.
        self.voice.pushed.abandon();
        if self.voice.pushed.is_unregistered() {
            return;
        }
        if self.voice.board.is_draining() {
            return self.withdraw();
        }
        if !self.ended {
            let how = match thread::panicking() {
                true => "the worker panicked",
                false => "the worker ended, and did not say that it would",
            };
            self.voice.say(&Outcome::fail(Reason::Died).with_cause(how));
        }
    }
}
