//! What a connection did, and when. The socket wrapper, the bodies of responses and the requests
//! record it. The task of the connection reads it, and ends the connection when
//! [`ends_at`](Activity::ends_at) has passed.
//!
//! Two rules keep this correct:
//!
//! * A connection that waits for its own service has no deadline, however long a handler takes. The
//!   exception is a client that has closed its sending side.
//! * Each state that a client can cause has a deadline. No client can keep a connection for free.
//!
//! The fields are atomic, because a handler and its body may run on other threads than the
//! connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The activity of a connection, as far as it decides when the connection ends.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// The number of requests without a complete response.
    busy: AtomicUsize,
    /// The number of requests so far.
    requests: AtomicUsize,
    http2: AtomicBool,
    /// When a request last ended, or when the connection last showed other use.
    used: Mark,
    /// Since when a head, or the preface of HTTP/2, is partially read.
    reading: Mark,
    /// Since when the client has read none of the pending output.
    blocked: Mark,
    /// The number of response pieces that were passed on and are not written yet.
    owed: AtomicUsize,
    /// When output was last written.
    moved: Mark,
    /// Whether the request that is being answered was sent completely.
    asked: AtomicBool,
    /// When the client closed its sending side while it waits for a response.
    half_closed: Mark,
    /// Whether the connection has switched to another protocol, as a whole or within a stream of
    /// HTTP/2.
    upgraded: AtomicBool,
}

/// A point in the life of a connection, or none.
///
/// It contains the milliseconds since the connection began, plus one. 0 is none.
#[derive(Debug, Default)]
struct Mark(AtomicU64);

/// How long a connection may be in each of its states.
///
/// The defaults are those of a management port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Without a request: before the first, and between two.
    pub(super) idle: Duration,
    /// Within a request's head, or within the preface of HTTP/2.
    pub(super) head: Duration,
    /// While the client does not read a response.
    pub(super) blocked: Duration,
    /// While a client that has closed its sending side waits for a response that makes no progress.
    pub(super) half_closed: Duration,
}

impl Limits {
    /// Longer than any prober waits between two requests.
    pub(super) const QUIET: Duration = Duration::from_secs(75);

    /// Returns the shortest limit. The timer of a connection starts with it.
    pub(super) fn shortest(&self) -> Duration {
        self.idle
            .min(self.head)
            .min(self.blocked)
            .min(self.half_closed)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Self::QUIET,
            head: Self::QUIET,
            blocked: Self::QUIET,
            half_closed: Duration::from_secs(10),
        }
    }
}

impl Activity {
    /// Starts the record of a connection that was just accepted.
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            busy: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            http2: AtomicBool::new(false),
            used: Mark::default(),
            reading: Mark::default(),
            blocked: Mark::default(),
            owed: AtomicUsize::new(0),
            moved: Mark::default(),
            asked: AtomicBool::new(false),
            half_closed: Mark::default(),
            upgraded: AtomicBool::new(false),
        }
    }

    /// Records that a response switches to another protocol, which HTTP does not see.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Returns when the connection was accepted.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Records that the connection is in use.
    pub(super) fn note(&self) {
        self.used.set(self.now());
    }

    /// Records that the preface of HTTP/2 was read.
    pub(super) fn speak_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
        self.reading.clear();
        self.note();
    }

    /// Whether the client has sent the preface of HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Records that bytes were read.
    pub(super) fn read(&self) {
        if self.is_upgraded() {
            return self.note();
        }
        if !self.is_busy() && !self.is_http2() {
            self.reading.set_once(self.now());
        }
    }

    /// Records that the client has closed its sending side. Returns whether it may still wait for a
    /// response: over HTTP/1, if it has sent a complete request.
    pub(super) fn half_close(&self) -> bool {
        let answers = self.is_busy() || self.is_blocked();
        let is_plain = !self.is_http2() && !self.is_upgraded();
        let waits = answers && is_plain && self.asked.load(Ordering::Relaxed);
        if waits {
            self.half_closed.set_once(self.now());
        }
        waits
    }

    /// Records that the client does not read at the moment.
    pub(super) fn block(&self) {
        self.blocked.set_once(self.now());
    }

    /// Records that the client has read something.
    pub(super) fn unblock(&self) {
        let now = self.now();
        self.moved.set(now);
        if self.is_upgraded() {
            self.used.set(now);
        }
        if self.blocked.get().is_some() {
            self.blocked.clear();
            // The connection is in use while a response makes progress.
            self.used.set(now);
        }
        if self.half_closed.get().is_some() {
            self.half_closed.set(now);
        }
    }

    /// Whether output waits for the client: bytes that the socket does not take, or pieces of a
    /// response that are not written yet.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.get().is_some() || self.owes()
    }

    /// Whether the connection is no longer HTTP. Any byte then counts as use.
    fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Whether pieces of a response are not written yet.
    fn owes(&self) -> bool {
        self.owed.load(Ordering::Acquire) > 0
    }

    /// Whether the connection has received a request. One that has not gets time to send its first
    /// while the server closes.
    pub(super) fn has_had_a_request(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Whether a request has no complete response.
    pub(super) fn is_busy(&self) -> bool {
        // A thread that sees that nothing is busy also sees when the last request ended.
        self.busy.load(Ordering::Acquire) > 0
    }

    /// Returns when the connection ends if nothing happens until then. `None` while it waits for
    /// its own service.
    pub(super) fn ends_at(&self, limits: &Limits) -> Option<Instant> {
        let after = |mark: &Mark, limit| Some(self.at(mark.get()?) + limit);
        let blocked = after(&self.blocked, limits.blocked);
        let owed = after(&self.moved, limits.blocked).filter(|_| self.owes());
        let used = self.at(self.used.get().unwrap_or_default());
        let mine = match (self.is_busy() || self.is_blocked(), self.half_closed.get()) {
            (true, _) => after(&self.half_closed, limits.half_closed),
            (false, Some(_)) => Some(used),
            (false, None) => after(&self.reading, limits.head).or(Some(used + limits.idle)),
        };
        [blocked, owed, mine].into_iter().flatten().min()
    }

    /// Returns since when the connection is unused, at the earliest `since`. `None` while it is in
    /// use.
    pub(super) fn unused_since(&self, since: Instant) -> Option<Instant> {
        let last = self.at(self.used.get().unwrap_or_default());
        (!self.is_busy() && !self.is_blocked()).then(|| last.max(since))
    }

    /// Converts a time since the connection began to an instant.
    fn at(&self, since: Duration) -> Instant {
        self.began + since
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Mark {
    fn get(&self) -> Option<Duration> {
        let millis = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(millis))
    }

    /// Sets the point, and replaces an earlier one.
    fn set(&self, at: Duration) {
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX - 1);
        self.0.store(millis.saturating_add(1), Ordering::Relaxed);
    }

    /// Sets the point if there is none, so that a state counts from its beginning.
    fn set_once(&self, at: Duration) {
        if self.get().is_none() {
            self.set(at);
        }
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A request of a connection without a complete response.
///
/// The connection is busy until this is dropped. The drop also marks the connection as used.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    /// Records a request. `asked` is whether all of it was already sent.
    pub(super) fn new(activity: &Arc<Activity>, asked: bool) -> Self {
        activity.asked.store(asked, Ordering::Relaxed);
        activity.busy.fetch_add(1, Ordering::Relaxed);
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.reading.clear();
        Self(Arc::clone(activity))
    }

    /// Returns the activity of the connection.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.note();
        self.0.busy.fetch_sub(1, Ordering::Release);
    }
}

/// A piece of a response that was passed on and is not written yet.
///
/// The connection is blocked until this is dropped, which happens once the piece is written or
/// given up.
#[derive(Debug)]
pub(super) struct Owed(Arc<Activity>);

impl Owed {
    /// Counts a piece. The first piece starts the time in which output must move.
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        if activity.owed.fetch_add(1, Ordering::AcqRel) == 0 {
            activity.moved.set(activity.now());
        }
        Self(Arc::clone(activity))
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.moved.set(self.0.now());
        self.0.owed.fetch_sub(1, Ordering::AcqRel);
    }
}
