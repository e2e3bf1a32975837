//! The half of the board that the engine holds.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    board::{Board, Cell, Current, Definition, Id, Link, Registry, Service, Told, publish},
    clock::{Clock, Deadline, Moment},
    deadlines::Deadlines,
    drain::DrainPolicy,
    life::{Life, LifeEvent},
    operators::Operators,
    pushed::Pushed,
    state::{Run, State},
    table::Table,
    tally::{Standing, Tally},
    threshold::Phase,
    view::{Facts, Published, View},
};
use crate::{
    check::Policy,
    model::{
        CheckReport, CheckTransition, Event, Name, Outcome, Probe, Reason, Stage, Status,
        VerdictTransition,
    },
    telemetry::{CheckFacts, Note, RunResult, Totals},
};

/// The half of the board that the engine holds. When it is dropped, for whatever reason, every reader learns
/// that the engine stopped.
#[derive(Debug)]
pub(crate) struct Writer {
    board: Arc<Board>,
    entries: Table<Id, Entry>,
    /// Also those of checks that do not count yet.
    names: HashMap<Name, Id>,
    next_id: u64,
    /// The checks of which the application speaks itself.
    spoken: Vec<Id>,
    tally: Tally,
    /// When a check will change by itself.
    deadlines: Deadlines,
    /// When the result of one that runs on demand will be too old. Nobody needs to know when nobody reads it.
    unread: Deadlines,
    /// From when on those that run on demand have reason to.
    demands: Deadlines,
    view: Arc<View>,
    /// What of that which is said from outside it has seen.
    turn: u64,
    /// The deadlines that were last published with it. A reader may have published later ones.
    published: (Option<Deadline>, Option<Deadline>),
    /// Whether a reader can tell the view from what it would be now.
    changed: bool,
    /// Whether checks came, went or took another's place.
    registered: bool,
    /// Checks that block others by another name than before, or not any more, or that are as yet unknown to.
    turned: Vec<Id>,
    /// The status of each verdict that subscribers were last told, and since when it is so.
    told: [(Status, Moment); Probe::ALL.len()],
    /// What subscribers are told once readers can see it.
    events: Vec<Event>,
    operators: Operators,
}

#[derive(Debug)]
pub(super) struct Entry {
    cell: Arc<Cell>,
    /// None for a check that does not count yet.
    standing: Option<Standing>,
    /// The status that subscribers were last told, or none while nothing is known, and since when it is so.
    told: (Option<Status>, Moment),
    /// Whether its result has become too old while nobody read it, which subscribers are not told.
    unread: bool,
    /// Whether a run is in line or under way.
    asked: bool,
    /// What those that stand behind it are blocked by.
    blocks: Option<Name>,
    /// Whether any check stands behind it.
    heeded: bool,
    totals: Totals,
}

impl Entry {
    pub(super) fn name(&self) -> &Name {
        &self.cell.definition.name
    }

    /// Whether readers can see it.
    pub(super) fn counts(&self) -> bool {
        self.standing.is_some()
    }

    pub(super) fn is_on_demand(&self) -> bool {
        self.cell.definition.policy.on_demand.is_some()
    }

    /// Tells what operators may know of it.
    pub(super) fn tell(&self, now: Moment, tell: impl FnOnce(&CheckFacts<'_>)) {
        let current = self.cell.current.load();
        let state = self.cell.confirmed(&current.state, now);
        let state = state.at(now);
        tell(&CheckFacts {
            name: self.name(),
            status: state.status,
            last_success: state.last_success.map(Moment::time),
            totals: &self.totals,
        });
    }
}

impl Writer {
    /// A board with every check pending, and the half that writes it. Readers reach the engine by `engine`.
    pub(crate) fn new(
        service: Service,
        clock: Clock,
        definitions: Vec<Definition>,
        drain: DrainPolicy,
        engine: Option<Link>,
    ) -> Self {
        let now = clock.now();
        let cells: Vec<Arc<Cell>> = (0_u64..)
            .zip(definitions)
            .map(|(id, definition)| Arc::new(Cell::pending(Id(id), definition, now)))
            .collect();
        let published = publish(&cells, (now, now), Life::default(), None, None);
        let view = Arc::clone(&published.view);
        let deadlines = (published.valid_until, published.demand_from);
        let registry = Registry::new(cells.clone());
        let board = Arc::new(Board::new(
            service, clock, registry, published, drain, engine,
        ));
        let mut writer = Self {
            operators: Operators::new(&board),
            board,
            entries: Table::default(),
            names: HashMap::new(),
            next_id: 0,
            spoken: Vec::new(),
            tally: Tally::default(),
            deadlines: Deadlines::default(),
            unread: Deadlines::default(),
            demands: Deadlines::default(),
            view,
            turn: 0,
            published: deadlines,
            changed: false,
            registered: false,
            turned: Vec::new(),
            told: [(Status::Pass, now); Probe::ALL.len()],
            events: Vec::new(),
        };
        for (probe, told) in Probe::ALL.into_iter().zip(&mut writer.told) {
            told.0 = writer.view.face(probe).verdict.status;
        }
        for cell in cells {
            let id = writer.insert(cell);
            writer.judge(id, now);
        }
        (writer.changed, writer.registered) = (false, false);
        // They have always been there.
        writer.events.clear();
        writer
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    pub(crate) fn ids(&self) -> Vec<Id> {
        self.entries.keys().collect()
    }

    pub(crate) fn cell(&self, id: Id) -> Option<&Arc<Cell>> {
        self.entries.get(id).map(|entry| &entry.cell)
    }

    /// The names of the checks that count.
    pub(crate) fn names(&self) -> Vec<Name> {
        let counting = self.entries.values().filter(|entry| entry.counts());
        counting.map(|entry| entry.name().clone()).collect()
    }

    /// The check of a name, whether it counts yet or not.
    pub(crate) fn id(&self, name: &str) -> Option<Id> {
        self.names.get(name).copied()
    }

    /// A new check, which does not count before its first [`update`](Self::update).
    pub(crate) fn add(&mut self, definition: Definition) -> Id {
        let now = self.board.clock.now();
        self.insert(Arc::new(Cell::pending(Id(self.next_id), definition, now)))
    }

    /// A new check that the application speaks of itself. It counts at once, and holds nothing while it is pending.
    pub(crate) fn enlist(&mut self, definition: Definition) -> Id {
        let id = self.add(definition);
        self.judge(id, self.board.clock.now());
        id
    }

    fn insert(&mut self, cell: Arc<Cell>) -> Id {
        let id = cell.id;
        if let Some(pushed) = &cell.definition.pushed {
            pushed.register(id, &self.board.awake);
            self.spoken.push(id);
        }
        self.next_id = id.0 + 1;
        self.names.insert(cell.definition.name.clone(), id);
        let since = cell.current.load().state.since;
        self.entries.insert(
            id,
            Entry {
                cell,
                standing: None,
                told: (None, since),
                unread: false,
                asked: false,
                blocks: None,
                heeded: false,
                totals: Totals::default(),
            },
        );
        id
    }

    /// Gives a check another definition, and keeps its state.
    pub(crate) fn replace(&mut self, id: Id, definition: Definition, now: Moment) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if let Some(pushed) = &definition.pushed {
            pushed.register(id, &self.board.awake);
        }
        entry.cell = Arc::new(entry.cell.succeeding(definition, now));
        if entry.standing.is_some() {
            self.registered = true;
            self.changed = true;
            self.judge(id, now);
        }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<Arc<Cell>> {
        let entry = self.entries.remove(id)?;
        self.names.remove(&*entry.cell.definition.name);
        self.spoken.retain(|&spoken| spoken != id);
        if let Some(standing) = entry.standing {
            self.tally.remove(id, standing);
            self.changed = true;
            self.registered = true;
            self.operators.note_gone(entry.name());
            self.events.push(Event::Removed(entry.name().clone()));
        }
        for deadlines in [&mut self.deadlines, &mut self.unread, &mut self.demands] {
            deadlines.remove(id);
        }
        Some(entry.cell)
    }

    /// Replaces the state of a check by what `next` makes of it: O(log n), but for a check that counts from now
    /// on. Readers of verdicts learn of it by [`publish`](Self::publish).
    pub(crate) fn update(
        &mut self,
        id: Id,
        now: Moment,
        next: impl FnOnce(&State, &Policy) -> State,
    ) {
        let mut next = Some(next);
        self.update_by(id, now, &mut |state, policy| {
            next.take().map(|next| next(state, policy))
        });
    }

    /// Not generic, so that it is compiled once.
    fn update_by(
        &mut self,
        id: Id,
        now: Moment,
        next: &mut dyn FnMut(&State, &Policy) -> Option<State>,
    ) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let cell = &entry.cell;
        let policy = &cell.definition.policy;
        let current = cell.current.load_full();
        let recorded = cell.confirmed(&current.state, now);
        let Some(state) = next(&recorded, policy) else {
            return;
        };
        let memo = match state.looks_like(&current.state) {
            true => Arc::clone(&current.memo),
            false => Arc::default(),
        };
        // Readers may have seen more than was recorded: that its result was too old, or a grace over.
        let seen = recorded.at(now);
        let seen_as = Standing::of(&seen, policy, now);
        let shown = state.looks_like(&current.state) && state.looks_like(&seen);
        self.changed |= !shown || seen_as != Standing::of(&state, policy, now);
        cell.current.store(Arc::new(Current { state, memo }));
        self.judge(id, now);
    }

    /// A check that blocks others otherwise than it was last seen to.
    pub(crate) fn next_turned(&mut self) -> Option<Id> {
        self.turned.pop()
    }

    /// What a check blocks those by that stand behind it, if it fails: itself, or what it stands behind.
    pub(crate) fn blocks(&self, id: Id) -> Option<&Name> {
        self.entries.get(id)?.blocks.as_ref()
    }

    /// Notes whether any check stands behind this one.
    pub(crate) fn heed(&mut self, id: Id, heeded: bool) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.heeded != heeded
        {
            entry.heeded = heeded;
            if entry.counts() {
                self.judge(id, self.board.clock.now());
            }
        }
    }

    /// Notes how a run of a check ended.
    pub(crate) fn note_result(&mut self, id: Id, result: RunResult, duration: Duration) {
        if let Some(entry) = self.entries.get_mut(id) {
            let note = Note::Ran(result, duration);
            entry.totals.count(note);
            self.operators.note(id, note);
        }
    }

    /// Notes whether a run of a check is in line or under way.
    pub(crate) fn note_run(&mut self, id: Id, asked: bool) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.asked = asked;
        }
    }

    /// Makes a check count as its state and policy say, and notes what subscribers are to be told.
    fn judge(&mut self, id: Id, now: Moment) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let cell = &entry.cell;
        let policy = &cell.definition.policy;
        let current = cell.current.load();
        let state = &current.state;
        let seen = state.at(now);
        let new = Standing::of(&seen, policy, now);
        // That nobody asked for so long tells nothing of what is asked.
        let unasked = policy.on_demand.is_some() && seen.reason == Some(Reason::Stale);
        let blocks = (seen.threshold.phase() == Phase::Failing && !unasked).then(|| {
            let by = seen.blocked_by.as_ref();
            by.unwrap_or(&cell.definition.name).clone()
        });
        if entry.blocks != blocks {
            entry.blocks = blocks;
            self.turned.push(id);
        }
        match entry.standing.replace(new) {
            Some(old) => {
                self.changed |= old != new;
                self.tally.replace(id, old, new);
            }
            None => {
                self.changed = true;
                self.registered = true;
                self.tally.insert(id, new);
                let name = cell.definition.name.clone();
                self.events.push(Event::Added(name));
                self.operators.note(id, Note::Came);
            }
        }
        let on_demand = policy.on_demand.is_some();
        let stale = state.reason == Some(Reason::Stale) && !state.is_believed(now);
        entry.unread = on_demand && stale && !entry.asked;
        let known = state.known().filter(|_| !entry.unread);
        if let Some(to) = known.filter(|&to| entry.told.0 != Some(to)) {
            let (from, since) = std::mem::replace(&mut entry.told, (Some(to), state.since));
            self.events.push(Event::Check(CheckTransition {
                name: cell.definition.name.clone(),
                from,
                to,
                reason: state.reason,
                blocked_by: state.blocked_by.clone(),
                cause: state.cause.clone(),
                at: state.since.time(),
                lasted: since.age_at(state.since),
            }));
            let note = Note::Became(to);
            entry.totals.count(note);
            self.operators.note(id, note);
        }
        self.operators.note(id, Note::Changed);
        let expires = state.expires_at(now);
        let changes = state.effect_changes_at(policy, now);
        // Those behind it are to learn of it, though nobody reads it.
        let (timed, unread) = match on_demand && !entry.heeded {
            true => (changes, expires),
            false => (state.changes_at(policy, now), None),
        };
        self.deadlines.set(id, timed);
        self.unread.set(id, unread);
        self.demands.set(id, cell.demand_from());
    }

    /// Makes every change true that has come due by `now`, with no event of its own.
    pub(crate) fn elapse(&mut self, now: Moment) {
        while let Some(id) = self.deadlines.due(now).or_else(|| self.unread.due(now)) {
            if let Some(pushed) = self.pushed(id) {
                // Nobody could confirm anything until just now.
                if self.board.awake.is_waking() {
                    pushed.refresh(now);
                }
                // From here on whoever speaks tells. What was confirmed before is heard.
                pushed.lapse();
                self.update(id, now, |state, _| state.at(now).into_owned());
                self.hold(id, &pushed, now);
                continue;
            }
            self.update(id, now, |state, _| state.at(now).into_owned());
        }
    }

    /// The half of a check that the application speaks by.
    fn pushed(&self, id: Id) -> Option<Arc<Pushed>> {
        self.cell(id)?.definition.pushed.clone()
    }

    /// What was said of a check need not be told again while it holds.
    fn hold(&self, id: Id, pushed: &Pushed, now: Moment) {
        let holds = self.cell(id).is_some_and(|cell| {
            let state = &cell.current.load().state;
            state.status.is_good() && state.is_believed(now)
        });
        if holds {
            pushed.hold();
        }
    }

    /// A worker is missing that nobody speaks for.
    pub(crate) fn miss(&mut self, id: Id, now: Moment) {
        let run = Run {
            ended: now,
            duration: Duration::ZERO,
        };
        self.update(id, now, |state, policy| {
            let died = Outcome::fail(Reason::Died);
            state.record(died, run, policy, 0.0).for_good()
        });
    }

    /// Whether the application speaks of any check itself.
    pub(crate) fn is_spoken_to(&self) -> bool {
        !self.spoken.is_empty()
    }

    /// Records what the application said of a check.
    pub(crate) fn hear(&mut self, id: Id, now: Moment) {
        let Some(pushed) = self.pushed(id) else {
            return;
        };
        pushed.drain(|record| {
            self.update(id, now, |state, policy| {
                record(state, policy).at(now).into_owned()
            })
        });
    }

    /// Shows readers what changed since the last time.
    pub(crate) fn publish(&mut self) {
        if std::mem::take(&mut self.registered) {
            let counting = self.entries.values().filter(|entry| entry.counts());
            let cells = counting.map(|entry| Arc::clone(&entry.cell)).collect();
            self.board.registry.store(Arc::new(Registry::new(cells)));
        }
        let turn = self.board.outside.turn();
        if turn != self.turn {
            // What readers have heard is not taken back.
            let now = self.board.clock.now();
            for id in self.spoken.clone() {
                self.hear(id, now);
            }
        }
        let outside = &self.board.outside;
        // Readers may have seen what was true for a moment before the engine came to it.
        let now = self.board.clock.now();
        let maintenance = outside.maintenance(now);
        let ends = maintenance.as_ref().map(|maintenance| maintenance.until);
        let valid_until = [self.deadlines.first(), self.unread.first(), ends]
            .into_iter()
            .flatten()
            .reduce(Deadline::min);
        let demand_from = self.demands.first();
        self.changed |= self.published.0.is_some_and(|until| until.reached(now));
        self.changed |= !self.events.is_empty();
        self.changed |= turn != self.turn;
        self.turn = turn;
        let published = std::mem::replace(&mut self.published, (valid_until, demand_from));
        let changed = std::mem::take(&mut self.changed);
        if changed {
            // A reader may have published the same before: see `Board::refresh`.
            let before = Arc::clone(&self.board.published.load().view);
            let life = self.board.outside.life(self.view.life, now);
            let cause = maintenance.map(|maintenance| maintenance.cause.clone());
            let facts = Facts::new(&self.tally, life, cause);
            let report = |id| Some(self.cell(id)?.report(now));
            self.view = Arc::new(View::new(&facts, now, &report, Some(&before)));
            self.note_transitions(now);
        } else if published == self.published {
            return;
        }
        self.board.published.store(Arc::new(Published {
            turn,
            valid_until,
            demand_from,
            view: Arc::clone(&self.view),
        }));
        if changed {
            self.board.changes.notify_waiters();
            self.tell_events();
        }
    }

    /// Notes which verdicts have another status than subscribers were told.
    fn note_transitions(&mut self, now: Moment) {
        let unread = |id: Id| self.entries.get(id).is_some_and(|entry| entry.unread);
        // That a check has become too old while nobody read it is no news.
        let is_news = |status: Status| match status {
            Status::Fail => {
                self.view.stage != Stage::NotReady
                    || self.tally.blocking.is_empty()
                    || !self.tally.blocking.iter().all(unread)
            }
            Status::Warn => !self.tally.degrading().all(unread),
            Status::Pass => true,
        };
        for (probe, told) in Probe::ALL.into_iter().zip(&mut self.told) {
            let verdict = &self.view.face(probe).verdict;
            let to = verdict.status;
            if to == told.0 || (to > told.0 && !is_news(to)) {
                continue;
            }
            let (from, since) = std::mem::replace(told, (to, now));
            self.events.push(Event::Verdict(VerdictTransition {
                probe,
                from,
                to,
                reason: verdict.reason,
                cause: verdict.cause.clone(),
                at: now.time(),
                lasted: since.age_at(now),
            }));
        }
    }

    fn tell_events(&mut self) {
        if let Some(subscribers) = self.board.events.get() {
            for event in &self.events {
                // Nobody listens at the moment, perhaps.
                _ = subscribers.send(Told::Event(event.clone()));
            }
        }
        self.operators.note_published(&mut self.events);
    }

    /// Tells operators what readers and subscribers have been shown.
    pub(crate) fn tell_operators(&mut self, now: Moment) {
        self.operators
            .tell(now, &self.board, &self.view, &self.entries);
    }

    /// Tells whoever waits for a run that there will be none.
    pub(crate) fn abandon_runs(&self) {
        for entry in self.entries.values() {
            entry.cell.flight.abandon();
        }
    }

    pub(crate) fn report(&self, id: Id) -> Option<CheckReport> {
        Some(self.cell(id)?.report(self.board.clock.now()))
    }

    /// The delay before the next run of a check without its jitter.
    pub(crate) fn delay(&self, id: Id) -> Option<Duration> {
        Some(self.cell(id)?.current.load().state.retry_in)
    }

    /// When [`elapse`](Self::elapse) next has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let ends = self
            .board
            .maintenance()
            .map(|(maintenance, _)| maintenance.until);
        let first = [self.deadlines.first(), ends].into_iter().flatten();
        first.map(Deadline::mono).min()
    }

    /// When [`tell_operators`](Self::tell_operators) has something to do, whatever happens.
    pub(crate) fn operators_due(&self) -> Option<Duration> {
        self.operators.due()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let board = &self.board;
        let now = board.clock.now();
        let turn = board.outside.turn();
        // What was said from outside until now is a part of the life that ends.
        let life = board.outside.life(self.view.life, now);
        let life = life.after(LifeEvent::Stopped(now));
        let published = board.count(now, now, turn, life, Some(&self.view));
        let view = Arc::clone(&published.view);
        board.published.store(Arc::new(published));
        self.abandon_runs();
        board.changes.notify_waiters();
        if let Some(subscribers) = board.events.get() {
            _ = subscribers.send(Told::Stopped);
        }
        if board.runs() {
            self.operators.tell_end(now, board, &view, &self.entries);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        engine::clock::moment,
        model::{ComponentType, Criticality, VerdictReason},
    };

    const CRITICALITIES: [Criticality; 3] = [
        Criticality::Critical,
        Criticality::Shared,
        Criticality::NonCritical,
    ];

    fn board(checks: u64) -> (Arc<Board>, Writer) {
        let service = Service {
            name: "orders".into(),
            release: None,
            version: None,
            description: None,
        };
        let definitions = (0..checks).map(|index| Definition {
            name: Name::new(format!("c{index}")).unwrap(),
            component_type: ComponentType::default(),
            runbook: None,
            policy: Policy {
                criticality: CRITICALITIES[(index % 3) as usize],
                shared_grace: (index % 6 == 1).then_some(Duration::from_secs(30)),
                fail_after: 1 + (index % 2) as u32,
                pass_after: 1 + (index % 4 / 3) as u32,
                ..Policy::default()
            },
            depends_on: Vec::new(),
            pushed: None,
        });
        let (tell, _) = tokio::sync::mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let engine = Link {
            tell,
            runtime: runtime.handle().clone(),
        };
        let writer = Writer::new(
            service,
            Clock::start(),
            definitions.collect(),
            DrainPolicy::default(),
            Some(engine),
        );
        (Arc::clone(writer.board()), writer)
    }

    /// What happens to a board.
    #[derive(Clone, Debug)]
    enum Step {
        Outcome(prop::sample::Index, Status),
        Wait(u64),
        Set(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let status = prop::sample::select(vec![Status::Pass, Status::Warn, Status::Fail]);
        prop_oneof![
            4 => (any::<prop::sample::Index>(), status).prop_map(|(index, status)| Step::Outcome(index, status)),
            2 => (0_u64..20).prop_map(Step::Wait),
            1 => (0_u64..60).prop_map(Step::Set),
        ]
    }

    type Check = (Name, Status, Option<Reason>);
    type Told = Vec<(
        Status,
        Option<VerdictReason>,
        Vec<Check>,
        usize,
        Option<Duration>,
    )>;

    fn told(view: &View) -> Told {
        let probes = [
            Probe::Liveness,
            Probe::Readiness,
            Probe::Startup,
            Probe::Health,
        ];
        let told = probes.map(|probe| {
            let verdict = &view.face(probe).verdict;
            let check = |check: &CheckReport| (check.name.clone(), check.status, check.reason);
            let checks = verdict.checks.iter().map(check).collect();
            (
                verdict.status,
                verdict.reason,
                checks,
                verdict.more,
                verdict.retry_after,
            )
        });
        told.into()
    }

    proptest! {
        /// The engine keeps the verdicts up to date at O(log n) a change; a reader counts them anew at O(n).
        /// Both come to the same, and until the next deadline nothing changes by itself.
        #[test]
        fn what_is_kept_equals_what_is_counted_anew(
            checks in 1_u64..30,
            steps in prop::collection::vec(step(), 1..120),
        ) {
            let (board, mut writer) = board(checks);
            let mut now = moment(0);
            for step in steps {
                match step {
                    Step::Outcome(index, status) => {
                        let run = Run { ended: now, duration: Duration::ZERO };
                        let next = |state: &State, policy: &Policy| {
                            state.record(status.into(), run, policy, 0.5)
                        };
                        writer.update(Id(index.index(checks as usize) as u64), now, next);
                    }
                    Step::Wait(seconds) => {
                        now.mono += Duration::from_secs(seconds);
                        now.wall += Duration::from_secs(seconds);
                    }
                    // Somebody sets the wall clock.
                    Step::Set(seconds) => now.wall += Duration::from_secs(seconds),
                }
                writer.elapse(now);
                writer.publish();
                let kept = board.published.load();
                let life = kept.view.life;
                let anew = publish(&board.registry.load().cells, (now, now), life, None, Some(&kept.view));
                prop_assert_eq!(told(&kept.view), told(&anew.view));
                prop_assert_eq!(kept.valid_until, anew.valid_until);
                prop_assert!(kept.valid_until.is_none_or(|deadline| !deadline.reached(now)));
                if let Some(deadline) = kept.valid_until {
                    let mut before = now;
                    let spare = deadline.mono() - now.mono;
                    before.mono += spare.saturating_sub(Duration::from_nanos(1));
                    let later = publish(&board.registry.load().cells, (before, before), life, None, Some(&kept.view));
                    prop_assert_eq!(told(&later.view), told(&kept.view));
                }
            }
        }
    }

    #[test]
    fn the_timer_makes_an_expiry_true_without_a_reader() {
        let (board, mut writer) = board(1);
        let now = moment(1);
        let run = Run {
            ended: now,
            duration: Duration::ZERO,
        };
        writer.update(Id(0), now, |state, policy| {
            state.record(Outcome::pass(), run, policy, 0.0)
        });
        writer.publish();
        assert_eq!(writer.next_deadline(), Some(Duration::from_secs(33)));
        assert_eq!(
            board.published.load().view.readiness.verdict.status,
            Status::Pass
        );
        writer.elapse(moment(33));
        writer.publish();
        assert_eq!(
            board.published.load().view.readiness.verdict.status,
            Status::Fail
        );
        assert_eq!(writer.next_deadline(), None);
    }

    #[test]
    fn a_dropped_writer_stops_the_board() {
        let (board, writer) = board(3);
        drop(writer);
        let published = board.published();
        assert_eq!(
            published.view.readiness.verdict.checks[0].reason,
            Some(Reason::EngineStopped)
        );
        assert_eq!(published.valid_until, None);
    }

    #[test]
    fn a_watcher_that_saw_an_expiry_learns_that_it_was_none() {
        let service = Service {
            name: "orders".into(),
            release: None,
            version: None,
            description: None,
        };
        let definition = Definition {
            name: Name::new("c0").unwrap(),
            component_type: ComponentType::default(),
            runbook: None,
            policy: Policy {
                max_age: Some(Duration::from_millis(100)),
                ..Policy::default()
            },
            depends_on: Vec::new(),
            pushed: None,
        };
        let clock = Clock::start();
        let mut writer = Writer::new(
            service,
            clock,
            vec![definition],
            DrainPolicy::default(),
            None,
        );
        let board = Arc::clone(writer.board());
        let pass = |at| {
            let run = Run {
                ended: at,
                duration: Duration::ZERO,
            };
            move |state: &State, policy: &Policy| {
                state
                    .record(Outcome::pass(), run, policy, 0.0)
                    .at(at)
                    .into_owned()
            }
        };
        let now = clock.now();
        writer.update(Id(0), now, pass(now));
        writer.publish();
        std::thread::sleep(Duration::from_millis(60));
        // `Engine::record`: the engine reads the clock before the expiry …
        let now = clock.now();
        // … its thread is preempted; a watcher on another looks after the expiry.
        std::thread::sleep(Duration::from_millis(60));
        let bell = board.change();
        let mut bell = std::pin::pin!(bell);
        bell.as_mut().enable();
        assert_eq!(board.verdict(Probe::Readiness).status, Status::Fail);
        // The engine goes on.
        writer.update(Id(0), now, pass(now));
        writer.publish();
        assert_eq!(board.verdict(Probe::Readiness).status, Status::Pass);
        let rang = tokio_test::task::spawn(bell).poll().is_ready();
        assert!(rang, "the watcher sleeps on with `fail`");
    }
}
