//! The one place where current states live. Every reader reads it, without a lock; only the engine writes it.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, Guard};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast, futures::OwnedNotified, mpsc::UnboundedSender},
};

use super::{
    Message,
    awake::Awake,
    clock::{Clock, Deadline, Moment},
    departure::Departure,
    drain::{DrainCause, DrainPolicy},
    flight::{self, Awaited, Landing},
    life::Life,
    memo::Memo,
    outside::{Maintenance, Outside},
    pushed::Pushed,
    state::State,
    tally::{Standing, Tally},
    view::{Facts, Published, View},
};
use crate::{
    check::Policy,
    model::{
        Cause, CheckReport, ComponentType, Event, LastRun, Name, Outcome, Probe, Report, Stage,
        Status, Verdict,
    },
    telemetry::ProbeRequests,
};

/// Who reports.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) release: Option<Arc<str>>,
    pub(crate) version: Option<Arc<str>>,
    pub(crate) description: Option<Arc<str>>,
}

/// A check's place in the order of registration. It is never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub(super) u64);

impl Id {
    /// That of a check which is registered before the start.
    pub(crate) fn at(place: usize) -> Self {
        Self(place as u64)
    }

    pub(crate) fn place(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// What of a check never changes.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: Name,
    pub(crate) component_type: ComponentType,
    pub(crate) runbook: Option<Arc<str>>,
    pub(crate) policy: Policy,
    /// What it stands behind.
    pub(crate) depends_on: Vec<Name>,
    /// What the application says of it itself; then it has no code.
    pub(crate) pushed: Option<Arc<Pushed>>,
}

/// A check's definition and its current state.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(super) id: Id,
    pub(crate) definition: Definition,
    pub(super) current: ArcSwap<Current>,
    pub(super) flight: Arc<flight::Shared>,
}

/// A state, and the answers made of it, which outlive it while they still tell the same.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) state: State,
    pub(super) memo: Arc<Memo>,
}

/// The checks that count, in the order of registration.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) cells: Vec<Arc<Cell>>,
    by_name: HashMap<Name, Id>,
    /// Those that run when they are read.
    on_demand: Vec<Arc<Cell>>,
}

pub(crate) struct Board {
    pub(crate) service: Service,
    pub(crate) clock: Clock,
    pub(super) registry: ArcSwap<Registry>,
    pub(super) published: ArcSwap<Published>,
    /// Rings whenever a verdict changes, and when the engine stops.
    pub(super) changes: Arc<Notify>,
    /// Made by the first subscriber.
    pub(super) events: OnceLock<broadcast::Sender<Told>>,
    pub(crate) requests: ProbeRequests,
    pub(super) outside: Outside,
    pub(crate) departure: Departure,
    /// Whether the process was suspended until just now.
    pub(crate) awake: Arc<Awake>,
    /// Whether nobody answers for the service any more.
    released: AtomicBool,
    /// None if nothing ever runs here.
    engine: Option<Link>,
}

/// What subscribers are told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Event(Event),
    /// Nothing more will be told.
    Stopped,
}

/// The way to the engine.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) tell: UnboundedSender<Message>,
    pub(crate) runtime: Handle,
}

impl Board {
    /// How many events a subscriber may be behind.
    pub(crate) const EVENTS: usize = 256;

    pub(super) fn new(
        service: Service,
        clock: Clock,
        registry: Registry,
        published: Published,
        drain: DrainPolicy,
        engine: Option<Link>,
    ) -> Self {
        Self {
            service,
            clock,
            registry: ArcSwap::from_pointee(registry),
            published: ArcSwap::from_pointee(published),
            changes: Arc::new(Notify::new()),
            events: OnceLock::new(),
            requests: ProbeRequests::default(),
            outside: Outside::default(),
            departure: Departure::new(drain),
            awake: Arc::new(Awake::new()),
            released: AtomicBool::new(false),
            engine,
        }
    }

    pub(crate) fn cell(&self, name: &str) -> Option<Arc<Cell>> {
        self.registry.load().named(name).cloned()
    }

    /// How many checks count.
    pub(crate) fn len(&self) -> usize {
        self.registry.load().cells.len()
    }

    pub(crate) fn names(&self) -> Vec<Name> {
        let name = |cell: &Arc<Cell>| cell.definition.name.clone();
        self.registry.load().cells.iter().map(name).collect()
    }

    /// The verdicts as they are now: two loads and two comparisons, unless an expiry is due or something was said
    /// that the engine has not come to yet.
    pub(crate) fn published(&self) -> Guard<Arc<Published>> {
        let published = self.published.load();
        let expired = |deadline| !self.clock.is_before(deadline);
        if published.valid_until.is_some_and(expired) || published.turn != self.outside.turn() {
            self.catch_up(published)
        } else {
            published
        }
    }

    /// Does for readers what the engine has not done yet. The result is shared with other readers if the
    /// engine published nothing meanwhile. What was published when the engine stopped has no expiry.
    #[cold]
    fn catch_up(&self, old: Guard<Arc<Published>>) -> Guard<Arc<Published>> {
        let (now, turn) = (self.clock.now(), self.outside.turn());
        let expired = old
            .valid_until
            .is_some_and(|deadline| deadline.reached(now));
        if old.view.life.stopped().is_some() || !(expired || old.turn != turn) {
            return old;
        }
        // Whoever notices first, and when, means the moment when it was over.
        let at = old.valid_until.filter(|_| expired);
        let at = at.map_or(now, Deadline::moment);
        let new = Arc::new(self.count(now, at, turn, old.view.life, Some(&old.view)));
        let before = self.published.compare_and_swap(&old, Arc::clone(&new));
        // All are told the same, whoever was first.
        let is_caught_up =
            before.turn == turn && before.valid_until.is_none_or(|until| !until.reached(now));
        match is_caught_up {
            true => before,
            false => Guard::from_inner(new),
        }
    }

    /// The verdicts counted anew, from what was said by `turn` at least: O(n).
    pub(super) fn count(
        &self,
        now: Moment,
        at: Moment,
        turn: u64,
        before: Life,
        view: Option<&View>,
    ) -> Published {
        let maintenance = self.outside.maintenance(now);
        let life = self.outside.life(before, now);
        let published = publish(
            &self.registry.load().cells,
            (now, at),
            life,
            maintenance.as_deref(),
            view,
        );
        Published { turn, ..published }
    }

    /// The answer to one probe now.
    pub(crate) fn verdict(&self, probe: Probe) -> Verdict {
        self.published().view.face(probe).verdict.clone()
    }

    /// The next change of any verdict, or the end.
    pub(crate) fn change(&self) -> OwnedNotified {
        Arc::clone(&self.changes).notified_owned()
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Told> {
        let events = self
            .events
            .get_or_init(|| broadcast::Sender::new(Self::EVENTS));
        events.subscribe()
    }

    /// Every check as it is now, but for those that are left out, whose names are in order, and those that `lists` does not want, and what they make of `probe`:
    /// its status is made of the very states that are listed.
    pub(crate) fn report(
        &self,
        probe: Probe,
        left_out: &[Name],
        lists: &dyn Fn(&Policy) -> bool,
    ) -> (Report, Option<Duration>) {
        let now = self.clock.now();
        let life = self.life(now);
        let leaves = life.stage(false) == Stage::Draining;
        let registry = self.registry.load();
        let mut standings = Vec::with_capacity(registry.cells.len());
        let mut checks = Vec::with_capacity(registry.cells.len());
        for cell in registry.without(left_out) {
            if !cell.definition.policy.concerns(probe) {
                continue;
            }
            let state = cell.read(now, life.stopped());
            let standing = Standing::of(&state, &cell.definition.policy, now);
            standings.push((cell.id, standing));
            if lists(&cell.definition.policy) {
                // Who leaves is not to be killed over the end of its workers.
                let is_excused = probe == Probe::Liveness && leaves;
                checks.push(CheckReport {
                    fails: standing.fails(probe) && !is_excused,
                    ..cell.definition.report(&state, now)
                });
            }
        }
        let tally = Tally::of(standings);
        let facts = Facts::new(&tally, life, self.cause(now));
        let (status, reason) = facts.verdict(probe);
        let report = Report {
            service: Arc::clone(&self.service.name),
            release: self.service.release.clone(),
            version: self.service.version.clone(),
            description: self.service.description.clone(),
            stage: facts.stage(),
            status,
            since: self.since(probe, status, now),
            reason,
            cause: facts.cause_of(reason),
            unknown: facts.is_unknown(),
            checks,
        };
        (report, facts.retry(probe))
    }

    /// Since when a verdict has this status. What was published may be of a moment before or after.
    fn since(&self, probe: Probe, status: Status, now: Moment) -> SystemTime {
        let published = self.published();
        let published = &published.view.face(probe).verdict;
        match published.status == status {
            true => published.since,
            false => now.time(),
        }
    }

    /// The verdicts as they are now without some checks.
    pub(crate) fn without(&self, left_out: &[Name]) -> Arc<View> {
        let registry = self.registry.load();
        let cells: Vec<Arc<Cell>> = registry.without(left_out).cloned().collect();
        let now = self.clock.now();
        let maintenance = self.outside.maintenance(now);
        let (life, before) = (self.life(now), self.published.load());
        let before = Some(&*before.view);
        publish(&cells, (now, now), life, maintenance.as_deref(), before).view
    }

    fn life(&self, now: Moment) -> Life {
        self.outside.life(self.published.load().view.life, now)
    }

    /// What a maintenance is for.
    fn cause(&self, now: Moment) -> Option<Cause> {
        let maintenance = self.outside.maintenance(now)?;
        Some(maintenance.cause.clone())
    }

    /// Where the instance is in its life.
    pub(crate) fn stage(&self) -> Stage {
        self.published().view.stage
    }

    /// What is known of one check now, how soon it runs again, and the answers made of that.
    pub(crate) fn check(&self, name: &str) -> Option<(CheckReport, Duration, Arc<Memo>)> {
        let registry = self.registry.load();
        let cell = registry.named(name)?;
        let now = self.clock.now();
        let stopped = self.published.load().view.life.stopped();
        let current = cell.current.load();
        let state = cell.read(now, stopped);
        let memo = match state.looks_like(&current.state) {
            true => Arc::clone(&current.memo),
            false => Arc::default(),
        };
        Some((cell.definition.report(&state, now), state.retry_in, memo))
    }

    /// Starts the runs on demand that a reader of `probe` has reason for, and says which it has to wait for:
    /// those of checks of which nothing is known that could be believed.
    pub(crate) fn demand(
        &self,
        probe: Probe,
        published: &Published,
        left_out: &[Name],
    ) -> Vec<Awaited> {
        // Without such a check there is no deadline.
        let Some(due) = published.demand_from else {
            return Vec::new();
        };
        let now = self.clock.now();
        if probe == Probe::Liveness || !due.reached(now) {
            return Vec::new();
        }
        // What it says is settled then, and whoever asks is to know at once.
        let leaves = matches!(published.view.stage, Stage::Draining | Stage::Maintenance);
        let settled = leaves && probe != Probe::Startup;
        let registry = self.registry.load();
        let started = published.view.life.has_started();
        let wanted = |cell: &&Arc<Cell>| match probe {
            _ if left_out.binary_search(&cell.definition.name).is_ok() => false,
            Probe::Startup => !started && cell.current.load().state.last_run.is_none(),
            _ => true,
        };
        let cells = registry.on_demand.iter().filter(wanted);
        let runs = cells.filter_map(|cell| self.demand_cell(cell, now));
        runs.filter(|_| !settled).collect()
    }

    /// The same for a reader of one check.
    pub(crate) fn demand_check(&self, name: &str) -> Option<Awaited> {
        let registry = self.registry.load();
        let cell = registry.named(name)?;
        cell.definition.policy.on_demand?;
        self.demand_cell(cell, self.clock.now())
    }

    fn demand_cell(&self, cell: &Cell, now: Moment) -> Option<Awaited> {
        if !cell.is_demanded(now) {
            return None;
        }
        let landing = self.ask(cell);
        let wait = cell.definition.policy.wait();
        let engine = self.engine.as_ref().filter(|_| !self.is_stopped())?;
        let waits = !cell.current.load().state.is_believed(now) && !wait.is_zero();
        waits.then(|| Awaited::new(landing, wait, &engine.runtime))
    }

    /// Asks for a run of a check, or for the one that is under way.
    pub(crate) fn ask(&self, cell: &Cell) -> Landing {
        cell.flight.ask(|| {
            // Nobody listens if the engine has ended; then it has abandoned the flight, or will.
            _ = self.tell(Message::Demand(cell.id));
        })
    }

    /// The instance leaves. Every reader sees it from now on.
    pub(crate) fn drain(&self, cause: DrainCause) {
        if !self.outside.drain() {
            self.turned(Message::Drain(cause));
        }
    }

    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.outside.is_draining()
    }

    /// The application says something of a check itself.
    pub(crate) fn push(&self, pushed: &Pushed, outcome: &Outcome) {
        if pushed.say(outcome, self.clock.now()) {
            match pushed.id() {
                Some(id) => return self.turned(Message::Pushed(id)),
                // It is recorded as soon as it is registered.
                None => return,
            }
        }
        self.outside.turned();
        self.changes.notify_waiters();
    }

    /// What the application said of checks counts from now on: nothing here ran for a while.
    pub(crate) fn refresh(&self) {
        let now = self.clock.now();
        self.spoken_of(|pushed| pushed.refresh(now));
    }

    /// The same, if that was the runtime's alone: for as long as it was.
    pub(super) fn forgive(&self, held_up: Duration) {
        let now = self.clock.now();
        self.spoken_of(|pushed| pushed.forgive(held_up, now));
    }

    fn spoken_of(&self, tell: impl Fn(&Pushed)) {
        for cell in &self.registry.load().cells {
            if let Some(pushed) = &cell.definition.pushed {
                tell(pushed);
            }
        }
    }

    /// The application says that what it said last still holds. Whether it did.
    pub(crate) fn confirm(&self, pushed: &Pushed) -> bool {
        pushed.confirm(self.clock.now())
    }

    /// The drain is to go on to its next part.
    #[cfg(all(unix, feature = "signals"))]
    pub(crate) fn hurry(&self, what: super::drain::Hurry) {
        _ = self.tell(Message::Hurry(what));
    }

    /// A request that was in flight is over.
    #[inline]
    pub(crate) fn leave(&self) {
        if self.departure.leave() {
            // What it waits for is over if there is no engine.
            _ = self.tell(Message::Idle);
        }
    }

    /// Takes the instance out of rotation, or puts it back. What there was before, unless it was over.
    pub(crate) fn maintain(&self, maintenance: Option<Maintenance>) -> Option<Arc<Maintenance>> {
        let before = self.outside.maintain(maintenance);
        self.turned(Message::Maintain);
        let now = self.clock.now();
        before.filter(|before| !before.until.reached(now))
    }

    /// The maintenance that is not over, and how much of it is left.
    pub(crate) fn maintenance(&self) -> Option<(Arc<Maintenance>, Duration)> {
        let now = self.clock.now();
        let maintenance = self.outside.maintenance(now)?;
        let left = maintenance.until.left(now);
        Some((maintenance, left))
    }

    /// Has readers see what was just said, and the engine learn of it.
    fn turned(&self, message: Message) {
        self.outside.turned();
        // Where no engine does, nobody is to be told but those who wait.
        _ = self.tell(message);
        self.changes.notify_waiters();
    }

    /// Whether nothing runs checks any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.published.load().view.life.stopped().is_some()
    }

    /// Where the checks run.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.engine.as_ref().map(|engine| &engine.runtime)
    }

    /// Whether anything ever runs here.
    pub(super) fn runs(&self) -> bool {
        self.engine.is_some()
    }

    /// Whether nothing will change any more.
    pub(crate) fn is_final(&self) -> bool {
        !self.runs() || self.is_stopped()
    }

    /// The last handle has gone.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    /// Tells the engine something, and whether there is one.
    #[must_use]
    pub(crate) fn tell(&self, message: Message) -> bool {
        let engine = self.engine.as_ref();
        engine.is_some_and(|engine| engine.tell.send(message).is_ok())
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board")
            .field("service", &self.service)
            .field("checks", &self.names())
            .finish_non_exhaustive()
    }
}

impl Registry {
    pub(super) fn new(cells: Vec<Arc<Cell>>) -> Self {
        let named = |cell: &Arc<Cell>| (cell.definition.name.clone(), cell.id);
        let on_demand = |cell: &&Arc<Cell>| cell.definition.policy.on_demand.is_some();
        Self {
            by_name: cells.iter().map(named).collect(),
            on_demand: cells.iter().filter(on_demand).cloned().collect(),
            cells,
        }
    }

    fn named(&self, name: &str) -> Option<&Arc<Cell>> {
        let &id = self.by_name.get(name)?;
        let place = self.cells.binary_search_by_key(&id, |cell| cell.id).ok()?;
        self.cells.get(place)
    }

    fn without<'a>(&'a self, left_out: &'a [Name]) -> impl Iterator<Item = &'a Arc<Cell>> {
        let stays = |cell: &&Arc<Cell>| left_out.binary_search(&cell.definition.name).is_err();
        self.cells.iter().filter(stays)
    }
}

impl Cell {
    pub(super) fn pending(id: Id, definition: Definition, now: Moment) -> Self {
        let state = State::pending(now, &definition.policy);
        let state = match &definition.pushed {
            // Who never says anything is silent from the start.
            Some(pushed) if !pushed.lasts() => state.until(now.plus(definition.policy.max_age())),
            _ => state,
        };
        Self::new(id, definition, state, Arc::new(flight::Shared::new()))
    }

    /// A cell that takes another's place, and its state as it reads at `now`.
    pub(super) fn succeeding(&self, definition: Definition, now: Moment) -> Self {
        let state = self.current.load().state.under(&definition.policy);
        let state = state.at(now).into_owned();
        Self::new(self.id, definition, state, Arc::clone(&self.flight))
    }

    fn new(id: Id, definition: Definition, state: State, flight: Arc<flight::Shared>) -> Self {
        let current = Current {
            state,
            memo: Arc::default(),
        };
        Self {
            id,
            definition,
            current: ArcSwap::from_pointee(current),
            flight,
        }
    }

    /// The state as it reads at `now`, with all that was said of it.
    fn read(&self, now: Moment, stopped: Option<Moment>) -> State {
        let spoken = self.definition.pushed.as_deref();
        let spoken = spoken.map(|pushed| (pushed, pushed.words()));
        let current = self.current.load();
        let (state, policy) = (&current.state, &self.definition.policy);
        let state = match spoken {
            Some((pushed, words)) => Cow::Owned(pushed.heard(&words, state, policy, now)),
            None => Cow::Borrowed(state),
        };
        let state = state.at(now);
        match stopped {
            Some(at) => state.stopped(at),
            None => state.into_owned(),
        }
    }

    /// A state that was recorded, with what was confirmed since.
    pub(super) fn confirmed<'a>(&self, recorded: &'a State, now: Moment) -> Cow<'a, State> {
        match &self.definition.pushed {
            Some(pushed) => Cow::Owned(pushed.confirmed(recorded, now)),
            None => Cow::Borrowed(recorded),
        }
    }

    /// What was last recorded.
    pub(super) fn report(&self, now: Moment) -> CheckReport {
        let current = self.current.load();
        let state = self.confirmed(&current.state, now);
        self.definition.report(&state, now)
    }

    /// Whether it had to be done once, and is.
    pub(super) fn is_done(&self) -> bool {
        self.definition.policy.is_task() && self.current.load().state.threshold.passed()
    }

    /// Whether it was not run, for it stands behind a check that fails.
    pub(super) fn is_blocked(&self) -> bool {
        self.current.load().state.blocked_by.is_some()
    }

    /// Whether it runs on demand, and a reader has reason to run it.
    pub(super) fn is_demanded(&self, now: Moment) -> bool {
        self.demand_from().is_some_and(|from| from.reached(now))
    }

    /// From when on a reader has reason to run it, if it runs on demand.
    pub(super) fn demand_from(&self) -> Option<Deadline> {
        self.definition.policy.on_demand?;
        let fresh_until = self.current.load().state.fresh_until();
        Some(fresh_until.unwrap_or(Deadline::PAST))
    }
}

impl Definition {
    fn report(&self, state: &State, now: Moment) -> CheckReport {
        CheckReport {
            name: self.name.clone(),
            criticality: self.policy.criticality,
            component_type: self.component_type,
            runbook: self.runbook.clone(),
            status: state.status,
            reason: state.reason,
            blocked_by: state.blocked_by.clone(),
            cause: state.cause.clone(),
            measurements: Arc::clone(&state.measurements),
            since: state.since.time(),
            last_run: state
                .last_run
                .map(|run| LastRun::new(run.ended.time(), run.duration, run.ended.age_at(now))),
            smoothed_duration: state.smoothed,
            slow_above: self.policy.warn_above,
            streak: state.threshold.streak(),
            consecutive_failures: state.threshold.failures(),
            fails: false,
            last_success: state.last_success.map(Moment::time),
        }
    }
}

/// The verdicts counted anew from all states, as they read `now`; what is another since then is so since `at`: O(n).
pub(super) fn publish(
    cells: &[Arc<Cell>],
    (now, at): (Moment, Moment),
    life: Life,
    maintenance: Option<&Maintenance>,
    before: Option<&View>,
) -> Published {
    let stopped = life.stopped();
    let states: Vec<State> = cells.iter().map(|cell| cell.read(now, stopped)).collect();
    let each = || cells.iter().zip(&states);
    let standing = |(cell, state): (&Arc<Cell>, &State)| {
        (cell.id, Standing::of(state, &cell.definition.policy, now))
    };
    let tally = Tally::of(each().map(standing));
    let cause = maintenance.map(|maintenance| maintenance.cause.clone());
    let facts = Facts::new(&tally, life, cause);
    let report = |id: Id| {
        let place = cells.binary_search_by_key(&id, |cell| cell.id).ok()?;
        let (cell, state) = (cells.get(place)?, states.get(place)?);
        Some(cell.definition.report(state, now))
    };
    let valid_until = each()
        .filter_map(|(cell, state)| state.changes_at(&cell.definition.policy, now))
        .chain(maintenance.map(|maintenance| maintenance.until))
        .reduce(Deadline::min)
        .filter(|_| stopped.is_none());
    let demand_from = cells
        .iter()
        .filter_map(|cell| cell.demand_from())
        .reduce(Deadline::min)
        .filter(|_| stopped.is_none());
    Published {
        turn: 0,
        valid_until,
        demand_from,
        view: Arc::new(View::new(&facts, at, &report, before)),
    }
}
