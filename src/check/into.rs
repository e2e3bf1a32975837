use std::{fmt, future::Future};

use async_trait::async_trait;

use super::HealthCheck;
use crate::model::{BoxError, Failure, Outcome, Status};

/// What [`Check::new`](crate::Check::new) takes: a [`HealthCheck`], or a function without arguments whose
/// future says how it went.
///
/// `M` tells the two apart and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a health check",
    label = "neither a `HealthCheck` nor a function that returns a future",
    note = "`Check::new` takes a type that implements `HealthCheck`, an `Arc<dyn HealthCheck>`, or a \
            function or closure without arguments whose future returns a `Status`, an `Outcome` or a `Result`",
    note = "a closure that needs a value goes into `Check::with(name, value, |value| async move {{ … }})`",
    note = "if the type does implement `HealthCheck`, it does so for another version of tower-health: see `cargo tree --duplicates`"
)]
pub trait IntoHealthCheck<M> {
    /// The check that comes of it.
    type Check;

    /// Makes it a check.
    fn into_health_check(self) -> Self::Check;
}

/// Tells the implementations of [`IntoHealthCheck`] apart.
mod marker {
    use std::marker::PhantomData;

    #[derive(Debug)]
    pub struct Type(());

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

/// A function as a check.
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

/// A function with the value that it is given a clone of on every run.
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

/// What the function of a check may return: a [`Status`], an [`Outcome`], or a [`Result`] of `()` or of
/// either, with any error (a [`Failure`] too).
///
/// A bare `()` is refused: `async { ledger.ping().await; }` drops the error and would be green for ever.
#[diagnostic::on_unimplemented(
    message = "a check must say how it went, and `{Self}` does not",
    label = "must return a `Status`, an `Outcome` or a `Result`",
    note = "a bare `()` is refused, for a check that drops its result would be green for ever: \
            return the `Result` of the call, without a `;` behind it"
)]
pub trait IntoOutcome {
    /// Makes it an outcome.
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

/// What may stand in the `Ok` of the [`Result`] that the function of a check returns: `()`, a [`Status`] or an
/// [`Outcome`].
#[diagnostic::on_unimplemented(
    message = "a check cannot return `Ok({Self})`",
    label = "must be `Ok` of `()`, a `Status` or an `Outcome`",
    note = "map the value away: `.map(|_| ())`, or judge it: `.map(|value| if … {{ Status::Pass }} else {{ Status::Warn }})`"
)]
pub trait Success {
    /// Makes it an outcome.
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
