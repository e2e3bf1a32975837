use serde::{Deserialize, Serialize};

/// What a check does to readiness.
///
/// | | pending | failing or stale | warning |
/// | --- | --- | --- | --- |
/// | [`Critical`](Self::Critical) | not ready | not ready | ready, warn |
/// | [`Shared`](Self::Shared) | not ready | good once: ready, warn; never good: not ready | ready, warn |
/// | [`NonCritical`](Self::NonCritical) | ready | ready, warn | ready, warn |
///
/// Ask of each dependency: *if it fails here, does it fail for every replica?* A local file is critical. The
/// one database that all replicas use is shared: when it is slow, taking every replica out of rotation makes a
/// slow service a dead one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Criticality {
    /// This instance cannot serve without it.
    #[default]
    Critical,
    /// Every replica loses it at once, so losing it takes no replica out of rotation.
    Shared,
    /// The service can do without it.
    NonCritical,
}
