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

/// A check that says what it is told to say, and tells how it was run. A clone is the same check.
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
/// database.say(Status::Fail);
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
    goes_on: Notify,
}

struct Script {
    /// What the next runs say, one each.
    next: VecDeque<Line>,
    /// What each run after those says.
    says: Line,
    takes: Duration,
    runs: usize,
    running: usize,
    most_running: usize,
}

#[derive(Clone)]
enum Line {
    Outcome(Outcome),
    Panic(&'static str),
    Hang,
}

impl ScriptedCheck {
    /// A check that says this, at once.
    pub fn new(outcome: impl IntoOutcome) -> Self {
        Self::of(Line::Outcome(outcome.into_outcome()))
    }

    /// A check whose runs never end.
    #[must_use]
    pub fn hanging() -> Self {
        Self::of(Line::Hang)
    }

    /// A check that panics with this payload.
    #[must_use]
    pub fn panicking(payload: &'static str) -> Self {
        Self::of(Line::Panic(payload))
    }

    fn of(says: Line) -> Self {
        let script = Script {
            next: VecDeque::new(),
            says,
            takes: Duration::ZERO,
            runs: 0,
            running: 0,
            most_running: 0,
        };
        Self(Arc::new(Shared {
            script: Mutex::new(script),
            goes_on: Notify::new(),
        }))
    }

    /// How long each run takes. Defaults to no time.
    pub fn taking(self, duration: Duration) -> Self {
        self.take(duration);
        self
    }

    /// Says this from the next end of a run on.
    pub fn say(&self, outcome: impl IntoOutcome) {
        self.script().says = Line::Outcome(outcome.into_outcome());
    }

    /// Says this once, after what was put in line before; then goes on as it is told by [`say`](Self::say),
    /// [`panic`](Self::panic) or [`hang`](Self::hang).
    pub fn say_once(&self, outcome: impl IntoOutcome) {
        let line = Line::Outcome(outcome.into_outcome());
        self.script().next.push_back(line);
    }

    /// Panics with this payload from the next end of a run on.
    pub fn panic(&self, payload: &'static str) {
        self.script().says = Line::Panic(payload);
    }

    /// Never ends a run from now on, until it is told to [go on](Self::go_on).
    pub fn hang(&self) {
        self.script().says = Line::Hang;
    }

    /// Says this from now on, and lets the runs that hang end with it.
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
    /// database.go_on(Status::Pass);
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    /// assert_eq!(database.runs(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn go_on(&self, outcome: impl IntoOutcome) {
        self.say(outcome);
        self.0.goes_on.notify_waiters();
    }

    /// How long each run takes that starts from now on.
    pub fn take(&self, duration: Duration) {
        self.script().takes = duration;
    }

    /// How many runs were started.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.script().runs
    }

    /// How many runs are under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.script().running
    }

    /// How many runs were ever under way at once.
    #[must_use]
    pub fn most_running(&self) -> usize {
        self.script().most_running
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        // A script is whole between any two of its statements.
        let script = self.0.script.lock();
        script.unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> (Duration, Ends<'_>) {
        let mut script = self.script();
        script.runs += 1;
        script.running += 1;
        script.most_running = script.most_running.max(script.running);
        (script.takes, Ends(self))
    }

    fn line(&self) -> Line {
        let mut script = self.script();
        let next = script.next.pop_front();
        next.unwrap_or_else(|| script.says.clone())
    }
}

/// Notes the end of a run, however it ends.
struct Ends<'a>(&'a ScriptedCheck);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.script().running -= 1;
    }
}

#[async_trait]
impl HealthCheck for ScriptedCheck {
    async fn check(&self) -> Result<Outcome, Failure> {
        let (takes, _ends) = self.begin();
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        loop {
            // Registered before it is read, so that no word is missed.
            let goes_on = self.0.goes_on.notified();
            match self.line() {
                Line::Outcome(outcome) => return Ok(outcome),
                Line::Panic(payload) => std::panic::panic_any(payload),
                Line::Hang => goes_on.await,
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
