//! The settings of a check as they are in effect.

use std::time::Duration;

use serde::Serialize;

use super::duration_text;

/// The settings of a check that are in effect: its own, those of the
/// [defaults](crate::HealthBuilder::defaults), or those of the crate.
///
/// A setting that does not apply to the check is `None`. A check that the application
/// [reports](crate::Health::reporter) itself has no runs, for example. The serialized form has the
/// names and the format of a [configuration](crate::config::CheckConfig).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tower_health::{Check, Health, Status};
///
/// let clock = Check::new("clock", || async { Status::Pass }).period(Duration::from_secs(60));
/// let health = Health::builder("orders").check(clock).start()?;
/// let settings = health.check("clock")?.settings;
/// assert_eq!(settings.max_age, Some(Duration::from_secs(3 * 60 + 2)));
/// let json = serde_json::to_value(settings)?;
/// assert_eq!((&json["period"], &json["timeout"]), (&"1m".into(), &"2s".into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckSettings {
    /// The delay between runs: [`Check::period`](crate::Check::period).
    #[serde(
        serialize_with = "duration_text::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub period: Option<Duration>,
    /// How old a result may be before a reader causes a run:
    /// [`Check::on_demand`](crate::Check::on_demand).
    #[serde(
        serialize_with = "duration_text::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub on_demand: Option<Duration>,
    /// The delay after the first failing run: [`Check::retry_period`](crate::Check::retry_period).
    /// A shared check keeps its period.
    #[serde(
        serialize_with = "duration_text::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_period: Option<Duration>,
    /// The time limit of a run: [`Check::timeout`](crate::Check::timeout).
    #[serde(
        serialize_with = "duration_text::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub timeout: Option<Duration>,
    /// How old a result may be before the check is stale:
    /// [`Check::max_age`](crate::Check::max_age).
    #[serde(
        serialize_with = "duration_text::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_age: Option<Duration>,
    /// The number of consecutive failures after which the check fails:
    /// [`Check::fail_after`](crate::Check::fail_after).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_after: Option<u32>,
    /// The number of consecutive good outcomes after which the check is good:
    /// [`Check::pass_after`](crate::Check::pass_after).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_after: Option<u32>,
    /// The share of changes, in percent, down to which a check that flaps still flaps:
    /// [`Check::flapping`](crate::Check::flapping).
    pub flapping_low: u8,
    /// The share of changes, in percent, above which a check flaps:
    /// [`Check::flapping`](crate::Check::flapping).
    pub flapping_high: u8,
}
