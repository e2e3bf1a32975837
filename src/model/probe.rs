use std::fmt;

use serde::Serialize;

/// What a prober asks.
///
/// | probe | asks | who should ask |
/// | --- | --- | --- |
/// | [`Liveness`](Self::Liveness) | is the process beyond help? | what restarts it |
/// | [`Readiness`](Self::Readiness) | should it get traffic? | what routes to it |
/// | [`Startup`](Self::Startup) | has it finished starting? | what waits before asking the others |
/// | [`Health`](Self::Health) | how is it, in full? | people and monitoring |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Probe {
    /// Fails only where a restart is the cure: a [worker](crate::Health::heartbeat) that is to say so is missing, or a runtime
    /// that is [watched](crate::HealthBuilder::watchdog) stalls or has ended. Dependencies never fail it, nor do start-up, a
    /// drain or a maintenance.
    Liveness,
    /// Fails while this instance should not be sent requests.
    Readiness,
    /// Fails until every [start-up task](crate::HealthBuilder::startup_task) is done and the first run of every check has ended,
    /// whatever its outcome; then passes for good.
    Startup,
    /// The worst of liveness and readiness, with every check.
    Health,
}

impl Probe {
    pub(crate) const ALL: [Self; 4] =
        [Self::Liveness, Self::Startup, Self::Readiness, Self::Health];

    /// The word for this probe in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::Health => "health",
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
