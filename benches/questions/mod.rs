//! What is asked of the crate. Each question is a module, and has subjects that are measured side by side.

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
    /// Sets it up. What is returned does it once more, and asserts what came of it.
    pub(crate) set_up: fn() -> Box<dyn FnMut()>,
}

pub(crate) const ALL: [&Question; 4] = [
    &pass_through::QUESTION,
    &ready::QUESTION,
    &record::QUESTION,
    &health::QUESTION,
];
