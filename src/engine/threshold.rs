//! Pure: how many outcomes in a row change a state.

/// Whether a check counts as good, judged by consecutive outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold {
    phase: Phase,
    streak: Streak,
    passed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No outcome has taken effect yet.
    Pending,
    Good,
    Failing,
}

/// The number of equal outcomes in a row, up to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Streak {
    Good(u32),
    Failing(u32),
}

impl Threshold {
    pub(crate) fn pending() -> Self {
        Self {
            phase: Phase::Pending,
            streak: Streak::Good(0),
            passed: false,
        }
    }

    /// The threshold after one more outcome.
    pub(crate) fn record(self, good: bool, fail_after: u32, pass_after: u32) -> Self {
        let streak = match (self.streak, good) {
            (Streak::Good(n), true) => Streak::Good(n.saturating_add(1)),
            (Streak::Failing(n), false) => Streak::Failing(n.saturating_add(1)),
            (_, true) => Streak::Good(1),
            (_, false) => Streak::Failing(1),
        };
        let phase = match streak {
            Streak::Good(n) if n >= pass_after => Phase::Good,
            Streak::Failing(n) if n >= fail_after || self.phase == Phase::Pending => Phase::Failing,
            _ => self.phase,
        };
        Self {
            phase,
            streak,
            passed: self.passed || phase == Phase::Good,
        }
    }

    /// The threshold after the last result became stale. It fails, and has to pass again. That is
    /// no outcome, so a streak of failures stays as it is.
    pub(crate) fn expire(self) -> Self {
        let streak = match self.streak {
            Streak::Good(_) => Streak::Good(0),
            failing => failing,
        };
        Self {
            phase: Phase::Failing,
            streak,
            ..self
        }
    }

    pub(crate) fn phase(self) -> Phase {
        self.phase
    }

    /// Whether the check was ever good.
    pub(crate) fn passed(self) -> bool {
        self.passed
    }

    /// The number of outcomes in a row that equal the last one.
    pub(crate) fn streak(self) -> u32 {
        match self.streak {
            Streak::Good(n) | Streak::Failing(n) => n,
        }
    }

    /// The number of failures in a row.
    pub(crate) fn failures(self) -> u32 {
        match self.streak {
            Streak::Good(_) => 0,
            Streak::Failing(n) => n,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(outcomes: &[bool], fail_after: u32, pass_after: u32) -> Threshold {
        outcomes
            .iter()
            .fold(Threshold::pending(), |threshold, &good| {
                threshold.record(good, fail_after, pass_after)
            })
    }

    /// The rule, applied to the whole history.
    fn by_history(outcomes: &[bool], fail_after: usize, pass_after: usize) -> Phase {
        let all = |end: usize, n: usize, good: bool| {
            end >= n
                && outcomes[end - n..end]
                    .iter()
                    .all(|&outcome| outcome == good)
        };
        let mut phase = Phase::Pending;
        for end in 1..=outcomes.len() {
            if all(end, pass_after, true) {
                phase = Phase::Good;
            } else if all(end, fail_after, false) || (phase == Phase::Pending && all(end, 1, false))
            {
                phase = Phase::Failing;
            }
        }
        phase
    }

    #[test]
    fn isolated_failures_never_add_up() {
        let mut outcomes = vec![true; 300];
        for at in [50, 150, 250] {
            outcomes[at] = false;
        }
        for end in 1..=outcomes.len() {
            assert_eq!(run(&outcomes[..end], 2, 1).phase(), Phase::Good);
        }
    }

    #[test]
    fn one_failure_ends_pending_at_once() {
        assert_eq!(run(&[false], 3, 1).phase(), Phase::Failing);
        assert_eq!(run(&[true], 3, 2).phase(), Phase::Pending);
        assert_eq!(run(&[true, false], 3, 2).phase(), Phase::Failing);
    }

    #[test]
    fn expiry_clears_the_good_streak_and_leaves_the_failure_streak() {
        let good = run(&[true, true], 1, 2).expire();
        assert_eq!(good.phase(), Phase::Failing);
        assert_eq!(good.record(true, 1, 2).phase(), Phase::Failing);
        assert!(good.passed());
        let failing = run(&[true, false, false], 5, 1).expire();
        assert_eq!(failing.failures(), 2);
    }

    proptest! {
        #[test]
        fn the_streaks_tell_what_the_history_tells(
            outcomes in prop::collection::vec(any::<bool>(), 0..40),
            fail_after in 1_u32..5,
            pass_after in 1_u32..5,
        ) {
            let threshold = run(&outcomes, fail_after, pass_after);
            let phase = by_history(&outcomes, fail_after as usize, pass_after as usize);
            prop_assert_eq!(threshold.phase(), phase);
            let passed = (1..=outcomes.len())
                .any(|end| run(&outcomes[..end], fail_after, pass_after).phase() == Phase::Good);
            prop_assert_eq!(threshold.passed(), passed);
        }
    }
}
