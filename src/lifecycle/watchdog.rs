//! One thread that sees what no runtime can see of itself: that it does not poll any more.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    task::AbortHandle,
};

use super::lag::Lag;
use crate::{
    Health, HealthBuilder,
    check::{Part, Policy},
    detached,
    engine::{Awake, Board, Message, Pushed},
    model::{Outcome, Reason, Status},
    telemetry,
};

/// What the runtime of the checks is named in reports.
pub(crate) const OWN: &str = "runtime";

/// For how long a runtime may not poll, unless told otherwise.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// What was told of a runtime holds while the thread confirms it, as it does all the time.
pub(crate) const HOLDS: Duration = Duration::from_secs(3600);

/// At how many looks once its lag is told as a metric.
const TOLD: u32 = 4;

impl HealthBuilder {
    /// Watches from a thread of its own that the runtime polls. If it does not for `bound`, liveness fails:
    /// [runtime stalled](Reason::RuntimeStalled); from a tenth of that on it warns: [runtime lags](Reason::RuntimeLags). Reports
    /// have it as the check `runtime`, metrics the lag as `health_runtime_lag_seconds`. Defaults to no watchdog, but on a
    /// management port with a thread of its own there is one with a bound of 10 s.
    ///
    /// A runtime that stalls cannot say so on its own: on a port that it serves there is no answer then. Liveness that is
    /// to tell the truth is served from a thread of its own, see `ServerBuilder::own_thread`.
    ///
    /// It is asked four times a second, so a stall is told no sooner than `bound` after its begin, and a quarter of a second
    /// later at the latest. What is ready at once is answered in microseconds, and on a busy multi-threaded
    /// runtime as soon as one worker is free. Neither a process that was suspended nor a machine without time to give is a
    /// stall. Do not choose a bound that a garbage collection of a neighbour could take: what fails liveness is killed.
    pub fn watchdog(mut self, bound: Duration) -> Self {
        self.watchdog.bound = Some(bound);
        self
    }

    /// Watches one more runtime, which is to end no sooner than this one: if it does, liveness fails with
    /// [runtime ended](Reason::RuntimeEnded). It is named in reports, and among checks, like a check. Its bound is that of the
    /// [watchdog](Self::watchdog), or 10 s. Defaults to none.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_health::Health;
    ///
    /// let (main, batch) = (tokio::runtime::Runtime::new()?, tokio::runtime::Runtime::new()?);
    /// let health = Health::builder("orders")
    ///     .runtime(main.handle().clone())
    ///     .watchdog(Duration::from_secs(10))
    ///     .watch_runtime("batch", batch.handle())
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_runtime(mut self, name: impl Into<String>, runtime: &Handle) -> Self {
        self.watchdog.others.push((name.into(), runtime.clone()));
        self
    }
}

/// How what is told of a runtime is taken.
pub(crate) fn policy() -> Policy {
    Policy::pushed(Part::Liveness, HOLDS)
}

/// A runtime to be watched, and what it is spoken of by.
pub(crate) struct Runtime {
    pub(crate) name: Arc<str>,
    pub(crate) handle: Handle,
    pub(crate) pushed: Arc<Pushed>,
    pub(crate) bound: Duration,
}

/// What a service has watched.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    runtimes: Arc<Mutex<Vec<Watched>>>,
    /// Whether the runtime of the checks is watched.
    own: AtomicBool,
}

impl Watchdog {
    /// Watches these runtimes, the first of which is that of the checks if `own` says so. Starts the thread if there is
    /// none yet. Without a thread to be had nothing is watched, and that is logged.
    pub(crate) fn watch(&self, board: &Arc<Board>, runtimes: Vec<Runtime>, own: bool) {
        self.own.fetch_or(own, Ordering::AcqRel);
        lock(&self.runtimes).extend(runtimes.into_iter().map(Watched::new));
        if !board.awake.start() {
            return;
        }
        board.awake.beat();
        let (watching, runtimes) = (Arc::clone(board), Arc::clone(&self.runtimes));
        let main = move || look_after(&watching, &runtimes);
        if detached::spawn("health-watchdog", Box::new(main)).is_err() {
            board.awake.end();
            telemetry::no_watchdog(&board.service.name);
            // What nobody speaks of would be taken for stalled one day.
            for watched in lock(&self.runtimes).drain(..) {
                let (reply, _) = oneshot::channel();
                let name = watched.runtime.name.to_string();
                _ = board.tell(Message::Remove(name, reply));
            }
        }
    }
}

/// Has a thread notice when the process is suspended.
pub(super) fn watch_process(health: &Health) {
    if health.board().runtime().is_some() {
        health.watchdog().watch(health.board(), Vec::new(), false);
    }
}

/// Watches the runtime of the checks, if nobody does yet.
#[cfg(any(feature = "server", all(unix, feature = "systemd")))]
pub(crate) fn watch_own(health: &Health) {
    let board = health.board();
    let Some(runtime) = board.runtime() else {
        return;
    };
    if health.watchdog().own.swap(true, Ordering::AcqRel) {
        return;
    }
    // Whoever has a check of that name keeps it.
    let name = match board.cell(OWN) {
        None => OWN,
        Some(_) => "runtime.watchdog",
    };
    let pushed = Arc::new(Pushed::lasting());
    let spoken = Arc::clone(&pushed);
    // It is as good as made: there is nothing to wait for.
    let system = crate::model::ComponentType::System;
    drop(health.enlist(name, HOLDS, policy(), system, None, spoken));
    let runtime = Runtime {
        name: name.into(),
        handle: runtime.clone(),
        pushed,
        bound: BOUND,
    };
    health.watchdog().watch(board, vec![runtime], true);
}

fn lock(runtimes: &Mutex<Vec<Watched>>) -> MutexGuard<'_, Vec<Watched>> {
    runtimes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks after a service until its checks end.
fn look_after(board: &Board, runtimes: &Mutex<Vec<Watched>>) {
    let awake = &board.awake;
    while !board.is_stopped() {
        let (now, suspended) = (awake.now(), awake.is_waking());
        if suspended {
            board.refresh();
        }
        let mut next = now + Awake::TICK;
        for runtime in lock(runtimes).iter_mut() {
            if suspended {
                runtime.lag.forgive(now);
            }
            runtime.look(board, now);
            next = runtime.lag.fails_at().map_or(next, |at| next.min(at));
        }
        awake.beat();
        thread::sleep(next.saturating_sub(awake.now()));
    }
    awake.end();
    let watched = std::mem::take(&mut *lock(runtimes));
    for runtime in watched {
        runtime.publish_lag(board, None);
    }
}

/// A runtime under watch.
struct Watched {
    runtime: Runtime,
    question: Arc<Question>,
    task: Option<AbortHandle>,
    lag: Lag,
    /// What was last told of it.
    told: Option<(Status, Option<Reason>)>,
    /// The longest lag since it was last told, and at how many looks.
    longest: Duration,
    looks: u32,
}

/// What a runtime is asked.
#[derive(Debug, Default)]
struct Question {
    bell: Notify,
    /// How often it was asked.
    asked: AtomicU64,
    /// Up to which of them it answered, and when it answered last.
    answered: AtomicU64,
    at: AtomicU64,
    gone: AtomicBool,
}

impl Watched {
    fn new(runtime: Runtime) -> Self {
        Self {
            lag: Lag::new(runtime.bound),
            runtime,
            question: Arc::default(),
            task: None,
            told: None,
            longest: Duration::ZERO,
            looks: 0,
        }
    }

    fn look(&mut self, board: &Board, now: Duration) {
        if self.question.gone.load(Ordering::Acquire) {
            let cause = format!("the runtime {} has ended", self.runtime.name);
            if self.told.map(|told| told.1) != Some(Some(Reason::RuntimeEnded)) {
                self.publish_lag(board, None);
            }
            return self.tell(board, Outcome::fail(Reason::RuntimeEnded).with_cause(cause));
        }
        if self.lag.see(now, self.question.answer()) {
            self.ask(board);
        }
        let (lag, name) = (self.lag.lag(), &self.runtime.name);
        let outcome = match self.lag.status() {
            Status::Pass => Outcome::pass(),
            Status::Warn => Outcome::warn(Reason::RuntimeLags),
            Status::Fail => Outcome::fail(Reason::RuntimeStalled),
        };
        let outcome = match outcome.status() {
            Status::Pass => outcome,
            _ => outcome.with_cause(format_args!(
                "the runtime {name} has not polled for {:.1} s",
                lag.as_secs_f64()
            )),
        };
        self.tell_lag(board);
        self.tell(board, outcome.measure("lag", lag.as_secs_f64(), "s"));
    }

    /// Asks the runtime to poll.
    fn ask(&mut self, board: &Board) {
        self.question.asked.fetch_add(1, Ordering::AcqRel);
        if self.task.is_none() {
            let answers = answer(Arc::clone(&self.question), board.awake.base());
            self.task = Some(self.runtime.handle.spawn(answers).abort_handle());
        }
        self.question.bell.notify_one();
    }

    /// Says how it is, if that is something else than before.
    fn tell(&mut self, board: &Board, outcome: Outcome) {
        let told = (outcome.status(), outcome.reason());
        if self.told == Some(told) && board.confirm(&self.runtime.pushed) {
            return;
        }
        let repeats = self.told.replace(told) == Some(told);
        if repeats && outcome.status() == Status::Fail {
            return;
        }
        board.push(&self.runtime.pushed, &outcome);
        if outcome.status() == Status::Fail {
            // The engine may not be able to.
            let cause = outcome.cause().map(|cause| cause.redacted().to_owned());
            telemetry::runtime_fails(&board.service.name, &self.runtime.name, cause);
        }
    }

    fn tell_lag(&mut self, board: &Board) {
        self.longest = self.longest.max(self.lag.lag());
        self.looks += 1;
        if self.looks >= TOLD {
            self.looks = 0;
            let longest = std::mem::take(&mut self.longest);
            self.publish_lag(board, Some(longest));
        }
    }

    /// `None`, once nobody knows it any more.
    fn publish_lag(&self, board: &Board, lag: Option<Duration>) {
        telemetry::metrics::runtime_lag(&board.service.name, &self.runtime.name, lag);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("name", &self.runtime.name)
            .field("lag", &self.lag)
            .finish_non_exhaustive()
    }
}

impl Question {
    /// When it was answered, if it was.
    fn answer(&self) -> Option<Duration> {
        let all = self.answered.load(Ordering::Acquire) == self.asked.load(Ordering::Acquire);
        all.then(|| Duration::from_nanos(self.at.load(Ordering::Acquire)))
    }
}

/// Notes when the runtime has no such task any more.
struct Gone(Arc<Question>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
    }
}

/// What the runtime polls.
async fn answer(question: Arc<Question>, base: Instant) {
    let gone = Gone(question);
    let question = &gone.0;
    loop {
        question.bell.notified().await;
        let nanos = u64::try_from(base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        question.at.store(nanos, Ordering::Release);
        let asked = question.asked.load(Ordering::Acquire);
        question.answered.store(asked, Ordering::Release);
    }
}
