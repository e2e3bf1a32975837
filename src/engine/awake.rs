//! Telling that the process was suspended, before anything in it could notice.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::clock::elapsed;

/// The pulse of a thread that does nothing else.
#[derive(Debug)]
pub(crate) struct Awake {
    base: Instant,
    /// When it last beat, on a clock that goes on while the machine sleeps, in nanoseconds; zero while there is no such thread.
    beat: AtomicU64,
    started: OnceLock<()>,
}

impl Awake {
    /// How often it beats.
    pub(crate) const TICK: Duration = Duration::from_millis(250);

    /// From this on a silence is one in which nothing here ran: the process was suspended, or given no time.
    pub(crate) const SILENCE: Duration = Duration::from_millis(1_250);

    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            beat: AtomicU64::new(0),
            started: OnceLock::new(),
        }
    }

    /// Whether whoever asks is the first, and is to start the thread.
    pub(crate) fn start(&self) -> bool {
        let mut first = false;
        self.started.get_or_init(|| first = true);
        first
    }

    pub(crate) fn base(&self) -> Instant {
        self.base
    }

    pub(crate) fn now(&self) -> Duration {
        self.base.elapsed()
    }

    pub(crate) fn beat(&self) {
        self.beat.store(nanos(elapsed()).max(1), Ordering::Release);
    }

    /// It will not beat again.
    pub(crate) fn end(&self) {
        self.beat.store(0, Ordering::Release);
    }

    /// Whether nothing here ran until just now, so that nobody can be blamed for being late.
    pub(crate) fn is_waking(&self) -> bool {
        let beat = self.beat.load(Ordering::Acquire);
        beat > 0 && elapsed().saturating_sub(Duration::from_nanos(beat)) > Self::SILENCE
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
