//! When a client should retry a probe that failed: the header `Retry-After`.

use std::time::Duration;

use crate::model::{Probe, Stage};

/// The longest delay, which also stands for an unknown one.
const LONGEST: Duration = Duration::from_secs(60);

/// Returns the value of `Retry-After` for a failing verdict, in whole seconds. `delay` is that of
/// the engine, from the checks that fail the verdict, and `maintenance` returns the time that is left
/// of a maintenance.
#[inline]
pub(super) fn of_verdict(
    probe: Probe,
    stage: Stage,
    delay: Option<Duration>,
    maintenance: impl FnOnce() -> Option<Duration>,
) -> Option<u64> {
    match (probe, stage) {
        // A retry does not help, because the process must be restarted.
        (Probe::Liveness, _) => None,
        (Probe::Readiness | Probe::Health, Stage::Maintenance) => {
            Some(whole_seconds(maintenance()))
        }
        _ => Some(whole_seconds(delay)),
    }
}

/// Returns the value of `Retry-After` for a failing check. `delay` is the time until its next run,
/// or `None` if it does not run again.
pub(super) fn of_check(delay: Option<Duration>) -> Option<u64> {
    Some(whole_seconds(delay))
}

fn whole_seconds(delay: Option<Duration>) -> u64 {
    let delay = delay.map_or(LONGEST, |delay| delay.min(LONGEST));
    (delay.as_secs_f64().ceil() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_whole_seconds_from_1_to_60_and_60_if_unknown() {
        for (millis, seconds) in [
            (0, 1),
            (1, 1),
            (1_000, 1),
            (1_001, 2),
            (10_000, 10),
            (u64::MAX, 60),
        ] {
            let delay = Duration::from_millis(millis);
            assert_eq!(of_check(Some(delay)), Some(seconds), "{millis}");
        }
        assert_eq!(of_check(None), Some(60));
    }

    #[test]
    fn a_verdict_has_a_delay_unless_a_restart_is_the_remedy() {
        let (delay, left) = (Some(Duration::from_secs(2)), Some(Duration::from_secs(30)));
        let retry = |probe, stage| of_verdict(probe, stage, delay, || left);
        for stage in [Stage::NotReady, Stage::Maintenance, Stage::Draining] {
            assert_eq!(retry(Probe::Liveness, stage), None);
        }
        assert_eq!(retry(Probe::Readiness, Stage::NotReady), Some(2));
        assert_eq!(retry(Probe::Health, Stage::Maintenance), Some(30));
        assert_eq!(retry(Probe::Startup, Stage::Maintenance), Some(2));
    }
}
