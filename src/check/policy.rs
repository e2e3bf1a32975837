//! The settings of a check: their defaults, their validation, and the values derived from them.
//!
//! [`Check`](super::Check) and the configuration of an operator write a [`Policy`]. The engine only
//! reads it, after [`problems`](Policy::problems) has found none.

use std::time::Duration;

use crate::model::{CheckSettings, Criticality, DurationText as Human, Probe};

/// The longest duration of a setting: a year.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// The shortest duration of a setting: the resolution of tokio's timers.
const MIN_DURATION: Duration = Duration::from_millis(1);

/// The default delay between a good run and the next run.
const PERIOD: Duration = Duration::from_secs(10);

/// The default delay between the first failing run and the next run.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// The default time limit of a run.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest delay before a failing start-up task is retried. The first delay is
/// `TASK_RETRY_PERIOD`.
const TASK_PERIOD: Duration = Duration::from_secs(30);
const TASK_RETRY_PERIOD: Duration = Duration::from_secs(1);

/// The default of how long a reader waits for a run on demand.
const WAIT: Duration = Duration::from_millis(500);

/// The shortest time without a change after which a check no longer flaps.
const QUIET_TIME: Duration = Duration::from_secs(600);

/// The number of periods without a change after which a check no longer flaps, if they are longer
/// than `QUIET_TIME`.
const QUIET_PERIODS: u32 = 20;

/// The default share of changes, in percent, down to which a check that flaps still flaps.
const FLAPPING_LOW: u8 = 10;

/// The default share of changes, in percent, above which a check flaps.
const FLAPPING_HIGH: u8 = 25;

/// When a check runs, how long a run may take, and how its outcomes affect the verdicts.
///
/// A setting that the user did not set is `None` if its default depends on other settings.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) affects: AffectedProbe,
    pub(crate) criticality: Criticality,
    /// How long a shared check that was good may fail before it fails readiness. `None` is no
    /// limit.
    pub(crate) shared_grace: Option<Duration>,
    pub(crate) period: Option<Duration>,
    /// Set for a check that runs on demand: when it is read and its result is older than this.
    pub(crate) on_demand: Option<Duration>,
    /// How long a reader may wait for a run on demand.
    pub(crate) wait: Option<Duration>,
    pub(crate) retry_period: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    /// How old a result may be before the check is stale.
    pub(crate) max_age: Option<Duration>,
    /// How long a run may take before it is a warning.
    pub(crate) warn_above: Option<Duration>,
    /// The numbers of consecutive outcomes after which the check fails, and is good again.
    pub(crate) fail_after: Option<u32>,
    pub(crate) pass_after: Option<u32>,
    pub(crate) flapping_low: Option<u8>,
    pub(crate) flapping_high: Option<u8>,
    /// Whether it fails readiness while it is pending. Only checks that are registered before the
    /// start do.
    pub(crate) blocks_while_pending: bool,
}

/// The verdict that a check affects. [`Probe::Health`] follows from readiness and liveness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AffectedProbe {
    /// An ordinary check of a dependency.
    #[default]
    Readiness,
    /// The check of a worker or a runtime. It depends only on this process.
    Liveness,
    /// A task that must succeed once.
    Startup,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            affects: AffectedProbe::default(),
            criticality: Criticality::default(),
            shared_grace: None,
            period: None,
            on_demand: None,
            wait: None,
            retry_period: None,
            timeout: None,
            max_age: None,
            warn_above: None,
            fail_after: None,
            pass_after: None,
            flapping_low: None,
            flapping_high: None,
            blocks_while_pending: true,
        }
    }
}

impl Policy {
    /// Returns the delay between a good run and the next run.
    pub(crate) fn period(&self) -> Duration {
        self.on_demand.or(self.period).unwrap_or(PERIOD)
    }

    /// Returns the policy of a check whose result the application reports (push). A report is valid
    /// for `ttl`.
    pub(crate) fn pushed(affects: AffectedProbe, ttl: Duration) -> Self {
        Self {
            affects,
            max_age: Some(ttl),
            blocks_while_pending: false,
            ..Self::default()
        }
    }

    /// Returns the policy of a task that must succeed once and has no time limit.
    pub(crate) fn task() -> Self {
        Self {
            affects: AffectedProbe::Startup,
            period: Some(TASK_PERIOD),
            retry_period: Some(TASK_RETRY_PERIOD),
            timeout: Some(MAX_DURATION),
            ..Self::default()
        }
    }

    /// Whether it is done permanently after one good run.
    pub(crate) fn is_task(&self) -> bool {
        self.affects == AffectedProbe::Startup
    }

    /// Whether a report for `probe` lists the check. Readiness and startup list the same checks. An
    /// instance is not ready before it has started, and has not started before each of them has
    /// run.
    pub(crate) fn concerns(&self, probe: Probe) -> bool {
        match (probe, self.affects) {
            (Probe::Health, _) => true,
            (Probe::Liveness, affects) => affects == AffectedProbe::Liveness,
            (Probe::Readiness | Probe::Startup, affects) => affects != AffectedProbe::Liveness,
        }
    }

    /// Whether it belongs to `probe` and to no other probe.
    pub(crate) fn is_for(&self, probe: Probe) -> bool {
        match probe {
            Probe::Health => true,
            Probe::Liveness => self.affects == AffectedProbe::Liveness,
            Probe::Readiness => self.affects == AffectedProbe::Readiness,
            Probe::Startup => self.affects == AffectedProbe::Startup,
        }
    }

    /// Returns how old a result may be.
    pub(crate) fn max_age(&self) -> Duration {
        self.max_age.unwrap_or(self.period() * 3 + self.timeout())
    }

    /// The time limit of a run.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }

    /// How many failures in a row make the check fail.
    pub(crate) fn fail_after(&self) -> u32 {
        self.fail_after.unwrap_or(1)
    }

    /// How many good outcomes in a row make the check good.
    pub(crate) fn pass_after(&self) -> u32 {
        self.pass_after.unwrap_or(1)
    }

    /// The shares of changes, in percent, between which a check stays as it is, flapping or not.
    pub(crate) fn flapping(&self) -> (u8, u8) {
        (
            self.flapping_low.unwrap_or(FLAPPING_LOW),
            self.flapping_high.unwrap_or(FLAPPING_HIGH),
        )
    }

    /// For how long nothing has to change before a check no longer flaps, however rarely it is run
    /// or reported.
    pub(crate) fn quiet_time(&self) -> Duration {
        (self.period() * QUIET_PERIODS).max(QUIET_TIME)
    }

    /// The settings that are in effect, for reports. `runs` is whether the check has code to run,
    /// and `expires` whether its results become stale.
    pub(crate) fn settings(&self, runs: bool, expires: bool) -> CheckSettings {
        let scheduled = runs && self.on_demand.is_none();
        let (flapping_low, flapping_high) = self.flapping();
        CheckSettings {
            period: scheduled.then(|| self.period()),
            on_demand: self.on_demand,
            retry_period: runs.then(|| self.retry_period()),
            timeout: (runs && !self.is_task()).then(|| self.timeout()),
            max_age: (expires && !self.is_task()).then(|| self.max_age()),
            fail_after: runs.then(|| self.fail_after()),
            pass_after: runs.then(|| self.pass_after()),
            flapping_low,
            flapping_high,
        }
    }

    /// Returns the first delay after a failure. It is at most the period.
    pub(crate) fn retry_period(&self) -> Duration {
        if self.criticality == Criticality::Shared {
            // All replicas see the failure at once. More load would make it worse.
            return self.period();
        }
        self.retry_period.unwrap_or(RETRY_PERIOD).min(self.period())
    }

    /// Whether a run of this duration is slow.
    pub(crate) fn is_slow(&self, took: Duration) -> bool {
        self.warn_above.is_some_and(|bound| took > bound)
    }

    /// Returns how long a reader may wait for a run on demand.
    pub(crate) fn wait(&self) -> Duration {
        self.wait.unwrap_or(WAIT)
    }

    /// Returns all problems of the settings, each with its remedy.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let durations = [
            ("period", self.period),
            ("on_demand", self.on_demand),
            ("timeout", self.timeout),
            ("retry_period", self.retry_period),
            ("max_age", self.max_age),
            ("warn_above", self.warn_above),
            ("shared_grace", self.shared_grace),
        ];
        for (setting, value) in durations {
            problems.extend(value.and_then(|value| duration_problem(setting, value)));
        }
        let counts = [
            ("fail_after", self.fail_after),
            ("pass_after", self.pass_after),
        ];
        let counts = counts.into_iter();
        problems.extend(counts.filter_map(|(setting, value)| count_problem(setting, value)));
        let flapping = flapping_problems(self.flapping_low, self.flapping_high).into_iter();
        problems.extend(flapping.map(|(_, problem)| problem));
        let too_long = self.wait.filter(|&wait| wait > MAX_DURATION);
        problems.extend(too_long.and_then(|wait| duration_problem("wait", wait)));
        // Comparisons are only meaningful between valid durations.
        if problems.is_empty() {
            problems.extend(self.contradictions());
        }
        problems
    }

    /// Returns the settings that are valid by themselves and do not fit together.
    fn contradictions(&self) -> impl Iterator<Item = String> {
        let (interval, period) = match self.on_demand {
            Some(ttl) => ("on_demand", ttl),
            None => ("period", self.period()),
        };
        let retry = self.retry_period.filter(|&retry| retry > period);
        let retry = retry.map(|retry| retry_problem(retry, interval, period));
        // The jitter may delay the next run by 10 %. A run on demand is started by a reader.
        let (least, sum) = match self.on_demand {
            Some(ttl) => (ttl, "`on_demand`"),
            None => (
                period.mul_f64(1.1) + self.timeout(),
                "1.1 × `period` + `timeout`",
            ),
        };
        let age = self.max_age.filter(|&max_age| max_age < least).map(|max_age| {
            format!(
                "`max_age` ({}) is shorter than {sum} ({}): a result could go stale before the next one is due, \
                 so lengthen it",
                Human(max_age),
                Human(least),
            )
        });
        let grace =
            (self.shared_grace.is_some() && self.criticality != Criticality::Shared).then(|| {
                "`shared_grace` is set on a check that is not shared: add `.shared()`".to_owned()
            });
        let both = (self.on_demand.is_some() && self.period.is_some()).then(|| {
            "`period` is set on a check that runs on demand: remove one of the two".to_owned()
        });
        let task = (self.is_task() && self.on_demand.is_some()).then(|| {
            "`on_demand` is set on a start-up task: it runs at the start until it is done, so remove it".to_owned()
        });
        let wait = (self.wait.is_some() && self.on_demand.is_none()).then(|| {
            "`wait` is set on a check that does not run on demand: readers never wait for it, so remove it"
                .to_owned()
        });
        let bound = self.warn_above.filter(|&bound| bound >= self.timeout()).map(|bound| {
            format!(
                "`warn_above` ({}) is not shorter than `timeout` ({}): no run would ever be slow, so shorten it",
                Human(bound),
                Human(self.timeout()),
            )
        });
        [retry, age, grace, both, task, wait, bound]
            .into_iter()
            .flatten()
    }
}

/// Returns the problem of a retry period that is longer than the interval between runs.
pub(super) fn retry_problem(retry: Duration, interval: &str, period: Duration) -> String {
    format!(
        "`retry_period` ({}) is longer than `{interval}` ({}): a failing check runs at least as \
         often as a passing one, so shorten it",
        Human(retry),
        Human(period),
    )
}

/// Returns the problem of a number of outcomes that is 0.
pub(super) fn count_problem(setting: &str, value: Option<u32>) -> Option<String> {
    (value? == 0).then(|| format!("`{setting}` is 0: set it to at least 1"))
}

/// Returns the problems of the bounds of flapping, each with the name of its setting.
pub(super) fn flapping_problems(low: Option<u8>, high: Option<u8>) -> Vec<(&'static str, String)> {
    let bounds = [("flapping_low", low), ("flapping_high", high)];
    let mut problems: Vec<_> = bounds
        .into_iter()
        .filter_map(|(setting, value)| Some((setting, value.filter(|&value| value > 100)?)))
        .map(|(setting, value)| {
            let problem = format!("`{setting}` is {value} %: set it to at most 100");
            (setting, problem)
        })
        .collect();
    let (setting, remedy) = match low {
        Some(_) => ("flapping_low", "so lower the first"),
        None => ("flapping_high", "so raise the second, or set the first"),
    };
    let by_default = |bound: Option<u8>| if bound.is_none() { ", the default" } else { "" };
    let defaults = (by_default(low), by_default(high));
    let (low, high) = (low.unwrap_or(FLAPPING_LOW), high.unwrap_or(FLAPPING_HIGH));
    if low > high && problems.is_empty() {
        let problem = format!(
            "`flapping_low` ({low} %{}) is higher than `flapping_high` ({high} %{}): a check would begin to flap and \
             end it at once, {remedy}",
            defaults.0, defaults.1,
        );
        problems.push((setting, problem));
    }
    problems
}

/// Returns the problem of a duration that is not within 1 ms and 365 days.
pub(crate) fn duration_problem(setting: &str, value: Duration) -> Option<String> {
    if value < MIN_DURATION {
        Some(format!(
            "`{setting}` is {}: give it at least 1 ms",
            Human(value)
        ))
    } else if value > MAX_DURATION {
        Some(format!(
            "`{setting}` is {}: give it at most 365 days",
            Human(value)
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let policy = Policy::default();
        assert_eq!(policy.problems(), [""; 0]);
        assert_eq!(policy.max_age(), Duration::from_secs(32));
        assert_eq!(policy.retry_period(), Duration::from_secs(2));
    }

    #[test]
    fn a_short_period_shortens_the_retry() {
        let policy = Policy {
            period: Some(Duration::from_secs(1)),
            ..Policy::default()
        };
        assert_eq!(policy.problems(), [""; 0]);
        assert_eq!(policy.retry_period(), Duration::from_secs(1));
    }

    #[test]
    fn zero_excessive_and_contradictory_settings_are_all_reported() {
        let absurd = Policy {
            period: Some(Duration::MAX),
            timeout: Some(Duration::ZERO),
            fail_after: Some(0),
            pass_after: Some(0),
            ..Policy::default()
        };
        assert_eq!(absurd.problems().len(), 4);
        let contradictory = Policy {
            retry_period: Some(Duration::from_secs(11)),
            max_age: Some(Duration::from_millis(12_999)),
            shared_grace: Some(Duration::from_secs(1)),
            ..Policy::default()
        };
        assert_eq!(contradictory.problems().len(), 3);
    }
}
