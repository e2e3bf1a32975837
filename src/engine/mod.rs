//! The only place that starts, times, retries and records runs. It knows nothing of formats and of
//! HTTP.
//!
//! The [`Engine`] is one task. It alone writes the [board], through its [`Writer`]. Runs are tasks
//! of their own, which send it a message when they end. So do the application and readers.

mod alarm;
mod announced;
mod atomic;
mod awaited;
mod blocked;
mod board;
mod cell;
mod clock;
mod command;
#[cfg_attr(
    not(all(unix, feature = "signals")),
    expect(dead_code, reason = "no signal is handled")
)]
mod control;
mod deadlines;
#[cfg_attr(
    not(all(unix, feature = "signals")),
    expect(dead_code, reason = "no signal is handled")
)]
mod drain;
mod draining;
mod entry;
mod facts;
#[cfg(feature = "testing")]
mod fixed;
mod flapping;
mod flight;
mod id;
mod in_flight;
mod life;
mod message;
mod names;
mod operators;
mod plan;
mod published;
mod pushed;
mod queue;
mod roots;
mod run;
mod runs;
mod schedule;
mod slot;
mod stall;
mod state;
mod table;
mod tally;
mod threshold;
mod view;
mod wait;
mod writer;

use std::{
    collections::BTreeSet,
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

#[cfg(all(unix, feature = "signals"))]
pub(crate) use self::drain::Hurry;
#[cfg(feature = "testing")]
pub(crate) use self::fixed::Fixed;
use self::{
    alarm::Alarm, board::Link, cell::Cell, clock::Moment, drain::Drain, message::Reply,
    queue::Queue, run::AbortOnDrop, schedule::Schedule, slot::Slot, stall::Stall, table::Table,
};
pub(crate) use self::{
    awaited::Awaited,
    board::{Board, Notification, Service},
    cell::Definition,
    clock::Clock,
    control::Maintenance,
    drain::{DrainCause, DrainPolicy},
    flight::Completion,
    id::Id,
    message::{Changed, Message, Refused, Registration},
    names::Named,
    published::Published,
    pushed::Pushed,
    roots::Roots,
    stall::Pulse,
    wait::Wait,
    writer::Writer,
};
use crate::{
    check::{Code, Policy},
    model::Name,
};

/// Runs the checks on their schedule and records the results.
pub(crate) struct Engine {
    writer: Writer,
    clock: Clock,
    runtime: Handle,
    slots: Table<Id, Slot>,
    roots: Roots<Id>,
    /// The checks that depend on a check of that name, which was removed and may be added again.
    orphaned: Vec<(Name, Id)>,
    schedule: Schedule,
    /// When each check is due. Checks that are queued, run or run on demand are not in it.
    agenda: BTreeSet<(Duration, Id)>,
    /// When the time limit of each run in flight is over.
    limits: BTreeSet<(Duration, Id)>,
    queue: Queue,
    queue_logged: bool,
    /// How many runs may be in flight at a time.
    capacity: usize,
    /// How many more runs may start.
    permits: usize,
    runs_started: u64,
    drain: Option<Drain>,
    /// The checks whose runs completed since readers last saw anything.
    completed: Vec<Id>,
    removed: Vec<Arc<Cell>>,
    /// Replies to send once readers can see the change.
    replies: Vec<(Reply, Changed)>,
    messages: UnboundedReceiver<Message>,
    sender: UnboundedSender<Message>,
}

/// The settings of an engine.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// How many runs may be in flight at a time.
    pub(crate) capacity: usize,
    /// The seed of all jitter. Defaults to a random one.
    pub(crate) seed: Option<u64>,
    pub(crate) drain: DrainPolicy,
}

impl Engine {
    /// An engine for a service with these checks.
    pub(crate) fn new(
        runtime: &Handle,
        service: Service,
        checks: Vec<(Definition, Option<Code>)>,
        settings: Settings,
    ) -> Self {
        let (sender, messages) = unbounded_channel();
        // Within the runtime, the clock notices that it is paused.
        let _entered = runtime.enter();
        let clock = Clock::start();
        let (definitions, codes): (Vec<_>, Vec<_>) = checks.into_iter().unzip();
        let policies: Vec<Policy> = definitions
            .iter()
            .map(|definition| definition.policy.clone())
            .collect();
        let link = Link {
            messages: sender.clone(),
            runtime: runtime.clone(),
        };
        let writer = Writer::new(service, clock, definitions, settings.drain, Some(link));
        let mut engine = Self {
            slots: Table::default(),
            writer,
            clock,
            runtime: runtime.clone(),
            roots: Roots::default(),
            orphaned: Vec::new(),
            schedule: Schedule::new(settings.seed),
            agenda: BTreeSet::new(),
            limits: BTreeSet::new(),
            queue: Queue::default(),
            queue_logged: false,
            capacity: settings.capacity,
            permits: settings.capacity,
            runs_started: 0,
            drain: None,
            completed: Vec::new(),
            removed: Vec::new(),
            replies: Vec::new(),
            messages,
            sender,
        };
        let codes = codes.into_iter().zip(policies);
        for (id, (code, policy)) in engine.writer.ids().into_iter().zip(codes) {
            engine.register_at_start(id, code, &policy);
        }
        engine
    }

    fn register_at_start(&mut self, id: Id, code: Option<Code>, policy: &Policy) {
        if let Some(code) = code {
            self.slots.insert(id, Slot::new(code, policy));
        }
        let roots = self.writer.cell(id).map(|cell| {
            let definition = &cell.definition;
            self.roots_named(&definition.name, &definition.depends_on)
        });
        // The builder has reported every problem with these.
        if let Some(Ok(roots)) = roots {
            _ = self.set_roots(id, roots);
        }
        self.plan_soon(id, self.clock.now());
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        self.writer.board()
    }

    /// Starts the engine. It ends when the returned value is dropped.
    pub(crate) fn spawn(self) -> AbortOnDrop {
        run::spawn(&self.runtime.clone(), Box::pin(self.drive()))
    }

    async fn drive(mut self) {
        let mut alarm = pin!(Alarm::new(self.clock));
        loop {
            clock::notice_pause();
            let now = self.clock.now();
            // The order is load-bearing.
            // 1. Expiry comes first, because what follows depends on states as they read now.
            self.writer.elapse(now);
            // 2. Timeouts give their permits back before checks that are due are queued.
            self.time_out_overdue(now);
            self.queue_due(now);
            // 3. The states of a whole round are known: dependents are blocked and unblocked.
            self.follow_roots(now);
            // 4. Readers see the round as one change. Replies come after that, so that whoever
            //    receives one sees at least its change.
            self.writer.publish();
            self.send_replies();
            // 5. Runs start after publishing, because code that blocks its thread at the first poll
            //    may delay whatever comes next.
            self.start_queued(now);
            self.advance_drain(now);
            // 6. Subscribers and recorders are foreign code, which may block. They come last.
            self.writer.report_to_operators(now);
            let wake = self.next_wake(now);
            alarm.as_mut().set_to(wake);
            // The channel never closes, because the engine holds a sender.
            let mut next = poll_fn(|cx| match self.messages.poll_recv(cx) {
                Poll::Ready(message) => Poll::Ready(message),
                Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
            })
            .await;
            self.notice_stall(wake);
            // A result that expired before a reader requested another expired unread.
            self.writer.elapse(self.clock.now());
            while let Some(message) = next {
                self.handle(message);
                next = self.messages.try_recv().ok();
            }
        }
    }

    fn next_wake(&self, now: Moment) -> Option<Duration> {
        let due = self.agenda.first().map(|&(at, _)| at);
        // A stall has to be noticed while runs are in flight, and while reports of the application
        // can expire.
        let ticks = due.is_some() || self.permits < self.capacity || self.writer.has_pushed();
        let tick = ticks.then(|| now.mono + Stall::TICK);
        let limit = self.limits.first().map(|&(at, _)| at);
        let (expiry, operators) = (self.writer.next_deadline(), self.writer.operators_due());
        let drain = self.drain.as_ref().and_then(Drain::due);
        [due, limit, expiry, operators, drain, tick]
            .into_iter()
            .flatten()
            .min()
    }

    /// A stall is no failure of the checked dependency. Runs in flight get the time back, and
    /// outdated results are replaced soon.
    fn notice_stall(&mut self, planned: Option<Duration>) {
        let now = self.clock.now();
        let Some(stall) = Stall::since(planned, now) else {
            return;
        };
        let board = self.writer.board();
        if board.pulse.has_just_resumed() {
            board.refresh();
        } else {
            // A busy runtime must not forgive a worker that hangs for ever.
            board.extend(stall.length());
        }
        for slot in self.slots.values_mut() {
            if let Some(run) = slot.run_mut() {
                run.stalled += stall.credit();
            }
        }
        let is_outdated = |id: &Id| {
            let cell = self.writer.cell(*id);
            // A run that overran its limit is not repeated, and must not be counted sooner.
            let idle = self.slots.get(*id).is_some_and(Slot::is_idle);
            idle && cell.is_some_and(|cell| stall.outdates(cell.definition.policy.period()))
        };
        let outdated: Vec<Id> = self
            .agenda
            .iter()
            .map(|&(_, id)| id)
            .filter(is_outdated)
            .collect();
        for id in outdated {
            // Replicas that stalled together must not continue in step.
            if let Some(slot) = self.slots.get_mut(id) {
                slot.has_phase = false;
            }
            self.plan_soon(id, now);
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Ran { id, number, ended } => {
                // The run of a removed check, or of replaced code, says nothing.
                if self.slots.get(id).is_some_and(|slot| slot.runs(number)) {
                    self.ran(id, ended);
                }
            }
            Message::Demand(id) => self.demand(id),
            Message::Drain(cause) => self.begin_drain(cause),
            Message::Hurry(what) => self.hurry_drain(what),
            Message::Idle => self.notice_idle(),
            // The next round reads it.
            Message::Maintain => {}
            Message::Pushed(id) => self.writer.record_pushed(id, self.clock.now()),
            Message::Add(registration) => self.add(registration),
            Message::Replace(registration) => self.replace(registration),
            Message::Remove(name, reply) => self.remove(&name, reply),
            Message::Withdraw(pushed) => self.withdraw(&pushed),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("checks", &self.slots.len())
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}
