//! A thread that detects that a runtime does not poll, because the runtime cannot detect this
//! itself.
//!
//! The thread wakes a task on each watched runtime, and measures how long the task takes to answer.
//! The results are pushed like those of a reporter. The same thread is the pulse of the process: if
//! it did not run, the process was suspended, and no runtime is blamed.

mod lag;

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

use self::lag::Lag;
use crate::{
    check::{AffectedProbe, Policy},
    detached,
    engine::{Board, Message, Pulse, Pushed},
    model::{Outcome, Reason, Status},
    telemetry,
};

/// The name of the checks' runtime in reports.
pub(crate) const OWN: &str = "runtime";

/// The default bound: how long a runtime may fail to poll.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// How long a pushed result of a runtime is valid. The thread confirms it continuously.
pub(crate) const HOLDS: Duration = Duration::from_secs(3600);

/// The number of observations after which the lag is published as a metric.
const LAG_EVERY: u32 = 4;

/// The policy of the checks that report on runtimes.
pub(crate) fn policy() -> Policy {
    Policy::pushed(AffectedProbe::Liveness, HOLDS)
}

/// A runtime to watch, and the handle that its result is pushed to.
pub(crate) struct Runtime {
    pub(crate) name: Arc<str>,
    pub(crate) handle: Handle,
    pub(crate) pushed: Arc<Pushed>,
    pub(crate) bound: Duration,
}

/// The runtimes that a service watches.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    runtimes: Arc<Mutex<Vec<Watched>>>,
    /// Whether the runtime of the checks is watched.
    own: AtomicBool,
}

impl Watchdog {
    /// Notes that the runtime of the checks is watched. Returns whether it was before.
    #[cfg(any(feature = "server", all(unix, feature = "systemd")))]
    pub(crate) fn claim_own(&self) -> bool {
        self.own.swap(true, Ordering::AcqRel)
    }

    /// Watches these runtimes. If `own` is set, the first is the runtime of the checks. Starts the
    /// thread if there is none yet. If no thread can be started, nothing is watched and that is
    /// logged.
    pub(crate) fn watch(&self, board: &Arc<Board>, runtimes: Vec<Runtime>, own: bool) {
        self.own.fetch_or(own, Ordering::AcqRel);
        lock(&self.runtimes).extend(runtimes.into_iter().map(Watched::new));
        if !board.pulse.start() {
            return;
        }
        board.pulse.beat();
        let (watching, runtimes) = (Arc::clone(board), Arc::clone(&self.runtimes));
        let main = move || look_after(&watching, &runtimes);
        if detached::spawn("health-watchdog", Box::new(main)).is_err() {
            board.pulse.stop();
            telemetry::no_watchdog(&board.service.name);
            // A check without reports would be considered stalled later.
            for watched in lock(&self.runtimes).drain(..) {
                let (reply, _) = oneshot::channel();
                let name = watched.runtime.name.to_string();
                _ = board.send(Message::Remove(name, reply));
            }
        }
    }
}

fn lock(runtimes: &Mutex<Vec<Watched>>) -> MutexGuard<'_, Vec<Watched>> {
    runtimes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches the runtimes of a service until its checks end. It wakes every 250 ms, and at the moment
/// at which a runtime that has not answered exceeds its bound.
fn look_after(board: &Board, runtimes: &Mutex<Vec<Watched>>) {
    let pulse = &board.pulse;
    while !board.is_stopped() {
        let (now, suspended) = (pulse.now(), pulse.has_just_resumed());
        if suspended {
            board.refresh();
        }
        let mut next = now + Pulse::TICK;
        for runtime in lock(runtimes).iter_mut() {
            if suspended {
                runtime.lag.forgive(now);
            }
            runtime.look(board, now);
            next = runtime.lag.fails_at().map_or(next, |at| next.min(at));
        }
        pulse.beat();
        thread::sleep(next.saturating_sub(pulse.now()));
    }
    pulse.stop();
    let watched = std::mem::take(&mut *lock(runtimes));
    for runtime in watched {
        runtime.publish_lag(board, None);
    }
}

/// A watched runtime.
struct Watched {
    runtime: Runtime,
    question: Arc<Question>,
    /// The task that answers. It is spawned with the first probe.
    task: Option<AbortHandle>,
    lag: Lag,
    /// The result that was last pushed.
    pushed_last: Option<(Status, Option<Reason>)>,
    /// The longest lag since it was last published, and the number of observations since then.
    longest: Duration,
    looks: u32,
}

/// The probes of a runtime, and its answers.
#[derive(Debug, Default)]
struct Question {
    /// Wakes the task that answers.
    bell: Notify,
    /// The number of probes sent.
    asked: AtomicU64,
    /// The last probe that was answered, and the time of the last answer.
    answered: AtomicU64,
    at: AtomicU64,
    /// Whether the task has ended, which it does with its runtime.
    gone: AtomicBool,
}

impl Watched {
    fn new(runtime: Runtime) -> Self {
        Self {
            lag: Lag::new(runtime.bound),
            runtime,
            question: Arc::default(),
            task: None,
            pushed_last: None,
            longest: Duration::ZERO,
            looks: 0,
        }
    }

    /// Observes the runtime at `now`, pushes the result, and sends another probe if the last one
    /// was answered.
    fn look(&mut self, board: &Board, now: Duration) {
        if self.question.gone.load(Ordering::Acquire) {
            let cause = format!("the runtime {} has ended", self.runtime.name);
            if self.pushed_last.map(|(_, reason)| reason) != Some(Some(Reason::RuntimeEnded)) {
                self.publish_lag(board, None);
            }
            return self.push(board, Outcome::fail(Reason::RuntimeEnded).with_cause(cause));
        }
        if self.lag.see(now, self.question.answer()) {
            self.ask(board);
        }
        let lag = self.lag.lag();
        let outcome = match self.lag.status() {
            Status::Pass => Outcome::pass(),
            Status::Warn => Outcome::warn(Reason::RuntimeLags),
            Status::Fail => Outcome::fail(Reason::RuntimeStalled),
        };
        let outcome = match outcome.status() {
            Status::Pass => outcome,
            _ => outcome.with_cause(format_args!(
                "no task of the runtime was polled for {:.1} s",
                lag.as_secs_f64()
            )),
        };
        self.record_lag(board);
        self.push(board, outcome.measure("lag", lag.as_secs_f64(), "s"));
    }

    /// Sends a probe to the runtime.
    fn ask(&mut self, board: &Board) {
        self.question.asked.fetch_add(1, Ordering::AcqRel);
        if self.task.is_none() {
            let answers = answer(Arc::clone(&self.question), board.pulse.base());
            self.task = Some(self.runtime.handle.spawn(answers).abort_handle());
        }
        self.question.bell.notify_one();
    }

    /// Pushes the result if it has changed.
    fn push(&mut self, board: &Board, outcome: Outcome) {
        let current = (outcome.status(), outcome.reason());
        if self.pushed_last == Some(current) && board.confirm(&self.runtime.pushed) {
            return;
        }
        let repeats = self.pushed_last.replace(current) == Some(current);
        if repeats && outcome.status() == Status::Fail {
            return;
        }
        board.push(&self.runtime.pushed, &outcome);
        if outcome.status() == Status::Fail {
            // The engine may be unable to log it.
            let cause = outcome.cause().map(|cause| cause.redacted().to_owned());
            telemetry::runtime_fails(&board.service.name, &self.runtime.name, cause);
        }
    }

    /// Publishes the longest lag about once per second, at every fourth observation.
    fn record_lag(&mut self, board: &Board) {
        self.longest = self.longest.max(self.lag.lag());
        self.looks += 1;
        if self.looks >= LAG_EVERY {
            self.looks = 0;
            let longest = std::mem::take(&mut self.longest);
            self.publish_lag(board, Some(longest));
        }
    }

    /// Publishes the lag. `None` means that the lag is no longer known.
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
    /// The time of the answer, if every probe was answered.
    fn answer(&self) -> Option<Duration> {
        let all = self.answered.load(Ordering::Acquire) == self.asked.load(Ordering::Acquire);
        all.then(|| Duration::from_nanos(self.at.load(Ordering::Acquire)))
    }
}

/// Records that the runtime no longer has the answering task.
struct Gone(Arc<Question>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
    }
}

/// The task that the runtime polls.
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
