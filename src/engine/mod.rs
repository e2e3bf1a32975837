//! The only place that starts, times, retries and counts. It knows nothing of formats and of HTTP.
//!
//! The [`Engine`] is one task. It alone writes the [board], by way of the [`Writer`]; runs are tasks of their own that
//! tell it of their end, and so do the application and readers of what they want.

mod alarm;
mod awake;
mod blocked;
mod board;
mod clock;
mod command;
mod deadlines;
#[cfg_attr(
    not(all(unix, feature = "signals")),
    expect(dead_code, reason = "no signal is handled")
)]
mod departure;
#[cfg_attr(
    not(all(unix, feature = "signals")),
    expect(dead_code, reason = "no signal is handled")
)]
mod drain;
#[cfg(feature = "testing")]
mod fixed;
mod flight;
mod hold_up;
mod life;
mod memo;
mod operators;
mod outside;
mod pushed;
mod queue;
mod roots;
mod run;
mod schedule;
mod state;
mod table;
mod tally;
mod threshold;
mod view;
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
    alarm::Alarm,
    board::{Cell, Link},
    clock::Moment,
    command::Reply,
    drain::{Drain, Step},
    hold_up::HoldUp,
    queue::{Lane, Places, Queue},
    run::{AbortOnDrop, Ended},
    schedule::Schedule,
    table::Table,
};
pub(crate) use self::{
    awake::Awake,
    board::{Board, Definition, Id, Service, Told},
    clock::Clock,
    command::{Answer as Changed, Message, Refused, Registration},
    drain::{DrainCause, DrainPolicy},
    flight::{Awaited, Landing},
    memo::{Answer, Memo},
    outside::Maintenance,
    pushed::Pushed,
    roots::Roots,
    view::Published,
    writer::Writer,
};
use crate::{
    check::{Code, Policy, panicked},
    model::{Name, Outcome, Reason},
    telemetry::{self, RunResult},
};

/// Runs the checks on their schedule and records what they say.
pub(crate) struct Engine {
    writer: Writer,
    clock: Clock,
    runtime: Handle,
    slots: Table<Id, Slot>,
    roots: Roots<Id>,
    /// Who stands behind a check of that name that is gone, and may come again.
    bereft: Vec<(Name, Id)>,
    schedule: Schedule,
    /// When each check is due next, but for those that wait or run, and those that run on demand.
    agenda: BTreeSet<(Duration, Id)>,
    /// When the time of each run is over that is under way.
    limits: BTreeSet<(Duration, Id)>,
    queue: Queue,
    queue_logged: bool,
    /// How many runs may be under way at a time, and how many more may start.
    capacity: usize,
    room: usize,
    runs_started: u64,
    /// Set once the instance leaves.
    drain: Option<Drain>,
    /// Checks whose runs ended since readers were last shown anything, and whether by a panic.
    landed: Vec<(Id, bool)>,
    removed: Vec<Arc<Cell>>,
    /// Answers that are due once readers can see what they tell.
    replies: Vec<(Reply, command::Answer)>,
    messages: UnboundedReceiver<Message>,
    tell: UnboundedSender<Message>,
}

/// How an engine works.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// How many runs may be under way at a time.
    pub(crate) room: usize,
    /// What jitter is drawn from.
    pub(crate) seed: Option<u64>,
    pub(crate) drain: DrainPolicy,
}

/// What the engine knows of one check besides its state.
struct Slot {
    code: Code,
    timeout: Duration,
    /// Its entry in the agenda.
    due: Option<Duration>,
    places: Places,
    /// The run that has not ended.
    run: Option<Running>,
    /// When a run of it began last.
    began: Option<Duration>,
    /// Whether the phase of its period has been drawn.
    phased: bool,
    /// Whether its last run was not counted, for a hold-up.
    excused: bool,
    /// Whether its last run was not called slow, for a hold-up.
    indulged: bool,
    /// Whether it has to be done once. However long it takes, it takes no room.
    task: bool,
    /// Who wants to know of the end of the next run.
    waiting: Vec<Reply>,
}

struct Running {
    number: u64,
    began: Moment,
    /// When its time is over.
    limit: Duration,
    /// Whether its time is over.
    given_up: bool,
    /// Whether what the check stands behind failed meanwhile, so that it tells nothing.
    void: bool,
    /// How much of its time the process or its runtime may have been held up.
    held_up: Duration,
    task: AbortOnDrop,
}

impl Slot {
    /// Whether it waits for room to run.
    fn is_queued(&self) -> bool {
        self.places.iter().any(Option::is_some)
    }

    fn new(code: Code, policy: &Policy) -> Self {
        Self {
            code,
            timeout: policy.timeout,
            task: policy.is_task(),
            due: None,
            places: Places::default(),
            run: None,
            began: None,
            phased: false,
            excused: false,
            indulged: false,
            waiting: Vec::new(),
        }
    }

    /// Whether a run that took so long tells nothing of what it asked, for it was held up. Not twice in a row:
    /// code that holds its own runtime up shall not be excused for ever.
    fn excuses(&self, run: state::Run) -> bool {
        let held_up = self.run.as_ref().map_or(Duration::ZERO, |run| run.held_up);
        let overrun = run.duration.saturating_sub(self.timeout);
        !self.excused && !held_up.is_zero() && overrun <= held_up
    }
}

impl Engine {
    /// An engine for a service with these checks.
    pub(crate) fn new(
        runtime: &Handle,
        service: Service,
        checks: Vec<(Definition, Option<Code>)>,
        settings: Settings,
    ) -> Self {
        let Settings { room, seed, drain } = settings;
        let (tell, messages) = unbounded_channel();
        // The clock is read as the runtime reads it: a paused one is, too.
        let _entered = runtime.enter();
        let clock = Clock::start();
        let (definitions, codes): (Vec<_>, Vec<_>) = checks.into_iter().unzip();
        let policies: Vec<Policy> = definitions
            .iter()
            .map(|definition| definition.policy.clone())
            .collect();
        let link = Link {
            tell: tell.clone(),
            runtime: runtime.clone(),
        };
        let writer = Writer::new(service, clock, definitions, drain, Some(link));
        let slots = codes
            .into_iter()
            .zip(policies)
            .map(|(code, policy)| Some(Slot::new(code?, &policy)));
        let mut engine = Self {
            slots: Table::default(),
            writer,
            clock,
            runtime: runtime.clone(),
            roots: Roots::default(),
            bereft: Vec::new(),
            schedule: Schedule::new(seed),
            agenda: BTreeSet::new(),
            limits: BTreeSet::new(),
            queue: Queue::default(),
            queue_logged: false,
            capacity: room,
            room,
            runs_started: 0,
            drain: None,
            landed: Vec::new(),
            removed: Vec::new(),
            replies: Vec::new(),
            messages,
            tell,
        };
        for (id, slot) in engine.writer.ids().into_iter().zip(slots) {
            if let Some(slot) = slot {
                engine.slots.insert(id, slot);
            }
            // What is wrong with it was told before it came here.
            let cell = engine.writer.cell(id);
            let names = cell.map_or(&[][..], |cell| &cell.definition.depends_on);
            _ = engine
                .roots_named(names)
                .and_then(|roots| engine.set_roots(id, roots));
            engine.plan_soon(id, clock.now());
        }
        engine
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        self.writer.board()
    }

    /// Starts it. It ends when what is returned is dropped.
    pub(crate) fn spawn(self) -> AbortOnDrop {
        run::spawn(&self.runtime.clone(), Box::pin(self.drive()))
    }

    async fn drive(mut self) {
        let mut alarm = pin!(Alarm::new(self.clock));
        loop {
            clock::notice_pause();
            let now = self.clock.now();
            self.writer.elapse(now);
            self.give_up_what_overran(now);
            self.queue_what_is_due(now);
            self.heed_roots(now);
            self.writer.publish();
            self.answer();
            self.start_what_is_queued(now);
            self.leave(now);
            self.writer.tell_operators(now);
            let wake = self.next_wake(now);
            alarm.as_mut().set_to(wake);
            // It is never closed, for the engine holds a sender.
            let mut next = poll_fn(|cx| match self.messages.poll_recv(cx) {
                Poll::Ready(message) => Poll::Ready(message),
                Poll::Pending => alarm.as_mut().poll(cx).map(|()| None),
            })
            .await;
            self.notice_hold_up(wake);
            // What became too old before somebody asked did so unread.
            self.writer.elapse(self.clock.now());
            while let Some(message) = next {
                self.handle(message);
                next = self.messages.try_recv().ok();
            }
        }
    }

    fn next_wake(&self, now: Moment) -> Option<Duration> {
        let due = self.agenda.first().map(|&(at, _)| at);
        // Who speaks for a while only is not to be late because nothing here ran.
        let ticks = due.is_some() || self.room < self.capacity || self.writer.is_spoken_to();
        let tick = ticks.then(|| now.mono + HoldUp::TICK);
        let limit = self.limits.first().map(|&(at, _)| at);
        let (expiry, operators) = (self.writer.next_deadline(), self.writer.operators_due());
        let drain = self.drain.as_ref().and_then(Drain::due);
        [due, limit, expiry, operators, drain, tick]
            .into_iter()
            .flatten()
            .min()
    }

    /// A process that was suspended, or a runtime that stood still, is no failure of what is checked. What runs
    /// is given the time back, and what was learnt before is learnt anew.
    fn notice_hold_up(&mut self, planned: Option<Duration>) {
        let now = self.clock.now();
        let Some(hold_up) = HoldUp::until(now, planned) else {
            return;
        };
        let board = self.writer.board();
        match board.awake.is_waking() {
            true => board.refresh(),
            // A worker that hangs is not to be excused for ever by a runtime that is busy.
            false => board.forgive(hold_up.length()),
        }
        for slot in self.slots.values_mut() {
            if let Some(run) = &mut slot.run {
                run.held_up += hold_up.credit();
            }
        }
        let outdated = |id: &Id| {
            let cell = self.writer.cell(*id);
            // A run that was given up and goes on is not asked anew, and shall not be counted sooner.
            let idle = self.slots.get(*id).is_some_and(|slot| slot.run.is_none());
            idle && cell.is_some_and(|cell| hold_up.outdates(cell.definition.policy.period()))
        };
        let outdated: Vec<Id> = self
            .agenda
            .iter()
            .map(|&(_, id)| id)
            .filter(outdated)
            .collect();
        for id in outdated {
            // What stood still together shall not go on in step.
            if let Some(slot) = self.slots.get_mut(id) {
                slot.phased = false;
            }
            self.plan_soon(id, now);
        }
    }

    fn queue_what_is_due(&mut self, now: Moment) {
        while let Some(&(at, id)) = self.agenda.first() {
            if at > now.mono {
                break;
            }
            self.unplan(id);
            self.due(id, now);
        }
    }

    fn start_what_is_queued(&mut self, now: Moment) {
        let started = self.runs_started;
        while self.room > 0 {
            let Some(id) = self.queue.pop() else {
                self.queue_logged = false;
                break;
            };
            self.start(id, now);
        }
        if self.runs_started > started {
            run::wake_another_worker(&self.runtime);
        }
        self.log_queue(now);
    }

    /// A check's time has come. One whose last run was given up and has not ended is not run on top of it.
    fn due(&mut self, id: Id, now: Moment) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        match &slot.run {
            None => self.enqueue(id, Lane::Due),
            // Its end, or that of its time, plans the next.
            Some(run) if !run.given_up => {}
            Some(run) => {
                let run = run.began.run_until(now);
                self.record(id, Outcome::fail(Reason::StillRunning), run);
            }
        }
    }

    /// Puts a check in line, unless it stands behind one that fails. One that is merely due and is asked for now stands in two,
    /// and whichever comes first counts.
    fn enqueue(&mut self, id: Id, lane: Lane) {
        if let Some(by) = self.blocker(id) {
            return self.block(id, by, self.clock.now());
        }
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if let Some(at) = slot.due.take() {
            self.agenda.remove(&(at, id));
        }
        if slot.is_queued() && lane != Lane::Asked {
            return;
        }
        // It keeps its place in another line.
        let now = self.clock.now().mono;
        self.queue.push(lane, id, now, &mut slot.places);
        self.writer.note_run(id, true);
    }

    fn start(&mut self, id: Id, now: Moment) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        self.runs_started += 1;
        let number = self.runs_started;
        let tell = self.tell.clone();
        let report = move |said| {
            // Nobody listens if the engine has ended.
            _ = tell.send(Message::Ran { id, number, said });
        };
        let task = run::start(&self.runtime, self.clock, &slot.code, report);
        self.queue.remove(id, &mut slot.places);
        let limit = now.mono + slot.timeout;
        self.limits.insert((limit, id));
        slot.began = Some(now.mono);
        slot.run = Some(Running {
            number,
            began: now,
            limit,
            given_up: false,
            void: false,
            held_up: Duration::ZERO,
            task,
        });
        if !slot.task {
            self.room -= 1;
        }
        if let Some(cell) = self.writer.cell(id) {
            cell.flight.start();
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Ran { id, number, said } => {
                let run = self.slots.get(id).and_then(|slot| slot.run.as_ref());
                // A run of a check that is gone, or of code that was replaced, is nobody's.
                if run.is_some_and(|run| run.number == number) {
                    self.ran(id, said);
                }
            }
            Message::Demand(id) => self.demand(id),
            Message::Drain(cause) => self.begin_drain(cause),
            Message::Hurry(what) => {
                let now = self.clock.now().mono;
                if let Some(drain) = &mut self.drain {
                    drain.hurry(now, what);
                }
            }
            Message::Idle => {
                let now = self.clock.now().mono;
                if let Some(drain) = &mut self.drain {
                    drain.idle(now);
                    self.writer.board().changes.notify_waiters();
                }
            }
            // What is done next sees it.
            Message::Maintain => {}
            Message::Pushed(id) => self.writer.hear(id, self.clock.now()),
            Message::Add(registration) => self.add(registration),
            Message::Replace(registration) => self.replace(registration),
            Message::Remove(name, reply) => self.remove(&name, reply),
            Message::Withdraw(pushed) => self.withdraw(&pushed),
        }
    }

    fn begin_drain(&mut self, cause: DrainCause) {
        let now = self.clock.now().mono;
        let board = self.writer.board();
        self.drain = Some(Drain::begin(now, cause, board.departure.policy));
        telemetry::drain_began(
            &board.service.name,
            cause.as_str(),
            board.departure.in_flight(),
        );
    }

    /// Leaves, as far as it is time to.
    fn leave(&mut self, now: Moment) {
        let Some(drain) = &mut self.drain else {
            return;
        };
        let board = self.writer.board();
        let departure = &board.departure;
        while let Some(step) = drain.step(now.mono, departure.in_flight()) {
            match step {
                Step::Finish => {
                    departure.await_idle();
                    board.changes.notify_waiters();
                }
                Step::Close(in_flight) => {
                    departure.close();
                    board.changes.notify_waiters();
                    if in_flight > 0 {
                        let left = departure.policy.close;
                        telemetry::drain_closes(&board.service.name, in_flight, left);
                    }
                }
                Step::End(end) => {
                    departure.end(end);
                    board.changes.notify_waiters();
                    telemetry::drain_ended(&board.service.name, end.in_flight, end.took);
                }
                Step::Cut(in_flight) => {
                    departure.cut(in_flight);
                    board.changes.notify_waiters();
                    // What came after all had ended is cut all the same.
                    let told = departure.ended().map_or(0, |end| end.in_flight);
                    if in_flight > told {
                        telemetry::drain_ended(
                            &board.service.name,
                            in_flight,
                            drain.took(now.mono),
                        );
                    }
                }
            }
        }
    }

    fn give_up_what_overran(&mut self, now: Moment) {
        while let Some(&(limit, id)) = self.limits.first() {
            if limit > now.mono {
                break;
            }
            self.limits.remove(&(limit, id));
            self.give_up(id, now);
        }
    }

    /// The time of a run is over. It may go on.
    fn give_up(&mut self, id: Id, now: Moment) {
        let is_blocked = self.blocker(id).is_some();
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(running) = &mut slot.run else {
            return;
        };
        running.given_up = true;
        if let Code::Async(_) = slot.code {
            running.task.abort();
        }
        let run = running.began.run_until(now);
        // What it met may have been the failure of another, which is over.
        let void = running.void && !is_blocked;
        if !slot.task {
            self.room += 1;
        }
        if void || slot.excuses(run) {
            slot.excused = true;
            // It has as long again to end, and then it is run anew.
            let timeout = slot.timeout;
            self.plan_at(id, now.mono + timeout);
        } else {
            self.record(id, Outcome::fail(Reason::TimedOut), run);
        }
    }

    /// The run of a check ended.
    fn ran(&mut self, id: Id, said: Option<Ended>) {
        let now = self.clock.now();
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(running) = &slot.run else {
            return;
        };
        // One that says nothing was ended here, or by something that cannot be foreseen.
        let is_ended = said.is_none() && running.void;
        let (outcome, run) = said.unwrap_or_else(|| (panicked(), running.began.run_until(now)));
        // On a runtime that was held up, the end of a run can be seen before the end of its time.
        let overran = run.duration > slot.timeout;
        let excused = overran && slot.excuses(run);
        let (given_up, void, held_up) = (running.given_up, running.void, running.held_up);
        let limit = (running.limit, id);
        slot.run = None;
        if given_up {
            if slot.excused {
                self.run_next(id);
            }
            return;
        }
        self.limits.remove(&limit);
        if !slot.task {
            self.room += 1;
        }
        if excused {
            slot.excused = true;
            self.run_next(id);
        } else if void && self.blocker(id).is_none() {
            self.run_anew(id, now);
        } else if is_ended && let Some(by) = self.blocker(id) {
            self.block(id, by, now);
        } else if overran {
            self.record(id, Outcome::fail(Reason::TimedOut), run);
        } else {
            let outcome = self.timed(id, outcome, run.duration, held_up);
            self.record(id, outcome, run);
        }
    }

    /// What a run said, judged by how long it took. What held the process up is not what was asked; but not twice in a row, for
    /// that may be the check.
    fn timed(&mut self, id: Id, outcome: Outcome, took: Duration, held_up: Duration) -> Outcome {
        let (Some(cell), Some(slot)) = (self.writer.cell(id), self.slots.get_mut(id)) else {
            return outcome;
        };
        let policy = &cell.definition.policy;
        let for_hold_up = policy.is_slow(took) && !policy.is_slow(took.saturating_sub(held_up));
        slot.indulged = for_hold_up && !slot.indulged;
        match policy.is_slow(took) && !slot.indulged {
            true => outcome.merge(Outcome::warn(Reason::Slow)),
            false => outcome,
        }
    }

    /// Records an outcome and plans the next run.
    fn record(&mut self, id: Id, outcome: Outcome, run: state::Run) {
        let now = self.clock.now();
        let jitter = self.schedule.unit();
        self.landed
            .push((id, outcome.reason() == Some(Reason::Panicked)));
        self.writer.note_run(id, false);
        if let Some(result) = RunResult::of(&outcome) {
            self.writer.note_result(id, result, run.duration);
        }
        let blocker = self.blocker(id);
        self.writer.update(id, now, |state, policy| match blocker {
            // What it met was the failure of another.
            Some(by) => state.blocked(by, now),
            None => state
                .record(outcome, run, policy, jitter)
                .at(now)
                .into_owned(),
        });
        if let Some(slot) = self.slots.get_mut(id) {
            slot.excused = false;
        }
        self.reply(id);
        self.plan(id, now);
    }

    /// Tells those who wait for a run of a check how it is.
    fn reply(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(id) {
            for reply in slot.waiting.drain(..) {
                let report = self.writer.report(id);
                self.replies
                    .extend(report.map(|report| (reply, Ok(report))));
            }
        }
    }

    /// The next run of a check, after the delay that its state asks for.
    fn plan(&mut self, id: Id, now: Moment) {
        let (Some(cell), Some(nominal), Some(slot)) = (
            self.writer.cell(id),
            self.writer.delay(id),
            self.slots.get_mut(id),
        ) else {
            return;
        };
        let policy = &cell.definition.policy;
        if policy.on_demand.is_some() || cell.is_done() || cell.is_blocked() {
            return;
        }
        let at = if nominal == policy.period() && !slot.phased {
            slot.phased = true;
            self.schedule.phase(now.mono, policy.period())
        } else {
            self.schedule.next(now.mono, nominal)
        };
        self.plan_at(id, at);
    }

    /// A run at once, but not of all checks in step.
    fn plan_soon(&mut self, id: Id, now: Moment) {
        let cell = self.writer.cell(id);
        if cell.is_some_and(|cell| cell.definition.policy.on_demand.is_none()) {
            let delay = match self.slots.get(id) {
                Some(slot) if slot.task => Duration::ZERO,
                _ => self.schedule.first(),
            };
            self.plan_at(id, now.mono + delay);
        }
    }

    fn plan_at(&mut self, id: Id, at: Duration) {
        self.unplan(id);
        if let Some(slot) = self.slots.get_mut(id) {
            slot.due = Some(at);
            self.agenda.insert((at, id));
        }
    }

    fn unplan(&mut self, id: Id) {
        if let Some(at) = self.slots.get_mut(id).and_then(|slot| slot.due.take()) {
            self.agenda.remove(&(at, id));
        }
    }

    /// Says once that checks wait longer for room than they should.
    fn log_queue(&mut self, now: Moment) {
        let Some((since, id)) = self.queue.oldest() else {
            return;
        };
        let Some(cell) = self.writer.cell(id) else {
            return;
        };
        let definition = &cell.definition;
        if !self.queue_logged && now.mono.saturating_sub(since) > definition.policy.period() {
            self.queue_logged = true;
            let service = &self.writer.board().service.name;
            telemetry::crowded(service, &definition.name, self.queue.len());
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
