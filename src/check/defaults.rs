//! The settings of checks that set no value of their own.

use std::time::Duration;

use serde::Deserialize;

use super::{
    Policy,
    policy::{count_problem, duration_problem, flapping_problems, retry_problem},
};
use crate::model::deserialize_duration;

/// Settings of every check that sets no value of its own: see
/// [`HealthBuilder::defaults`](crate::HealthBuilder::defaults) and the table `defaults` of a
/// [configuration](crate::config::HealthConfig::defaults).
///
/// A setting that is `None` has the default of the crate. Durations must be between 1 ms and 365
/// days. They are deserialized from text with their unit, as in a
/// [`CheckConfig`](crate::config::CheckConfig).
///
/// ```
/// use std::time::Duration;
///
/// use tower_health::config::CheckDefaults;
///
/// let written: CheckDefaults = serde_json::from_str(r#"{"timeout": "500ms", "fail_after": 2}"#)?;
/// let built = CheckDefaults::default().timeout(Duration::from_millis(500)).fail_after(2);
/// assert_eq!(written, built);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
#[must_use = "defaults do nothing until they are given to `HealthBuilder::defaults`"]
pub struct CheckDefaults {
    /// The delay between runs: [`Check::period`](crate::Check::period). It does not apply to checks
    /// [on demand](crate::Check::on_demand).
    #[serde(deserialize_with = "deserialize_duration")]
    pub period: Option<Duration>,
    /// The delay after a failing run: [`Check::retry_period`](crate::Check::retry_period). A check
    /// with a shorter period has that instead.
    #[serde(deserialize_with = "deserialize_duration")]
    pub retry_period: Option<Duration>,
    /// The time limit of a run: [`Check::timeout`](crate::Check::timeout).
    #[serde(deserialize_with = "deserialize_duration")]
    pub timeout: Option<Duration>,
    /// The number of consecutive failures after which a check fails:
    /// [`Check::fail_after`](crate::Check::fail_after).
    pub fail_after: Option<u32>,
    /// The number of consecutive good outcomes after which a check is good:
    /// [`Check::pass_after`](crate::Check::pass_after).
    pub pass_after: Option<u32>,
    /// The share of changes, in percent, down to which a check that flaps still flaps:
    /// [`Check::flapping`](crate::Check::flapping). It also applies to what the application reports
    /// itself.
    pub flapping_low: Option<u8>,
    /// The share of changes, in percent, above which a check flaps:
    /// [`Check::flapping`](crate::Check::flapping). It also applies to what the application reports
    /// itself.
    pub flapping_high: Option<u8>,
}

impl CheckDefaults {
    /// Sets the delay between runs.
    pub fn period(mut self, period: Duration) -> Self {
        self.period = Some(period);
        self
    }

    /// Sets the delay after a failing run.
    pub fn retry_period(mut self, retry_period: Duration) -> Self {
        self.retry_period = Some(retry_period);
        self
    }

    /// Sets the time limit of a run.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the number of consecutive failures after which a check fails.
    pub fn fail_after(mut self, outcomes: u32) -> Self {
        self.fail_after = Some(outcomes);
        self
    }

    /// Sets the number of consecutive good outcomes after which a check is good.
    pub fn pass_after(mut self, outcomes: u32) -> Self {
        self.pass_after = Some(outcomes);
        self
    }

    /// Sets the shares of changes, in percent, between which a check stays as it is, flapping or
    /// not.
    pub fn flapping(mut self, low: u8, high: u8) -> Self {
        (self.flapping_low, self.flapping_high) = (Some(low), Some(high));
        self
    }

    /// Adopts each setting that `other` has a value for. Calls `set` with its name.
    pub(crate) fn merge(&mut self, other: &Self, mut set: impl FnMut(&'static str)) {
        fn adopt<T: Copy>(
            (name, setting, value): (&'static str, &mut Option<T>, Option<T>),
            set: &mut impl FnMut(&'static str),
        ) {
            if value.is_some() {
                *setting = value;
                set(name);
            }
        }
        for setting in [
            ("period", &mut self.period, other.period),
            ("retry_period", &mut self.retry_period, other.retry_period),
            ("timeout", &mut self.timeout, other.timeout),
        ] {
            adopt(setting, &mut set);
        }
        for setting in [
            ("fail_after", &mut self.fail_after, other.fail_after),
            ("pass_after", &mut self.pass_after, other.pass_after),
        ] {
            adopt(setting, &mut set);
        }
        for setting in [
            ("flapping_low", &mut self.flapping_low, other.flapping_low),
            (
                "flapping_high",
                &mut self.flapping_high,
                other.flapping_high,
            ),
        ] {
            adopt(setting, &mut set);
        }
    }

    /// Returns the problems, each with the name of its setting.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let durations = [
            ("period", self.period),
            ("retry_period", self.retry_period),
            ("timeout", self.timeout),
        ];
        let durations = durations
            .into_iter()
            .filter_map(|(setting, value)| Some((setting, duration_problem(setting, value?)?)));
        let counts = [
            ("fail_after", self.fail_after),
            ("pass_after", self.pass_after),
        ];
        let counts = counts
            .into_iter()
            .filter_map(|(setting, value)| Some((setting, count_problem(setting, value)?)));
        let flapping = flapping_problems(self.flapping_low, self.flapping_high);
        let mut problems: Vec<_> = durations.chain(counts).chain(flapping).collect();
        // Without a period here, each check has its own, which may be a longer one.
        if let (Some(retry), Some(period)) = (self.retry_period, self.period)
            && retry > period
            && problems.is_empty()
        {
            let problem = retry_problem(retry, "period", period);
            problems.push(("retry_period", problem));
        }
        problems
    }

    /// Sets what a policy has no value for. A start-up task has its own settings. Returns the names
    /// of the settings.
    pub(crate) fn apply_to(&self, policy: &mut Policy) -> Vec<&'static str> {
        let mut set = self.apply_flapping_to(policy);
        if policy.is_task() {
            return set;
        }
        if policy.on_demand.is_none() {
            adopt(("period", &mut policy.period, self.period), &mut set);
        }
        // A check with a shorter period than others retries as often as it runs. A period that is
        // invalid is a problem of its own.
        let period = policy.period();
        let bound = duration_problem("period", period)
            .is_none()
            .then_some(period);
        let retry = self.retry_period;
        let retry = retry.map(|retry| bound.map_or(retry, |bound| retry.min(bound)));
        adopt(("retry_period", &mut policy.retry_period, retry), &mut set);
        adopt(("timeout", &mut policy.timeout, self.timeout), &mut set);
        for setting in [
            ("fail_after", &mut policy.fail_after, self.fail_after),
            ("pass_after", &mut policy.pass_after, self.pass_after),
        ] {
            adopt(setting, &mut set);
        }
        set
    }

    /// Sets what also applies to what the application reports itself. Returns the names of the
    /// settings.
    pub(crate) fn apply_flapping_to(&self, policy: &mut Policy) -> Vec<&'static str> {
        let mut set = Vec::new();
        for setting in [
            ("flapping_low", &mut policy.flapping_low, self.flapping_low),
            (
                "flapping_high",
                &mut policy.flapping_high,
                self.flapping_high,
            ),
        ] {
            adopt(setting, &mut set);
        }
        set
    }
}

/// Sets a setting that has no value to its default, if there is one, and adds its name.
fn adopt<T: Copy>(
    (name, setting, default): (&'static str, &mut Option<T>, Option<T>),
    set: &mut Vec<&'static str>,
) {
    if setting.is_none() && default.is_some() {
        *setting = default;
        set.push(name);
    }
}

/// Adds to the problem of a check which of the settings it names are defaults.
pub(crate) fn naming_defaults(problem: String, defaults: &[&'static str]) -> String {
    let named = defaults.iter().map(|setting| format!("`{setting}`"));
    let named: Vec<_> = named.filter(|setting| problem.contains(setting)).collect();
    match &named[..] {
        [] => problem,
        [one] => format!("{problem} ({one} is from the defaults)"),
        several => format!(
            "{problem} ({} are from the defaults)",
            several.join(" and ")
        ),
    }
}
