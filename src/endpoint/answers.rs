//! The rendered answers that readers share. Each published result has a memo of its own, so an
//! answer is rendered once per change and form, however many probes ask.

use std::sync::OnceLock;

use super::{answer::Answer, dialect::FORMS};
use crate::engine::Memo;

/// The answer in each form, rendered by the first reader of that form.
///
/// The index is [`Form::index`](super::dialect::Form::index).
struct Answers([OnceLock<Box<Answer>>; FORMS]);

/// Calls `f` with the answer in this form. The answer is rendered unless it is kept in `memo`.
///
/// `f` borrows the answer, so that a reader copies only the response that it sends. If two readers
/// need a form that is not rendered yet, one renders it, and the other waits for that.
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
