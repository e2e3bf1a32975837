//! Telling that the process did not run when it should have: it was suspended, its machine slept, or its
//! runtime stood still.

use std::time::Duration;

use super::clock::Moment;

/// A stretch of time in which nothing here ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HoldUp(Duration);

/// Less than this is the ordinary lateness of a timer on a busy machine.
const LEAST: Duration = Duration::from_millis(500);

/// From this on nothing that was learnt before is news any more.
const SUSPENSION: Duration = Duration::from_secs(30);

impl HoldUp {
    /// How often the engine wakes at least, while there is anything to run: a hold-up is noticed this late, and
    /// told this much too short.
    pub(crate) const TICK: Duration = Duration::from_secs(1);

    /// The hold-up between `before` and `now`, if the engine meant to wake at `planned`.
    ///
    /// A process that was stopped finds its timers overdue. The monotonic clock of a machine that slept stood
    /// still, and the wall clock went on.
    pub(crate) fn between(before: Moment, planned: Option<Duration>, now: Moment) -> Option<Self> {
        let late = now.mono.saturating_sub(planned?);
        let mono = now.mono.saturating_sub(before.mono);
        let slept = now.wall.saturating_sub(before.wall).saturating_sub(mono);
        let longest = late.max(slept);
        (longest >= LEAST).then_some(Self(longest))
    }

    /// Whether it was so long that a check of this period is to be asked anew at once. A runtime that its own
    /// application holds up now and then is to ask hardly more often than on schedule.
    pub(crate) fn outdates(self, period: Duration) -> bool {
        self.0 >= SUSPENSION.min(period / 2)
    }

    /// How long it was.
    pub(crate) fn length(self) -> Duration {
        self.0
    }

    /// By how much it may have lengthened a run.
    pub(crate) fn credit(self) -> Duration {
        self.0 + Self::TICK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::moment;

    #[test]
    fn a_timer_that_is_a_little_late_is_no_hold_up() {
        let planned = Some(Duration::from_secs(11));
        assert_eq!(HoldUp::between(moment(10), planned, moment(11)), None);
        let mut late = moment(11);
        late.mono += Duration::from_millis(499);
        late.wall += Duration::from_millis(499);
        assert_eq!(HoldUp::between(moment(10), planned, late), None);
    }

    #[test]
    fn a_stopped_process_and_a_sleeping_machine_are() {
        let planned = Some(Duration::from_secs(11));
        let stopped = HoldUp::between(moment(10), planned, moment(71));
        assert_eq!(stopped, Some(HoldUp(Duration::from_secs(60))));
        let hour = Duration::from_secs(3_600);
        assert!(stopped.is_some_and(|hold_up| hold_up.outdates(hour)));
        let short = HoldUp::between(moment(10), planned, moment(18));
        assert!(short.is_some_and(|hold_up| !hold_up.outdates(Duration::from_secs(20))));
        assert!(short.is_some_and(|hold_up| hold_up.outdates(Duration::from_secs(10))));
        let mut woken = moment(11);
        woken.wall += Duration::from_secs(3_600);
        let slept = HoldUp::between(moment(10), planned, woken);
        assert_eq!(slept, Some(HoldUp(Duration::from_secs(3_600))));
        // A wall clock that is set back is none.
        let mut set_back = moment(11);
        set_back.wall -= Duration::from_secs(3_600);
        assert_eq!(HoldUp::between(moment(10), planned, set_back), None);
    }

    #[test]
    fn who_plans_nothing_misses_nothing() {
        assert_eq!(HoldUp::between(moment(10), None, moment(99_999)), None);
    }
}
