//! The problem of two bounds that contradict each other. All checks with bounds report it in the
//! same words.

use std::fmt::Debug;

/// Returns the problem of a lower bound that is above its upper bound, for
/// [`HealthCheck::problems`](crate::HealthCheck::problems).
///
/// Returns `None` if the bounds are equal, or if one of them is not set. Name each bound after its
/// setter.
///
/// If higher values are worse, the lower bound is that of the warning. If lower values are worse,
/// the lower bound is that of the failure.
///
/// ```
/// use tower_health::checks::contradiction;
///
/// let problem = contradiction(("warn_above", Some(10)), ("fail_above", Some(5))).unwrap();
/// assert!(problem.starts_with("`warn_above` (10) is above `fail_above` (5)"));
/// assert_eq!(contradiction(("fail_below", Some(5)), ("warn_below", Some(10))), None);
/// assert_eq!(contradiction(("warn_above", None), ("fail_above", Some(5))), None);
/// ```
pub fn contradiction<T: PartialOrd + Debug>(
    (lower_name, lower): (&str, Option<T>),
    (upper_name, upper): (&str, Option<T>),
) -> Option<String> {
    let (lower, upper) = lower.zip(upper)?;
    (lower > upper).then(|| {
        format!(
            "`{lower_name}` ({lower:?}) is above `{upper_name}` ({upper:?}): the check would fail before it warns, so change \
             one of them"
        )
    })
}
