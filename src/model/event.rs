use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{
    Cause, Name, Probe, Reason, Status, VerdictReason,
    timestamp::{millis, rfc3339},
};

/// Something changed: what [`Subscription::next`](crate::event::Subscription::next) tells.
///
/// Serialised, it withholds every [`Cause`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The status of a check is another, or its first outcome took effect.
    Check(CheckTransition),
    /// The status of a verdict is another.
    Verdict(VerdictTransition),
    /// A check was added to the running service. Its first transition follows.
    Added(Name),
    /// A check was removed from the running service.
    Removed(Name),
    /// The subscriber was too slow, and lost this many events, the oldest.
    Missed(u64),
}

/// A check has another status than before.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckTransition {
    /// The name of the check.
    pub name: Name,
    /// How it was; `None` if nothing was known of it.
    pub from: Option<Status>,
    /// How it is.
    pub to: Status,
    /// Why it does not pass.
    pub reason: Option<Reason>,
    /// The check that it stands behind and that fails, if it is [blocked](Reason::Blocked).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Name>,
    /// What stands behind the reason.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// Since when.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// How long it had been as it was.
    #[serde(rename = "lasted_ms", serialize_with = "millis")]
    pub lasted: Duration,
}

/// A verdict has another status than before.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VerdictTransition {
    /// The question.
    pub probe: Probe,
    /// What the answer was.
    pub from: Status,
    /// What it is.
    pub to: Status,
    /// Why it is not a pass.
    pub reason: Option<VerdictReason>,
    /// What stands behind the reason: what a [maintenance](VerdictReason::Maintenance) is for.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// Since when.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// How long it had been as it was.
    #[serde(rename = "lasted_ms", serialize_with = "millis")]
    pub lasted: Duration,
}
