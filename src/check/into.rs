//! What [`Check`](super::Check) accepts as code, and what this code may return.
//!
//! The traits have messages of their own for a value that does not fit. They name the remedy, where
//! the compiler alone would list the bounds that are not met.

use std::{fmt, future::Future};

use async_trait::async_trait;

use super::HealthCheck;
use crate::model::{BoxError, Failure, Outcome, Status};

/// Conversion into the code of a check, as [`Check::new`](crate::Check::new) accepts it: a
/// [`HealthCheck`], or a function without arguments whose future returns the result of the run.
///
/// `M` distinguishes the two and is always inferred.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, HealthCheck, Status, outcome::IntoHealthCheck};
///
/// fn clock<C, M>(code: C) -> Check
/// where
///     C: IntoHealthCheck<M>,
///     C::Check: HealthCheck,
/// {
///     Check::new("clock", code)
/// }
///
/// let health = Health::builder("orders").check(clock(|| async { Status::Pass })).start()?;
/// assert_eq!(health.run_now("clock").await?.status, Status::Pass);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a health check",
    label = "neither a `HealthCheck` nor a function that returns a future",
    note = "`Check::new` takes a type that implements `HealthCheck`, an `Arc<dyn HealthCheck>`, or a \
            function or closure without arguments whose future returns a `Status`, an `Outcome` or a `Result`",
    note = "a closure that needs a value goes into `Check::with(name, value, |value| async move {{ … }})`",
    note = "if the type does implement `HealthCheck`, it does so for another version of tower-health: see `cargo tree --duplicates`"
)]
pub trait IntoHealthCheck<M> {
    /// The resulting check.
    type Check;

    /// Converts the value into a check.
    fn into_health_check(self) -> Self::Check;
}

/// Markers that distinguish the implementations of [`IntoHealthCheck`]. Without them the two would
/// overlap, because a type may implement both [`HealthCheck`] and `Fn`.
mod marker {
    use std::marker::PhantomData;

    /// Marks a type that implements [`HealthCheck`](super::HealthCheck).
    #[derive(Debug)]
    pub struct Type(());

    /// Marks a function that returns a future.
    #[derive(Debug)]
    pub struct Function<Fut>(PhantomData<Fut>);
}

impl<C: HealthCheck> IntoHealthCheck<marker::Type> for C {
    type Check = C;

    fn into_health_check(self) -> C {
        self
    }
}

impl<F, Fut> IntoHealthCheck<marker::Function<Fut>> for F
where
    F: Fn() -> Fut,
    Fut: Future,
{
    type Check = FnCheck<F>;

    fn into_health_check(self) -> FnCheck<F> {
        FnCheck(self)
    }
}

/// A check that calls a function.
pub struct FnCheck<F>(F);

impl<F> fmt::Debug for FnCheck<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FnCheck")
    }
}

#[async_trait]
impl<F, Fut> HealthCheck for FnCheck<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoOutcome,
{
    async fn check(&self) -> Result<Outcome, Failure> {
        Ok((self.0)().await.into_outcome())
    }
}

/// A check that calls a function with a clone of a value on each run.
pub(super) struct StateCheck<S, F> {
    pub(super) state: S,
    pub(super) function: F,
}

#[async_trait]
impl<S, F, Fut> HealthCheck for StateCheck<S, F>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoOutcome,
{
    async fn check(&self) -> Result<Outcome, Failure> {
        Ok((self.function)(self.state.clone()).await.into_outcome())
    }
}

/// Conversion into an [`Outcome`], for the values that the function of a check may return: a
/// [`Status`], an [`Outcome`], or a [`Result`] of `()` or of either, with any error (including a
/// [`Failure`]).
///
/// A bare `()` is not accepted, because `async { ledger.ping().await; }` discards the error and
/// would always pass.
///
/// ```
/// use std::io;
///
/// use tower_health::{Outcome, Reason, Status, outcome::IntoOutcome};
///
/// assert_eq!(Status::Pass.into_outcome(), Outcome::pass());
/// let refused: io::Result<()> = Err(io::ErrorKind::ConnectionRefused.into());
/// assert_eq!(refused.into_outcome().reason(), Some(Reason::ConnectionRefused));
/// ```
#[diagnostic::on_unimplemented(
    message = "a check must return its result, and `{Self}` does not",
    label = "must return a `Status`, an `Outcome` or a `Result`",
    note = "a bare `()` is not accepted, because a check that discards its result would always pass: \
            return the `Result` of the call, without a `;` after it"
)]
pub trait IntoOutcome {
    /// Converts the value into an outcome.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl IntoOutcome for Status {
    fn into_outcome(self) -> Outcome {
        self.into()
    }
}

impl<T: Success, E: Into<BoxError>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(success) => success.into_outcome(),
            Err(error) => Failure::of(error.into()).into(),
        }
    }
}

/// A value in the `Ok` of the [`Result`] that the function of a check returns: `()`, a [`Status`]
/// or an [`Outcome`].
///
/// ```
/// use tower_health::{Outcome, Status, outcome::Success};
///
/// assert_eq!(().into_outcome(), Outcome::pass());
/// assert_eq!(Status::Warn.into_outcome().status(), Status::Warn);
/// ```
#[diagnostic::on_unimplemented(
    message = "a check cannot return `Ok({Self})`",
    label = "must be `Ok` of `()`, a `Status` or an `Outcome`",
    note = "discard the value: `.map(|_| ())`, or evaluate it: `.map(|value| if … {{ Status::Pass }} else {{ Status::Warn }})`"
)]
pub trait Success {
    /// Converts the value into an outcome.
    fn into_outcome(self) -> Outcome;
}

impl Success for () {
    fn into_outcome(self) -> Outcome {
        Outcome::pass()
    }
}

impl Success for Status {
    fn into_outcome(self) -> Outcome {
        self.into()
    }
}

impl Success for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}
