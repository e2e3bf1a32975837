//! The JSON of Spring Boot's Actuator, version 3.
//!
//! Source: [Actuator API,
//! `health`](https://docs.spring.io/spring-boot/api/rest/actuator/health.html).
//! A check is a component. A verdict is a composite of its components, and the root also names its
//! groups. `DOWN` and `OUT_OF_SERVICE` are 503 in Actuator as well. `UNKNOWN` is 200 in Actuator
//! and 503 here, because an instance that is starting is not ready.

use serde::Serialize;

use super::{Details, Form, Page, Subject, details, to_json};
use crate::{
    endpoint::Exposure,
    model::{CheckReport, Probe, Status, VerdictReason},
};

/// The groups below the root, with the names of Actuator.
const GROUPS: [&str; 2] = ["liveness", "readiness"];

/// Returns the document of a page. A verdict without exposure is its status alone.
pub(super) fn body(page: &Page<'_>, form: Form) -> String {
    let exposure = form.exposure;
    let status = status(page);
    let component = |check: &CheckReport| Component {
        status: match page.subject {
            // A check that does not fail liveness is up. An example is a worker that ended in a
            // drain.
            Subject::Verdict(Probe::Liveness, _) if !check.fails => "UP",
            _ => component_status(check),
        },
        details: details(check, page.as_of, exposure),
    };
    let document = match page.subject {
        Subject::Check => Document {
            details: page
                .checks
                .first()
                .map(|check| details(check, page.as_of, exposure))
                .unwrap_or_default(),
            ..Document::bare(status)
        },
        Subject::Verdict(..) if exposure == Exposure::Status => Document::bare(status),
        Subject::Verdict(probe, _) => {
            let named = |check: &CheckReport| (check.name.to_string(), component(check));
            let components = page.checks.iter().map(named).collect();
            Document {
                components: Components(components),
                // With the paths of Actuator, each group is a path below this one.
                groups: match probe {
                    Probe::Health if !form.negotiated => &GROUPS,
                    _ => &[],
                },
                ..Document::bare(status)
            }
        }
    };
    to_json(&document, status)
}

/// Returns the status of a page. A drain and a maintenance take precedence over a check that is
/// down.
fn status(page: &Page<'_>) -> &'static str {
    match page.subject {
        _ if page.status.is_good() => "UP",
        Subject::Verdict(_, Some(VerdictReason::Draining | VerdictReason::Maintenance)) => {
            "OUT_OF_SERVICE"
        }
        // Nothing is known to be down yet.
        _ if page.unknown => "UNKNOWN",
        _ => "DOWN",
    }
}

/// Returns the status of one component.
fn component_status(check: &CheckReport) -> &'static str {
    match check.status {
        Status::Pass | Status::Warn => "UP",
        Status::Fail if check.is_pending() => "UNKNOWN",
        Status::Fail => "DOWN",
    }
}

/// The document of a composite, or of a single component.
#[derive(Serialize)]
struct Document {
    status: &'static str,
    #[serde(skip_serializing_if = "Components::is_empty")]
    components: Components,
    #[serde(skip_serializing_if = "Details::is_empty")]
    details: Details,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'static [&'static str],
}

impl Document {
    /// Returns a document with a status and nothing else.
    fn bare(status: &'static str) -> Self {
        Self {
            status,
            components: Components(Vec::new()),
            details: Details::default(),
            groups: &[],
        }
    }
}

/// The components, in the order of the page. It serializes as a JSON object.
struct Components(Vec<(String, Component)>);

impl Components {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Components {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.iter().map(|(name, component)| (name, component));
        serializer.collect_map(pairs)
    }
}

/// A check within a composite.
#[derive(Serialize)]
struct Component {
    status: &'static str,
    #[serde(skip_serializing_if = "Details::is_empty")]
    details: Details,
}
