//! The JSON of MicroProfile Health.
//!
//! Source: [MicroProfile Health 4.0, appendix
//! B](https://download.eclipse.org/microprofile/microprofile-health-4.0/microprofile-health-spec-4.0.html).
//!
//! A check is a procedure of the probe that it is for. The specification allows no status besides
//! `UP` and `DOWN`, so a pending check is `DOWN`.

use serde::Serialize;

use super::{Details, Page, Subject, details, to_json};
use crate::endpoint::Exposure;

/// Returns each procedure of the probe, passing ones as well, and nothing else.
///
/// A procedure is `DOWN` only if it fails the probe. The status of the whole is their conjunction,
/// unless the reason is the instance itself. A warning is `UP`, because an orchestrator must not
/// act on it.
pub(super) fn body(page: &Page<'_>, exposure: Exposure) -> String {
    let checks = page.checks.iter().map(|check| Response {
        name: &check.name,
        status: up(match page.subject {
            Subject::Verdict(..) => !check.fails,
            Subject::Check => check.status.is_good(),
        }),
        data: details(check, page.as_of, exposure),
    });
    let status = up(page.status.is_good());
    let checks = checks.collect();
    to_json(&Document { status, checks }, status)
}

/// The document of the specification: a status and the procedures.
#[derive(Serialize)]
struct Document<'a> {
    status: &'static str,
    checks: Vec<Response<'a>>,
}

/// A procedure. Its data is what the dialect knows of a check, by the names that Actuator also
/// uses.
#[derive(Serialize)]
struct Response<'a> {
    name: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Details::is_empty")]
    data: Details,
}

/// Returns the status of the specification.
const fn up(good: bool) -> &'static str {
    if good { "UP" } else { "DOWN" }
}
