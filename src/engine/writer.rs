//! The engine's half of the board.

mod announce;
mod publish;
mod pushed;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    announced::{AnnouncedVerdicts, Flaps},
    board::{Board, Link, Service},
    cell::{Cell, Current, Definition, Registry},
    clock::{Clock, Deadline, Moment},
    deadlines::Deadlines,
    drain::DrainPolicy,
    entry::Entry,
    id::Id,
    life::Life,
    operators::Operators,
    published::Published,
    state::State,
    table::Table,
    tally::{Standing, Tally},
    threshold::Phase,
    view::View,
};
use crate::{
    check::Policy,
    model::{
        CheckFlapping, CheckReasonChange, CheckReport, CheckTransition, Event, FlappingPhase, Name,
        Outcome, Reason, Status,
    },
    telemetry::{Note, RunResult},
};

/// Writes the board. When it is dropped, every reader sees that the engine has stopped.
#[derive(Debug)]
pub(crate) struct Writer {
    board: Arc<Board>,
    entries: Table<Id, Entry>,
    /// All checks by name, including those that do not count yet.
    names: HashMap<Name, Id>,
    next_id: u64,
    /// The checks that the application reports itself.
    pushed: Vec<Id>,
    tally: Tally,
    /// When each check changes by itself.
    deadlines: Deadlines,
    /// When the result of a check on demand expires. Nothing has to happen then unless it is read.
    unread: Deadlines,
    /// From when on a reader has to request a run of a check on demand.
    demands: Deadlines,
    /// When a reason that returned is announced. Readers have seen it.
    returning_reasons: Deadlines,
    view: Arc<View>,
    /// The version of the control state that the engine last saw.
    version: u64,
    /// The deadlines that the engine last published. A reader may have published later ones.
    published: (Option<Deadline>, Option<Deadline>),
    /// Whether a reader could see a difference to the view.
    changed: bool,
    /// Whether checks were added, removed or replaced.
    registered: bool,
    /// The checks that began or ceased to block their dependents, or block them by another name.
    blocking_changed: Vec<Id>,
    /// The verdicts that subscribers were last notified of, and those that were last logged.
    announced: AnnouncedVerdicts,
    logged: AnnouncedVerdicts,
    /// The events to send once readers can see the change.
    events: Vec<Event>,
    /// The verdicts to log, which are fewer if checks flap.
    lines: Vec<Event>,
    /// When a verdict that is not logged has to be, if it still holds then.
    withheld: Option<Deadline>,
    operators: Operators,
}

impl Writer {
    /// A board on which every check is pending, and its writer. Readers reach the engine by
    /// `engine`.
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
        let published = Published::count(&cells, (now, now), Life::default(), None, None);
        let view = Arc::clone(&published.view);
        let deadlines = (published.valid_until, published.demand_from);
        let registry = Registry::new(cells.clone());
        let board = Arc::new(Board::new(
            service, clock, registry, published, drain, engine,
        ));
        let announced = AnnouncedVerdicts::of(&view, now);
        let mut writer = Self {
            operators: Operators::new(&board),
            board,
            entries: Table::default(),
            names: HashMap::new(),
            next_id: 0,
            pushed: Vec::new(),
            tally: Tally::default(),
            deadlines: Deadlines::default(),
            unread: Deadlines::default(),
            demands: Deadlines::default(),
            returning_reasons: Deadlines::default(),
            view,
            version: 0,
            published: deadlines,
            changed: false,
            registered: false,
            blocking_changed: Vec::new(),
            logged: announced.clone(),
            announced,
            events: Vec::new(),
            lines: Vec::new(),
            withheld: None,
        };
        for cell in cells {
            let id = writer.insert(cell);
            writer.judge(id, now);
        }
        // The checks from before the start are published already, and are no news.
        (writer.changed, writer.registered) = (false, false);
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

    /// Adds a check, which does not count before its first [`update`](Self::update).
    pub(crate) fn add(&mut self, definition: Definition) -> Id {
        let now = self.board.clock.now();
        self.insert(Arc::new(Cell::pending(Id(self.next_id), definition, now)))
    }

    fn insert(&mut self, cell: Arc<Cell>) -> Id {
        let id = cell.id;
        if let Some(pushed) = &cell.definition.pushed {
            pushed.register(id, &self.board.pulse);
            self.pushed.push(id);
        }
        self.next_id = id.0 + 1;
        self.names.insert(cell.definition.name.clone(), id);
        self.entries.insert(id, Entry::new(cell));
        id
    }

    /// Gives a check another definition, and keeps its state.
    pub(crate) fn replace(&mut self, id: Id, definition: Definition, now: Moment) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if let Some(pushed) = &definition.pushed {
            pushed.register(id, &self.board.pulse);
        }
        if entry.counts() {
            self.operators.note_redefined(&entry.cell.definition);
        }
        entry.cell = Arc::new(entry.cell.succeeding(definition, now));
        if entry.counts() {
            self.registered = true;
            self.changed = true;
            self.judge(id, now);
        }
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<Arc<Cell>> {
        let entry = self.entries.remove(id)?;
        self.names.remove(&**entry.name());
        self.pushed.retain(|&pushed| pushed != id);
        if let Some(standing) = entry.standing {
            self.tally.remove(id, standing);
            self.changed = true;
            self.registered = true;
            self.operators.note_gone(id, &entry.cell.definition);
            self.events.push(Event::Removed(entry.name().clone()));
        }
        for deadlines in [
            &mut self.deadlines,
            &mut self.unread,
            &mut self.demands,
            &mut self.returning_reasons,
        ] {
            deadlines.remove(id);
        }
        Some(entry.cell)
    }

    /// Replaces the state of a check by the result of `next`: O(log n), except for a check that
    /// counts from now on. Readers of verdicts see it after [`publish`](Self::publish).
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
        let memo = current.memo_for(&state);
        // Readers may have seen more than was recorded: an expiry, or the end of a grace.
        let seen = recorded.at(now);
        let seen_as = Standing::of(&seen, policy, now);
        let shown = state.looks_like(&current.state) && state.looks_like(&seen);
        self.changed |= !shown || seen_as != Standing::of(&state, policy, now);
        cell.current.store(Arc::new(Current { state, memo }));
        self.judge(id, now);
    }

    /// A check that began or ceased to block its dependents.
    pub(crate) fn next_blocking_changed(&mut self) -> Option<Id> {
        self.blocking_changed.pop()
    }

    /// The name that the dependents of a check are blocked by, if it fails: its own, or that of the
    /// check which blocks it.
    pub(crate) fn blocks(&self, id: Id) -> Option<&Name> {
        self.entries.get(id)?.blocks.as_ref()
    }

    /// Notes whether any check depends on this one.
    pub(crate) fn set_has_dependents(&mut self, id: Id, has_dependents: bool) {
        if let Some(entry) = self.entries.get_mut(id)
            && entry.has_dependents != has_dependents
        {
            entry.has_dependents = has_dependents;
            if entry.counts() {
                self.judge(id, self.board.clock.now());
            }
        }
    }

    /// Notes how a run of a check ended.
    pub(crate) fn note_result(&mut self, id: Id, outcome: &Outcome, duration: Duration) {
        let Some(result) = RunResult::of(outcome) else {
            return;
        };
        let reason = outcome
            .reason()
            .filter(|_| outcome.status() == Status::Fail);
        if self.entries.get(id).is_some() {
            self.operators
                .note(id, Note::RunEnded(result, reason, duration));
        }
    }

    /// Notes whether a run of a check is queued or in flight.
    pub(crate) fn note_run(&mut self, id: Id, runs: bool) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.runs = runs;
        }
    }

    /// Has the verdicts, dependents, subscribers, operators and timers follow the recorded state of
    /// a check.
    fn judge(&mut self, id: Id, now: Moment) {
        let Some(cell) = self.cell(id).map(Arc::clone) else {
            return;
        };
        let current = cell.current.load();
        let (state, policy) = (&current.state, &cell.definition.policy);
        let seen = state.at(now);
        self.judge_blocking(id, &cell, &seen);
        self.judge_standing(id, &cell, Standing::of(&seen, policy, now));
        self.judge_transition(id, &cell, state, now);
        self.operators.note(id, Note::StateChanged);
        self.judge_deadlines(id, &cell, state, now);
    }

    fn judge_blocking(&mut self, id: Id, cell: &Cell, seen: &State) {
        // That nobody has requested a run for long says nothing about the dependency.
        let unread = cell.is_on_demand() && seen.reason == Some(Reason::Stale);
        let blocks = (seen.threshold.phase() == Phase::Failing && !unread).then(|| {
            let by = seen.blocked_by.as_ref();
            by.unwrap_or(&cell.definition.name).clone()
        });
        if let Some(entry) = self.entries.get_mut(id)
            && entry.blocks != blocks
        {
            entry.blocks = blocks;
            self.blocking_changed.push(id);
        }
    }

    fn judge_standing(&mut self, id: Id, cell: &Cell, new: Standing) {
        let entry = self.entries.get_mut(id);
        match entry.and_then(|entry| entry.standing.replace(new)) {
            Some(old) => {
                self.changed |= old != new;
                self.tally.replace(id, old, new);
            }
            None => {
                self.changed = true;
                self.registered = true;
                self.tally.insert(id, new);
                self.events.push(Event::Added(cell.definition.name.clone()));
                self.operators.note(id, Note::Added);
            }
        }
    }

    fn judge_transition(&mut self, id: Id, cell: &Cell, state: &State, now: Moment) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let stale = state.reason == Some(Reason::Stale) && !state.is_valid(now);
        entry.expired_unread = cell.is_on_demand() && stale && !entry.runs;
        let Some(to) = state.known() else {
            return;
        };
        let definition = &cell.definition;
        let (reason, by) = (state.reason, state.blocked_by.as_ref());
        let effect = state.at(now).effect(&definition.policy, now);
        let flaps = entry.announced.flapping(state.flapping, now);
        let unread = entry.expired_unread;
        if unread && flaps != Flaps::News(FlappingPhase::Ended) {
            return;
        }
        if !unread && entry.counted.replace(to) != Some(to) {
            self.operators.note(id, Note::StatusChanged(to));
        }
        if let Flaps::News(phase) = flaps {
            // It contains the status, so that need not be announced any more.
            entry.announced.transition(to, state.since);
            entry.announced.reason(reason, by, now);
            let (changes, within) = state.flapping.changes(now);
            self.events.push(Event::Flapping(CheckFlapping {
                name: definition.name.clone(),
                phase,
                changes,
                within,
                status: to,
                reason,
                blocked_by: by.cloned(),
                cause: state.cause.clone(),
                criticality: definition.policy.criticality,
                effect: effect.into(),
                runbook: definition.runbook.clone(),
                fail_after: definition.settings().fail_after,
                pass_after: definition.settings().pass_after,
                since: state.since.time(),
            }));
        }
        if flaps != Flaps::No {
            // Nothing else is announced.
        } else if entry.announced.status != Some(to) {
            let (from, since) = entry.announced.transition(to, state.since);
            entry.announced.reason(reason, by, now);
            self.events.push(Event::Check(CheckTransition {
                name: definition.name.clone(),
                from,
                to,
                reason,
                blocked_by: by.cloned(),
                cause: state.cause.clone(),
                criticality: definition.policy.criticality,
                effect: effect.into(),
                runbook: definition.runbook.clone(),
                at: state.since.time(),
                lasted: since.age_at(state.since),
            }));
        } else if to == Status::Fail && entry.announced.is_news(reason, by, now) {
            let from = entry.announced.reason(reason, by, now);
            self.events.push(Event::CheckReason(CheckReasonChange {
                name: definition.name.clone(),
                from,
                to: reason,
                blocked_by: by.cloned(),
                cause: state.cause.clone(),
                criticality: definition.policy.criticality,
                effect: effect.into(),
                runbook: definition.runbook.clone(),
                since: state.since.time(),
                failing: state.since.age_at(now),
            }));
        }
    }

    fn judge_deadlines(&mut self, id: Id, cell: &Cell, state: &State, now: Moment) {
        let policy = &cell.definition.policy;
        let has_dependents = self
            .entries
            .get(id)
            .is_some_and(|entry| entry.has_dependents);
        let (timed, unread) = if cell.is_on_demand() && !has_dependents {
            let changes = state.effect_changes_at(policy, now);
            (changes, state.expires_at(now))
        } else {
            // Dependents have to follow an expiry that nobody reads.
            (state.changes_at(policy, now), None)
        };
        let entry = self.entries.get(id);
        let returns = entry.and_then(|entry| entry.announced.returns_at());
        let returns = returns.filter(|returns| !returns.reached(now));
        self.deadlines.set(id, timed);
        self.returning_reasons.set(id, returns);
        self.unread.set(id, unread);
        self.demands.set(id, cell.demand_from());
    }

    /// Completes every run that readers wait for: there will be none.
    pub(crate) fn abandon_runs(&self) {
        for entry in self.entries.values() {
            entry.cell.flight.abandon();
        }
    }

    pub(crate) fn report(&self, id: Id) -> Option<CheckReport> {
        Some(self.cell(id)?.report(self.board.clock.now()))
    }

    /// The delay before the next run of a check, without its jitter.
    pub(crate) fn delay(&self, id: Id) -> Option<Duration> {
        Some(self.cell(id)?.current.load().state.retry_in)
    }

    /// When [`elapse`](Self::elapse) has something to do next.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let maintenance = self.board.maintenance();
        let ends = maintenance.map(|(maintenance, _)| maintenance.until);
        let announced = self.returning_reasons.first().into_iter();
        let others = ends.into_iter().chain(announced).chain(self.withheld);
        let first = self.deadlines.first().into_iter().chain(others);
        first.map(Deadline::mono).min()
    }

    /// When [`report_to_operators`](Self::report_to_operators) has something to do, whatever
    /// happens.
    pub(crate) fn operators_due(&self) -> Option<Duration> {
        self.operators.due()
    }

    /// Logs and measures what readers and subscribers have seen.
    pub(crate) fn report_to_operators(&mut self, now: Moment) {
        self.operators
            .report(now, &self.board, &self.view, &self.entries);
    }
}
