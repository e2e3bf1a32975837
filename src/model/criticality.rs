//! What a failing check means for readiness.

use serde::{Deserialize, Serialize};

/// How a failure of a check affects readiness.
///
/// | | pending | failing or stale | warning |
/// | --- | --- | --- | --- |
/// | [`Critical`](Self::Critical) | not ready | not ready | ready, warn |
/// | [`Shared`](Self::Shared) | not ready | good before: ready, warn; never good: not ready | ready, warn |
/// | [`NonCritical`](Self::NonCritical) | ready | ready, warn | ready, warn |
///
/// Whatever its row, a check that is registered before the start keeps the instance
/// [starting](crate::report::Stage::Starting), and so not ready, until its first run has ended. A
/// check that is added to a running service never fails readiness while it is pending. A [grace
/// period](crate::Check::shared_grace) limits how long a failing shared check keeps the instance
/// ready.
///
/// Consider for each dependency: *if it fails here, does it fail for every replica?* A local file
/// is critical. A database that all replicas use is shared: if every replica is taken out of
/// rotation because the database is slow, a slow service becomes an unavailable one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Probe, Status};
///
/// let health = Health::builder("shop")
///     .check(Check::new("recommendations", || async { Status::Fail }).non_critical())
///     .start()?;
/// let verdict = health.wait_until(Probe::Readiness, Status::Warn).await?;
/// assert_eq!(verdict.checks[0].name, "recommendations");
/// assert_eq!(verdict.checks[0].status, Status::Fail);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Criticality {
    /// This instance cannot serve without it.
    #[default]
    Critical,
    /// All replicas lose it at the same time, so its loss takes no replica out of rotation.
    ///
    /// It fails readiness only before its first good outcome, and after a [grace
    /// period](crate::Check::shared_grace) if one is set.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Probe, Status, testing::ScriptedCheck};
    ///
    /// let database = ScriptedCheck::new(Status::Pass);
    /// let health = Health::builder("orders")
    ///     .check(Check::new("database", database.clone()).shared())
    ///     .start()?;
    /// health.wait_until(Probe::Readiness, Status::Pass).await?;
    ///
    /// database.set_outcome(Status::Fail);
    /// health.run_now("database").await?;
    /// assert_eq!(health.verdict(Probe::Readiness).status, Status::Warn, "still in rotation");
    /// # Ok(())
    /// # }
    /// ```
    Shared,
    /// The service works without it.
    NonCritical,
}

impl Criticality {
    pub(crate) const ALL: [Self; 3] = [Self::Critical, Self::Shared, Self::NonCritical];

    /// Returns the text that bodies, logs and labels show: `critical`, `shared` or `non_critical`.
    /// It is also the serialized form.
    ///
    /// ```
    /// use tower_health::Criticality;
    ///
    /// assert_eq!(Criticality::NonCritical.as_str(), "non_critical");
    /// let json = serde_json::to_string(&Criticality::NonCritical).unwrap();
    /// assert_eq!(json, r#""non_critical""#);
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Shared => "shared",
            Self::NonCritical => "non_critical",
        }
    }
}
