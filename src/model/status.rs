//! The three statuses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of a check or a verdict: one of the three of the IETF health+json draft.
///
/// `Pass` and `Warn` are both *good*: the service works. Only `Fail` withholds traffic. The order
/// is from good to bad, so the worst of several is their maximum.
///
/// Source: [draft-inadarei-api-health-check-06, section
/// 3.1](https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06#section-3.1).
///
/// ```
/// use tower_health::Status;
///
/// let worst = [Status::Pass, Status::Warn].into_iter().max();
/// assert_eq!(worst, Some(Status::Warn));
/// assert!(Status::Warn.is_good());
/// ```
///
/// A function that has nothing to add to a status may return it as the result of a check. The
/// [reason](crate::Reason) is then `degraded` for a warning and `failed` for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the specification defines exactly three values"
)]
pub enum Status {
    /// Healthy.
    Pass,
    /// It works, but needs attention.
    Warn,
    /// It does not work.
    Fail,
}

impl Status {
    /// Whether this is [`Pass`](Self::Pass) or [`Warn`](Self::Warn). A prober receives 200 for
    /// these, and 503 for [`Fail`](Self::Fail).
    ///
    /// ```
    /// use tower_health::Status;
    ///
    /// let statuses = [Status::Pass, Status::Warn, Status::Fail];
    /// assert_eq!(statuses.map(Status::is_good), [true, true, false]);
    /// ```
    #[must_use]
    pub const fn is_good(self) -> bool {
        !matches!(self, Self::Fail)
    }

    /// Returns the serialized form: `pass`, `warn` or `fail`.
    ///
    /// ```
    /// use tower_health::Status;
    ///
    /// assert_eq!(Status::Warn.as_str(), "warn");
    /// assert_eq!(serde_json::from_str::<Status>(r#""warn""#).unwrap(), Status::Warn);
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
