//! Measures how late a runtime polls a ready task. Pure: the caller passes the time.

use std::time::Duration;

use crate::model::Status;

/// The lag of a runtime, which is sampled repeatedly. Each answer is timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    /// The lag from which on the status fails.
    bound: Duration,
    /// When the unanswered probe was sent.
    asked: Option<Duration>,
    /// The time to the last answer. While an answer is outstanding, the time since its probe.
    lag: Duration,
}

impl Lag {
    pub(super) fn new(bound: Duration) -> Self {
        Self {
            bound,
            asked: None,
            lag: Duration::ZERO,
        }
    }

    /// Records an observation at `now`. `answered` is the time at which the last probe was
    /// answered, if it was. Returns whether to send another probe.
    pub(super) fn see(&mut self, now: Duration, answered: Option<Duration>) -> bool {
        match (self.asked, answered) {
            (Some(asked), Some(answered)) => {
                self.lag = answered.saturating_sub(asked);
                self.asked = Some(now);
                true
            }
            (Some(asked), None) => {
                self.lag = now.saturating_sub(asked);
                false
            }
            (None, _) => {
                self.asked = Some(now);
                true
            }
        }
    }

    /// Discards the time until `now`, because nothing in the process ran in it. The outstanding
    /// probe counts as sent at `now`.
    pub(super) fn forgive(&mut self, now: Duration) {
        self.asked = self.asked.map(|_| now);
    }

    /// Returns when the status becomes a failure if no answer arrives until then. `None` if it
    /// fails already, or if no probe was sent.
    pub(super) fn fails_at(&self) -> Option<Duration> {
        let at = self.asked? + self.bound;
        (self.lag < self.bound).then_some(at)
    }

    /// Returns how long the last answer took, or how long it has been outstanding.
    pub(super) fn lag(&self) -> Duration {
        self.lag
    }

    /// Returns the status. It fails from the bound on, and warns from a tenth of the bound on.
    pub(super) fn status(&self) -> Status {
        if self.lag >= self.bound {
            Status::Fail
        } else if self.lag >= self.bound / 10 {
            Status::Warn
        } else {
            Status::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Observes a runtime at each iteration of the watcher. The runtime answers with the given
    /// delays.
    fn watch(lags: &[u64], looks: &[u64], suspended: &[bool]) -> Vec<(Status, Duration)> {
        let mut lag = Lag::new(BOUND);
        let (mut now, mut lags) = (ms(0), lags.iter().cycle());
        let mut answers_at = None;
        let mut seen = Vec::new();
        for (delay, suspended) in looks.iter().zip(suspended) {
            now += ms(*delay);
            if *suspended {
                // The watched runtime does not run either, and continues where it stopped.
                now += ms(3_600_000);
                answers_at = answers_at.map(|at: Duration| at + ms(3_600_000));
                lag.forgive(now);
            }
            let answered = answers_at.filter(|&at| at <= now);
            if lag.see(now, answered) {
                answers_at = lags.next().map(|&late| now + ms(late));
            }
            seen.push((lag.status(), lag.lag()));
        }
        seen
    }

    proptest! {
        /// For any delay of the watcher, and any suspension in between.
        #[test]
        fn no_lag_below_the_bound_is_an_alarm(
            lags in prop::collection::vec(0_u64..10_000, 1..20),
            looks in prop::collection::vec((0_u64..3_000, prop::bool::weighted(0.05)), 1..300),
        ) {
            let (delays, suspended): (Vec<_>, Vec<_>) = looks.into_iter().unzip();
            for (status, lag) in watch(&lags, &delays, &suspended) {
                prop_assert!(status != Status::Fail, "{lag:?}");
            }
        }

        #[test]
        fn a_stall_is_an_alarm_within_the_bound_and_one_look(tick in 1_u64..1_000, stall in 10_000_u64..60_000) {
            let looks = vec![tick; (stall / tick + 3) as usize];
            let seen = watch(&[0, stall], &looks, &vec![false; looks.len()]);
            // The first probe is sent at the first observation, the second at the next.
            let first = seen.iter().position(|(status, _)| *status == Status::Fail);
            let first = first.map(|look| (look as u64 + 1) * tick);
            let asked = 2 * tick;
            prop_assert!(first.is_some_and(|first| first >= asked + 10_000 && first <= asked + 10_000 + tick));
        }
    }

    #[test]
    fn it_warns_first_and_recovers() {
        let mut lag = Lag::new(BOUND);
        assert!(lag.see(ms(0), None));
        assert!(!lag.see(ms(999), None));
        assert_eq!(lag.status(), Status::Pass);
        assert!(!lag.see(ms(1_000), None));
        assert_eq!((lag.status(), lag.fails_at()), (Status::Warn, Some(BOUND)));
        assert!(!lag.see(ms(10_000), None));
        assert_eq!((lag.status(), lag.fails_at()), (Status::Fail, None));
        assert!(lag.see(ms(10_250), Some(ms(10_100))));
        assert_eq!(lag.status(), Status::Fail, "it was silent for so long");
        assert!(lag.see(ms(10_500), Some(ms(10_251))));
        assert_eq!((lag.status(), lag.lag()), (Status::Pass, ms(1)));
    }
}
