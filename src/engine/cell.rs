//! What the board keeps of one check.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use super::{
    clock::{Deadline, Moment},
    flight::SharedFlight,
    id::Id,
    pushed::Pushed,
    state::State,
};
use crate::{
    check::Policy,
    memo::Memo,
    model::{CheckReport, CheckSettings, ComponentType, LastRun, Name},
};

/// The part of a check that never changes.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: Name,
    pub(crate) component_type: ComponentType,
    pub(crate) runbook: Option<Arc<str>>,
    pub(crate) policy: Policy,
    pub(crate) depends_on: Vec<Name>,
    /// The reports of the application, for a check without code.
    pub(crate) pushed: Option<Arc<Pushed>>,
}

/// A check's definition and its current state.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(super) id: Id,
    pub(crate) definition: Definition,
    pub(super) current: ArcSwap<Current>,
    pub(super) flight: Arc<SharedFlight>,
}

/// A state and the responses rendered from it. They are kept while they say the same.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) state: State,
    pub(super) memo: Arc<Memo>,
}

impl Current {
    /// The responses to keep if the check now reads as `state`.
    pub(super) fn memo_for(&self, state: &State) -> Arc<Memo> {
        if state.looks_like(&self.state) {
            Arc::clone(&self.memo)
        } else {
            Arc::default()
        }
    }
}

impl Cell {
    pub(super) fn pending(id: Id, definition: Definition, now: Moment) -> Self {
        let state = State::pending(now, &definition.policy);
        let state = match &definition.pushed {
            // Without a first report, the check becomes stale.
            Some(pushed) if !pushed.lasts() => state.until(now.plus(definition.policy.max_age())),
            _ => state,
        };
        Self::new(id, definition, state, Arc::new(SharedFlight::new()))
    }

    /// The cell of the same check with another definition. It keeps the state as it reads at `now`.
    pub(super) fn succeeding(&self, definition: Definition, now: Moment) -> Self {
        let state = self.current.load().state.under(&definition.policy);
        let state = state.at(now).into_owned();
        Self::new(self.id, definition, state, Arc::clone(&self.flight))
    }

    fn new(id: Id, definition: Definition, state: State, flight: Arc<SharedFlight>) -> Self {
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

    /// The state as it reads at `now`, including reports that the engine has not recorded yet.
    pub(super) fn read(&self, now: Moment, stopped: Option<Moment>) -> State {
        let pushed = self.definition.pushed.as_deref();
        // Loaded before the state: an update that is not among them is in the state.
        let pushed = pushed.map(|pushed| (pushed, pushed.updates()));
        let current = self.current.load();
        let (state, policy) = (&current.state, &self.definition.policy);
        let state = match pushed {
            Some((pushed, updates)) => Cow::Owned(pushed.apply(&updates, state, policy, now)),
            None => Cow::Borrowed(state),
        };
        let state = state.at(now);
        match stopped {
            Some(at) => state.stopped(at),
            None => state.into_owned(),
        }
    }

    /// A recorded state with the confirmations since.
    pub(super) fn confirmed<'a>(&self, recorded: &'a State, now: Moment) -> Cow<'a, State> {
        match &self.definition.pushed {
            Some(pushed) => Cow::Owned(pushed.confirmed(recorded, now)),
            None => Cow::Borrowed(recorded),
        }
    }

    /// A report of the state that was last recorded.
    pub(super) fn report(&self, now: Moment) -> CheckReport {
        let current = self.current.load();
        let state = self.confirmed(&current.state, now);
        self.definition.report(&state, now)
    }

    /// Whether this is a start-up task that has succeeded.
    pub(super) fn is_done(&self) -> bool {
        self.definition.policy.is_task() && self.current.load().state.threshold.passed()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.current.load().state.blocked_by.is_some()
    }

    pub(super) fn is_on_demand(&self) -> bool {
        self.definition.policy.on_demand.is_some()
    }

    /// Whether a reader has to request a run now.
    pub(super) fn is_demanded(&self, now: Moment) -> bool {
        self.demand_from().is_some_and(|from| from.reached(now))
    }

    /// From when on a reader has to request a run. `None` unless the check runs on demand.
    pub(super) fn demand_from(&self) -> Option<Deadline> {
        let fresh_until = self
            .is_on_demand()
            .then(|| self.current.load().state.fresh_until())?;
        Some(fresh_until.unwrap_or(Deadline::PAST))
    }

    /// Whether the check is reported by the application through `pushed`.
    pub(super) fn is_pushed_by(&self, pushed: &Arc<Pushed>) -> bool {
        let own = self.definition.pushed.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, pushed))
    }
}

impl Definition {
    pub(super) fn report(&self, state: &State, now: Moment) -> CheckReport {
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
            flapping: state.flapping.flaps(),
            settings: self.settings(),
        }
    }

    /// The settings that are in effect.
    pub(crate) fn settings(&self) -> CheckSettings {
        let expires = self.pushed.as_ref().is_none_or(|pushed| !pushed.lasts());
        self.policy.settings(self.pushed.is_none(), expires)
    }

    /// Whether the application has given up the handle that reports this check.
    pub(super) fn is_abandoned(&self) -> bool {
        let pushed = self.pushed.as_ref();
        pushed.is_some_and(|pushed| pushed.is_abandoned())
    }
}

/// The checks that count, in the order of registration.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) cells: Vec<Arc<Cell>>,
    by_name: HashMap<Name, Id>,
    pub(super) on_demand: Vec<Arc<Cell>>,
}

impl Registry {
    pub(super) fn new(cells: Vec<Arc<Cell>>) -> Self {
        let named = |cell: &Arc<Cell>| (cell.definition.name.clone(), cell.id);
        let on_demand = |cell: &&Arc<Cell>| cell.is_on_demand();
        Self {
            by_name: cells.iter().map(named).collect(),
            on_demand: cells.iter().filter(on_demand).cloned().collect(),
            cells,
        }
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Cell>> {
        let &id = self.by_name.get(name)?;
        let index = self.cells.binary_search_by_key(&id, |cell| cell.id).ok()?;
        self.cells.get(index)
    }

    /// All checks except these. The names are sorted.
    pub(super) fn without<'a>(
        &'a self,
        excluded: &'a [Name],
    ) -> impl Iterator<Item = &'a Arc<Cell>> {
        let stays = |cell: &&Arc<Cell>| excluded.binary_search(&cell.definition.name).is_err();
        self.cells.iter().filter(stays)
    }
}
