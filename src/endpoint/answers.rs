use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use http::Response;

use super::dialect::FORMS;
use crate::{engine::Memo, model::Status};

/// A rendered response, and the status that it reports.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: Status,
    /// After how long the status may change, if that is known.
    pub(super) retry_after: Option<Duration>,
    pub(super) response: Response<Bytes>,
}

/// The answer in each form, rendered by the first reader of that form.
struct Answers([OnceLock<Box<Answer>>; FORMS]);

/// Calls `f` with the answer in this form. The answer is rendered unless it is kept in `memo`.
pub(super) fn with<T>(
    memo: &Memo,
    form: usize,
    render: impl FnOnce() -> Answer,
    f: impl FnOnce(&Answer) -> T,
) -> T {
    let answers = memo.get_or_init(|| Answers([const { OnceLock::new() }; FORMS]));
    match answers.and_then(|answers| answers.0.get(form)) {
        Some(answer) => f(answer.get_or_init(|| Box::new(render()))),
        None => f(&render()),
    }
}
