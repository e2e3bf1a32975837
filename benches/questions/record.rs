//! What does a run cost whose result changes a verdict, and does the number of other checks matter?

use tower_health::Probe;

use super::{
    Question, Subject,
    stack::{health, name},
};

pub(crate) const QUESTION: Question = Question {
    name: "record",
    subjects: SUBJECTS,
};

const SUBJECTS: &[Subject] = &[
    Subject {
        name: "among 100",
        set_up: || record(100),
    },
    Subject {
        name: "among 1,000",
        set_up: || record(1_000),
    },
    Subject {
        name: "among 10,000",
        set_up: || record(10_000),
    },
];

/// A complete run: it is requested, started, recorded and published, and subscribers are notified.
fn record(checks: usize) -> Box<dyn FnMut()> {
    let (runtime, health) = health(checks);
    let name = name(checks / 2);
    let mut status = health.verdict(Probe::Readiness).status;
    Box::new(move || {
        let report = runtime.block_on(health.run_now(&name));
        let now = health.verdict(Probe::Readiness).status;
        assert_eq!(report.expect("a run").status, now);
        assert_ne!(std::mem::replace(&mut status, now), now);
    })
}
