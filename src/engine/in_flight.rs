//! The number of requests in flight.

use std::{cell::Cell, ptr};

use super::atomic::{AtomicBool, AtomicIsize, Ordering};

/// Counts the requests in flight, and detects the moment when there are none.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// Below zero only if a handler gave away a wait for the drain, and ended before that wait.
    count: AtomicIsize,
    /// Whether the engine has to be notified when nothing is in flight.
    awaited: AtomicBool,
}

thread_local! {
    /// The request whose handler this thread is polling during a drain.
    static REQUEST: Cell<Request> = const { Cell::new(Request::NONE) };
}

#[derive(Clone, Copy)]
struct Request {
    /// The instance that counts the request.
    of: *const InFlight,
    /// How often it is counted. That is more than once if the layer is applied more than once.
    times: usize,
    /// Whether it is excluded, because its handler waits for the drain.
    waits: bool,
}

impl Request {
    const NONE: Self = Self {
        of: ptr::null(),
        times: 0,
        waits: false,
    };
}

/// Restores the enclosing request of the thread, also after a panic.
struct Restore(Request);

impl Drop for Restore {
    fn drop(&mut self) {
        REQUEST.set(self.0);
    }
}

impl InFlight {
    /// A request begins.
    #[inline]
    pub(crate) fn enter(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A request ends. Returns whether it was the last, and the engine has to be notified.
    ///
    /// Either this sees that the moment is awaited, or [`await_none`](Self::await_none) sees that
    /// the request is over. Both modify the counter, so one of them comes first, and the other sees
    /// what was written before it.
    #[inline]
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        self.count.fetch_sub(1, Ordering::AcqRel) == 1 && self.awaited.load(Ordering::Relaxed)
    }

    /// From now on the engine is notified when nothing is in flight.
    pub(super) fn await_none(&self) {
        self.awaited.store(true, Ordering::Relaxed);
        self.count.fetch_add(0, Ordering::AcqRel);
    }

    #[cfg(feature = "server")]
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Acquire)
    }

    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.count.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// Polls the handler of a request. `waits` keeps whether the handler waits for the drain.
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

    /// Called when a wait for the drain is polled. If the handler of a request polls it, the drain
    /// must not wait for that request. Returns how often the request was counted.
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

    /// Called when such a wait is over or dropped. The request is in flight again.
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
}
