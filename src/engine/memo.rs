//! Finished answers, kept for as long as what they tell does not change.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use http::Response;

use crate::model::Status;

/// An answer in each of its forms, made by the first reader that asks for it. Of most checks nobody ever does.
#[derive(Debug, Default)]
pub(crate) struct Memo(OnceLock<Box<[Slot; Memo::FORMS]>>);

type Slot = OnceLock<Box<Answer>>;

/// A response, and the verdict that it tells.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) response: Response<Bytes>,
}

impl Memo {
    /// How many forms of an answer can be kept. What the forms are is for readers to say.
    pub(crate) const FORMS: usize = 144;

    /// What `give` makes of the answer in the form `form`, which `make` makes if nobody has yet.
    pub(crate) fn with<T>(
        &self,
        form: usize,
        make: impl FnOnce() -> Answer,
        give: impl FnOnce(&Answer) -> T,
    ) -> T {
        let forms = self
            .0
            .get_or_init(|| Box::new([const { Slot::new() }; Self::FORMS]));
        match forms.get(form) {
            Some(slot) => give(slot.get_or_init(|| Box::new(make()))),
            None => give(&make()),
        }
    }
}
