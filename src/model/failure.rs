//! The error of a run, and its conversions from and into other errors.

use std::{error::Error, fmt};

use super::{Cause, Reason};

/// Any error that can cross threads.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a run failed: a public [`Reason`] and a private [`Cause`].
///
/// `?` converts any error into a failure. Its reason is derived from an
/// [`io::Error`](std::io::Error) among the error and its sources ([`Reason::of`]). Its cause is the
/// text of the error. Set the reason explicitly to be more specific:
///
/// ```
/// use tower_health::{Failure, Reason};
///
/// let failure =
///     Failure::new(Reason::AuthenticationFailed).with_cause("role \"app\" may not log in");
/// assert_eq!(failure.reason(), Reason::AuthenticationFailed);
/// ```
///
/// It does not implement [`Error`], because `?` could not convert every error otherwise. `into()`
/// converts it into a [`BoxError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: Reason,
    cause: Option<Cause>,
}

impl Failure {
    /// Creates a failure with a reason and without a cause.
    ///
    /// ```
    /// use tower_health::{Failure, Reason};
    ///
    /// let failure = Failure::new(Reason::Busy);
    /// assert_eq!(failure.reason(), Reason::Busy);
    /// assert!(failure.cause().is_none());
    /// ```
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            cause: None,
        }
    }

    /// Sets the private cause. The text is redacted: see [`Cause::new`]. Defaults to none.
    ///
    /// ```
    /// use tower_health::{Failure, Reason};
    ///
    /// let failure =
    ///     Failure::new(Reason::Unreachable).with_cause("amqp://app:hunter2@broker: no route");
    /// assert_eq!(failure.cause().unwrap().redacted(), "amqp://***@broker: no route");
    /// assert!(!format!("{failure:?}").contains("broker"), "the cause is private");
    /// ```
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(Cause::new(cause));
        self
    }

    /// Returns the public reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the private cause, if there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Returns the reason and the cause, for the conversion into an [`Outcome`](super::Outcome).
    pub(super) fn into_parts(self) -> (Reason, Option<Cause>) {
        (self.reason, self.cause)
    }

    /// Converts a boxed error, as `?` does for one that is not boxed. A failure that was converted
    /// into a [`BoxError`] is returned unchanged.
    ///
    /// ```
    /// use tower_health::{BoxError, Failure, Reason};
    ///
    /// let error: BoxError = Failure::new(Reason::Busy).into();
    /// assert_eq!(Failure::of(error).reason(), Reason::Busy);
    /// let error: BoxError = std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into();
    /// assert_eq!(Failure::of(error).reason(), Reason::ConnectionRefused);
    /// ```
    #[must_use]
    pub fn of(error: BoxError) -> Self {
        match error.downcast::<Boxed>() {
            Ok(boxed) => boxed.0,
            Err(error) => Self {
                reason: Reason::of(error.as_ref()),
                cause: Some(Cause::of(error.as_ref())),
            },
        }
    }
}

/// Converts any error, so that `?` works in the code of a check. The reason is derived from the
/// error and its sources, and the cause is their text.
///
/// ```
/// use std::fs;
///
/// use tower_health::{Failure, Outcome, Reason};
///
/// fn read_token() -> Result<Outcome, Failure> {
///     fs::read("/nowhere/token")?;
///     Ok(Outcome::pass())
/// }
///
/// let failure = read_token().unwrap_err();
/// assert_eq!(failure.reason(), Reason::NotFound);
/// assert!(failure.cause().is_some());
/// ```
impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            reason: Reason::of(&error),
            cause: Some(Cause::of(&error)),
        }
    }
}

/// Boxes a failure, for a function that returns a [`BoxError`]. The message of the error is the
/// text of the reason. [`Failure::of`] returns the failure again.
///
/// ```
/// use tower_health::{BoxError, Failure, Reason};
///
/// let failure = Failure::new(Reason::TimedOut).with_cause("db.internal did not answer");
/// let error = BoxError::from(failure.clone());
/// assert_eq!(error.to_string(), "timed out");
/// assert_eq!(Failure::of(error), failure);
/// ```
impl From<Failure> for BoxError {
    fn from(failure: Failure) -> Self {
        Box::new(Boxed(failure))
    }
}

/// A [`Failure`] as an [`Error`]. It shows its reason and withholds its cause.
#[derive(Debug)]
struct Boxed(Failure);

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.reason.fmt(f)
    }
}

impl Error for Boxed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_being_boxed() {
        let failure = Failure::new(Reason::Busy).with_cause("no slot");
        assert_eq!(Failure::of(failure.clone().into()), failure);
    }

    #[test]
    fn a_plain_text_is_a_cause() {
        let failure = Failure::of("no luck".into());
        assert_eq!(failure.reason(), Reason::Failed);
        assert_eq!(failure.cause().map(Cause::redacted), Some("no luck"));
    }
}
