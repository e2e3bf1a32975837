use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::ConfigError;
use crate::{
    check::Check,
    engine::Settings,
    model::{Criticality, Name, UnknownCheck},
    telemetry,
};

/// What an operator sets from outside, on top of what the code says: see
/// [`HealthBuilder::config`](crate::HealthBuilder::config).
///
/// It is read by [serde], from whatever file or environment the application reads its own configuration from.
/// What is not set stays as it is; a setting that does not exist is an error of the reader.
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
    /// How many runs may be under way at a time: [`HealthBuilder::concurrency`](crate::HealthBuilder::concurrency).
    pub concurrency: Option<usize>,
    /// [`HealthBuilder::drain_delay`](crate::HealthBuilder::drain_delay).
    #[serde(deserialize_with = "duration")]
    pub drain_delay: Option<Duration>,
    /// [`HealthBuilder::drain_finish`](crate::HealthBuilder::drain_finish).
    #[serde(deserialize_with = "duration")]
    pub drain_finish: Option<Duration>,
    /// [`HealthBuilder::drain_close`](crate::HealthBuilder::drain_close).
    #[serde(deserialize_with = "duration")]
    pub drain_close: Option<Duration>,
    /// The settings of single checks, by name. Where no check has a name as it is written, `_` stands for `-` and
    /// `.` too, as names of environment variables have neither.
    pub checks: BTreeMap<String, CheckConfig>,
}

/// What an operator sets for one check. Durations are written with their unit: `500ms`, `10s`, `1m 30s`, `2h`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CheckConfig {
    /// Whether it is registered at all. Defaults to `true`.
    pub enabled: Option<bool>,
    /// [`Check::criticality`]: `critical`, `shared` or `non_critical`.
    pub criticality: Option<Criticality>,
    /// [`Check::shared_grace`].
    #[serde(deserialize_with = "duration")]
    pub shared_grace: Option<Duration>,
    /// [`Check::period`]. The check is then not on demand.
    #[serde(deserialize_with = "duration")]
    pub period: Option<Duration>,
    /// [`Check::on_demand`]. The check then has no period.
    #[serde(deserialize_with = "duration")]
    pub on_demand: Option<Duration>,
    /// [`Check::wait`].
    #[serde(deserialize_with = "duration")]
    pub wait: Option<Duration>,
    /// [`Check::retry_period`].
    #[serde(deserialize_with = "duration")]
    pub retry_period: Option<Duration>,
    /// [`Check::timeout`].
    #[serde(deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// [`Check::max_age`].
    #[serde(deserialize_with = "duration")]
    pub max_age: Option<Duration>,
    /// [`Check::warn_above`].
    #[serde(deserialize_with = "duration")]
    pub warn_above: Option<Duration>,
    /// [`Check::fail_after`].
    pub fail_after: Option<u32>,
    /// [`Check::pass_after`].
    pub pass_after: Option<u32>,
}

/// Sets what the configs set, each on top of those before it, and takes away what is disabled in the end.
pub(super) fn apply(
    configs: &[HealthConfig],
    checks: &mut Vec<Check>,
    settings: &mut Settings,
    problems: &mut Vec<ConfigError>,
) {
    let mut disabled = Vec::new();
    for config in configs {
        set(&mut settings.room, config.concurrency);
        set(&mut settings.drain.delay, config.drain_delay);
        set(&mut settings.drain.finish, config.drain_finish);
        set(&mut settings.drain.close, config.drain_close);
        // Those that name a check as it is come last, and win.
        let is_exact = |name: &String| checks.iter().any(|check| check.name == *name);
        let (exact, folded): (Vec<_>, Vec<_>) =
            config.checks.iter().partition(|(name, _)| is_exact(name));
        for (name, config) in folded {
            let meant = |check: &&mut Check| fold(&check.name) == fold(name);
            match checks
                .iter_mut()
                .filter(meant)
                .collect::<Vec<_>>()
                .as_mut_slice()
            {
                [check] => config.apply(check, &mut disabled),
                [_, _, ..] => problems.push(ConfigError::AmbiguousCheck(name.clone())),
                [] => problems.push(ConfigError::UnknownCheck(UnknownCheck::new(
                    name,
                    names(checks),
                ))),
            }
        }
        for (name, config) in exact {
            for check in checks.iter_mut().filter(|check| check.name == *name) {
                config.apply(check, &mut disabled);
            }
        }
    }
    if !disabled.is_empty() {
        telemetry::disabled(&disabled);
        // What is not asked blocks nobody; what it stands behind still does.
        let (gone, there): (Vec<Check>, Vec<Check>) = std::mem::take(checks)
            .into_iter()
            .partition(|check| disabled.contains(&check.name));
        *checks = there;
        for check in checks {
            check.depends_on = roots_past(&gone, std::mem::take(&mut check.depends_on));
        }
    }
}

/// What is there of these names, and of those that they depend on where they are gone.
fn roots_past(gone: &[Check], names: Vec<String>) -> Vec<String> {
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
        set(&mut policy.timeout, self.timeout);
        set(&mut policy.fail_after, self.fail_after);
        set(&mut policy.pass_after, self.pass_after);
        // One way of being run stands for the other. What goes with the one that the code chose goes with it.
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
            (&mut policy.max_age, self.max_age),
            (&mut policy.warn_above, self.warn_above),
        ] {
            set(setting, value.map(Some));
        }
    }
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// A name as an environment variable has it.
fn fold(name: &str) -> String {
    name.replace(['-', '.'], "_").to_ascii_lowercase()
}

fn names(checks: &[Check]) -> Vec<Name> {
    checks
        .iter()
        .filter_map(|check| Name::new(&check.name).ok())
        .collect()
}

/// For `#[serde(deserialize_with)]`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    struct Written(Duration);

    impl<'de> Deserialize<'de> for Written {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Reader).map(Self)
        }
    }

    struct Reader;

    impl Visitor<'_> for Reader {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration with its unit, such as \"500ms\", \"10s\" or \"1m 30s\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text)
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    let written = Option::<Written>::deserialize(deserializer)?;
    Ok(written.map(|written| written.0))
}
