//! What does a list of all checks cost when it is rendered for each call?

use http::StatusCode;

use super::{
    Question, Subject,
    stack::{ask, get, health, name},
};

pub(crate) const QUESTION: Question = Question {
    name: "health",
    subjects: SUBJECTS,
};

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "10 checks",
        set_up: || list(10),
    },
    Subject {
        name: "1,000 checks",
        set_up: || list(1_000),
    },
    Subject {
        name: "10,000 checks",
        set_up: || list(10_000),
    },
];

/// Changes one check, and then lists all checks.
fn list(checks: usize) -> Box<dyn FnMut()> {
    let (runtime, health) = health(checks);
    let name = name(checks / 2);
    let mut service = health.service();
    let mut last = 0;
    Box::new(move || {
        runtime.block_on(health.run_now(&name)).expect("a run");
        let (response, length) = ask(&mut service, get("/health"));
        assert_eq!(response.status(), StatusCode::OK);
        assert_ne!(std::mem::replace(&mut last, length), length);
        assert!(length > 100 * checks);
    })
}
