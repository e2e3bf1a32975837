//! What the parts of a service share while it leaves.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
};

use super::drain::{DrainEnd, DrainPolicy};

/// The requests in flight, and how far the drain is.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) policy: DrainPolicy,
    in_flight: AtomicUsize,
    /// Whether the engine is to know when nothing is in flight.
    awaited: AtomicBool,
    /// How many futures there are, or were to the end, that somebody ends a server by.
    takers: AtomicUsize,
    /// How many signals came.
    signals: AtomicU8,
    end: OnceLock<DrainEnd>,
    cut: AtomicBool,
}

impl Departure {
    pub(super) fn new(policy: DrainPolicy) -> Self {
        Self {
            policy,
            in_flight: AtomicUsize::new(0),
            awaited: AtomicBool::new(false),
            takers: AtomicUsize::new(0),
            signals: AtomicU8::new(0),
            end: OnceLock::new(),
            cut: AtomicBool::new(false),
        }
    }

    /// A request begins.
    #[inline]
    pub(crate) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is over. Whether somebody is to know, for it was the last.
    ///
    /// Either this sees that it is awaited, or [`await_idle`](Self::await_idle) sees that it is over: of the two
    /// stores and the two loads behind them, in one order for all, the later load sees both.
    #[inline]
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        self.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && self.awaited.load(Ordering::SeqCst)
    }

    pub(super) fn await_idle(&self) {
        self.awaited.store(true, Ordering::SeqCst);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Somebody waits for the end of the drain, to end a server.
    pub(crate) fn take(&self) {
        self.takers.fetch_add(1, Ordering::AcqRel);
    }

    /// Who waited does not any more.
    pub(crate) fn untake(&self) {
        self.takers.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.takers.load(Ordering::Acquire) > 0
    }

    /// One more signal came: how many there were before.
    pub(crate) fn count_signal(&self) -> u8 {
        let more = |signals: u8| Some(signals.saturating_add(1));
        let counted = self
            .signals
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        counted.unwrap_or_default()
    }

    pub(super) fn close(&self, end: DrainEnd) {
        _ = self.end.set(end);
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Whether servers are to stop accepting.
    pub(crate) fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    /// Whether servers are to end, whatever they do.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}
