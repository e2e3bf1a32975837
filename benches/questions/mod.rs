//! The questions that the benches answer. Each question is a module, and has subjects that are
//! measured side by side.

pub(crate) mod health;
pub(crate) mod pass_through;
pub(crate) mod ready;
pub(crate) mod record;
mod stack;

pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) subjects: &'static [Subject],
}

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Sets the subject up. Each call of the returned closure runs it once and asserts the result.
    pub(crate) set_up: fn() -> Box<dyn FnMut()>,
}

pub(crate) const ALL: [&Question; 4] = [
    &pass_through::QUESTION,
    &ready::QUESTION,
    &record::QUESTION,
    &health::QUESTION,
];
