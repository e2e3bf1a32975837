//! What a check is: its code ([`HealthCheck`]), and its name and policy ([`Check`]).
//!
//! Nothing here knows who asks or how the answer travels.

mod foreign;
mod guard;
mod into;
mod policy;
mod registered;

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{ComponentType, Failure, Outcome};
pub(crate) use foreign::{Foreign, no_thread};
pub(crate) use guard::{guard, install as guard_panics, panicked};
pub use into::{IntoHealthCheck, IntoOutcome, Success};
pub(crate) use policy::{Part, Policy, duration_fault};
pub use registered::Check;
pub(crate) use registered::Code;

/// The code of a check: one question about one thing that the service needs.
///
/// The engine calls [`check`](Self::check) on its schedule, one run at a time; no prober ever does. It gives each
/// run a time limit and drops the future when that is over, so a run must be cancel-safe: what it holds when it
/// is dropped is given back. Code that blocks its thread costs the runtime that it shares with the service one worker for as long
/// as it blocks, as it would in a handler; readers on other threads are answered rightly all the same. For such code there is
/// [`Check::blocking`]. A panic is a failing outcome, unless panics
/// abort the process (`panic = "abort"`).
///
/// ```
/// use tower_health::{ComponentType, Failure, HealthCheck, Outcome, Reason, async_trait};
///
/// struct Ledger { /* a client */ }
///
/// impl Ledger {
///     async fn backlog(&self) -> std::io::Result<u64> { Ok(12) }
/// }
///
/// #[async_trait]
/// impl HealthCheck for Ledger {
///     async fn check(&self) -> Result<Outcome, Failure> {
///         let backlog = self.backlog().await?;
///         let outcome = if backlog > 1_000 { Outcome::warn(Reason::LimitExceeded) } else { Outcome::pass() };
///         Ok(outcome.measure("backlog", backlog, "entries"))
///     }
///
///     fn component_type(&self) -> ComponentType {
///         ComponentType::Datastore
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a health check",
    note = "implement `HealthCheck` for it, or give `Check::new` an async function or a closure"
)]
#[async_trait]
pub trait HealthCheck: Send + Sync + 'static {
    /// Asks once.
    ///
    /// # Errors
    ///
    /// A [`Failure`] is a failing outcome. `?` makes one of any error.
    async fn check(&self) -> Result<Outcome, Failure>;

    /// What kind of thing it asks. Defaults to [`ComponentType::Component`].
    fn component_type(&self) -> ComponentType {
        ComponentType::default()
    }

    /// Returns what is wrong with the check's own settings, such as bounds that contradict each other: a sentence for each problem,
    /// with its remedy. It is called once, where the check is registered, and must not block.
    ///
    /// [`HealthBuilder::start`](crate::HealthBuilder::start) and [`Health::add`](crate::Health::add) refuse a check that has problems.
    /// Defaults to none.
    ///
    /// ```
    /// use tower_health::{Failure, HealthCheck, Outcome, async_trait, checks::contradiction};
    ///
    /// struct Backlog { warn_above: u64, fail_above: u64 }
    ///
    /// #[async_trait]
    /// impl HealthCheck for Backlog {
    ///     async fn check(&self) -> Result<Outcome, Failure> {
    ///         Ok(Outcome::pass())
    ///     }
    ///
    ///     fn problems(&self) -> Vec<String> {
    ///         let warn = ("warn_above", Some(self.warn_above));
    ///         let fail = ("fail_above", Some(self.fail_above));
    ///         contradiction(warn, fail).into_iter().collect()
    ///     }
    /// }
    ///
    /// assert_eq!(Backlog { warn_above: 10, fail_above: 5 }.problems().len(), 1);
    /// assert!(Backlog { warn_above: 5, fail_above: 10 }.problems().is_empty());
    /// ```
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<C: HealthCheck + ?Sized> HealthCheck for Arc<C> {
    async fn check(&self) -> Result<Outcome, Failure> {
        (**self).check().await
    }

    fn component_type(&self) -> ComponentType {
        (**self).component_type()
    }

    fn problems(&self) -> Vec<String> {
        (**self).problems()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<C: HealthCheck + ?Sized> HealthCheck for Box<C> {
    async fn check(&self) -> Result<Outcome, Failure> {
        (**self).check().await
    }

    fn component_type(&self) -> ComponentType {
        (**self).component_type()
    }

    fn problems(&self) -> Vec<String> {
        (**self).problems()
    }
}
