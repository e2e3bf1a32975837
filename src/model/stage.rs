//! The lifecycle of an instance, in one word.

use std::fmt;

use serde::Serialize;

/// The stage of an instance in its lifecycle.
///
/// ```text
///            started               a check fails
/// Starting ──────────▶ Ready ◀─────────────────────▶ NotReady
///     │                  │    it recovers                │
///     │      maintenance │ ended or expired              │
///     ├───────────▶ Maintenance ◀────────────────────────┤
///     │                  │                               │
///     └──────────────────┼───────────────────────────────┘
///                        ▼ drain, signal
///                    Draining
/// ```
///
/// The diagram omits `Stopped`. Starting and maintenance end in `Ready` or `NotReady`, as the
/// checks decide. If several stages apply, the one that comes last in the list of variants below is
/// shown: an instance that drains during maintenance is draining. Draining and stopped are final.
/// Any stage except draining can change to stopped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Probe, Status, report::Stage};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// assert_eq!(health.stage(), Stage::Starting);
/// health.wait_until(Probe::Readiness, Status::Pass).await?;
/// assert_eq!(health.stage(), Stage::Ready);
/// health.drain();
/// assert_eq!(health.stage(), Stage::Draining);
/// # Ok(())
/// # }
/// ```
///
/// A stage that hides another one does not end it:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tower_health::{Health, report::Stage};
///
/// let health = Health::builder("orders").start()?;
/// health.maintenance("reindexing", Duration::from_secs(600));
/// assert_eq!(health.stage(), Stage::Maintenance);
/// health.drain();
/// assert_eq!(health.stage(), Stage::Draining);
/// assert!(health.end_maintenance(), "it was still in maintenance");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Readiness passes or warns.
    Ready,
    /// The instance has started, and a check keeps it from being ready.
    NotReady,
    /// A start-up task is not done, or the first run of a check has not ended.
    Starting,
    /// The instance was taken out of rotation temporarily: see
    /// [`Health::maintenance`](crate::Health::maintenance).
    Maintenance,
    /// The runtime of the checks has ended, and the instance is not draining.
    Stopped,
    /// The instance is draining, or has drained: see [`Health::drain`](crate::Health::drain).
    Draining,
}

impl Stage {
    /// All stages.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 6] = [
        Self::Ready,
        Self::NotReady,
        Self::Starting,
        Self::Maintenance,
        Self::Stopped,
        Self::Draining,
    ];

    /// Returns the text that a report shows: lower-case words, such as `not ready`. It is also the
    /// serialized form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not ready",
            Self::Starting => "starting",
            Self::Maintenance => "maintenance",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Serializes the text of [`as_str`](Stage::as_str).
impl Serialize for Stage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
