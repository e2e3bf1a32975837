//! Rendered answers, which readers share.
//!
//! Each published state and verdict has a memo of its own, so an answer is rendered once for each
//! change and form, however many probers ask. The engine keeps and drops memos, and never looks
//! into one.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use http::Response;

use crate::model::Status;

/// An answer in each of its forms. Each form is rendered by its first reader. The forms of most
/// checks are never read, so nothing is allocated before.
#[derive(Debug, Default)]
pub(crate) struct Memo(OnceLock<Box<[Slot; Memo::FORMS]>>);

type Slot = OnceLock<Box<Answer>>;

/// A rendered response, and the status that it reports.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    /// After how long the status may change, if that is known.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) response: Response<Bytes>,
}

impl Memo {
    /// The number of forms. The dialects define them.
    pub(crate) const FORMS: usize = 144;

    /// Calls `f` with the answer in this form. Calls `render` first if it is not kept yet.
    ///
    /// `f` borrows the answer, so that a reader copies only the response that it sends. If two
    /// readers need a form that is not rendered yet, one renders it, and the other waits for that.
    pub(crate) fn with<T>(
        &self,
        form: usize,
        render: impl FnOnce() -> Answer,
        f: impl FnOnce(&Answer) -> T,
    ) -> T {
        let forms = self
            .0
            .get_or_init(|| Box::new([const { Slot::new() }; Self::FORMS]));
        match forms.get(form) {
            Some(answer) => f(answer.get_or_init(|| Box::new(render()))),
            None => f(&render()),
        }
    }
}
