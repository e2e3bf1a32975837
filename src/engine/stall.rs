//! Detecting that the process, or its runtime, did not run when it should have.
//!
//! Two observers detect it. The [`Pulse`] of a thread stops only while the whole process does: it
//! was suspended, or its machine slept. The engine's timer is late then, and also while the runtime
//! alone is stalled.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::clock::{Moment, elapsed};

/// The pulse of a thread that does nothing else.
#[derive(Debug)]
pub(crate) struct Pulse {
    base: Instant,
    /// The time of the last beat in nanoseconds, on a clock that counts suspension. Zero while
    /// there is no such thread.
    last: AtomicU64,
    started: OnceLock<()>,
}

impl Pulse {
    /// The time between two beats.
    pub(crate) const TICK: Duration = Duration::from_millis(250);

    /// From this age on, a missing beat means that the process did not run.
    pub(crate) const SILENCE: Duration = Duration::from_millis(1_250);

    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            last: AtomicU64::new(0),
            started: OnceLock::new(),
        }
    }

    /// Whether the caller is the first, and has to start the thread.
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
        self.last.store(nanos(elapsed()).max(1), Ordering::Release);
    }

    /// Ends the pulse. Its absence means nothing from now on.
    pub(crate) fn stop(&self) {
        self.last.store(0, Ordering::Release);
    }

    /// Whether the process has only just resumed, so that nothing can be blamed for being late.
    pub(crate) fn has_just_resumed(&self) -> bool {
        let last = self.last.load(Ordering::Acquire);
        last > 0 && elapsed().saturating_sub(Duration::from_nanos(last)) > Self::SILENCE
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A time during which the engine did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall(Duration);

/// A shorter delay is the ordinary lateness of a timer on a busy machine.
const SHORTEST: Duration = Duration::from_millis(500);

/// A longer stall makes every earlier result outdated.
const OUTDATES_ALL: Duration = Duration::from_secs(30);

impl Stall {
    /// The longest time between two wakeups of the engine while there is anything to run. A stall
    /// is noticed this late, and measured this much too short.
    pub(crate) const TICK: Duration = Duration::from_secs(1);

    /// The stall that is over at `now`, if the engine was to wake at `planned`.
    ///
    /// The timers of a process that was stopped are overdue. So are those of a machine that slept,
    /// on a clock that counts suspension.
    pub(crate) fn since(planned: Option<Duration>, now: Moment) -> Option<Self> {
        let late = now.mono.saturating_sub(planned?);
        (late >= SHORTEST).then_some(Self(late))
    }

    /// Whether a check with this period has to run again immediately. On a runtime that its own
    /// application stalls now and then, checks are not to run much more often than scheduled.
    pub(crate) fn outdates(self, period: Duration) -> bool {
        self.0 >= OUTDATES_ALL.min(period / 2)
    }

    pub(crate) fn length(self) -> Duration {
        self.0
    }

    /// By how much the stall may have lengthened a run.
    pub(crate) fn credit(self) -> Duration {
        self.0 + Self::TICK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::moment;

    #[test]
    fn a_timer_that_is_slightly_late_is_no_stall() {
        let planned = Some(Duration::from_secs(11));
        assert_eq!(Stall::since(planned, moment(11)), None);
        let mut late = moment(11);
        late.mono += Duration::from_millis(499);
        assert_eq!(Stall::since(planned, late), None);
    }

    #[test]
    fn a_late_timer_is_a_stall_that_outdates_short_periods_first() {
        let planned = Some(Duration::from_secs(11));
        let stopped = Stall::since(planned, moment(71));
        assert_eq!(stopped, Some(Stall(Duration::from_secs(60))));
        let hour = Duration::from_secs(3_600);
        assert!(stopped.is_some_and(|stall| stall.outdates(hour)));
        let short = Stall::since(planned, moment(18));
        assert!(short.is_some_and(|stall| !stall.outdates(Duration::from_secs(20))));
        assert!(short.is_some_and(|stall| stall.outdates(Duration::from_secs(10))));
    }

    #[test]
    fn a_step_of_the_wall_clock_is_no_stall() {
        let mut set = moment(11);
        set.wall += Duration::from_secs(3_600);
        assert_eq!(Stall::since(Some(Duration::from_secs(11)), set), None);
    }

    #[test]
    fn an_engine_that_planned_nothing_was_not_stalled() {
        assert_eq!(Stall::since(None, moment(99_999)), None);
    }
}
