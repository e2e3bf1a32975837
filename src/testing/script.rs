//! A check for tests that does what the test says.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{
    check::{HealthCheck, IntoOutcome},
    model::{Failure, Outcome},
};

/// A check that returns configurable results, and counts its runs. A clone shares the state of the
/// original, so a test keeps one and gives the other to the service.
///
/// What a run returns is decided when it ends, and not when it starts: the next queued
/// [outcome](Self::push_outcome), or else what was set last.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Probe, Status, testing::ScriptedCheck};
///
/// let database = ScriptedCheck::new(Status::Pass);
/// let health = Health::builder("orders")
///     .check(Check::new("database", database.clone()))
///     .start()?;
/// health.wait_until(Probe::Readiness, Status::Pass).await?;
///
/// database.set_outcome(Status::Fail);
/// health.run_now("database").await?;
/// assert_eq!(health.verdict(Probe::Readiness).status, Status::Fail);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScriptedCheck(Arc<Shared>);

/// What all clones share.
struct Shared {
    script: Mutex<Script>,
    /// Wakes runs that hang.
    resumed: Notify,
}

/// The results to return, and the counts of runs.
struct Script {
    /// The results of the next runs, one for each run.
    next: VecDeque<Step>,
    /// The result of each run after those.
    then: Step,
    /// How long a run takes before it ends.
    duration: Duration,
    /// The number of runs that were started.
    runs: usize,
    /// The number of runs that are in progress.
    running: usize,
    /// The largest value of `running` so far.
    max_running: usize,
}

/// How a run ends.
#[derive(Clone)]
enum Step {
    Outcome(Outcome),
    Panic(&'static str),
    Hang,
}

impl ScriptedCheck {
    /// Creates a check that returns this outcome immediately. The outcome is anything that the
    /// function of a check may return.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::io;
    ///
    /// use tower_health::{HealthCheck, Reason, testing::ScriptedCheck};
    ///
    /// let refused: io::Result<()> = Err(io::ErrorKind::ConnectionRefused.into());
    /// let database = ScriptedCheck::new(refused);
    /// assert_eq!(database.check().await.unwrap().reason(), Some(Reason::ConnectionRefused));
    /// assert_eq!(database.runs(), 1);
    /// # }
    /// ```
    pub fn new(outcome: impl IntoOutcome) -> Self {
        Self::of(Step::Outcome(outcome.into_outcome()))
    }

    /// Creates a check whose runs never end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tower_health::{Check, Health, testing::ScriptedCheck};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("database", ScriptedCheck::hanging()).timeout(Duration::from_secs(3)))
    ///     .start()?;
    /// let report = health.run_now("database").await?;
    /// assert_eq!(report.why().as_deref(), Some("timed out"));
    /// assert_eq!(report.last_run.unwrap().duration.as_secs(), 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn hanging() -> Self {
        Self::of(Step::Hang)
    }

    /// Creates a check that panics with this payload. A run that panics fails, and its payload is
    /// withheld.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, testing::ScriptedCheck};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("database", ScriptedCheck::panicking("password=hunter2")))
    ///     .start()?;
    /// let report = health.run_now("database").await?;
    /// assert_eq!(report.why().as_deref(), Some("panicked"));
    /// assert!(!report.cause.unwrap().redacted().contains("hunter2"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn panicking(payload: &'static str) -> Self {
        Self::of(Step::Panic(payload))
    }

    /// Creates a check with an empty queue, no duration and no runs.
    fn of(then: Step) -> Self {
        let script = Script {
            next: VecDeque::new(),
            then,
            duration: Duration::ZERO,
            runs: 0,
            running: 0,
            max_running: 0,
        };
        Self(Arc::new(Shared {
            script: Mutex::new(script),
            resumed: Notify::new(),
        }))
    }

    /// Sets the duration of each run, measured with [`tokio::time`]. Defaults to 0 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tower_health::{Check, Health, Reason, Status, testing::ScriptedCheck};
    ///
    /// let slow = ScriptedCheck::new(Status::Pass).duration(Duration::from_millis(800));
    /// let health = Health::builder("orders")
    ///     .check(Check::new("search", slow).warn_above(Duration::from_millis(500)))
    ///     .start()?;
    /// assert_eq!(health.run_now("search").await?.reason, Some(Reason::Slow));
    /// # Ok(())
    /// # }
    /// ```
    pub fn duration(self, duration: Duration) -> Self {
        self.set_duration(duration);
        self
    }

    /// Sets the outcome of the runs that end from now on. It replaces an outcome, a
    /// [panic](Self::panic) or a [hang](Self::hang) that was set before. Queued outcomes still come
    /// first. A run that already hangs continues to hang: see [`resume`](Self::resume).
    pub fn set_outcome(&self, outcome: impl IntoOutcome) {
        self.script().then = Step::Outcome(outcome.into_outcome());
    }

    /// Queues an outcome for a single run, after the outcomes that are already queued. Later runs
    /// behave as set by [`set_outcome`](Self::set_outcome), [`panic`](Self::panic) or
    /// [`hang`](Self::hang).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{HealthCheck, Status, testing::ScriptedCheck};
    ///
    /// let flaky = ScriptedCheck::new(Status::Pass);
    /// flaky.push_outcome(Status::Fail);
    /// flaky.push_outcome(Status::Warn);
    /// let mut statuses = Vec::new();
    /// for _ in 0..4 {
    ///     statuses.push(flaky.check().await.unwrap().status());
    /// }
    /// assert_eq!(statuses, [Status::Fail, Status::Warn, Status::Pass, Status::Pass]);
    /// # }
    /// ```
    pub fn push_outcome(&self, outcome: impl IntoOutcome) {
        let step = Step::Outcome(outcome.into_outcome());
        self.script().next.push_back(step);
    }

    /// Makes the runs that end from now on panic with this payload. Queued outcomes still come
    /// first.
    pub fn panic(&self, payload: &'static str) {
        self.script().then = Step::Panic(payload);
    }

    /// Makes runs hang from now on instead of ending, until [`resume`](Self::resume) is called.
    /// Queued outcomes still come first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Reason, Status, testing::ScriptedCheck};
    ///
    /// let database = ScriptedCheck::new(Status::Pass);
    /// let health = Health::builder("orders")
    ///     .check(Check::new("database", database.clone()))
    ///     .start()?;
    /// assert_eq!(health.run_now("database").await?.status, Status::Pass);
    ///
    /// database.hang();
    /// assert_eq!(health.run_now("database").await?.reason, Some(Reason::TimedOut));
    /// # Ok(())
    /// # }
    /// ```
    pub fn hang(&self) {
        self.script().then = Step::Hang;
    }

    /// Sets the outcome of the runs that end from now on, and ends the runs that hang. A run that
    /// hangs returns this outcome, or a queued outcome if there is one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status, testing::ScriptedCheck};
    ///
    /// let database = ScriptedCheck::hanging();
    /// let health = Health::builder("orders")
    ///     .check(Check::new("database", database.clone()))
    ///     .start()?;
    /// tokio::task::yield_now().await;
    /// database.resume(Status::Pass);
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    /// assert_eq!(database.runs(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume(&self, outcome: impl IntoOutcome) {
        self.set_outcome(outcome);
        self.0.resumed.notify_waiters();
    }

    /// Sets the duration of the runs that start from now on. A run in progress keeps its duration.
    pub fn set_duration(&self, duration: Duration) {
        self.script().duration = duration;
    }

    /// Returns the number of runs that were started, including those that hang or were dropped.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.script().runs
    }

    /// Returns the number of runs that are in progress. A run that was dropped at its timeout is
    /// not.
    #[must_use]
    pub fn running(&self) -> usize {
        self.script().running
    }

    /// Returns the largest number of runs that were in progress at the same time. The engine never
    /// runs a check twice at once. A clone that is registered under a second name may run beside
    /// it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tower_health::{Check, Health, Probe, Status, testing::ScriptedCheck};
    ///
    /// let code = ScriptedCheck::new(Status::Pass).duration(Duration::from_secs(1));
    /// let health = Health::builder("orders")
    ///     .checks((0..8).map(|shard| Check::new(format!("shard-{shard}"), code.clone())))
    ///     .concurrency(3)
    ///     .start()?;
    /// health.wait_until_good(Probe::Startup).await?;
    /// assert_eq!(code.max_running(), 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn max_running(&self) -> usize {
        self.script().max_running
    }

    /// Locks the script. It is never locked across an `await`.
    fn script(&self) -> MutexGuard<'_, Script> {
        // A script is consistent between any two statements, so a poisoned lock is usable.
        let script = self.0.script.lock();
        script.unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a run that starts. Returns its duration, and a guard that counts its end.
    fn begin(&self) -> (Duration, RunGuard<'_>) {
        let mut script = self.script();
        script.runs += 1;
        script.running += 1;
        script.max_running = script.max_running.max(script.running);
        (script.duration, RunGuard(self))
    }

    /// Returns how a run ends now, and removes that from the queue.
    fn step(&self) -> Step {
        let mut script = self.script();
        let next = script.next.pop_front();
        next.unwrap_or_else(|| script.then.clone())
    }
}

/// Records the end of a run, however it ends.
struct RunGuard<'a>(&'a ScriptedCheck);

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        self.0.script().running -= 1;
    }
}

#[async_trait]
impl HealthCheck for ScriptedCheck {
    async fn check(&self) -> Result<Outcome, Failure> {
        let (duration, _ends) = self.begin();
        if !duration.is_zero() {
            tokio::time::sleep(duration).await;
        }
        loop {
            // Register before checking, so that no wakeup is lost.
            let resumed = self.0.resumed.notified();
            match self.step() {
                Step::Outcome(outcome) => return Ok(outcome),
                Step::Panic(payload) => std::panic::panic_any(payload),
                Step::Hang => resumed.await,
            }
        }
    }
}

impl fmt::Debug for ScriptedCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let script = self.script();
        f.debug_struct("ScriptedCheck")
            .field("runs", &script.runs)
            .field("running", &script.running)
            .finish_non_exhaustive()
    }
}
