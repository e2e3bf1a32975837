//! Counts the instructions of every call with callgrind. The counts are reproducible. Needs
//! valgrind: `apt-get install valgrind`.

mod counts;
mod goals;
mod questions;

use std::{env, hint::black_box, process::Command, sync::Mutex, thread};

use counts::{Table, calls};
use goals::Goals;
use questions::{ALL, Question, Subject};

fn main() {
    let args: Vec<String> = env::args().collect();
    if let [_, mode, question, subject] = args.as_slice()
        && mode == "call"
    {
        return call(question, subject);
    }

    let mut counted = Table::new("instructions a call");
    for (question, subject, figure) in count_all() {
        counted.add(question, subject, figure);
    }

    let mut goals = Goals::default();
    let passes = |name| counted.get("pass-through", name);
    goals.at_most(
        "a request that is not a probe: overhead over an identity layer",
        passes("probes layer") - passes("identity layer"),
        350.0,
    );
    let ready = |name| counted.get("ready", name);
    goals.at_most(
        "/ready, relative to an axum route with a static body and the same headers",
        ready("wrapped round a router, 10 checks") / ready("axum route, static body, same headers"),
        0.34,
    );
    goals.at_most(
        "/ready with 10,000 checks, relative to 1 check",
        ready("wrapped round a router, 10,000 checks") / ready("wrapped round a router, 1 check"),
        1.05,
    );
    let record = |name| counted.get("record", name);
    goals.at_most(
        "a result among 10,000 checks, relative to 100 checks",
        record("among 10,000") / record("among 100"),
        2.0,
    );
    let health = |name| counted.get("health", name);
    goals.at_most(
        "/health: a check among 10,000, relative to 1,000",
        health("10,000 checks") / health("1,000 checks") / 10.0,
        1.2,
    );
    goals.conclude();
}

/// Counts every subject, with one process for each processor at a time. The load of the machine
/// does not change a count.
fn count_all() -> Vec<(&'static str, &'static str, f64)> {
    let subjects = ALL.into_iter().flat_map(|question| {
        question
            .subjects
            .iter()
            .map(move |subject| (question, subject))
    });
    let left = Mutex::new(subjects.enumerate());
    let count_some = || {
        let mut counted = Vec::new();
        loop {
            let next = left.lock().expect("nobody panics with it").next();
            let Some((place, (question, subject))) = next else {
                return counted;
            };
            counted.push((place, question.name, subject.name, count(question, subject)));
        }
    };
    let mut counted: Vec<_> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(count_some)).collect();
        let counted = threads.into_iter().map(|thread| thread.join());
        counted.flat_map(|some| some.expect("counted")).collect()
    });
    counted.sort_by_key(|&(place, ..)| place);
    let counted = counted.into_iter();
    counted
        .map(|(_, question, subject, figure)| (question, subject, figure))
        .collect()
}

/// Counts the instructions of a call in a separate process.
fn count(question: &Question, subject: &Subject) -> f64 {
    let program = env::current_exe().expect("a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*instructions*calls_that_count*")
        .arg(program)
        .args(["call", question.name, subject.name])
        .output()
        .unwrap_or_else(|error| panic!("{error}: install valgrind: apt-get install valgrind"));
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .filter_map(|line| line.split_once("Collected : "))
        .find_map(|(_, count)| count.trim().parse::<f64>().ok());
    let collected = collected.filter(|_| output.status.success());
    let collected = collected.unwrap_or_else(|| panic!("{}: {said}", subject.name));
    collected / f64::from(calls(question.name))
}

fn call(question: &str, subject: &str) {
    let question = ALL.iter().find(|known| known.name == question);
    let question = question.expect("a question");
    let subject = question.subjects.iter().find(|known| known.name == subject);
    let mut call = (subject.expect("a subject").set_up)();
    for _ in 0..3 {
        call();
    }
    calls_that_count(&mut call, calls(question.name));
}

#[inline(never)]
fn calls_that_count(call: &mut dyn FnMut(), calls: u32) {
    for _ in 0..black_box(calls) {
        call();
    }
}
