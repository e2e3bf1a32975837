//! For any configured paths and any requested path, only the configured paths are answered. They
//! match segment by segment.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_health::{Endpoints, Health, Probe, Status};

#[path = "../at_once.rs"]
mod at_once;

fuzz_target!(|paths: (&str, &str, &str)| {
    let (own, checks, asked) = paths;
    let health = Health::fixed(Status::Pass);
    let checks = format!("{checks}/{{check}}");
    let endpoints = Endpoints::none()
        .probe(own, Probe::Readiness)
        .checks(&checks);
    let Ok(endpoints) = endpoints.build() else {
        return;
    };
    let probes = health.service().endpoints(endpoints);
    let bare = |path: &str| path.strip_suffix('/').unwrap_or(path).to_owned();
    let is_own = asked.starts_with('/') && bare(asked) == bare(own);
    let parent = checks.trim_end_matches("/{check}");
    let is_check = bare(asked).strip_prefix(parent).is_some_and(|rest| {
        rest.strip_prefix('/')
            .is_some_and(|name| !name.is_empty() && !name.contains('/'))
    });
    let answer = probes.respond("GET", asked, None, []);
    assert_eq!(
        answer.is_some(),
        is_own || is_check,
        "{own:?} {checks:?} {asked:?}"
    );
    if let Some(answer) = answer {
        let code = at_once::at_once(answer).status().as_u16();
        assert!(matches!(code, 200 | 404));
    }
});
