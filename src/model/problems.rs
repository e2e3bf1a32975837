use std::fmt;

/// Writes what failed, and every problem that caused it.
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
