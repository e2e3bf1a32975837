//! Any `Accept` headers receive a response, in one of the known dialects.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tower_health::{Health, Status, endpoint::ProbeService};

#[path = "../at_once.rs"]
mod at_once;

static PROBES: LazyLock<ProbeService> = LazyLock::new(|| Health::fixed(Status::Warn).service());

fuzz_target!(|accept: Vec<&[u8]>| {
    let headers = accept.iter().map(|value| ("accept", *value));
    let answer = PROBES.respond("GET", "/health", None, headers);
    let answer = at_once::at_once(answer.expect("a probe"));
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["vary"], "Accept");
    let content_type = answer.headers()["content-type"].to_str().expect("text");
    assert!(matches!(
        content_type,
        "application/health+json"
            | "application/json"
            | "application/vnd.spring-boot.actuator.v3+json"
            | "text/plain; charset=utf-8"
    ));
    assert!(!answer.body().is_empty());
});
