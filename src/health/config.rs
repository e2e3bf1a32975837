//! Settings of an operator, and how they override those of the code.
//!
//! `apply` runs once, in [`HealthBuilder::start`](crate::HealthBuilder::start), before anything is
//! validated. An invalid value from a file is thus reported like one from the code.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::Deserialize;

use super::{
    ConfigError,
    problems::{Call, Problems, SetBy},
};
use crate::{
    check::{Check, CheckDefaults},
    engine::Settings,
    model::{Criticality, Name, UnknownCheck, deserialize_duration},
    telemetry,
};

/// Settings of an operator, which override the settings in the code: see
/// [`HealthBuilder::config`](crate::HealthBuilder::config).
///
/// It is deserialized with [serde], from the file or environment that the application reads its own
/// configuration from. What is not set keeps its value. A setting that does not exist is a
/// deserialization error.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use config::{Config, File, FileFormat};
/// use tower_health::config::HealthConfig;
///
/// let file = r#"
///     [health]
///     concurrency = 16
///
///     [health.defaults]
///     period = "15s"
///
///     [health.checks.postgres]
///     timeout = "500ms"
///     period = "30s"
///     criticality = "shared"
///
///     [health.checks.search]
///     enabled = false
/// "#;
/// let source = Config::builder().add_source(File::from_str(file, FileFormat::Toml)).build()?;
/// let health: HealthConfig = source.get("health")?;
/// assert_eq!(health.checks["search"].enabled, Some(false));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthConfig {
    /// The maximum number of concurrent runs:
    /// [`HealthBuilder::concurrency`](crate::HealthBuilder::concurrency).
    pub concurrency: Option<usize>,
    /// How long the service continues to serve after a drain begins:
    /// [`HealthBuilder::drain_delay`](crate::HealthBuilder::drain_delay).
    #[serde(deserialize_with = "deserialize_duration")]
    pub drain_delay: Option<Duration>,
    /// How long the service then waits until nothing is in flight:
    /// [`HealthBuilder::drain_finish`](crate::HealthBuilder::drain_finish).
    #[serde(deserialize_with = "deserialize_duration")]
    pub drain_finish: Option<Duration>,
    /// How long servers may take to finish the requests on their connections:
    /// [`HealthBuilder::drain_close`](crate::HealthBuilder::drain_close).
    #[serde(deserialize_with = "deserialize_duration")]
    pub drain_close: Option<Duration>,
    /// The settings of every check that sets no value of its own, in the code or below
    /// [`checks`](Self::checks):
    /// [`HealthBuilder::defaults`](crate::HealthBuilder::defaults), whose values these override.
    pub defaults: CheckDefaults,
    /// The settings of single checks, by name. If no check has exactly the written name, `_` also
    /// matches `-` and `.`, and upper case matches lower case, because names of environment
    /// variables contain neither `-` nor `.`. A name that then matches several checks is a problem.
    /// If both the exact name and another form of it are written, the exact name takes precedence.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status};
    ///
    /// let text = r#"{"checks": {"PAYMENTS_API": {"enabled": false}}}"#;
    /// let health = Health::builder("orders")
    ///     .check(Check::new("payments-api", || async { Status::Pass }))
    ///     .config(serde_json::from_str(text)?)
    ///     .start()?;
    /// assert!(health.report().checks.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub checks: BTreeMap<String, CheckConfig>,
}

/// Settings of an operator for one check. Durations are written with their unit: `500ms`, `10s`,
/// `1m 30s`, `2h`. A number without a unit is a deserialization error.
///
/// ```
/// use std::time::Duration;
///
/// use tower_health::{Criticality, config::CheckConfig};
///
/// let text = r#"{"timeout": "500ms", "criticality": "shared"}"#;
/// let config: CheckConfig = serde_json::from_str(text).unwrap();
/// assert_eq!(config.timeout, Some(Duration::from_millis(500)));
/// assert_eq!(config.criticality, Some(Criticality::Shared));
/// assert_eq!(config.period, None);
///
/// let without_unit = serde_json::from_str::<CheckConfig>(r#"{"timeout": 500}"#);
/// assert!(without_unit.unwrap_err().to_string().contains("a duration with its unit"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
#[non_exhaustive]
pub struct CheckConfig {
    /// Whether the check is registered. A check that depends on a disabled one depends on the
    /// dependencies of that one instead. Defaults to `true`.
    pub enabled: Option<bool>,
    /// How a failure affects readiness: [`Check::criticality`]. One of `critical`, `shared` and
    /// `non_critical`. Any value but `shared` also resets a shared grace period that the code has
    /// set.
    pub criticality: Option<Criticality>,
    /// The grace period of a shared check: [`Check::shared_grace`].
    pub shared_grace: Option<Duration>,
    /// The delay between runs: [`Check::period`]. The check is then not on demand.
    pub period: Option<Duration>,
    /// How old a result may be before a reader causes a run: [`Check::on_demand`]. The check then
    /// has no period. A configuration that sets both is a problem.
    pub on_demand: Option<Duration>,
    /// The longest time that a reader waits for a run on demand: [`Check::wait`].
    pub wait: Option<Duration>,
    /// The delay after a failing run: [`Check::retry_period`].
    pub retry_period: Option<Duration>,
    /// The time limit of a run: [`Check::timeout`].
    pub timeout: Option<Duration>,
    /// How old a result may be before the check is stale: [`Check::max_age`].
    pub max_age: Option<Duration>,
    /// How long a run may take before it is a warning: [`Check::warn_above`].
    pub warn_above: Option<Duration>,
    /// The number of consecutive failures after which the check fails: [`Check::fail_after`].
    pub fail_after: Option<u32>,
    /// The number of consecutive good outcomes after which the check is good:
    /// [`Check::pass_after`].
    pub pass_after: Option<u32>,
    /// The share of changes, in percent, down to which a check that flaps still flaps:
    /// [`Check::flapping`].
    pub flapping_low: Option<u8>,
    /// The share of changes, in percent, above which the check flaps: [`Check::flapping`].
    pub flapping_high: Option<u8>,
    /// A criticality that does not exist, as it is written.
    unknown_criticality: Option<String>,
}

/// A [`CheckConfig`] as it is written. An unknown criticality is kept, so that it is reported with
/// all other problems.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    enabled: Option<bool>,
    criticality: Option<String>,
    #[serde(deserialize_with = "deserialize_duration")]
    shared_grace: Option<Duration>,
    #[serde(deserialize_with = "deserialize_duration")]
    period: Option<Duration>,
    #[serde(deserialize_with = "deserialize_duration")]
    on_demand: Option<Duration>,
    #[serde(deserialize_with = "deserialize_duration")]
    wait: Option<Duration>,
    #[serde(deserialize_with = "deserialize_duration")]
    retry_period: Option<Duration>,
    #[serde(deserialize_with = "deserialize_duration")]
    timeout: Option<Duration>,
    #[serde(deserialize_with = "deserialize_duration")]
    max_age: Option<Duration>,
    #[serde(deserialize_with = "deserialize_duration")]
    warn_above: Option<Duration>,
    fail_after: Option<u32>,
    pass_after: Option<u32>,
    flapping_low: Option<u8>,
    flapping_high: Option<u8>,
}

impl From<Written> for CheckConfig {
    fn from(written: Written) -> Self {
        let known = written.criticality.as_deref().map(criticality);
        Self {
            criticality: known.flatten(),
            unknown_criticality: written.criticality.filter(|_| known == Some(None)),
            enabled: written.enabled,
            shared_grace: written.shared_grace,
            period: written.period,
            on_demand: written.on_demand,
            wait: written.wait,
            retry_period: written.retry_period,
            timeout: written.timeout,
            max_age: written.max_age,
            warn_above: written.warn_above,
            fail_after: written.fail_after,
            pass_after: written.pass_after,
            flapping_low: written.flapping_low,
            flapping_high: written.flapping_high,
        }
    }
}

/// Returns the criticality that is written so.
fn criticality(written: &str) -> Option<Criticality> {
    Criticality::ALL
        .into_iter()
        .find(|known| known.as_str() == written)
}

/// Applies configurations in their order. A later one overrides an earlier one. Afterwards removes
/// the checks that are disabled.
pub(super) fn apply(
    configs: Vec<(Call, HealthConfig)>,
    checks: &mut Vec<(Call, Check)>,
    (settings, defaults, set_by): (&mut Settings, &mut CheckDefaults, &mut SetBy),
    problems: &mut Problems,
) {
    let mut disabled = Vec::new();
    for (call, config) in configs {
        apply_settings(call, &config, settings, set_by);
        set_by.merge(call, defaults, &config.defaults);
        for (name, check) in &config.checks {
            if let Some(written) = &check.unknown_criticality {
                problems.push(call, unknown_criticality(name, written));
            }
        }
        // Settings under the exact name are applied last, so they take precedence.
        let is_exact = |name: &String| checks.iter().any(|(_, check)| check.name == *name);
        let (exact, folded): (Vec<_>, Vec<_>) =
            config.checks.iter().partition(|(name, _)| is_exact(name));
        for (name, config) in folded {
            let mut matching = checks
                .iter_mut()
                .map(|(_, check)| check)
                .filter(|check| fold(&check.name) == fold(name));
            match (matching.next(), matching.next()) {
                (Some(check), None) => config.apply(check, &mut disabled),
                (Some(_), Some(_)) => {
                    problems.push(call, ConfigError::AmbiguousCheck(name.clone()));
                }
                (None, _) => {
                    let unknown = UnknownCheck::new(name, names(checks));
                    problems.push(call, ConfigError::UnknownCheck(unknown));
                }
            }
        }
        for (name, config) in exact {
            let checks = checks.iter_mut().map(|(_, check)| check);
            for check in checks.filter(|check| check.name == *name) {
                config.apply(check, &mut disabled);
            }
        }
    }
    if !disabled.is_empty() {
        remove_disabled(&disabled, checks);
    }
}

/// Applies the settings that are not of a check.
fn apply_settings(call: Call, config: &HealthConfig, settings: &mut Settings, set_by: &mut SetBy) {
    let drain = &mut settings.drain;
    for (setting, by, value) in [
        (
            &mut drain.delay,
            &mut set_by.drain_delay,
            config.drain_delay,
        ),
        (
            &mut drain.finish,
            &mut set_by.drain_finish,
            config.drain_finish,
        ),
        (
            &mut drain.close,
            &mut set_by.drain_close,
            config.drain_close,
        ),
    ] {
        set(by, value.map(|_| call));
        set(setting, value);
    }
    set(&mut set_by.concurrency, config.concurrency.map(|_| call));
    set(&mut settings.capacity, config.concurrency);
}

/// Returns the problem of a criticality that does not exist.
fn unknown_criticality(check: &str, written: &str) -> ConfigError {
    let known = Criticality::ALL.map(|known| format!("`{}`", known.as_str()));
    let written: String = written.chars().take(Name::MAX_LEN).collect();
    ConfigError::Setting {
        check: check.chars().take(Name::MAX_LEN).collect(),
        problem: format!(
            "`criticality` is {written:?}, which does not exist: write one of {}",
            known.join(", ")
        ),
    }
}

/// Removes these checks. A disabled check blocks no other check. Its dependencies still do.
fn remove_disabled(disabled: &[String], checks: &mut Vec<(Call, Check)>) {
    telemetry::disabled(disabled);
    let (gone, there): (Vec<_>, Vec<_>) = std::mem::take(checks)
        .into_iter()
        .partition(|(_, check)| disabled.contains(&check.name));
    let gone: Vec<Check> = gone.into_iter().map(|(_, check)| check).collect();
    *checks = there;
    for (_, check) in checks {
        check.depends_on = remaining_dependencies(&gone, std::mem::take(&mut check.depends_on));
    }
}

/// Replaces each removed check among these names by its dependencies, transitively.
fn remaining_dependencies(gone: &[Check], names: Vec<String>) -> Vec<String> {
    let (mut seen, mut there) = (Vec::new(), Vec::new());
    let mut next = VecDeque::from(names);
    while let Some(name) = next.pop_front() {
        if seen.contains(&name) {
            continue;
        }
        match gone.iter().find(|check| check.name == name) {
            Some(check) => next.extend(check.depends_on.iter().cloned()),
            None => there.push(name.clone()),
        }
        seen.push(name);
    }
    there
}

impl CheckConfig {
    /// Overrides the settings of a check. `disabled` contains the names of the checks that the
    /// configurations so far disable. A later one may enable such a check again.
    fn apply(&self, check: &mut Check, disabled: &mut Vec<String>) {
        match self.enabled {
            None => {}
            Some(enabled) => {
                disabled.retain(|name| *name != check.name);
                if !enabled {
                    disabled.push(check.name.clone());
                }
            }
        }
        let policy = &mut check.policy;
        set(&mut policy.criticality, self.criticality);
        for (setting, value) in [
            (&mut policy.fail_after, self.fail_after),
            (&mut policy.pass_after, self.pass_after),
        ] {
            set(setting, value.map(Some));
        }
        for (setting, value) in [
            (&mut policy.flapping_low, self.flapping_low),
            (&mut policy.flapping_high, self.flapping_high),
        ] {
            set(setting, value.map(Some));
        }
        // A period replaces on demand, and the reverse. Settings that apply only to the replaced
        // mode are reset with it.
        if self.period.is_some() || self.on_demand.is_some() {
            (policy.period, policy.on_demand) = (self.period, self.on_demand);
        }
        if self.period.is_some() {
            policy.wait = None;
        }
        if self
            .criticality
            .is_some_and(|criticality| criticality != Criticality::Shared)
        {
            policy.shared_grace = None;
        }
        for (setting, value) in [
            (&mut policy.shared_grace, self.shared_grace),
            (&mut policy.wait, self.wait),
            (&mut policy.retry_period, self.retry_period),
            (&mut policy.timeout, self.timeout),
            (&mut policy.max_age, self.max_age),
            (&mut policy.warn_above, self.warn_above),
        ] {
            set(setting, value.map(Some));
        }
    }
}

/// Overrides a setting, unless there is no value for it.
fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// Returns a name in the form in which an environment variable contains it, in lower case.
fn fold(name: &str) -> String {
    name.replace(['-', '.'], "_").to_ascii_lowercase()
}

/// Returns the valid names of these checks. An invalid one is reported elsewhere.
fn names(checks: &[(Call, Check)]) -> Vec<Name> {
    checks
        .iter()
        .filter_map(|(_, check)| Name::new(&check.name).ok())
        .collect()
}
