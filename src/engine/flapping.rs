//! Pure: whether a check flaps, by the share of changes among its last runs.

use std::time::Duration;

use super::clock::{Deadline, Moment};
use crate::{
    check::Policy,
    model::{Reason, Status},
};

/// The last runs of a check, and whether it flaps. A check that the application reports itself has
/// reports instead of runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flapping {
    /// The shares of changes, in percent, between which the check stays as it is.
    low: u8,
    high: u8,
    /// How long nothing has to change until all of it is forgotten.
    quiet_time: Duration,
    /// Whether the check runs when it is read. That its result expires says only that nobody has
    /// read it.
    on_demand: bool,
    /// One bit for each of the last runs, the last one lowest: whether it changed something.
    runs: u32,
    /// The number of changes that followed each other within that many runs, and the time of the
    /// first.
    changes: u32,
    first: Option<Moment>,
    /// The reasons of failures in that time, and of a failure that lasts longer.
    reasons: u64,
    /// The worst status in that time.
    worst: Option<Status>,
    /// Whether the status got worse when it last changed.
    worsened: Option<bool>,
    /// When all of it is forgotten, unless something changes before.
    forgotten: Option<Deadline>,
    flaps: bool,
}

/// What a change is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// `None` while nothing is known.
    pub(crate) status: Option<Status>,
    pub(crate) reason: Option<Reason>,
}

impl Flapping {
    /// The number of runs of which the share is taken.
    const RUNS: u32 = 10;

    pub(crate) fn new(policy: &Policy) -> Self {
        let (low, high) = policy.flapping();
        Self {
            low,
            high,
            quiet_time: policy.quiet_time(),
            on_demand: policy.on_demand.is_some(),
            runs: 0,
            changes: 0,
            first: None,
            reasons: 0,
            worst: None,
            worsened: None,
            forgotten: None,
            flaps: false,
        }
    }

    /// The same history under another policy.
    pub(crate) fn under(self, policy: &Policy) -> Self {
        let Self {
            low,
            high,
            quiet_time,
            on_demand,
            ..
        } = Self::new(policy);
        Self {
            low,
            high,
            quiet_time,
            on_demand,
            ..self
        }
    }

    /// After a run that ended `at`.
    pub(crate) fn after_run(self, old: Shown, new: Shown, at: Moment) -> Self {
        match self.after(self.judges(old), self.judges(new), at) {
            (next, true) => next,
            (next, false) => next.shifted(false).judged(new),
        }
    }

    /// After something that is no run, such as an expiry.
    pub(crate) fn after_change(self, old: Shown, new: Shown, at: Moment) -> Self {
        self.after(self.judges(old), self.judges(new), at).0
    }

    /// Returns the next history, and whether something changed.
    fn after(self, old: Shown, new: Shown, at: Moment) -> (Self, bool) {
        let seen = Self {
            reasons: self.reasons | bit(old.reason) | bit(new.reason),
            worst: self.worst.max(old.status).max(new.status),
            worsened: old.worsens(new).or(self.worsened),
            ..self
        };
        if self.flaps && seen.worst > self.worst {
            // It is worse than it was while it flapped, so it does not merely return.
            let begins = Self {
                reasons: bit(new.reason),
                worst: seen.worst,
                worsened: Some(true),
                ..self.reset()
            };
            return (begins, true);
        }
        if !self.counts(old, new) {
            return (seen, false);
        }
        let goes_on = self.runs != 0;
        let next = Self {
            changes: if goes_on {
                self.changes.saturating_add(1)
            } else {
                1
            },
            first: self.first.filter(|_| goes_on).or(Some(at)),
            forgotten: Some(at.plus(self.quiet_time)),
            ..seen.shifted(true)
        };
        (next.judged(new), true)
    }

    /// What counts of that which is shown.
    fn judges(self, shown: Shown) -> Shown {
        match shown.reason {
            Some(Reason::Stale) if self.on_demand => Shown {
                status: None,
                ..shown
            },
            // A run that has timed out is still running when the next one is due.
            Some(Reason::StillRunning) => Shown {
                reason: Some(Reason::TimedOut),
                ..shown
            },
            _ => shown,
        }
    }

    /// Whether it is a change.
    fn counts(self, old: Shown, new: Shown) -> bool {
        match (old.status, new.status) {
            (None, _) | (_, None) => false,
            // A reason that is new is news. One that returns alternates. A check that is about to
            // run again has no reason of its own.
            (Some(Status::Fail), Some(Status::Fail)) => {
                let is_known = [old, new]
                    .iter()
                    .all(|shown| shown.reason != Some(Reason::Pending));
                is_known && old.reason != new.reason && (self.reasons & bit(new.reason)) != 0
            }
            // A step in the same direction, as from pass to warn to fail, alternates nothing.
            _ => {
                let worsens = old.worsens(new);
                worsens.is_some() && worsens != self.worsened
            }
        }
    }

    /// As it reads at `now`.
    pub(crate) fn at(self, now: Moment) -> Self {
        if self.is_over(now) {
            self.reset()
        } else {
            self
        }
    }

    /// Whether it reads otherwise at `now`.
    pub(crate) fn is_over(self, now: Moment) -> bool {
        self.forgotten.is_some_and(|at| at.reached(now))
    }

    pub(crate) fn flaps(self) -> bool {
        self.flaps
    }

    /// When it ends if nothing happens. `None` if the check does not flap.
    pub(crate) fn ends(self) -> Option<Deadline> {
        self.forgotten.filter(|_| self.flaps)
    }

    /// How much has changed, and in how long until `now`.
    pub(crate) fn changes(self, now: Moment) -> (u32, Duration) {
        let within = self.first.map(|first| first.age_at(now));
        (self.changes, within.unwrap_or_default())
    }

    fn shifted(self, changed: bool) -> Self {
        const ALL: u32 = (1 << Flapping::RUNS) - 1;
        Self {
            runs: (self.runs << 1 | u32::from(changed)) & ALL,
            ..self
        }
    }

    /// Compares the share with its bounds.
    fn judged(self, shown: Shown) -> Self {
        let share = self.runs.count_ones() * 100 / Self::RUNS;
        let bound = if self.flaps { self.low } else { self.high };
        let flaps = share > u32::from(bound);
        let next = Self { flaps, ..self };
        if !flaps && self.runs == 0 && shown.status != Some(Status::Fail) {
            // A reason may return in the same failure only.
            next.reset()
        } else {
            next
        }
    }

    /// Forgets the runs. The number of changes stays until the next one, for what is announced.
    pub(crate) fn reset(self) -> Self {
        Self {
            runs: 0,
            reasons: 0,
            worst: None,
            worsened: None,
            forgotten: None,
            flaps: false,
            ..self
        }
    }
}

impl Shown {
    /// Whether `new` is worse. `None` if both have the same status, or if one of them has none.
    fn worsens(self, new: Self) -> Option<bool> {
        let (old, new) = (self.status?, new.status?);
        (old != new).then_some(new > old)
    }
}

/// The bit of a reason of a failure.
pub(super) fn bit(reason: Option<Reason>) -> u64 {
    reason.map_or(0, |reason| 1 << reason as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::clock::moment;

    /// What is shown: `p` passes, `w` warns, and each other letter fails for a reason of its own.
    fn shown(letter: char) -> Shown {
        let (status, reason) = match letter {
            'p' => (Status::Pass, None),
            'w' => (Status::Warn, Some(Reason::Slow)),
            'a' => (Status::Fail, Some(Reason::Failed)),
            'b' => (Status::Fail, Some(Reason::TimedOut)),
            _ => (Status::Fail, Some(Reason::AuthenticationFailed)),
        };
        Shown {
            status: Some(status),
            reason,
        }
    }

    /// After one run a second, the first of which is the first of all. Returns whether the check
    /// flapped after each.
    fn history(runs: &str, policy: &Policy) -> (Flapping, Vec<bool>) {
        let unknown = Shown {
            status: None,
            reason: Some(Reason::Pending),
        };
        let (mut old, mut flapping) = (unknown, Flapping::new(policy));
        let flapped = (0..).zip(runs.chars()).map(|(second, letter)| {
            let new = shown(letter);
            flapping = flapping
                .at(moment(second))
                .after_run(old, new, moment(second));
            old = new;
            flapping.flaps()
        });
        let flapped = flapped.collect();
        (flapping, flapped)
    }

    fn flaps(runs: &str) -> bool {
        history(runs, &Policy::default()).0.flaps()
    }

    #[test]
    fn three_changes_in_ten_runs_flap_until_one_is_left() {
        assert!(!flaps("ppapp"));
        assert!(flaps("ppapa"));
        assert!(flaps("papapppppppp"));
        assert!(!flaps("papaaaaaaaaaa"));
    }

    #[test]
    fn steps_through_a_warning_do_not_flap() {
        assert!(!flaps("pwawpppp"));
        assert!(flaps("pwapwap"));
    }

    #[test]
    fn changes_that_are_far_apart_do_not_flap() {
        assert!(!flaps(&"pppppaaaaa".repeat(20)));
    }

    #[test]
    fn a_reason_that_is_new_does_not_count_and_one_that_returns_does() {
        assert!(!flaps("pabcp"));
        assert!(!flaps("ababc"));
        assert!(flaps("abababab"));
        let long = "a".repeat(50);
        assert!(flaps(&format!("p{long}babab")));
    }

    #[test]
    fn a_check_that_is_about_to_run_again_has_not_changed() {
        let flapping = Flapping::new(&Policy::default());
        let pending = Shown {
            reason: Some(Reason::Pending),
            ..shown('a')
        };
        let after = flapping
            .after_change(shown('a'), pending, moment(1))
            .after_run(pending, shown('a'), moment(2));
        assert_eq!(after.changes(moment(2)).0, 0);
    }

    #[test]
    fn the_changes_and_their_time_are_counted_from_the_first() {
        let (flapping, _) = history("ppppapap", &Policy::default());
        assert_eq!(flapping.changes(moment(9)), (4, Duration::from_secs(5)));
    }

    #[test]
    fn a_check_without_changes_for_ten_minutes_no_longer_flaps() {
        let (flapping, _) = history("papa", &Policy::default());
        assert_eq!(
            flapping.ends(),
            Some(moment(3).plus(Duration::from_secs(600)))
        );
        assert!(flapping.at(moment(602)).flaps());
        assert!(!flapping.at(moment(603)).flaps());
    }

    #[test]
    fn a_status_worse_than_those_it_flapped_between_ends_it() {
        assert!(flaps("pwpw"));
        assert!(!flaps("pwpwa"));
        assert!(flaps("pwpwapap"), "as any other, it may flap again");
        assert!(flaps("papapw"), "a warning is no worse than a failure");
    }

    #[test]
    fn a_run_that_is_still_running_has_the_reason_of_one_that_timed_out() {
        let failing = |reason| Shown {
            status: Some(Status::Fail),
            reason: Some(reason),
        };
        let reasons = [Reason::TimedOut, Reason::StillRunning];
        let mut flapping = Flapping::new(&Policy::default());
        for (second, pair) in (1..10).zip([[0, 1], [1, 0]].iter().cycle()) {
            let [old, new] = pair.map(|index| failing(reasons[index]));
            flapping = flapping.after_run(old, new, moment(second));
        }
        assert_eq!(flapping.changes(moment(10)).0, 0);
    }

    #[test]
    fn a_result_on_demand_that_expires_between_readers_has_not_changed() {
        let flapped = |policy: &Policy| {
            let stale = Shown {
                status: Some(Status::Fail),
                reason: Some(Reason::Stale),
            };
            let mut flapping = Flapping::new(policy);
            for second in (0..40).step_by(2) {
                flapping = flapping
                    .after_change(shown('p'), stale, moment(second))
                    .after_run(stale, shown('p'), moment(second + 1));
            }
            flapping.flaps()
        };
        assert!(flapped(&Policy::default()));
        assert!(!flapped(&Policy {
            on_demand: Some(Duration::from_secs(1)),
            ..Policy::default()
        }));
    }

    #[test]
    fn a_bound_of_100_percent_never_flaps() {
        let policy = Policy {
            flapping_high: Some(100),
            ..Policy::default()
        };
        let (_, flapped) = history(&"pa".repeat(50), &policy);
        assert!(!flapped.contains(&true));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_share_of_the_whole_history(
            runs in "[pwabc]{1,60}",
            low in 0_u8..=100,
            more in 0_u8..=100,
        ) {
            let high = low.saturating_add(more).min(100);
            let policy = Policy {
                flapping_low: Some(low),
                flapping_high: Some(high),
                ..Policy::default()
            };
            let (_, flapped) = history(&runs, &policy);
            let letters: Vec<char> = runs.chars().collect();
            let mut changes = vec![false];
            let mut seen = Vec::new();
            let mut expected = vec![false];
            let rank = |letter: char| match letter {
                'p' => 0,
                'w' => 1,
                _ => 2,
            };
            let mut worsened = None;
            let mut worst = None;
            for pair in letters.windows(2) {
                let fails = |letter: char| !matches!(letter, 'p' | 'w');
                if fails(pair[0]) {
                    seen.push(pair[0]);
                }
                let before = expected.last() == Some(&true);
                let new_worst = worst.max(Some(rank(pair[0]))).max(Some(rank(pair[1])));
                if std::mem::replace(&mut worst, new_worst) != new_worst && before {
                    changes.clear();
                    seen = vec![pair[1]];
                    worsened = Some(true);
                    expected.push(false);
                    continue;
                }
                changes.push(match (fails(pair[0]), fails(pair[1])) {
                    (true, true) => pair[0] != pair[1] && seen.contains(&pair[1]),
                    _ if pair[0] == pair[1] => false,
                    _ => {
                        let worsens = Some(rank(pair[1]) > rank(pair[0]));
                        std::mem::replace(&mut worsened, worsens) != worsens
                    }
                });
                let last = changes.iter().rev().take(10);
                let share = last.filter(|&&changed| changed).count() * 10;
                let flaps = share > usize::from(if before { low } else { high });
                expected.push(flaps);
                if share == 0 && !flaps && !fails(pair[1]) {
                    seen.clear();
                    worsened = None;
                    worst = None;
                }
            }
            prop_assert_eq!(flapped, expected);
        }
    }
}
