//! `application/health+json`.
//!
//! Source: [draft-inadarei-api-health-check-06](https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06).

use std::{fmt, time::Duration};

use http::{HeaderValue, StatusCode};
use serde::{Serialize, Serializer};

use crate::{
    endpoint::{Exposure, response::complete},
    engine::{Answer, Service},
    model::{
        CheckReport, ComponentType, Reason, Report, Status, Timestamp, Verdict, VerdictReason,
        to_millis,
    },
};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/health+json");

/// Every check.
pub(in crate::endpoint) fn report(
    service: &Service,
    report: &Report,
    retry_after: Option<Duration>,
) -> Answer {
    let conspicuous = || {
        report
            .checks
            .iter()
            .filter(|check| check.status != Status::Pass)
    };
    let more = conspicuous().count().saturating_sub(Verdict::MAX_CHECKS);
    let output = report.reason.map(|reason| Output::Verdict {
        reason,
        checks: conspicuous().take(Verdict::MAX_CHECKS).collect(),
        more,
    });
    answer(
        retry_after,
        &Document {
            output,
            checks: Checks(&report.checks),
            ..Document::of(service, report.status)
        },
    )
}

/// A verdict, and the checks that it lists.
pub(in crate::endpoint) fn verdict(
    service: &Service,
    verdict: &Verdict,
    exposure: Exposure,
) -> Answer {
    if exposure == Exposure::Status {
        return answer(verdict.retry_after, &Document::bare(verdict.status));
    }
    let output = verdict.reason.map(|reason| Output::Verdict {
        reason,
        checks: verdict.checks.iter().collect(),
        more: verdict.more,
    });
    let note = (verdict.more > 0).then(|| format!("{} more checks do not pass", verdict.more));
    answer(
        verdict.retry_after,
        &Document {
            output,
            notes: note.into_iter().collect(),
            checks: Checks(&verdict.checks),
            ..Document::of(service, verdict.status)
        },
    )
}

/// One check.
pub(in crate::endpoint) fn check(service: &Service, check: &CheckReport) -> Answer {
    answer(
        None,
        &Document {
            output: check.reason.map(Output::Check),
            checks: Checks(std::slice::from_ref(check)),
            ..Document::of(service, check.status)
        },
    )
}

fn answer(retry_after: Option<Duration>, document: &Document<'_>) -> Answer {
    // Strings, finite numbers and maps with string keys can always be written; should that ever fail, the
    // status still tells the truth.
    let body = serde_json::to_vec(document)
        .unwrap_or_else(|_| format!(r#"{{"status":"{}"}}"#, document.status).into_bytes());
    let code = match document.status.is_good() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    Answer {
        status: document.status,
        retry_after,
        response: complete(code, CONTENT_TYPE, body.into()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Output<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Checks::is_empty")]
    checks: Checks<'a>,
}

impl<'a> Document<'a> {
    fn bare(status: Status) -> Self {
        Self {
            status,
            service_id: None,
            description: None,
            version: None,
            release_id: None,
            output: None,
            notes: Vec::new(),
            checks: Checks(&[]),
        }
    }

    fn of(service: &'a Service, status: Status) -> Self {
        Self {
            service_id: Some(&service.name),
            description: service.description.as_deref(),
            version: service.version.as_deref(),
            release_id: service.release.as_deref(),
            ..Self::bare(status)
        }
    }
}

/// Why the status is not a pass, in one line.
enum Output<'a> {
    Check(Reason),
    Verdict {
        reason: VerdictReason,
        checks: Vec<&'a CheckReport>,
        more: usize,
    },
}

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(reason) => reason.fmt(f),
            // That some checks do not pass is said by naming them.
            Self::Verdict {
                reason: VerdictReason::Checks,
                checks,
                more,
            } => list(f, "", checks, *more),
            // Every check reads the same then.
            Self::Verdict {
                reason: reason @ VerdictReason::EngineStopped,
                ..
            } => reason.fmt(f),
            Self::Verdict {
                reason,
                checks,
                more,
            } => {
                reason.fmt(f)?;
                list(f, ": ", checks, *more)
            }
        }
    }
}

/// The checks, each with its reason, behind `first`.
fn list(
    f: &mut fmt::Formatter<'_>,
    first: &str,
    checks: &[&CheckReport],
    more: usize,
) -> fmt::Result {
    let mut separator = first;
    for check in checks {
        write!(f, "{separator}{}", check.name)?;
        if let Some(reason) = check.reason {
            write!(f, " {reason}")?;
        }
        separator = ", ";
    }
    match more {
        0 => Ok(()),
        more => write!(f, "{separator}{more} more"),
    }
}

impl Serialize for Output<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Checks<'a>(&'a [CheckReport]);

impl Checks<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Checks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|check| {
            let key = format!("{}:responseTime", check.name);
            (key, [Detail::of(check)])
        }))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    component_id: &'a str,
    component_type: ComponentType,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'static str>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'static str>,
}

impl<'a> Detail<'a> {
    fn of(check: &'a CheckReport) -> Self {
        let run = check.last_run.as_ref();
        Self {
            component_id: &check.name,
            component_type: check.component_type,
            observed_value: run.map(|run| to_millis(run.duration)),
            observed_unit: run.map(|_| "ms"),
            status: check.status,
            time: run.map(|run| Timestamp(run.time)),
            output: check.reason.map(|reason| reason.as_str()),
        }
    }
}
