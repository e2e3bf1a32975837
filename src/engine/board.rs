//! The one place where current states live. Every reader reads it, without a lock; only the engine writes it.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use tokio::{
    runtime::Handle,
    sync::{Notify, broadcast, futures::OwnedNotified, mpsc::UnboundedSender},
};

use super::{
    Message,
    clock::{Clock, Deadline, Moment},
    flight::{self, Awaited, Landing},
    memo::Memo,
    state::State,
    tally::{Standing, Tally},
    view::{Life, Published, View},
};
use crate::{
    check::Policy,
    model::{CheckReport, ComponentType, Event, LastRun, Name, Probe, Report, Verdict},
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

/// What of a check never changes.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: Name,
    pub(crate) component_type: ComponentType,
    pub(crate) runbook: Option<Arc<str>>,
    pub(crate) policy: Policy,
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
    by_name: HashMap<Name, Arc<Cell>>,
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
    /// Whether the instance is leaving. Readers see it at once, whatever the engine does meanwhile.
    draining: AtomicBool,
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
            draining: AtomicBool::new(false),
            released: AtomicBool::new(false),
            engine,
        }
    }

    pub(crate) fn cell(&self, name: &str) -> Option<Arc<Cell>> {
        self.registry.load().by_name.get(name).cloned()
    }

    /// How many checks count.
    pub(crate) fn len(&self) -> usize {
        self.registry.load().cells.len()
    }

    pub(crate) fn names(&self) -> Vec<Name> {
        let name = |cell: &Arc<Cell>| cell.definition.name.clone();
        self.registry.load().cells.iter().map(name).collect()
    }

    /// The verdicts as they are now: two loads and two comparisons, unless an expiry is due or a drain began that
    /// the engine has not come to yet.
    pub(crate) fn published(&self) -> Guard<Arc<Published>> {
        let published = self.published.load();
        let expired = |deadline| !self.clock.is_before(deadline);
        if published.valid_until.is_some_and(expired)
            || published.view.draining != self.is_draining()
        {
            self.refresh(published)
        } else {
            published
        }
    }

    /// Does for readers what the engine has not done yet. The result is shared with other readers if the
    /// engine published nothing meanwhile. What was published when the engine stopped has no expiry.
    #[cold]
    fn refresh(&self, old: Guard<Arc<Published>>) -> Guard<Arc<Published>> {
        let (now, draining) = (self.clock.now(), self.is_draining());
        let expired = old
            .valid_until
            .is_some_and(|deadline| deadline.reached(now));
        if old.stopped.is_some() || !(expired || old.view.draining != draining) {
            return old;
        }
        let registry = self.registry.load();
        let life = Life {
            started: old.view.started,
            draining,
            stopped: None,
        };
        let new = Arc::new(publish(&registry.cells, now, life, Some(&old.view)));
        self.published.compare_and_swap(&old, Arc::clone(&new));
        Guard::from_inner(new)
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

    /// Every check as it is now, but for those that are left out, and what that makes of `probe`: its status is made
    /// of the very states that are listed.
    pub(crate) fn report(
        &self,
        probe: Probe,
        left_out: &BTreeSet<Name>,
    ) -> (Report, Option<Duration>) {
        let now = self.clock.now();
        let life = self.life();
        let registry = self.registry.load();
        let mut standings = Vec::with_capacity(registry.cells.len());
        let mut checks = Vec::with_capacity(registry.cells.len());
        for cell in registry.without(left_out) {
            let state = cell.read(now, life.stopped);
            standings.push((cell.id, Standing::of(&state, &cell.definition.policy, now)));
            checks.push(cell.definition.report(&state, now));
        }
        let tally = Tally::of(standings);
        let facts = life.facts(&tally);
        let (status, reason) = facts.verdict(probe);
        let report = Report {
            service: Arc::clone(&self.service.name),
            release: self.service.release.clone(),
            version: self.service.version.clone(),
            description: self.service.description.clone(),
            status,
            reason,
            checks,
        };
        (report, facts.retry(probe))
    }

    /// The verdicts as they are now without some checks.
    pub(crate) fn without(&self, left_out: &BTreeSet<Name>) -> Arc<View> {
        let registry = self.registry.load();
        let cells: Vec<Arc<Cell>> = registry.without(left_out).cloned().collect();
        publish(&cells, self.clock.now(), self.life(), None).view
    }

    fn life(&self) -> Life {
        let published = self.published.load();
        Life {
            started: published.view.started,
            draining: self.is_draining(),
            stopped: published.stopped,
        }
    }

    /// What is known of one check now, how soon it runs again, and the answers made of that.
    pub(crate) fn check(&self, name: &str) -> Option<(CheckReport, Duration, Arc<Memo>)> {
        let registry = self.registry.load();
        let cell = registry.by_name.get(name)?;
        let now = self.clock.now();
        let stopped = self.published.load().stopped;
        let current = cell.current.load();
        let state = current.read(now, stopped);
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
        left_out: &BTreeSet<Name>,
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
        let settled = self.is_draining() && probe != Probe::Startup;
        let registry = self.registry.load();
        let started = published.view.started;
        let wanted = |cell: &&Arc<Cell>| match probe {
            _ if left_out.contains(&cell.definition.name) => false,
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
        let cell = registry.by_name.get(name)?;
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
    pub(crate) fn drain(&self) {
        if !self.draining.swap(true, Ordering::AcqRel) {
            // Where no engine does, nobody is to be told but those who wait.
            _ = self.tell(Message::Drain);
            self.changes.notify_waiters();
        }
    }

    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether nothing runs checks any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.published.load().stopped.is_some()
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
        let named = |cell: &Arc<Cell>| (cell.definition.name.clone(), Arc::clone(cell));
        let on_demand = |cell: &&Arc<Cell>| cell.definition.policy.on_demand.is_some();
        Self {
            by_name: cells.iter().map(named).collect(),
            on_demand: cells.iter().filter(on_demand).cloned().collect(),
            cells,
        }
    }

    fn without<'a>(&'a self, left_out: &'a BTreeSet<Name>) -> impl Iterator<Item = &'a Arc<Cell>> {
        let stays = |cell: &&Arc<Cell>| !left_out.contains(&cell.definition.name);
        self.cells.iter().filter(stays)
    }
}

impl Cell {
    pub(super) fn pending(id: Id, definition: Definition, now: Moment) -> Self {
        let state = State::pending(now, &definition.policy);
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

    /// The state as it reads at `now`.
    fn read(&self, now: Moment, stopped: Option<Moment>) -> State {
        self.current.load().read(now, stopped)
    }

    pub(super) fn standing(&self, now: Moment) -> Standing {
        Standing::of(&self.read(now, None), &self.definition.policy, now)
    }

    /// What was last recorded.
    pub(super) fn report(&self, now: Moment) -> CheckReport {
        self.definition.report(&self.current.load().state, now)
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

impl Current {
    fn read(&self, now: Moment, stopped: Option<Moment>) -> State {
        let state = self.state.at(now);
        match stopped {
            Some(at) => state.stopped(at),
            None => state.into_owned(),
        }
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
            cause: state.cause.clone(),
            measurements: Arc::clone(&state.measurements),
            since: state.since.time(),
            last_run: state
                .last_run
                .map(|run| LastRun::new(run.ended.time(), run.duration, run.ended.age_at(now))),
            streak: state.threshold.streak(),
            last_success: state.last_success.map(Moment::time),
        }
    }
}

/// The verdicts counted anew from all states: O(n).
pub(super) fn publish(
    cells: &[Arc<Cell>],
    now: Moment,
    life: Life,
    before: Option<&View>,
) -> Published {
    let stopped = life.stopped;
    let states: Vec<State> = cells.iter().map(|cell| cell.read(now, stopped)).collect();
    let each = || cells.iter().zip(&states);
    let standing = |(cell, state): (&Arc<Cell>, &State)| {
        (cell.id, Standing::of(state, &cell.definition.policy, now))
    };
    let tally = Tally::of(each().map(standing));
    let facts = life.facts(&tally);
    let report = |id: Id| {
        let place = cells.binary_search_by_key(&id, |cell| cell.id).ok()?;
        let (cell, state) = (cells.get(place)?, states.get(place)?);
        Some(cell.definition.report(state, now))
    };
    let valid_until = each()
        .filter_map(|(cell, state)| state.changes_at(&cell.definition.policy, now))
        .reduce(Deadline::min)
        .filter(|_| stopped.is_none());
    let demand_from = cells
        .iter()
        .filter_map(|cell| cell.demand_from())
        .reduce(Deadline::min)
        .filter(|_| stopped.is_none());
    Published {
        stopped,
        valid_until,
        demand_from,
        view: Arc::new(View::new(&facts, report, before)),
    }
}
