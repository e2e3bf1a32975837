use std::fmt::Debug;

/// Returns the problem of two bounds of which the lower one is above the upper one, for
/// [`HealthCheck::problems`](crate::HealthCheck::problems). Each bound has the name of its setter. A bound that is not set, or that
/// equals the other, is no problem.
///
/// Where more is worse, the lower bound is that of the warning; where less is worse, that of the failure.
///
/// ```
/// use tower_health::checks::contradiction;
///
/// let problem = contradiction(("warn_above", Some(10)), ("fail_above", Some(5)));
/// assert_eq!(
///     problem.unwrap(),
///     "`warn_above` (10) is above `fail_above` (5): the check would fail before it warns, so change one of them"
/// );
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
