//! The message of an error that has several causes, such as an invalid configuration.

use std::fmt;

/// Writes what failed, and every problem that caused it. A single problem is on the same line, as
/// in `invalid endpoints: …`. Several are a list with one line for each, so that all of them can be
/// corrected at once. Every error that contains problems uses this for its `Display`.
pub(crate) fn write_problems(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    problems: &[impl fmt::Display],
) -> fmt::Result {
    match problems {
        [only] => write!(f, "{what}: {only}"),
        all => {
            write!(f, "{what}, for {} reasons:", all.len())?;
            all.iter()
                .try_for_each(|problem| write!(f, "\n  - {problem}"))
        }
    }
}
