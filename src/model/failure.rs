use std::{error::Error, fmt};

use super::{Cause, Reason};

/// Any error that can cross threads.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a run failed: a public [`Reason`] and a private [`Cause`].
///
/// `?` makes one of any error. The reason is then what an [`io::Error`](std::io::Error) among the error's
/// sources tells ([`Reason::of`]), the cause is the error's text. To say more, name the reason:
///
/// ```
/// use tower_health::{Failure, Reason};
///
/// let failure = Failure::new(Reason::AuthenticationFailed).with_cause("role \"app\" may not log in");
/// assert_eq!(failure.reason(), Reason::AuthenticationFailed);
/// ```
///
/// It is not an [`Error`] itself, as `?` could not take every error otherwise; it becomes a [`BoxError`]
/// by `into()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: Reason,
    cause: Option<Cause>,
}

impl Failure {
    /// A failure with a reason and no cause.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self {
            reason,
            cause: None,
        }
    }

    /// Says what stands behind it. The text is redacted: see [`Cause::new`]. Defaults to nothing.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(Cause::new(cause));
        self
    }

    /// The public side.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The private side.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    pub(super) fn into_parts(self) -> (Reason, Option<Cause>) {
        (self.reason, self.cause)
    }

    /// What a boxed error says, as `?` does it for one that is not boxed. A failure that was made a [`BoxError`] comes back as it was.
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

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            reason: Reason::of(&error),
            cause: Some(Cause::of(&error)),
        }
    }
}

impl From<Failure> for BoxError {
    fn from(failure: Failure) -> Self {
        Box::new(Boxed(failure))
    }
}

/// A [`Failure`] as an [`Error`]; it shows its reason and withholds its cause.
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
