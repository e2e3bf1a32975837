//! Telling that the process was suspended, before anything in it could notice.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// The pulse of a thread that does nothing else, on the operating system's clocks.
#[derive(Debug)]
pub(crate) struct Awake {
    base: Instant,
    /// When it last beat, in nanoseconds since then; zero while there is no such thread.
    beat: AtomicU64,
    /// The same on the wall clock, which goes on while a machine sleeps.
    wall: AtomicU64,
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
            wall: AtomicU64::new(0),
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
        self.wall.store(nanos(wall()), Ordering::Release);
        self.beat.store(nanos(self.now()).max(1), Ordering::Release);
    }

    /// It will not beat again.
    pub(crate) fn end(&self) {
        self.beat.store(0, Ordering::Release);
    }

    /// Whether nothing here ran until just now, so that nobody can be blamed for being late.
    pub(crate) fn is_waking(&self) -> bool {
        let since = |beat: &AtomicU64, now: Duration| {
            now.saturating_sub(Duration::from_nanos(beat.load(Ordering::Acquire)))
        };
        let beats = self.beat.load(Ordering::Acquire) > 0;
        let silent = since(&self.beat, self.now());
        let slept = since(&self.wall, wall()).saturating_sub(silent);
        beats && silent.max(slept) > Self::SILENCE
    }
}

fn wall() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
