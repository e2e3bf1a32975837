//! A check that the application reports itself, without runs.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    clock::Moment,
    id::Id,
    stall::Pulse,
    state::{Run, State},
};
use crate::{check::Policy, model::Outcome};

/// The side of a reporter or heartbeat: its last updates, which readers see at once and the engine
/// records, and when the last of them was confirmed.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// How long an update is valid. `None` is for ever.
    ttl: Option<Duration>,
    id: OnceLock<Id>,
    pulse: OnceLock<Arc<Pulse>>,
    /// The updates that the engine has not recorded yet. Each is a transition that subscribers are
    /// to see, so more than the last one is kept.
    updates: ArcSwap<Vec<Arc<Update>>>,
    /// Whether the engine was notified of them.
    notified: AtomicBool,
    /// Whether the last update is good and has not expired.
    holds: AtomicBool,
    /// When the last update was made or confirmed, in nanoseconds of each clock.
    mono: AtomicU64,
    wall: AtomicU64,
    /// Whether the handle was dropped.
    abandoned: AtomicBool,
}

/// The updates that were not recorded at a moment.
#[derive(Debug)]
pub(super) struct Updates(Arc<Vec<Arc<Update>>>);

#[derive(Debug)]
struct Update {
    outcome: Outcome,
    at: Moment,
    /// Whether it never expires.
    lasts: bool,
}

impl Pushed {
    /// The most updates that are kept. An update with the status and the reason of the last
    /// replaces it, and so does one too many.
    const MOST: usize = 8;

    /// Updates are valid for `ttl`.
    pub(crate) fn new(ttl: Duration) -> Self {
        Self::with(Some(ttl))
    }

    /// An update is valid until the next.
    pub(crate) fn lasting() -> Self {
        Self::with(None)
    }

    fn with(ttl: Option<Duration>) -> Self {
        Self {
            ttl,
            id: OnceLock::new(),
            pulse: OnceLock::new(),
            updates: ArcSwap::default(),
            notified: AtomicBool::new(false),
            holds: AtomicBool::new(false),
            mono: AtomicU64::new(0),
            wall: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Registers the check that is reported.
    pub(super) fn register(&self, id: Id, pulse: &Arc<Pulse>) {
        _ = self.pulse.set(Arc::clone(pulse));
        _ = self.id.set(id);
    }

    pub(super) fn id(&self) -> Option<Id> {
        self.id.get().copied()
    }

    /// Adds an update. Returns whether the engine has to be notified.
    pub(super) fn push(&self, outcome: &Outcome, at: Moment) -> bool {
        let good = outcome.status().is_good();
        self.holds.store(good, Ordering::Release);
        let update = Arc::new(Update {
            outcome: outcome.clone(),
            at,
            lasts: self.ttl.is_none() || self.is_abandoned(),
        });
        self.updates.rcu(|updates| {
            let mut updates = Vec::clone(updates);
            let repeats = updates.last().is_some_and(|last| {
                let last = &last.outcome;
                last.status() == outcome.status() && last.reason() == outcome.reason()
            });
            if repeats || updates.len() >= Self::MOST {
                updates.pop();
            }
            updates.push(Arc::clone(&update));
            updates
        });
        // Set last, because the time must not confirm the update before. Nothing confirms a
        // failure.
        if good {
            self.set_time(at);
        }
        !self.notified.swap(true, Ordering::AcqRel)
    }

    /// Confirms the last update. Returns whether it was good and had not expired.
    pub(super) fn confirm(&self, at: Moment) -> bool {
        let is_over = |ttl| self.last().plus(ttl).reached(at);
        let holds = self.holds.load(Ordering::Acquire) && !self.ttl.is_some_and(is_over);
        if holds {
            self.set_time(at);
        }
        holds
    }

    /// Restarts the time of the last update, because the process was suspended until now.
    pub(super) fn refresh(&self, now: Moment) {
        if self.holds.load(Ordering::Acquire) {
            self.set_time(now);
        }
    }

    /// Extends the time of the last update by the length of a stall.
    pub(super) fn extend(&self, stall: Duration, now: Moment) {
        if self.holds.load(Ordering::Acquire) {
            let last = self.last();
            self.set_time(Moment {
                mono: (last.mono + stall).min(now.mono),
                wall: (last.wall + stall).min(now.wall),
            });
        }
    }

    /// The last update has expired. The next confirmation has to notify the engine.
    pub(super) fn expire(&self) {
        self.holds.store(false, Ordering::Release);
    }

    /// The last update was confirmed before it expired.
    pub(super) fn hold(&self) {
        self.holds.store(true, Ordering::Release);
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    pub(crate) fn is_unregistered(&self) -> bool {
        self.id.get().is_none()
    }

    /// Whether updates never expire.
    pub(super) fn lasts(&self) -> bool {
        self.ttl.is_none()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    fn set_time(&self, at: Moment) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.mono.store(nanos(at.mono), Ordering::Release);
        self.wall.store(nanos(at.wall), Ordering::Release);
    }

    fn last(&self) -> Moment {
        let time = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Acquire));
        Moment {
            mono: time(&self.mono),
            wall: time(&self.wall),
        }
    }

    /// A recorded state with the confirmations since.
    pub(super) fn confirmed(&self, state: &State, now: Moment) -> State {
        let resumed = self
            .pulse
            .get()
            .is_some_and(|pulse| pulse.has_just_resumed());
        let last = if resumed && self.holds.load(Ordering::Acquire) {
            now
        } else {
            self.last()
        };
        match self.ttl {
            Some(ttl) => state.confirmed(last, ttl),
            None => state.clone(),
        }
    }

    /// The updates that may not be recorded yet. Load them before the state that they are
    /// [applied](Self::apply) to: an update that is missing here is in that state.
    pub(super) fn updates(&self) -> Updates {
        Updates(self.updates.load_full())
    }

    /// A recorded state with all updates and confirmations since.
    pub(super) fn apply(
        &self,
        updates: &Updates,
        state: &State,
        policy: &Policy,
        now: Moment,
    ) -> State {
        let updates = updates.0.iter();
        let mut updated = state.clone();
        for update in updates {
            updated = update.record(&updated, policy);
        }
        // An update that the engine has already recorded is no further change.
        updated.flapping = state.flapping;
        self.confirmed(&updated, now)
    }

    /// Calls `record` for each update, in order, and removes the updates.
    pub(super) fn drain(&self, mut record: impl FnMut(&dyn Fn(&State, &Policy) -> State)) {
        // Later updates notify the engine again.
        self.notified.store(false, Ordering::Release);
        let recorded = self.updates.load_full();
        for update in recorded.iter() {
            record(&|state, policy| update.record(state, policy));
        }
        // Until here a reader applies the recorded updates twice. That is the same as once, because
        // the last of them decides.
        let later = |updates: &Arc<Vec<Arc<Update>>>| -> Vec<Arc<Update>> {
            let is_recorded =
                |one: &&Arc<Update>| recorded.iter().any(|known| Arc::ptr_eq(known, one));
            updates.iter().skip_while(is_recorded).cloned().collect()
        };
        self.updates.rcu(later);
    }
}

impl Update {
    fn record(&self, state: &State, policy: &Policy) -> State {
        let run = Run {
            ended: self.at,
            duration: Duration::ZERO,
        };
        let state = state.record(self.outcome.clone(), run, policy, 0.0);
        if self.lasts {
            state.without_expiry()
        } else {
            state
        }
    }
}
