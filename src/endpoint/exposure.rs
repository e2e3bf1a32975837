use crate::engine::Memo;

/// How much of a report a caller may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exposure {
    /// The verdict alone. The paths of single checks answer 404, whether there is such a check or not.
    Status,
    /// Names, statuses, times, durations and public reasons. Never measurements, never causes.
    #[default]
    Checks,
}

impl Exposure {
    /// The place of answers of this exposure among the forms of an answer.
    pub(super) const fn form(self) -> usize {
        self as usize
    }
}

const _: () = assert!(
    Exposure::Checks.form() + 1 == Memo::FORMS,
    "there is room for an answer of each exposure"
);
