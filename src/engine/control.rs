//! The control state: what the application, its operators and the drain have set. Readers see it
//! immediately, whatever the engine does.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::{
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    clock::{Deadline, Moment},
    drain::{DrainEnd, DrainPolicy},
    in_flight::InFlight,
    life::{Life, LifeEvent},
    names::Names,
};
use crate::model::Cause;

#[derive(Debug)]
pub(crate) struct Control {
    /// Incremented after each change. What is published names the version that it includes.
    version: AtomicU64,
    draining: AtomicBool,
    maintenance: ArcSwapOption<Maintenance>,
    pub(crate) policy: DrainPolicy,
    pub(crate) in_flight: InFlight,
    /// The names of what is in flight, as far as it has names.
    pub(crate) names: Names,
    /// The futures that wait, or waited to the end, for the moment to stop accepting.
    waiters: AtomicUsize,
    /// Those among them that run a server. The process is expected to end with the server.
    servers: AtomicUsize,
    signals: AtomicU8,
    closing: AtomicBool,
    end: OnceLock<DrainEnd>,
    /// How many requests were cut.
    cut: OnceLock<usize>,
}

/// The time during which the instance is out of rotation, and its cause.
#[derive(Debug)]
pub(crate) struct Maintenance {
    pub(crate) cause: Cause,
    pub(crate) until: Deadline,
}

impl Control {
    pub(super) fn new(policy: DrainPolicy) -> Self {
        Self {
            version: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            maintenance: ArcSwapOption::empty(),
            policy,
            in_flight: InFlight::default(),
            names: Names::default(),
            waiters: AtomicUsize::new(0),
            servers: AtomicUsize::new(0),
            signals: AtomicU8::new(0),
            closing: AtomicBool::new(false),
            end: OnceLock::new(),
            cut: OnceLock::new(),
        }
    }

    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Has readers look again.
    pub(super) fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Begins the drain. Returns whether it had begun before.
    pub(super) fn drain(&self) -> bool {
        self.draining.swap(true, Ordering::AcqRel)
    }

    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Begins a maintenance, or ends the current one. Returns the one from before.
    pub(super) fn maintain(&self, maintenance: Option<Maintenance>) -> Option<Arc<Maintenance>> {
        self.maintenance.swap(maintenance.map(Arc::new))
    }

    /// The maintenance that is not over.
    pub(super) fn maintenance(&self, now: Moment) -> Option<Arc<Maintenance>> {
        let maintenance = self.maintenance.load_full();
        maintenance.filter(|maintenance| !maintenance.until.reached(now))
    }

    /// A published life with what was set since.
    pub(super) fn life(&self, before: Life, now: Moment) -> Life {
        let maintained = match self.maintenance(now) {
            Some(_) => before.after(LifeEvent::MaintenanceBegan),
            None => before.after(LifeEvent::MaintenanceEnded),
        };
        if self.is_draining() {
            maintained.after(LifeEvent::DrainBegan)
        } else {
            maintained
        }
    }

    /// Adds a waiter for the moment to stop accepting. It may run a server to its end.
    pub(crate) fn add_waiter(&self, runs_server: bool) {
        self.waiters.fetch_add(1, Ordering::AcqRel);
        self.servers
            .fetch_add(usize::from(runs_server), Ordering::AcqRel);
    }

    /// Removes a waiter that was dropped before that moment.
    pub(crate) fn remove_waiter(&self, runs_server: bool) {
        self.waiters.fetch_sub(1, Ordering::AcqRel);
        self.servers
            .fetch_sub(usize::from(runs_server), Ordering::AcqRel);
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Acquire) > 0
    }

    pub(crate) fn runs_servers(&self) -> bool {
        self.servers.load(Ordering::Acquire) > 0
    }

    /// Counts a signal. Returns how many came before.
    pub(crate) fn count_signal(&self) -> u8 {
        let more = |signals: u8| Some(signals.saturating_add(1));
        let counted = self
            .signals
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        counted.unwrap_or_default()
    }

    /// The third phase begins: servers are to stop accepting.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn end(&self, end: DrainEnd) {
        _ = self.end.set(end);
    }

    pub(super) fn cut(&self, in_flight: usize) {
        _ = self.cut.set(in_flight);
    }

    /// Whether the second phase has begun: connections are to close, and new ones are still
    /// accepted.
    #[cfg(feature = "server")]
    pub(crate) fn is_finishing(&self) -> bool {
        self.in_flight.is_awaited()
    }

    /// Whether servers are to stop accepting.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// How the drain ended: with nothing in flight, or with requests to cut.
    pub(crate) fn ended(&self) -> Option<DrainEnd> {
        self.end.get().copied()
    }

    /// How many requests were cut, once servers are to end at once.
    pub(crate) fn was_cut(&self) -> Option<usize> {
        self.cut.get().copied()
    }
}
