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

    /// The hold-up that is over at `now`, if the engine meant to wake at `planned`.
    ///
    /// A process that was stopped finds its timers overdue, and so does one whose machine slept, by a clock that counts that.
    pub(crate) fn until(now: Moment, planned: Option<Duration>) -> Option<Self> {
        let late = now.mono.saturating_sub(planned?);
        (late >= LEAST).then_some(Self(late))
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
        assert_eq!(HoldUp::until(moment(11), planned), None);
        let mut late = moment(11);
        late.mono += Duration::from_millis(499);
        assert_eq!(HoldUp::until(late, planned), None);
    }

    #[test]
    fn a_stopped_process_and_a_sleeping_machine_are() {
        let planned = Some(Duration::from_secs(11));
        let stopped = HoldUp::until(moment(71), planned);
        assert_eq!(stopped, Some(HoldUp(Duration::from_secs(60))));
        let hour = Duration::from_secs(3_600);
        assert!(stopped.is_some_and(|hold_up| hold_up.outdates(hour)));
        let short = HoldUp::until(moment(18), planned);
        assert!(short.is_some_and(|hold_up| !hold_up.outdates(Duration::from_secs(20))));
        assert!(short.is_some_and(|hold_up| hold_up.outdates(Duration::from_secs(10))));
        // Whatever the wall clock shows.
        let mut set = moment(11);
        set.wall += Duration::from_secs(3_600);
        assert_eq!(HoldUp::until(set, planned), None);
    }

    #[test]
    fn who_plans_nothing_misses_nothing() {
        assert_eq!(HoldUp::until(moment(99_999), None), None);
    }
}
