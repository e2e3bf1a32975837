//! Events: what a subscriber receives, and what is logged.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{
    Cause, Name, Probe, Reason, Status, VerdictReason,
    timestamp::{millis, rfc3339},
};

/// A change of a check or a verdict. Returned by
/// [`Subscription::next`](crate::event::Subscription::next).
///
/// The serialized form is an object with one member, which is named after the variant. It withholds
/// every [`Cause`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status, event::Event};
///
/// let health = Health::builder("orders").start()?;
/// let mut events = health.subscribe();
/// health.add(Check::new("tenant-7", || async { Status::Pass })).await?;
/// let Some(Event::Added(name)) = events.next().await else { panic!() };
/// assert_eq!(name, "tenant-7");
///
/// assert_eq!(serde_json::to_string(&Event::Added(name))?, r#"{"added":"tenant-7"}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The status of a check changed, or its first outcome took effect.
    Check(CheckTransition),
    /// The status of a verdict changed.
    Verdict(VerdictTransition),
    /// A check was added to the running service. Its first transition follows.
    Added(Name),
    /// A check was removed from the running service.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status, event::Event};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("clock", || async { Status::Pass }))
    ///     .start()?;
    /// health.run_now("clock").await?;
    /// let mut events = health.subscribe();
    /// health.remove("clock").await?;
    /// let Some(Event::Removed(name)) = events.next().await else { panic!() };
    /// assert_eq!(name, "clock");
    /// # Ok(())
    /// # }
    /// ```
    Removed(Name),
    /// The subscriber was too slow and lost this number of events, the oldest ones. The next event
    /// is the oldest that is left. A subscriber that keeps a copy of the state must read it again,
    /// for example with [`Health::report`](crate::Health::report).
    Missed(u64),
}

/// A change of the status of a check.
///
/// A change of its reason alone is not a transition.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Reason, Status, event::Event};
///
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Fail }))
///     .start()?;
/// let mut events = health.subscribe();
/// let Some(Event::Check(transition)) = events.next().await else { panic!() };
/// assert_eq!((transition.from, transition.to), (None, Status::Fail));
/// assert_eq!(transition.reason, Some(Reason::Failed));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckTransition {
    /// The name of the check.
    pub name: Name,
    /// The previous status. `None` if nothing was known of the check.
    pub from: Option<Status>,
    /// The new status.
    pub to: Status,
    /// Why the check does not pass.
    pub reason: Option<Reason>,
    /// The failing dependency, if the check is [blocked](Reason::Blocked).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Name>,
    /// The private cause behind the reason.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// When the new status began.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// How long the check had the previous status.
    #[serde(rename = "lasted_ms", serialize_with = "millis")]
    pub lasted: Duration,
}

/// A change of the status of a verdict.
///
/// A change of its reason alone is not a transition. The verdict of [`Probe::Health`] has
/// transitions of its own.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, Probe, Status, event::Event, report::VerdictReason};
///
/// let health = Health::builder("orders").start()?;
/// let mut events = health.subscribe();
/// health.drain();
/// let Some(Event::Verdict(transition)) = events.next().await else { panic!() };
/// assert_eq!(transition.probe, Probe::Readiness);
/// assert_eq!((transition.from, transition.to), (Status::Pass, Status::Fail));
/// assert_eq!(transition.reason, Some(VerdictReason::Draining));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VerdictTransition {
    /// The probe that the verdict belongs to.
    pub probe: Probe,
    /// The previous status.
    pub from: Status,
    /// The new status.
    pub to: Status,
    /// Why the verdict is not a pass.
    pub reason: Option<VerdictReason>,
    /// The private cause behind the reason: the purpose of a
    /// [maintenance](VerdictReason::Maintenance).
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// When the new status began.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// How long the verdict had the previous status.
    #[serde(rename = "lasted_ms", serialize_with = "millis")]
    pub lasted: Duration,
}
