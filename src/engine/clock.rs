//! Moments on a clock that counts suspension and is never set, and on the wall clock for display.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The clock of the engine.
///
/// Ages are measured on a clock that continues while the machine sleeps, and that no time server
/// sets: `CLOCK_BOOTTIME` on Linux and its equivalents elsewhere. Within a runtime whose clock is
/// paused, it is that clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    base_elapsed: Duration,
    base_wall: Duration,
}

/// Whether any runtime of this process may have a paused clock, as in tests.
static PAUSES: AtomicBool = AtomicBool::new(cfg!(debug_assertions));

impl Clock {
    pub(crate) fn start() -> Self {
        notice_pause();
        Self {
            base: Instant::now(),
            base_elapsed: elapsed(),
            base_wall: wall(),
        }
    }

    pub(crate) fn now(self) -> Moment {
        if PAUSES.load(Ordering::Relaxed)
            && let Some(now) = paused()
        {
            let mono = now.saturating_duration_since(self.base);
            let wall = self.base_wall + mono;
            return Moment { mono, wall };
        }
        Moment {
            mono: self.since_start(),
            wall: wall(),
        }
    }

    /// Whether a deadline has certainly not passed. This is a cheap first look. Where a clock is
    /// paused, this may return false although [`reached`](Deadline::reached) returns false as well.
    #[inline]
    pub(crate) fn is_before(self, deadline: Deadline) -> bool {
        let at = deadline.mono();
        self.since_start() < at
            && (!PAUSES.load(Ordering::Relaxed) || Instant::now() < self.base + at)
    }

    /// The instant at which a timer meets `mono`.
    pub(crate) fn instant(self, mono: Duration) -> Instant {
        Instant::now() + mono.saturating_sub(self.now().mono)
    }

    fn since_start(self) -> Duration {
        elapsed().saturating_sub(self.base_elapsed)
    }
}

/// The clock of ages, since some moment.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "fuchsia",
    target_os = "openbsd",
    target_vendor = "apple"
))]
#[inline]
pub(crate) fn elapsed() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    // Apple's counts suspension under this name.
    #[cfg(target_vendor = "apple")]
    const CLOCK: ClockId = ClockId::Monotonic;
    #[cfg(not(target_vendor = "apple"))]
    const CLOCK: ClockId = ClockId::Boottime;

    let time = clock_gettime(CLOCK);
    // Neither is ever negative.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The monotonic clock of Windows counts suspension.
#[cfg(windows)]
pub(crate) fn elapsed() -> Duration {
    use std::{sync::LazyLock, time::Instant};

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Other systems have no such clock. This is the larger of what the monotonic clock and the wall
/// clock show, and it never decreases.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "fuchsia",
    target_os = "openbsd",
    target_vendor = "apple",
    windows
)))]
pub(crate) fn elapsed() -> Duration {
    use std::{
        sync::{LazyLock, atomic::AtomicU64},
        time::Instant,
    };

    static START: LazyLock<(Instant, Duration)> = LazyLock::new(|| (Instant::now(), wall()));
    static LONGEST: AtomicU64 = AtomicU64::new(0);
    let (instant, before) = *START;
    let elapsed = instant.elapsed().max(wall().saturating_sub(before));
    let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(LONGEST.fetch_max(nanos, Ordering::Relaxed).max(nanos))
}

fn wall() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Notices that tokio's clock is paused here. It may be paused at any time.
pub(super) fn notice_pause() {
    if !PAUSES.load(Ordering::Relaxed) && is_paused() {
        PAUSES.store(true, Ordering::Relaxed);
    }
}

/// Whether tokio's clock is paused here.
pub(super) fn is_paused() -> bool {
    paused().is_some()
}

/// The time of tokio's clock if it is paused here. It then stands still or is ahead.
fn paused() -> Option<Instant> {
    let before = std::time::Instant::now();
    let now = Instant::now();
    let real = now.into_std();
    (real < before || real > std::time::Instant::now()).then_some(now)
}

/// A point in time: on the clock of ages since the engine's start, and on the wall clock since
/// 1970. The wall clock is for display only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) mono: Duration,
    pub(crate) wall: Duration,
}

impl Moment {
    /// The age of this moment at `now`.
    pub(crate) fn age_at(self, now: Self) -> Duration {
        now.mono.saturating_sub(self.mono)
    }

    pub(crate) fn plus(self, delay: Duration) -> Deadline {
        Deadline(Self {
            mono: self.mono.saturating_add(delay),
            wall: self.wall.saturating_add(delay),
        })
    }

    pub(crate) fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.wall
    }
}

/// A moment from which something no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Moment);

impl Deadline {
    /// A deadline that has passed.
    pub(crate) const PAST: Self = Self(Moment {
        mono: Duration::ZERO,
        wall: Duration::ZERO,
    });

    #[inline]
    pub(crate) fn reached(self, now: Moment) -> bool {
        now.mono >= self.0.mono
    }

    /// The earlier of two.
    pub(crate) fn min(self, other: Self) -> Self {
        if self.0.mono <= other.0.mono {
            self
        } else {
            other
        }
    }

    /// The time until it passes.
    pub(crate) fn left(self, now: Moment) -> Duration {
        self.0.mono.saturating_sub(now.mono)
    }

    /// The moment itself. Everyone who notices later that it has passed dates it to this.
    pub(crate) fn moment(self) -> Moment {
        self.0
    }

    #[inline]
    pub(crate) fn mono(self) -> Duration {
        self.0.mono
    }
}

#[cfg(test)]
pub(crate) fn moment(seconds: u64) -> Moment {
    let wall = Duration::from_secs(1_000_000 + seconds);
    Moment {
        mono: Duration::from_secs(seconds),
        wall,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_age_does_not_depend_on_the_wall_clock() {
        let then = moment(10);
        for wall in [moment(15).wall + 3_600 * SECOND, Duration::ZERO] {
            let now = Moment { wall, ..moment(15) };
            assert_eq!(then.age_at(now), 5 * SECOND);
            assert!(!then.plus(6 * SECOND).reached(now));
            assert!(then.plus(5 * SECOND).reached(now));
        }
    }

    #[test]
    fn a_late_observer_dates_a_deadline_to_its_moment() {
        let deadline = moment(0).plus(10 * SECOND);
        assert!(!deadline.reached(moment(9)));
        assert!(deadline.reached(moment(13)));
        assert_eq!(deadline.moment(), moment(10));
    }

    #[test]
    fn the_clock_of_ages_advances_with_the_monotonic_clock() {
        let clock = Clock::start();
        let before = clock.now();
        let began = std::time::Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        let took = began.elapsed();
        // The sleep is between the two readings.
        assert!(before.age_at(clock.now()) >= took);
    }
}
