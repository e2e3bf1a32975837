//! Counts the allocations of every call.

mod counts;
mod goals;
mod questions;

use counts::{Table, calls};
use goals::Goals;
use questions::ALL;

fn main() {
    let mut counted = Table::new("allocations a call");
    for question in ALL {
        for subject in question.subjects {
            let mut call = (subject.set_up)();
            for _ in 0..3 {
                call();
            }
            let counts =
                allocation_counter::measure(|| (0..calls(question.name)).for_each(|_| call()));
            let each = counts.count_total as f64 / f64::from(calls(question.name));
            counted.add(question.name, subject.name, each);
        }
    }

    let mut goals = Goals::default();
    let passes = |name| counted.get("pass-through", name);
    goals.at_most(
        "a request that is not a probe: overhead over an identity layer",
        passes("probes layer") - passes("identity layer"),
        0.0,
    );
    goals.at_most(
        "/ready: more than for the map of its headers",
        counted.get("ready", "service of its own, 10 checks") - header_map(),
        0.0,
    );
    goals.conclude();
}

/// Returns the number of allocations of a clone of a map with four headers.
fn header_map() -> f64 {
    use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
    let names = [
        CONTENT_TYPE,
        CONTENT_LENGTH,
        CACHE_CONTROL,
        X_CONTENT_TYPE_OPTIONS,
    ];
    let value = http::HeaderValue::from_static("value");
    let map: http::HeaderMap = names
        .into_iter()
        .map(|name| (name, value.clone()))
        .collect();
    allocation_counter::measure(|| drop(map.clone())).count_total as f64
}
