//! For any query, the response repeats only the parts that can be the name of a check. The failing
//! check still fails, unless the query excludes it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tower_health::{Endpoints, Health, Status, endpoint::ProbeService};

#[path = "../at_once.rs"]
mod at_once;

static PROBES: LazyLock<ProbeService> = LazyLock::new(|| {
    let endpoints = Endpoints::kubernetes().build().expect("a preset is valid");
    Health::fixed(Status::Fail).service().endpoints(endpoints)
});

fuzz_target!(|query: &str| {
    let answer = PROBES.respond("GET", "/readyz", Some(query), []);
    let answer = at_once::at_once(answer.expect("a probe"));
    let body = std::str::from_utf8(answer.body()).expect("text");
    let left_out = body == "ok" || body.contains("[+]fixed excluded: ok\n");
    assert_eq!(answer.status(), if left_out { 200 } else { 503 });
    assert!(!left_out || query.contains("exclude") || query.contains('%'));
    let is_told = |c: char| c == '\n' || c.is_ascii_graphic() || c == ' ';
    assert!(body.chars().all(is_told), "{body}");
    assert!(!body.contains('<'), "{body}");
});
