use std::fmt;

use serde::Serialize;

/// Where an instance is in its life.
///
/// ```text
///            started               a check fails
/// Starting ──────────▶ Ready ◀─────────────────────▶ NotReady
///     │                  │    it recovers                │
///     │      maintenance │ lifted or over                │
///     ├───────────▶ Maintenance ◀────────────────────────┤
///     │                  │                               │
///     └──────────────────┼───────────────────────────────┘
///                        ▼ drain, signal
///                    Draining
/// ```
///
/// What comes later in the list below hides what comes before it: an instance in maintenance that leaves is draining. Nobody
/// comes back from draining, nor from stopped, which any other stage may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Readiness passes, or warns.
    Ready,
    /// It started, and some check keeps it from being ready.
    NotReady,
    /// A start-up task is not done, or the first run of a check has not ended.
    Starting,
    /// It was taken out of rotation for a while: see [`Health::maintenance`](crate::Health::maintenance).
    Maintenance,
    /// The runtime that ran the checks has ended, and the instance does not leave.
    Stopped,
    /// It leaves, or has left: see [`Health::drain`](crate::Health::drain).
    Draining,
}

impl Stage {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 6] = [
        Self::Ready,
        Self::NotReady,
        Self::Starting,
        Self::Maintenance,
        Self::Stopped,
        Self::Draining,
    ];

    /// The word that a report shows.
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

/// As [`as_str`](Stage::as_str).
impl Serialize for Stage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
