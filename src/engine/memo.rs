//! Finished answers, kept for as long as what they tell does not change.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;

use crate::model::Status;

/// An answer in each of its forms, made by the first reader that asks for it.
#[derive(Debug, Default)]
pub(crate) struct Memo([OnceLock<Answer>; Memo::FORMS]);

/// A body with the verdict that it tells.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Memo {
    /// How many forms of an answer can be kept. What the forms are is for readers to say.
    pub(crate) const FORMS: usize = 2;

    /// The answer in the form `form`, which `make` makes if nobody has yet.
    pub(crate) fn get_or_make(&self, form: usize, make: impl FnOnce() -> Answer) -> Answer {
        match self.0.get(form) {
            Some(slot) => slot.get_or_init(make).clone(),
            None => make(),
        }
    }
}
