//! The JSON of MicroProfile Health.
//!
//! Source: [MicroProfile Health 4.0, appendix B](https://download.eclipse.org/microprofile/microprofile-health-4.0/microprofile-health-spec-4.0.html).

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Page, details, in_json};
use crate::{
    endpoint::Exposure,
    model::{Status, VerdictReason},
};

/// A warning is up: it is not for an orchestrator to act on.
pub(super) fn body(page: &Page<'_>, exposure: Exposure) -> String {
    let listed = page.checks.iter().map(|check| Response {
        name: check.name.to_string(),
        status: up(check.status),
        data: details(check, exposure),
    });
    let own = page
        .reason()
        .filter(|&reason| reason != VerdictReason::Checks);
    // What fails for the service itself is told as if it were a check of it; a verdict alone is to have no reason.
    let own = own
        .filter(|_| exposure > Exposure::Status)
        .map(|reason| Response {
            name: page.service.name.to_string(),
            status: up(page.status),
            data: Map::from_iter([("reason".to_owned(), reason.as_str().into())]),
        });
    let rest = page.rest().map(|name| Response {
        name,
        status: up(page.status),
        data: Map::new(),
    });
    in_json(
        &Document {
            status: up(page.status),
            checks: own.into_iter().chain(listed).chain(rest).collect(),
        },
        up(page.status),
    )
}

#[derive(Serialize)]
struct Document {
    status: &'static str,
    checks: Vec<Response>,
}

#[derive(Serialize)]
struct Response {
    name: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    data: Map<String, Value>,
}

const fn up(status: Status) -> &'static str {
    match status.is_good() {
        true => "UP",
        false => "DOWN",
    }
}
