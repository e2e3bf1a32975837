/// The number of a check, in the order of registration. A number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub(super) u64);

impl Id {
    /// The number of a check that is registered before the start, by its position.
    pub(crate) fn at(position: usize) -> Self {
        Self(position as u64)
    }

    pub(crate) fn position(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}
