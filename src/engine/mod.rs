//! The only place that starts, times, retries and counts. It knows nothing of formats and of HTTP.
//!
//! The [`Engine`] is one task. It alone writes the [board], by way of the [`Writer`]; runs and their
//! supervisors are tasks of their own that tell it what happened.

mod board;
mod clock;
mod guard;
mod memo;
mod run;
mod schedule;
mod state;
mod tally;
mod threshold;
mod view;

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::AbortHandle,
    time::timeout_at,
};

use self::{
    board::Cell,
    clock::Moment,
    guard::panicked,
    run::{AbortOnDrop, Event},
    schedule::Schedule,
};
pub(crate) use self::{
    board::{Board, Definition, Service, Writer},
    clock::Clock,
    guard::{guard, install as guard_panics},
    memo::{Answer, Memo},
};
use crate::{
    check::Code,
    model::{Outcome, Reason},
};

/// Runs the checks on their schedule and records what they say.
pub(crate) struct Engine {
    writer: Writer,
    clock: Clock,
    runtime: Handle,
    slots: Vec<Slot>,
    schedule: Schedule,
    /// When each check is due next, but for those that wait or run.
    agenda: BTreeSet<(Duration, usize)>,
    /// Checks that are due and wait for room, and since when.
    queue: VecDeque<(usize, Moment)>,
    queue_logged: bool,
    /// How many more runs may start.
    room: usize,
    events: UnboundedReceiver<Message>,
    tell: UnboundedSender<Message>,
}

/// What the engine knows of one check besides its state.
struct Slot {
    code: Code,
    timeout: Duration,
    /// The run that has not ended.
    run: Option<Running>,
    /// Whether the phase of its period has been drawn.
    phased: bool,
}

struct Running {
    began: Moment,
    /// Whether its time is over.
    given_up: bool,
    _task: AbortOnDrop,
}

type Message = (usize, Event);

impl Engine {
    /// Starts an engine for the checks of `writer`'s board, whose codes are `codes`, with room for `room` runs
    /// at a time.
    pub(crate) fn spawn(
        runtime: &Handle,
        writer: Writer,
        codes: Vec<Code>,
        room: usize,
        seed: Option<u64>,
    ) -> AbortHandle {
        let (tell, events) = mpsc::unbounded_channel();
        let clock = writer.board().clock;
        let cells = writer.board().cells().iter();
        let slot = |(code, cell): (Code, &Cell)| Slot {
            code,
            timeout: cell.definition.policy.timeout,
            run: None,
            phased: false,
        };
        let slots = codes.into_iter().zip(cells).map(slot).collect();
        let mut engine = Self {
            writer,
            clock,
            runtime: runtime.clone(),
            slots,
            schedule: Schedule::new(seed),
            agenda: BTreeSet::new(),
            queue: VecDeque::new(),
            queue_logged: false,
            room,
            events,
            tell,
        };
        engine.plan_first_runs();
        runtime.spawn(engine.drive()).abort_handle()
    }

    fn plan_first_runs(&mut self) {
        let now = self.clock.now().mono;
        for index in 0..self.slots.len() {
            self.agenda.insert((now + self.schedule.first(), index));
        }
    }

    async fn drive(mut self) {
        loop {
            let now = self.clock.now();
            self.writer.elapse(now);
            self.start_what_is_due(now);
            self.writer.publish();
            let message = match self.next_wake() {
                Some(wake) => timeout_at(self.clock.instant(wake), self.events.recv()).await,
                None => Ok(self.events.recv().await),
            };
            // It is never closed, for the engine holds a sender. An error is the time.
            let mut next = message.ok().flatten();
            while let Some((index, event)) = next {
                self.handle(index, event);
                next = self.events.try_recv().ok();
            }
        }
    }

    fn next_wake(&self) -> Option<Duration> {
        let due = self.agenda.first().map(|&(at, _)| at);
        [due, self.writer.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn start_what_is_due(&mut self, now: Moment) {
        while let Some(&(at, index)) = self.agenda.first() {
            if at > now.mono {
                break;
            }
            self.agenda.pop_first();
            self.due(index, now);
        }
        while self.room > 0 {
            let Some((index, _)) = self.queue.pop_front() else {
                self.queue_logged = false;
                break;
            };
            self.start(index, now);
        }
        self.log_queue(now);
    }

    /// A check's time has come. One whose last run was given up and has not ended is not run on top of it.
    fn due(&mut self, index: usize, now: Moment) {
        let running = self.slots.get(index).and_then(|slot| slot.run.as_ref());
        match running.map(|run| run.began) {
            None => self.queue.push_back((index, now)),
            Some(began) => {
                let run = began.run_until(now);
                self.record(index, Outcome::fail(Reason::StillRunning), run);
            }
        }
    }

    fn start(&mut self, index: usize, now: Moment) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let tell = self.tell.clone();
        let report = move |event| {
            // Nobody listens if the engine has ended.
            _ = tell.send((index, event));
        };
        let task = run::start(&self.runtime, self.clock, &slot.code, slot.timeout, report);
        slot.run = Some(Running {
            began: now,
            given_up: false,
            _task: task,
        });
        self.room -= 1;
    }

    fn handle(&mut self, index: usize, event: Event) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        match event {
            Event::GivenUp(run) => {
                if let Some(running) = &mut slot.run {
                    running.given_up = true;
                }
                self.room += 1;
                self.record(index, Outcome::fail(Reason::TimedOut), run);
            }
            Event::Ended(said) => {
                let Some(running) = slot.run.take().filter(|running| !running.given_up) else {
                    return;
                };
                self.room += 1;
                // A supervisor that says nothing was ended itself, by something that cannot be foreseen.
                let lost = || (panicked(), running.began.run_until(self.clock.now()));
                let (outcome, run) = said.unwrap_or_else(lost);
                self.record(index, outcome, run);
            }
        }
    }

    /// Records an outcome and plans the next run.
    fn record(&mut self, index: usize, outcome: Outcome, run: state::Run) {
        let now = self.clock.now();
        let jitter = self.schedule.unit();
        self.writer.update(index, now, |state, policy| {
            state
                .record(outcome, run, policy, jitter)
                .at(now)
                .into_owned()
        });
        self.plan(index, now);
    }

    fn plan(&mut self, index: usize, now: Moment) {
        let Some((nominal, period)) = self.writer.delay(index) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let delay = if nominal == period && !slot.phased {
            slot.phased = true;
            self.schedule.phase(period)
        } else {
            self.schedule.next(nominal)
        };
        self.agenda.insert((now.mono + delay, index));
    }

    /// Says once that checks wait longer for room than they should.
    fn log_queue(&mut self, now: Moment) {
        let Some(&(index, since)) = self.queue.front() else {
            return;
        };
        let cells = self.writer.board().cells();
        let Some(definition) = cells.get(index).map(|cell| &cell.definition) else {
            return;
        };
        if !self.queue_logged && since.run_until(now).duration > definition.policy.period {
            self.queue_logged = true;
            // A subscriber is foreign code, and must not end the engine.
            let log = || {
                tracing::warn!(
                    check = %definition.name,
                    waiting = self.queue.len(),
                    "health checks wait longer than their period for room to run: raise the concurrency, \
                     lengthen their periods or shorten their timeouts",
                );
            };
            _ = panic::catch_unwind(AssertUnwindSafe(log));
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("checks", &self.slots.len())
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}
