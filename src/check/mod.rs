//! Checks: their code ([`HealthCheck`]), and their name and policy ([`Check`]).
//!
//! This module does not depend on the transports of probes or on the formats of responses. It also
//! does not run anything: the engine runs the code, within `guard`, and applies the [`Policy`].

mod defaults;
mod foreign;
mod guard;
mod into;
mod policy;
mod registered;

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{ComponentType, Failure, Outcome};
pub use defaults::CheckDefaults;
pub(crate) use defaults::naming_defaults;
pub(crate) use foreign::{Foreign, no_thread};
pub(crate) use guard::{guard, install as guard_panics, panicked};
pub use into::{IntoHealthCheck, IntoOutcome, Success};
pub(crate) use policy::{AffectedProbe, Policy, duration_problem};
pub use registered::Check;
pub(crate) use registered::Code;

/// The code of a check: it tests one dependency of the service.
///
/// The engine calls [`check`](Self::check) on its schedule, one run at a time. A prober never calls
/// it. Each run has a time limit. When that is over, the future is dropped, so a run must be
/// cancel-safe: it must release what it holds when it is dropped.
///
/// Code that blocks its thread occupies one worker of the runtime that it shares with the service,
/// for as long as it blocks, as it would in a handler. Readers on other threads still receive
/// correct answers. Use [`Check::blocking`] for such code.
///
/// A panic is a failing outcome, unless panics abort the process (`panic = "abort"`).
///
/// An implementation needs the attribute [`async_trait`](crate::async_trait), which makes the trait
/// usable as `dyn`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{
///     Check, ComponentType, Failure, Health, HealthCheck, Outcome, Reason, Status, async_trait,
/// };
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
///         let outcome = if backlog > 1_000 { Outcome::warn(Reason::LimitNear) } else { Outcome::pass() };
///         Ok(outcome.measure("backlog", backlog, "entries"))
///     }
///
///     fn component_type(&self) -> ComponentType {
///         ComponentType::Datastore
///     }
/// }
///
/// let health = Health::builder("orders").check(Check::new("ledger", Ledger {})).start()?;
/// let report = health.run_now("ledger").await?;
/// assert_eq!(report.status, Status::Pass);
/// assert_eq!(report.component_type, ComponentType::Datastore);
/// assert_eq!(report.measurements[0].name, "backlog");
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a health check",
    note = "implement `HealthCheck` for it, or give `Check::new` an async function or a closure"
)]
#[async_trait]
pub trait HealthCheck: Send + Sync + 'static {
    /// Runs the check once. A warning is an `Ok` with an outcome that warns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tower_health::{Failure, HealthCheck, Outcome, Reason, async_trait};
    ///
    /// struct Pool { in_use: u32, size: u32 }
    ///
    /// #[async_trait]
    /// impl HealthCheck for Pool {
    ///     async fn check(&self) -> Result<Outcome, Failure> {
    ///         if self.size == 0 {
    ///             return Err(Failure::new(Reason::Misconfigured));
    ///         }
    ///         let is_busy = self.in_use == self.size;
    ///         Ok(if is_busy { Outcome::warn(Reason::Busy) } else { Outcome::pass() })
    ///     }
    /// }
    ///
    /// let outcome = Pool { in_use: 8, size: 8 }.check().await;
    /// assert_eq!(outcome, Ok(Outcome::warn(Reason::Busy)));
    /// assert!(Pool { in_use: 0, size: 0 }.check().await.is_err());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A [`Failure`] is a failing outcome. `?` converts any error into one.
    async fn check(&self) -> Result<Outcome, Failure>;

    /// Returns the kind of component that is checked. This is called once, when the [`Check`] is
    /// created. [`Check::component_type`] overrides it. Defaults to [`ComponentType::Component`].
    fn component_type(&self) -> ComponentType {
        ComponentType::default()
    }

    /// Returns the problems in the check's own settings, such as bounds that contradict each other.
    /// Each problem is a sentence that includes its remedy. This is called once, when the check is
    /// registered, and must not block.
    ///
    /// [`HealthBuilder::start`](crate::HealthBuilder::start), [`Health::add`](crate::Health::add)
    /// and [`Health::replace`](crate::Health::replace) reject a check that has problems. Defaults
    /// to none.
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
