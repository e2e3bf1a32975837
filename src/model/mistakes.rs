use std::fmt;

/// Tells what cannot be done, and every mistake that keeps it from being done.
pub(crate) fn write_mistakes(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    mistakes: &[impl fmt::Display],
) -> fmt::Result {
    match mistakes {
        [only] => write!(f, "{what}: {only}"),
        all => {
            write!(f, "{what}, for {} reasons:", all.len())?;
            all.iter()
                .try_for_each(|mistake| write!(f, "\n  - {mistake}"))
        }
    }
}
