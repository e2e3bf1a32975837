//! Why a verdict is not a pass.

use std::fmt;

use serde::Serialize;

/// Why a [`Verdict`](crate::report::Verdict) is not a pass.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, Probe, report::VerdictReason};
///
/// let health = Health::builder("orders").start()?;
/// health.drain();
/// let reason = health.verdict(Probe::Readiness).reason;
/// assert_eq!(reason, Some(VerdictReason::Draining));
/// assert_eq!(VerdictReason::Draining.as_str(), "draining");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerdictReason {
    /// The first run of a check has not ended yet, or a start-up task is not done.
    Starting,
    /// The instance was taken out of rotation temporarily: see
    /// [`Health::maintenance`](crate::Health::maintenance).
    Maintenance,
    /// The instance is draining: see [`Health::drain`](crate::Health::drain).
    Draining,
    /// A check does not pass.
    Checks,
    /// A shared dependency has recovered after its grace period was over. This replica waits for a
    /// random time before it becomes ready again, so that not all replicas return at once.
    Returning,
    /// The runtime of the checks has ended.
    EngineStopped,
}

impl VerdictReason {
    /// Returns the text that a report shows: lower-case words, such as `engine stopped`. It is also
    /// the serialized form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Maintenance => "maintenance",
            Self::Draining => "draining",
            Self::Checks => "checks",
            Self::Returning => "returning",
            Self::EngineStopped => "engine stopped",
        }
    }
}

impl fmt::Display for VerdictReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Serializes the text of [`as_str`](VerdictReason::as_str).
impl Serialize for VerdictReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
