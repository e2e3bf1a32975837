//! What the parts of a service share while it leaves.

use std::{
    cell::Cell,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicIsize, AtomicU8, AtomicUsize, Ordering},
    },
};

use super::drain::{DrainEnd, DrainPolicy};

/// The requests in flight, and how far the drain is.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) policy: DrainPolicy,
    /// Below zero only where a handler has given away a wait for the drain, and has ended before that.
    in_flight: AtomicIsize,
    /// Whether the engine is to know when nothing is in flight.
    awaited: AtomicBool,
    /// How many futures there are, or were to the end, that wait for the moment to stop accepting.
    takers: AtomicUsize,
    /// How many of them run a server to its end, with which the process is expected to end.
    runners: AtomicUsize,
    /// How many signals came.
    signals: AtomicU8,
    closing: AtomicBool,
    end: OnceLock<DrainEnd>,
    /// How many requests were cut.
    cut: OnceLock<usize>,
}

thread_local! {
    /// The request that this thread is in, while its instance leaves.
    static REQUEST: Cell<Request> = const { Cell::new(Request::NONE) };
}

#[derive(Clone, Copy)]
struct Request {
    /// Of which instance it is.
    of: *const Departure,
    /// How often it is counted, because the layer is there more than once.
    times: usize,
    /// Whether it is not in flight, because its handler waits for the drain.
    waits: bool,
}

impl Request {
    const NONE: Self = Self {
        of: ptr::null(),
        times: 0,
        waits: false,
    };
}

/// Has the thread be in another request again, whatever ends this.
struct Restore(Request);

impl Drop for Restore {
    fn drop(&mut self) {
        REQUEST.set(self.0);
    }
}

impl Departure {
    pub(super) fn new(policy: DrainPolicy) -> Self {
        Self {
            policy,
            in_flight: AtomicIsize::new(0),
            awaited: AtomicBool::new(false),
            takers: AtomicUsize::new(0),
            runners: AtomicUsize::new(0),
            signals: AtomicU8::new(0),
            closing: AtomicBool::new(false),
            end: OnceLock::new(),
            cut: OnceLock::new(),
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
        usize::try_from(self.in_flight.load(Ordering::SeqCst)).unwrap_or_default()
    }

    /// Polls the handler of a request in flight, of which it is known whether it `waits` for the drain.
    pub(crate) fn within<T>(&self, waits: &mut bool, poll: impl FnOnce() -> T) -> T {
        let outer = Restore(REQUEST.get());
        let is_same = ptr::eq(outer.0.of, self);
        REQUEST.set(Request {
            of: self,
            times: if is_same { outer.0.times + 1 } else { 1 },
            waits: *waits,
        });
        let polled = poll();
        *waits = REQUEST.get().waits;
        polled
    }

    /// Somebody polls a wait for the drain: if that is the handler of a request, the drain is not to wait for it. How often it is counted
    /// that is not in flight from now on.
    pub(crate) fn exclude(&self) -> usize {
        let request = REQUEST.get();
        if !ptr::eq(request.of, self) || request.waits {
            return 0;
        }
        REQUEST.set(Request {
            waits: true,
            ..request
        });
        request.times
    }

    /// Such a wait is over, or given up: what goes on is in flight again.
    pub(crate) fn include(&self, times: usize) {
        for _ in 0..times {
            self.enter();
        }
        let request = REQUEST.get();
        if times > 0 && ptr::eq(request.of, self) {
            REQUEST.set(Request {
                waits: false,
                ..request
            });
        }
    }

    /// Somebody waits for the moment to stop accepting, who may `run` a server to its end.
    pub(crate) fn take(&self, run: bool) {
        self.takers.fetch_add(1, Ordering::AcqRel);
        self.runners.fetch_add(usize::from(run), Ordering::AcqRel);
    }

    /// Who waited does not any more.
    pub(crate) fn untake(&self, run: bool) {
        self.takers.fetch_sub(1, Ordering::AcqRel);
        self.runners.fetch_sub(usize::from(run), Ordering::AcqRel);
    }

    #[cfg(all(unix, feature = "signals"))]
    pub(crate) fn is_taken(&self) -> bool {
        self.takers.load(Ordering::Acquire) > 0
    }

    #[cfg(all(unix, feature = "signals"))]
    pub(crate) fn is_run(&self) -> bool {
        self.runners.load(Ordering::Acquire) > 0
    }

    /// One more signal came: how many there were before.
    pub(crate) fn count_signal(&self) -> u8 {
        let more = |signals: u8| Some(signals.saturating_add(1));
        let counted = self
            .signals
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        counted.unwrap_or_default()
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn end(&self, end: DrainEnd) {
        _ = self.end.set(end);
    }

    pub(super) fn cut(&self, in_flight: usize) {
        _ = self.cut.set(in_flight);
    }

    /// Whether connections are to be told to go, though new ones are accepted still.
    #[cfg(feature = "server")]
    pub(crate) fn is_finishing(&self) -> bool {
        self.awaited.load(Ordering::SeqCst)
    }

    /// Whether servers are to stop accepting.
    pub(crate) fn is_over(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// How it ended: with nothing in flight, or with what was to be cut.
    pub(crate) fn ended(&self) -> Option<DrainEnd> {
        self.end.get().copied()
    }

    /// How many requests were cut, once servers are to end, whatever they do.
    pub(crate) fn was_cut(&self) -> Option<usize> {
        self.cut.get().copied()
    }
}
