//! Events: what a subscriber receives, and what is logged.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    Cause, CheckReport, Criticality, Name, Probe, Reason, Status, VerdictReason,
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
    /// A check still fails, for another reason.
    CheckReason(CheckReasonChange),
    /// A check begins to flap, still flaps, or no longer does.
    Flapping(CheckFlapping),
    /// The status of a verdict changed.
    Verdict(VerdictTransition),
    /// A verdict still is no pass, for another reason.
    VerdictReason(VerdictReasonChange),
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
/// A change of its reason alone is a [`CheckReasonChange`].
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
    /// What a failure of the check means for readiness.
    pub criticality: Criticality,
    /// What the check, with its new status, does to the instance.
    pub effect: CheckEffect,
    /// The URL of a page that tells operators what to do when the check fails.
    #[serde(skip)]
    pub runbook: Option<Arc<str>>,
    /// When the new status began.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// How long the check had the previous status.
    #[serde(rename = "lasted_ms", serialize_with = "millis")]
    pub lasted: Duration,
}

/// A check that still fails, for another reason. The server that hung is there again, for example,
/// and no longer accepts the password.
///
/// The [reason](CheckReport::reason) or the [blocking check](CheckReport::blocked_by) is new. A
/// change of the [`Cause`] alone is no event. Neither is [pending](Reason::Pending), which a check
/// is between the recovery of the check that blocked it and its own next run. A reason that the same
/// failure had before is an event again once it has held for a minute, so a reason that alternates
/// is none.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Outcome, Reason, event::Event, testing::ScriptedCheck};
///
/// let cache = ScriptedCheck::new(Outcome::fail(Reason::TimedOut));
/// let health = Health::builder("orders")
///     .check(Check::new("cache", cache.clone()).non_critical())
///     .start()?;
/// health.run_now("cache").await?;
/// let mut events = health.subscribe();
///
/// cache.set_outcome(Outcome::fail(Reason::AuthenticationFailed));
/// health.run_now("cache").await?;
/// let Some(Event::CheckReason(change)) = events.next().await else { panic!() };
/// assert_eq!((&*change.name, change.from), ("cache", Some(Reason::TimedOut)));
/// assert_eq!(change.to, Some(Reason::AuthenticationFailed));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckReasonChange {
    /// The name of the check.
    pub name: Name,
    /// Why the check failed before.
    pub from: Option<Reason>,
    /// Why the check fails now.
    pub to: Option<Reason>,
    /// The failing dependency, if the check is [blocked](Reason::Blocked) now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Name>,
    /// The private cause behind the new reason.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// What a failure of the check means for readiness.
    pub criticality: Criticality,
    /// What the check does to the instance.
    pub effect: CheckEffect,
    /// The URL of a page that tells operators what to do when the check fails.
    #[serde(skip)]
    pub runbook: Option<Arc<str>>,
    /// Since when the check fails, whatever the reason.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// How long the check has failed so far.
    #[serde(rename = "failing_ms", serialize_with = "millis")]
    pub failing: Duration,
}

/// A check whose status, or the reason of whose failure, changes often.
///
/// It [begins to flap](FlappingPhase::Began) when the share of changes among its last runs is high,
/// and [no longer flaps](FlappingPhase::Ended) when it is low: see
/// [`Check::flapping`](crate::Check::flapping). Between the two there is no [`CheckTransition`] and
/// no [`CheckReasonChange`] of the check, but [a summary](FlappingPhase::Continues) every ten
/// minutes at most. Verdicts still follow each change.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{
///     Check, Health, Status,
///     event::{Event, FlappingPhase},
///     testing::ScriptedCheck,
/// };
///
/// let cache = ScriptedCheck::new(Status::Pass);
/// let health = Health::builder("orders")
///     .check(Check::new("cache", cache.clone()).non_critical())
///     .start()?;
/// let mut events = health.subscribe();
/// for status in [Status::Pass, Status::Fail, Status::Pass, Status::Fail] {
///     cache.set_outcome(status);
///     health.run_now("cache").await?;
/// }
/// let flapping = loop {
///     if let Some(Event::Flapping(flapping)) = events.next().await {
///         break flapping;
///     }
/// };
/// assert_eq!((flapping.phase, flapping.changes), (FlappingPhase::Began, 3));
/// assert_eq!(flapping.status, Status::Fail);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckFlapping {
    /// The name of the check.
    pub name: Name,
    /// Whether it begins to flap, still does, or no longer does.
    pub phase: FlappingPhase,
    /// The number of changes so far.
    pub changes: u32,
    /// The time since the first of these changes.
    #[serde(rename = "within_ms", serialize_with = "millis")]
    pub within: Duration,
    /// The current status.
    pub status: Status,
    /// Why the check does not pass.
    pub reason: Option<Reason>,
    /// The failing dependency, if the check is [blocked](Reason::Blocked).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<Name>,
    /// The private cause behind the reason.
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// What a failure of the check means for readiness.
    pub criticality: Criticality,
    /// What the check, with its current status, does to the instance.
    pub effect: CheckEffect,
    /// The URL of a page that tells operators what to do when the check fails.
    #[serde(skip)]
    pub runbook: Option<Arc<str>>,
    /// The number of consecutive failures after which the check fails:
    /// [`Check::fail_after`](crate::Check::fail_after). Raising this or
    /// [`pass_after`](Self::pass_after) spares probers the changes. `None` if the application
    /// reports the check itself.
    pub fail_after: Option<u32>,
    /// The number of consecutive good outcomes after which the check is good:
    /// [`Check::pass_after`](crate::Check::pass_after). `None` if the application reports the check
    /// itself.
    pub pass_after: Option<u32>,
    /// Since when the check has its current status.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
}

/// How far the flapping of a check is.
///
/// ```
/// use tower_health::event::FlappingPhase;
///
/// let json = serde_json::to_string(&FlappingPhase::Began).unwrap();
/// assert_eq!(json, r#""began""#);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FlappingPhase {
    /// The check begins to flap.
    Began,
    /// The check still flaps. This is a summary, at a change, every ten minutes at most.
    Continues,
    /// The check no longer flaps.
    Ended,
}

/// What a check does to the instance, by itself. What other checks, a drain or a maintenance do is
/// not included.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status, event::{CheckEffect, Event}};
///
/// let health = Health::builder("shop")
///     .check(Check::new("recommendations", || async { Status::Fail }).non_critical())
///     .start()?;
/// let mut events = health.subscribe();
/// let Some(Event::Check(transition)) = events.next().await else { panic!() };
/// assert_eq!(transition.effect, CheckEffect::StaysReady);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckEffect {
    /// None: the check passes, or affects no verdict.
    None,
    /// The instance stays ready, with a warning.
    StaysReady,
    /// The instance is not ready.
    NotReady,
    /// The instance stays alive, with a warning.
    StaysAlive,
    /// The instance has to be restarted.
    NotAlive,
}

impl CheckEffect {
    /// Returns the text that a log line shows, such as `stays ready`. It is also the serialized
    /// form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::StaysReady => "stays ready",
            Self::NotReady => "not ready",
            Self::StaysAlive => "stays alive",
            Self::NotAlive => "not alive",
        }
    }
}

/// Serializes the text of [`as_str`](CheckEffect::as_str).
impl Serialize for CheckEffect {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A change of the status of a verdict.
///
/// A change of its reason alone is a [`VerdictReasonChange`]. The verdict of [`Probe::Health`] has
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
    /// The checks that decide the new status, at most [`VerdictTransition::MAX_CHECKS`]. For a fail
    /// those that fail the verdict, for a warning those that make it one, in the order of
    /// registration. Empty for a pass, and if the instance itself is the reason.
    pub checks: Arc<[CheckReport]>,
    /// The number of further checks that decide it.
    pub more: usize,
    /// When the new status began.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// How long the verdict had the previous status.
    #[serde(rename = "lasted_ms", serialize_with = "millis")]
    pub lasted: Duration,
}

impl VerdictTransition {
    /// The maximum number of checks that an event of a verdict lists: 3.
    pub const MAX_CHECKS: usize = 3;
}

/// A verdict that still is no pass, for another reason. An instance that fails readiness for its
/// checks is put into maintenance, for example, or has started and still is not ready.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Probe, Status, event::Event, report::VerdictReason};
///
/// let health = Health::builder("orders")
///     .check(Check::new("ledger", || async { Status::Fail }))
///     .start()?;
/// let mut events = health.subscribe();
/// let change = loop {
///     match events.next().await.expect("it runs") {
///         Event::VerdictReason(change) if change.probe == Probe::Readiness => break change,
///         _ => {}
///     }
/// };
/// assert_eq!(change.from, Some(VerdictReason::Starting));
/// assert_eq!(change.to, Some(VerdictReason::Checks));
/// assert_eq!(change.checks[0].name, "ledger");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VerdictReasonChange {
    /// The probe that the verdict belongs to.
    pub probe: Probe,
    /// The status, which has not changed.
    pub status: Status,
    /// Why the verdict was no pass before.
    pub from: Option<VerdictReason>,
    /// Why the verdict is no pass now.
    pub to: Option<VerdictReason>,
    /// The private cause behind the new reason: the purpose of a
    /// [maintenance](VerdictReason::Maintenance).
    #[serde(skip)]
    pub cause: Option<Cause>,
    /// The checks that decide the status, as in a [`VerdictTransition`].
    pub checks: Arc<[CheckReport]>,
    /// The number of further checks that decide it.
    pub more: usize,
    /// Since when the verdict has the status, whatever the reason.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// How long it has had the status so far.
    #[serde(rename = "lasted_ms", serialize_with = "millis")]
    pub lasted: Duration,
}
