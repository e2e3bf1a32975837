//! When a check runs next.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use super::threshold::{Phase, Threshold};
use crate::check::Policy;

/// Runs that are not due soon are aligned to multiples of this.
const GRAIN: Duration = Duration::from_millis(20);

/// The time over which the first runs of a process are spread.
const START_SPREAD: Duration = Duration::from_millis(200);

/// Draws the delays between runs, so that neither the checks of a process nor the replicas of a
/// fleet run in step.
#[derive(Debug)]
pub(crate) struct Schedule {
    rng: fastrand::Rng,
}

impl Schedule {
    /// A schedule with this seed, or with a random one.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed.unwrap_or_else(random_seed)),
        }
    }

    /// The delay before the first run.
    pub(crate) fn first(&mut self) -> Duration {
        START_SPREAD.mul_f64(self.unit())
    }

    /// When the next run is due: after the nominal delay, ±10 %.
    pub(crate) fn next(&mut self, now: Duration, nominal: Duration) -> Duration {
        together(now, nominal.mul_f64(0.9 + 0.2 * self.unit()), nominal)
    }

    /// When the first periodic run is due. It is distributed evenly over the period.
    pub(crate) fn phase(&mut self, now: Duration, period: Duration) -> Duration {
        together(now, period.mul_f64(0.1 + self.unit()), period)
    }

    /// A random number from 0 to 1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.rng.f64()
    }
}

/// The moment `delay` after `now`, aligned towards `nominal`, so that several checks share a
/// wakeup. In an engine with many checks, a wakeup costs more than the start of a run. Short delays
/// are not aligned.
fn together(now: Duration, delay: Duration, nominal: Duration) -> Duration {
    let at = now + delay;
    if delay < GRAIN * 50 {
        return at;
    }
    let past = Duration::from_nanos((at.as_nanos() % GRAIN.as_nanos()) as u64);
    if delay < nominal && !past.is_zero() {
        at - past + GRAIN
    } else {
        at - past
    }
}

/// A seed from the entropy of the operating system. Replicas that start at the same moment must not
/// draw the same delays.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The delay before the next run, without its jitter.
pub(crate) fn nominal(policy: &Policy, threshold: Threshold) -> Duration {
    match (threshold.failures(), threshold.phase()) {
        (0, Phase::Good) => policy.period(),
        (0, Phase::Pending | Phase::Failing) => policy.retry_period(),
        (failures, _) => backoff(policy, failures),
    }
}

fn backoff(policy: &Policy, failures: u32) -> Duration {
    // 1.5^64 exceeds any ratio of two allowed durations.
    let exponent = failures.saturating_sub(1).min(64).cast_signed();
    let seconds = policy.retry_period().as_secs_f64() * 1.5_f64.powi(exponent);
    Duration::from_secs_f64(seconds.min(policy.period().as_secs_f64())).min(policy.period())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Criticality;

    fn failed(times: u32) -> Threshold {
        (0..times).fold(Threshold::pending(), |threshold, _| {
            threshold.record(false, 1, 1)
        })
    }

    #[test]
    fn a_failing_check_is_retried_soon_and_then_less_often() {
        let policy = Policy::default();
        let seconds: Vec<f64> = (0..7)
            .map(|times| nominal(&policy, failed(times)).as_secs_f64())
            .collect();
        assert_eq!(seconds, [2.0, 2.0, 3.0, 4.5, 6.75, 10.0, 10.0]);
        let good = failed(0).record(true, 3, 1);
        assert_eq!(
            nominal(&policy, good.record(false, 3, 1)),
            policy.retry_period(),
            "to be sure sooner"
        );
        assert_eq!(
            nominal(&policy, failed(3).record(true, 1, 1)),
            policy.period()
        );
        assert_eq!(
            nominal(&policy, failed(3).record(true, 1, 2)),
            policy.retry_period()
        );
    }

    #[test]
    fn runs_that_are_not_due_soon_are_due_together() {
        let mut schedule = Schedule::new(Some(1));
        let now = Duration::from_nanos(123_456_789);
        let mut due = |seconds| -> BTreeSet<Duration> {
            let nominal = Duration::from_secs_f64(seconds);
            (0..10_000).map(|_| schedule.next(now, nominal)).collect()
        };
        assert!((90..=101).contains(&due(10.0).len()), "in 2 s");
        assert!(due(0.9).len() > 9_000);
    }

    #[test]
    fn a_failing_shared_dependency_is_not_checked_more_often() {
        let policy = Policy {
            criticality: Criticality::Shared,
            ..Policy::default()
        };
        for times in 0..10 {
            assert_eq!(nominal(&policy, failed(times)), policy.period());
        }
    }

    #[test]
    fn processes_do_not_run_their_checks_in_step() {
        let phases = |seed| {
            let mut schedule = Schedule::new(Some(seed));
            schedule.phase(Duration::ZERO, Duration::from_secs(10))
        };
        let mut tenths = [0_u32; 10];
        for seed in 0..1_000 {
            tenths[(phases(seed).as_millis() as usize % 10_000) / 1_000] += 1;
        }
        assert!(
            tenths.iter().all(|&n| (60..=140).contains(&n)),
            "{tenths:?}"
        );
        let year = Duration::from_secs(365 * 24 * 3600);
        let unseeded = || Schedule::new(None).phase(Duration::ZERO, year);
        assert_ne!(unseeded(), unseeded());
    }

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds(
            seed: u64,
            period_ms in 1_u64..=365 * 24 * 3_600_000,
            retry in 0.0_f64..=1.0,
            failures in 0_u32..2_000,
            now in 0_u64..=u64::MAX / 2,
        ) {
            let period = Duration::from_millis(period_ms);
            let retry_period = period.mul_f64(retry).max(Duration::from_millis(1));
            let policy = Policy { period: Some(period), retry_period: Some(retry_period), ..Policy::default() };
            let delay = nominal(&policy, failed(failures));
            prop_assert!(delay <= period);
            prop_assert!(delay >= retry_period.min(period).mul_f64(0.999_999));
            let mut schedule = Schedule::new(Some(seed));
            let now = Duration::from_nanos(now);
            let next = schedule.next(now, delay) - now;
            prop_assert!(next >= delay.mul_f64(0.899_999) && next <= delay.mul_f64(1.100_001));
            let phase = schedule.phase(now, period) - now;
            prop_assert!(phase >= period.mul_f64(0.099_999) && phase <= period.mul_f64(1.100_001));
            prop_assert!(schedule.first() < START_SPREAD);
        }
    }
}
