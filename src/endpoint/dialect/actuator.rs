//! The JSON of Spring Boot's Actuator, version 3.
//!
//! Source: [Actuator API, `health`](https://docs.spring.io/spring-boot/api/rest/actuator/health.html).

use serde::Serialize;

use super::{Details, Form, Page, Subject, details, in_json};
use crate::{
    endpoint::Exposure,
    model::{CheckReport, Probe, Status, VerdictReason},
};

/// What is below the root, as Actuator itself groups it.
const GROUPS: [&str; 2] = ["liveness", "readiness"];

pub(super) fn body(page: &Page<'_>, form: Form) -> String {
    let exposure = form.exposure;
    let status = status(page);
    let component = |check: &CheckReport| Component {
        status: match page.subject {
            // Of an instance that leaves, the end of a worker is none of what liveness is about.
            Subject::Verdict(Probe::Liveness, _) if !check.fails => "UP",
            _ => component_status(check),
        },
        details: details(check, exposure),
    };
    let document = match page.subject {
        Subject::Check => Document {
            details: page
                .checks
                .first()
                .map(|check| details(check, exposure))
                .unwrap_or_default(),
            ..Document::bare(status)
        },
        Subject::Verdict(..) if exposure == Exposure::Status => Document::bare(status),
        Subject::Verdict(probe, _) => {
            let named = |check: &CheckReport| (check.name.to_string(), component(check));
            let components = page.checks.iter().map(named).collect();
            Document {
                components: Components(components),
                // They are paths below this one, where the endpoints are Actuator's.
                groups: match probe {
                    Probe::Health if !form.negotiated => &GROUPS,
                    _ => &[],
                },
                ..Document::bare(status)
            }
        }
    };
    in_json(&document, status)
}

/// The status of a page. Of what keeps it from serving, that it leaves is told rather than that something is down.
fn status(page: &Page<'_>) -> &'static str {
    match page.subject {
        _ if page.status.is_good() => "UP",
        Subject::Verdict(_, Some(VerdictReason::Draining | VerdictReason::Maintenance)) => {
            "OUT_OF_SERVICE"
        }
        // Nothing is known to be down.
        _ if page.unknown => "UNKNOWN",
        _ => "DOWN",
    }
}

fn component_status(check: &CheckReport) -> &'static str {
    match check.status {
        Status::Pass | Status::Warn => "UP",
        Status::Fail if check.is_pending() => "UNKNOWN",
        Status::Fail => "DOWN",
    }
}

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
    fn bare(status: &'static str) -> Self {
        Self {
            status,
            components: Components(Vec::new()),
            details: Details::default(),
            groups: &[],
        }
    }
}

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

#[derive(Serialize)]
struct Component {
    status: &'static str,
    #[serde(skip_serializing_if = "Details::is_empty")]
    details: Details,
}
