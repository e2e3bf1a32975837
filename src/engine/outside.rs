//! What readers see at once, whatever the engine does meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;

use super::{
    clock::{Deadline, Moment},
    life::{Life, LifeEvent},
};
use crate::model::Cause;

/// What the application and its operators say, which is true from the moment that they say it.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// Goes up after each change. What was published says which it has seen.
    turn: AtomicU64,
    draining: AtomicBool,
    maintenance: ArcSwapOption<Maintenance>,
}

/// Until when the instance is out of rotation, and what for.
#[derive(Debug)]
pub(crate) struct Maintenance {
    pub(crate) cause: Cause,
    pub(crate) until: Deadline,
}

impl Outside {
    #[inline]
    pub(super) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    pub(super) fn turned(&self) {
        self.turn.fetch_add(1, Ordering::AcqRel);
    }

    /// The instance leaves. Whether it did before.
    pub(super) fn drain(&self) -> bool {
        self.draining.swap(true, Ordering::AcqRel)
    }

    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Begins a maintenance, or ends what there is.
    pub(super) fn maintain(&self, maintenance: Option<Maintenance>) -> Option<Arc<Maintenance>> {
        self.maintenance.swap(maintenance.map(Arc::new))
    }

    /// The maintenance that is not over.
    pub(super) fn maintenance(&self, now: Moment) -> Option<Arc<Maintenance>> {
        let maintenance = self.maintenance.load_full();
        maintenance.filter(|maintenance| !maintenance.until.reached(now))
    }

    /// What became of a life that was published, by now.
    pub(super) fn life(&self, before: Life, now: Moment) -> Life {
        let maintained = match self.maintenance(now) {
            Some(_) => before.after(LifeEvent::MaintenanceBegan),
            None => before.after(LifeEvent::MaintenanceEnded),
        };
        match self.is_draining() {
            true => maintained.after(LifeEvent::DrainBegan),
            false => maintained,
        }
    }
}
