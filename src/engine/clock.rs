//! Moments on two clocks at once.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Where the engine reads the time: tokio's clock and the wall clock.
///
/// Within a runtime whose clock is paused both are that clock, elsewhere the operating system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    base_wall: Duration,
}

/// The two clocks drift apart by less than this, unless one of them was set, stood still or is not real.
const DRIFT: Duration = Duration::from_millis(5);

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            base: Instant::now(),
            base_wall: wall(),
        }
    }

    pub(crate) fn now(self) -> Moment {
        let now = Instant::now();
        let mono = now.saturating_duration_since(self.base);
        let (wall, expected) = (wall(), self.base_wall + mono);
        let wall = match wall.abs_diff(expected) > DRIFT && is_virtual(now) {
            true => expected,
            false => wall,
        };
        Moment { mono, wall }
    }

    /// Whether a deadline is certainly not over: a first look, that costs as little as it can. A wall clock that
    /// is not that of the runtime may make this say no where [`reached`](Deadline::reached) says no, too.
    pub(crate) fn is_before(self, deadline: Deadline) -> bool {
        let Deadline(Moment { mono, wall }) = deadline;
        Instant::now() < self.instant(mono) && SystemTime::now() < SystemTime::UNIX_EPOCH + wall
    }

    /// When a timer has to go off to meet `mono`.
    pub(crate) fn instant(self, mono: Duration) -> Instant {
        self.base + mono
    }
}

fn wall() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Whether tokio's clock is paused here: it then stands still, or is ahead.
pub(super) fn is_paused() -> bool {
    let before = std::time::Instant::now();
    let now = Instant::now().into_std();
    now < before || now > std::time::Instant::now()
}

/// Whether `now`, which was just read, is the time of a paused clock.
fn is_virtual(now: Instant) -> bool {
    let real = std::time::Instant::now();
    let now = now.into_std();
    real.saturating_duration_since(now)
        .max(now.saturating_duration_since(real))
        > DRIFT
}

/// A point in time on the monotonic clock (since the engine's start) and on the wall clock (since 1970).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) mono: Duration,
    pub(crate) wall: Duration,
}

impl Moment {
    /// How long ago this is at `now`: the larger of what the two clocks say, for the monotonic clock stands
    /// still while the machine sleeps, and the wall clock can be set back.
    pub(crate) fn age_at(self, now: Self) -> Duration {
        let mono = now.mono.saturating_sub(self.mono);
        let wall = now.wall.saturating_sub(self.wall);
        mono.max(wall)
    }

    pub(crate) fn plus(self, delay: Duration) -> Deadline {
        Deadline(Self {
            mono: self.mono + delay,
            wall: self.wall + delay,
        })
    }

    pub(crate) fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.wall
    }
}

/// A moment that is over as soon as either clock is past it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Moment);

impl Deadline {
    /// One that is over.
    pub(crate) const PAST: Self = Self(Moment {
        mono: Duration::ZERO,
        wall: Duration::ZERO,
    });

    pub(crate) fn reached(self, now: Moment) -> bool {
        now.mono >= self.0.mono || now.wall >= self.0.wall
    }

    /// The deadline that is over as soon as one of the two is.
    pub(crate) fn min(self, other: Self) -> Self {
        Self(Moment {
            mono: self.0.mono.min(other.0.mono),
            wall: self.0.wall.min(other.0.wall),
        })
    }

    /// How long it takes until it is over.
    pub(crate) fn left(self, now: Moment) -> Duration {
        let mono = self.0.mono.saturating_sub(now.mono);
        mono.min(self.0.wall.saturating_sub(now.wall))
    }

    /// When it was reached, for one that has been at `now`.
    pub(crate) fn reached_at(self, now: Moment) -> Moment {
        let late = now
            .mono
            .saturating_sub(self.0.mono)
            .max(now.wall.saturating_sub(self.0.wall));
        Moment {
            mono: now.mono.saturating_sub(late),
            wall: now.wall.saturating_sub(late),
        }
    }

    pub(crate) fn mono(self) -> Duration {
        self.0.mono
    }

    pub(crate) fn wall(self) -> Duration {
        self.0.wall
    }

    pub(crate) fn new(mono: Duration, wall: Duration) -> Self {
        Self(Moment { mono, wall })
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
    fn an_age_is_the_larger_of_the_two_clocks() {
        let then = moment(10);
        let mut now = moment(15);
        assert_eq!(then.age_at(now), 5 * SECOND);
        // The machine slept.
        now.wall += 60 * SECOND;
        assert_eq!(then.age_at(now), 65 * SECOND);
        // The wall clock was set back.
        now.wall -= 1_000 * SECOND;
        assert_eq!(then.age_at(now), 5 * SECOND);
    }

    #[test]
    fn a_deadline_is_reached_on_either_clock() {
        let deadline = moment(0).plus(10 * SECOND);
        let mut now = moment(9);
        assert!(!deadline.reached(now));
        now.wall += SECOND;
        assert!(deadline.reached(now));
        let late = moment(13);
        assert_eq!(deadline.reached_at(late), moment(10));
    }
}
