//! The current states and verdicts. Every reader reads them without a lock; only the engine writes
//! them.

use std::{
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
    sync::{Notify, broadcast, mpsc::UnboundedSender},
};

use super::{
    awaited::Awaited,
    cell::{Cell, Registry},
    clock::{Clock, Deadline, Moment},
    control::{Control, Maintenance},
    drain::{DrainCause, DrainPolicy},
    facts::Facts,
    flight::Completion,
    life::Life,
    message::Message,
    published::Published,
    pushed::Pushed,
    stall::Pulse,
    tally::{Standing, Tally},
    view::View,
    wait::Wait,
};
use crate::{
    check::Policy,
    memo::Memo,
    model::{Cause, CheckReport, Event, Name, Outcome, Probe, Report, Stage, Status, Verdict},
    telemetry::ProbeRequests,
};

/// The service that is reported.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) release: Option<Arc<str>>,
    pub(crate) version: Option<Arc<str>>,
    pub(crate) description: Option<Arc<str>>,
}

pub(crate) struct Board {
    pub(crate) service: Service,
    pub(crate) clock: Clock,
    pub(super) registry: ArcSwap<Registry>,
    pub(super) published: ArcSwap<Published>,
    /// Notified of every change of a verdict or of the control state, and of the engine's end.
    pub(super) changes: Arc<Notify>,
    /// Created by the first subscriber.
    pub(super) events: OnceLock<broadcast::Sender<Notification>>,
    pub(crate) requests: ProbeRequests,
    pub(crate) control: Control,
    pub(crate) pulse: Arc<Pulse>,
    /// Whether the last handle was dropped.
    released: AtomicBool,
    /// `None` if nothing ever runs here.
    engine: Option<Link>,
}

/// An item of a subscription.
#[derive(Clone, Debug)]
pub(crate) enum Notification {
    Event(Event),
    /// The last item.
    Stopped,
}

/// The connection to the engine.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) messages: UnboundedSender<Message>,
    pub(crate) runtime: Handle,
}

impl Board {
    /// By how many events a subscriber may be behind.
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
            control: Control::new(drain),
            pulse: Arc::new(Pulse::new()),
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

    /// The current verdicts: two loads and two comparisons, unless an expiry is due or the control
    /// state has changed since the engine last published.
    pub(crate) fn published(&self) -> Guard<Arc<Published>> {
        let published = self.published.load();
        let expired = |deadline| !self.clock.is_before(deadline);
        if published.valid_until.is_some_and(expired) || published.version != self.control.version()
        {
            self.catch_up(published)
        } else {
            published
        }
    }

    /// Does for readers what the engine has not done yet. The result is shared with other readers
    /// unless the engine published meanwhile. What was published when the engine stopped never
    /// expires.
    #[cold]
    fn catch_up(&self, old: Guard<Arc<Published>>) -> Guard<Arc<Published>> {
        let (now, version) = (self.clock.now(), self.control.version());
        let expired = old
            .valid_until
            .is_some_and(|deadline| deadline.reached(now));
        if old.view.life.stopped().is_some() || !(expired || old.version != version) {
            return old;
        }
        // Every reader that notices the expiry dates it to the same moment.
        let at = old.valid_until.filter(|_| expired);
        let at = at.map_or(now, Deadline::moment);
        let new = Arc::new(self.count(now, at, version, old.view.life, Some(&old.view)));
        let before = self.published.compare_and_swap(&old, Arc::clone(&new));
        // All readers get the same verdicts, whichever was first.
        let is_caught_up =
            before.version == version && before.valid_until.is_none_or(|until| !until.reached(now));
        if is_caught_up {
            before
        } else {
            Guard::from_inner(new)
        }
    }

    /// Counts the verdicts again, with the control state of `version` or later: O(n).
    pub(super) fn count(
        &self,
        now: Moment,
        at: Moment,
        version: u64,
        before: Life,
        view: Option<&View>,
    ) -> Published {
        let maintenance = self.control.maintenance(now);
        let life = self.control.life(before, now);
        let published = Published::count(
            &self.registry.load().cells,
            (now, at),
            life,
            maintenance.as_deref(),
            view,
        );
        Published {
            version,
            ..published
        }
    }

    pub(crate) fn verdict(&self, probe: Probe) -> Verdict {
        self.published().view.of(probe).verdict.clone()
    }

    /// A waiter that is notified of every change from now on, and of the engine's end.
    pub(crate) fn wait(&self) -> Wait {
        Wait::new(&self.changes)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Notification> {
        let events = self
            .events
            .get_or_init(|| broadcast::Sender::new(Self::EVENTS));
        events.subscribe()
    }

    /// A report of `probe`, with every check that `lists` accepts, and when to retry. The names of
    /// the checks to exclude are sorted. The status is computed from the listed states.
    pub(crate) fn report(
        &self,
        probe: Probe,
        excluded: &[Name],
        lists: &dyn Fn(&Policy) -> bool,
    ) -> (Report, Option<Duration>) {
        let now = self.clock.now();
        let life = self.life(now);
        let is_draining = life.stage(false) == Stage::Draining;
        let registry = self.registry.load();
        let mut standings = Vec::with_capacity(registry.cells.len());
        let mut checks = Vec::with_capacity(registry.cells.len());
        for cell in registry.without(excluded) {
            if !cell.definition.policy.concerns(probe) {
                continue;
            }
            let state = cell.read(now, life.stopped());
            let standing = Standing::of(&state, &cell.definition.policy, now);
            standings.push((cell.id, standing));
            if lists(&cell.definition.policy) {
                // A draining instance ends its workers, and must not be restarted for that.
                let is_ignored = probe == Probe::Liveness && is_draining;
                checks.push(CheckReport {
                    fails: standing.fails(probe) && !is_ignored,
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
        (report, facts.retry_after(probe))
    }

    /// Since when a verdict has this status. The published verdict may be slightly older or newer.
    fn since(&self, probe: Probe, status: Status, now: Moment) -> SystemTime {
        let published = self.published();
        let verdict = &published.view.of(probe).verdict;
        if verdict.status == status {
            verdict.since
        } else {
            now.time()
        }
    }

    /// The current verdicts without some checks. The names are sorted.
    pub(crate) fn without(&self, excluded: &[Name]) -> Arc<View> {
        let registry = self.registry.load();
        let cells: Vec<Arc<Cell>> = registry.without(excluded).cloned().collect();
        let now = self.clock.now();
        let maintenance = self.control.maintenance(now);
        let (life, before) = (self.life(now), self.published.load());
        let before = Some(&*before.view);
        Published::count(&cells, (now, now), life, maintenance.as_deref(), before).view
    }

    fn life(&self, now: Moment) -> Life {
        self.control.life(self.published.load().view.life, now)
    }

    /// The cause of the current maintenance.
    fn cause(&self, now: Moment) -> Option<Cause> {
        let maintenance = self.control.maintenance(now)?;
        Some(maintenance.cause.clone())
    }

    pub(crate) fn stage(&self) -> Stage {
        self.published().view.stage
    }

    /// A report of one check, the delay before its next run, and the responses rendered from it.
    pub(crate) fn check(&self, name: &str) -> Option<(CheckReport, Duration, Arc<Memo>)> {
        let registry = self.registry.load();
        let cell = registry.named(name)?;
        let now = self.clock.now();
        let stopped = self.published.load().view.life.stopped();
        let current = cell.current.load();
        let state = cell.read(now, stopped);
        let memo = current.memo_for(&state);
        Some((cell.definition.report(&state, now), state.retry_in, memo))
    }

    /// Requests the runs on demand that a reader of `probe` needs. Returns those that the reader
    /// has to wait for, because there is no valid result.
    pub(crate) fn demand(
        &self,
        probe: Probe,
        published: &Published,
        excluded: &[Name],
    ) -> Vec<Awaited> {
        // There is no deadline unless some check runs on demand.
        let Some(due) = published.demand_from else {
            return Vec::new();
        };
        let now = self.clock.now();
        if probe == Probe::Liveness || !due.reached(now) {
            return Vec::new();
        }
        // The verdict is settled in these stages, so there is nothing to wait for.
        let settled = matches!(published.view.stage, Stage::Draining | Stage::Maintenance)
            && probe != Probe::Startup;
        let registry = self.registry.load();
        let started = published.view.life.has_started();
        let wanted = |cell: &&Arc<Cell>| match probe {
            _ if excluded.binary_search(&cell.definition.name).is_ok() => false,
            Probe::Startup => !started && cell.current.load().state.last_run.is_none(),
            _ => true,
        };
        let cells = registry.on_demand.iter().filter(wanted);
        let runs = cells.filter_map(|cell| self.demand_cell(cell, now));
        runs.filter(|_| !settled).collect()
    }

    /// Does the same for a reader of one check.
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
        let completion = self.request(cell);
        let wait = cell.definition.policy.wait();
        let engine = self.engine.as_ref().filter(|_| !self.is_stopped())?;
        let waits = !cell.current.load().state.is_valid(now) && !wait.is_zero();
        waits.then(|| Awaited::new(completion, wait, &engine.runtime))
    }

    /// Requests a run of a check, or joins the one in flight.
    pub(crate) fn request(&self, cell: &Cell) -> Completion {
        cell.flight.request(|| {
            // An engine that has ended has abandoned the flight, or will.
            _ = self.send(Message::Demand(cell.id));
        })
    }

    /// Begins the drain. Every reader sees it from now on.
    pub(crate) fn drain(&self, cause: DrainCause) {
        if !self.control.drain() {
            self.control_changed(Message::Drain(cause));
        }
    }

    #[inline]
    pub(crate) fn is_draining(&self) -> bool {
        self.control.is_draining()
    }

    /// The application reports a check itself.
    pub(crate) fn push(&self, pushed: &Pushed, outcome: &Outcome) {
        if pushed.push(outcome, self.clock.now()) {
            match pushed.id() {
                Some(id) => return self.control_changed(Message::Pushed(id)),
                // It is recorded at its registration.
                None => return,
            }
        }
        self.control.changed();
        self.changes.notify_waiters();
    }

    /// Restarts the time of every report of the application: the process was suspended until now.
    pub(crate) fn refresh(&self) {
        let now = self.clock.now();
        self.for_each_pushed(|pushed| pushed.refresh(now));
    }

    /// Extends the time of every report of the application by the length of a stall.
    pub(super) fn extend(&self, stall: Duration) {
        let now = self.clock.now();
        self.for_each_pushed(|pushed| pushed.extend(stall, now));
    }

    fn for_each_pushed(&self, f: impl Fn(&Pushed)) {
        for cell in &self.registry.load().cells {
            if let Some(pushed) = &cell.definition.pushed {
                f(pushed);
            }
        }
    }

    /// The application confirms its last report. Returns whether that was good and valid.
    pub(crate) fn confirm(&self, pushed: &Pushed) -> bool {
        pushed.confirm(self.clock.now())
    }

    /// Ends a phase of the drain early.
    #[cfg(all(unix, feature = "signals"))]
    pub(crate) fn hurry(&self, what: super::drain::Hurry) {
        _ = self.send(Message::Hurry(what));
    }

    /// A request ends.
    #[inline]
    pub(crate) fn leave(&self) {
        if self.control.in_flight.leave() {
            // Without an engine, the drain is over.
            _ = self.send(Message::Idle);
        }
    }

    /// Begins or ends a maintenance. Returns the one from before that was not over.
    pub(crate) fn maintain(&self, maintenance: Option<Maintenance>) -> Option<Arc<Maintenance>> {
        let before = self.control.maintain(maintenance);
        self.control_changed(Message::Maintain);
        let now = self.clock.now();
        before.filter(|before| !before.until.reached(now))
    }

    /// The current maintenance, and the time that is left of it.
    pub(crate) fn maintenance(&self) -> Option<(Arc<Maintenance>, Duration)> {
        let now = self.clock.now();
        let maintenance = self.control.maintenance(now)?;
        let left = maintenance.until.left(now);
        Some((maintenance, left))
    }

    /// Notifies readers, the engine and waiters of a change of the control state.
    fn control_changed(&self, message: Message) {
        self.control.changed();
        // Without an engine, there are only waiters.
        _ = self.send(message);
        self.changes.notify_waiters();
    }

    /// Whether checks no longer run.
    pub(crate) fn is_stopped(&self) -> bool {
        self.published.load().view.life.stopped().is_some()
    }

    /// The runtime of the checks.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.engine.as_ref().map(|engine| &engine.runtime)
    }

    /// Whether checks ever run here.
    pub(super) fn runs(&self) -> bool {
        self.engine.is_some()
    }

    /// Whether nothing will change any more.
    pub(crate) fn is_final(&self) -> bool {
        !self.runs() || self.is_stopped()
    }

    /// The last handle was dropped.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    /// Sends a message to the engine. Returns whether there is one.
    #[must_use]
    pub(crate) fn send(&self, message: Message) -> bool {
        let engine = self.engine.as_ref();
        engine.is_some_and(|engine| engine.messages.send(message).is_ok())
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
