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
/// original.
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

struct Shared {
    script: Mutex<Script>,
    /// Wakes runs that hang.
    resumed: Notify,
}

struct Script {
    /// The results of the next runs, one for each run.
    next: VecDeque<Step>,
    /// The result of each run after those.
    then: Step,
    duration: Duration,
    runs: usize,
    running: usize,
    max_running: usize,
}

#[derive(Clone)]
enum Step {
    Outcome(Outcome),
    Panic(&'static str),
    Hang,
}

impl ScriptedCheck {
    /// Creates a check that returns this outcome immediately.
    pub fn new(outcome: impl IntoOutcome) -> Self {
        Self::of(Step::Outcome(outcome.into_outcome()))
    }

    /// Creates a check whose runs never end.
    #[must_use]
    pub fn hanging() -> Self {
        Self::of(Step::Hang)
    }

    /// Creates a check that panics with this payload.
    #[must_use]
    pub fn panicking(payload: &'static str) -> Self {
        Self::of(Step::Panic(payload))
    }

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

    /// Sets the duration of each run. Defaults to 0 s.
    pub fn duration(self, duration: Duration) -> Self {
        self.set_duration(duration);
        self
    }

    /// Sets the outcome of the runs that end from now on.
    pub fn set_outcome(&self, outcome: impl IntoOutcome) {
        self.script().then = Step::Outcome(outcome.into_outcome());
    }

    /// Queues an outcome for a single run, after the outcomes that are already queued. Later runs
    /// behave as set by [`set_outcome`](Self::set_outcome), [`panic`](Self::panic) or [`hang`](Self::hang).
    pub fn push_outcome(&self, outcome: impl IntoOutcome) {
        let step = Step::Outcome(outcome.into_outcome());
        self.script().next.push_back(step);
    }

    /// Makes the runs that end from now on panic with this payload.
    pub fn panic(&self, payload: &'static str) {
        self.script().then = Step::Panic(payload);
    }

    /// Makes runs hang from now on instead of ending, until [`resume`](Self::resume) is called.
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

    /// Sets the duration of the runs that start from now on.
    pub fn set_duration(&self, duration: Duration) {
        self.script().duration = duration;
    }

    /// Returns the number of runs that were started.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.script().runs
    }

    /// Returns the number of runs that are in progress.
    #[must_use]
    pub fn running(&self) -> usize {
        self.script().running
    }

    /// Returns the largest number of runs that were in progress at the same time.
    #[must_use]
    pub fn max_running(&self) -> usize {
        self.script().max_running
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // A script is consistent between any two statements, so a poisoned lock is usable.
        let script = self.0.script.lock();
        script.unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> (Duration, RunGuard<'_>) {
        let mut script = self.script();
        script.runs += 1;
        script.running += 1;
        script.max_running = script.max_running.max(script.running);
        (script.duration, RunGuard(self))
    }

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
