//! `application/health+json`.
//!
//! Source: [draft-inadarei-api-health-check-06](https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06).

use std::{borrow::Cow, fmt, iter};

use serde::{Serialize, Serializer};

use super::{Page, Subject, in_json, observed};
use crate::{
    endpoint::Exposure,
    engine::Service,
    model::{
        Cause, CheckReport, ComponentType, Name, Status, Timestamp, Value, Verdict, VerdictReason,
        to_millis,
    },
};

pub(super) fn body(page: &Page<'_>, exposure: Exposure) -> String {
    let status = page.status;
    if exposure == Exposure::Status {
        return in_json(&Document::bare(status), status.as_str());
    }
    let conspicuous = || {
        page.checks
            .iter()
            .filter(|check| check.status != Status::Pass)
    };
    let output = match page.subject {
        Subject::Check => page
            .checks
            .first()
            .and_then(CheckReport::why)
            .map(Output::Check),
        Subject::Verdict(_, reason) => reason.map(|reason| Output::Verdict {
            reason,
            cause: page.cause.filter(|_| exposure == Exposure::Full),
            checks: conspicuous().take(Verdict::MAX_CHECKS).collect(),
            more: page.more + conspicuous().count().saturating_sub(Verdict::MAX_CHECKS),
        }),
    };
    let document = Document {
        output,
        notes: notes(page),
        since: page.since.filter(|_| status != Status::Pass).map(Timestamp),
        checks: Checks {
            reports: page.checks,
            exposure,
        },
        ..Document::of(page.service, status)
    };
    in_json(&document, status.as_str())
}

/// What else is to be known of the list of checks.
fn notes(page: &Page<'_>) -> Vec<String> {
    let left_out = &page.left_out;
    let more = (page.more > 0).then(|| format!("{} more checks do not pass", page.more));
    let excluded = (!left_out.names.is_empty())
        .then(|| format!("left out of this answer: {}", names(left_out.names)));
    let unknown = match (left_out.unknown.is_empty(), left_out.more_unknown) {
        (true, 0) => None,
        (true, more) => Some(format!("cannot be left out: {more} that are no checks")),
        (false, 0) => Some(format!("cannot be left out: {}", names(left_out.unknown))),
        (false, more) => Some(format!(
            "cannot be left out: {} and {more} more",
            names(left_out.unknown)
        )),
    };
    [more, excluded, unknown].into_iter().flatten().collect()
}

fn names(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
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
    /// Additional to the draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
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
            since: None,
            checks: Checks::NONE,
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
    Check(Cow<'a, str>),
    Verdict {
        reason: VerdictReason,
        cause: Option<&'a Cause>,
        checks: Vec<&'a CheckReport>,
        more: usize,
    },
}

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(why) => f.write_str(why),
            // That some checks do not pass is said by naming them.
            Self::Verdict {
                reason: VerdictReason::Checks,
                checks,
                more,
                ..
            } => list(f, "", checks, *more),
            // Every check reads the same then.
            Self::Verdict {
                reason: reason @ VerdictReason::EngineStopped,
                ..
            } => reason.fmt(f),
            Self::Verdict {
                reason,
                cause,
                checks,
                more,
            } => {
                reason.fmt(f)?;
                if let Some(cause) = cause {
                    write!(f, " ({})", cause.redacted())?;
                }
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
        if let Some(why) = check.why() {
            write!(f, " {why}")?;
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

struct Checks<'a> {
    reports: &'a [CheckReport],
    exposure: Exposure,
}

impl Checks<'_> {
    const NONE: Self = Self {
        reports: &[],
        exposure: Exposure::Status,
    };

    fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }
}

impl Serialize for Checks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reports = self.reports.iter();
        if self.exposure < Exposure::Full {
            return serializer.collect_map(reports.flat_map(|check| {
                let last = (key(check, RESPONSE_TIME), [Detail::of(check, false)]);
                let smoothed = Detail::smoothed(check).map(|detail| [detail]);
                iter::once(last).chain(smoothed.map(|detail| (key(check, SMOOTHED), detail)))
            }));
        }
        serializer.collect_map(reports.flat_map(|check| {
            let mut measured = vec![(RESPONSE_TIME, vec![Detail::of(check, true)])];
            measured.extend(Detail::smoothed(check).map(|detail| (SMOOTHED, vec![detail])));
            for measurement in check.measurements.iter() {
                let name = &*measurement.name;
                let detail = Detail {
                    observed_value: observed(&measurement.value),
                    observed_unit: Some(&*measurement.unit).filter(|unit| !unit.is_empty()),
                    ..Detail::bare(check)
                };
                // A key is told once, with all that was measured under it.
                match measured.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, details)) => details.push(detail),
                    None => measured.push((name, vec![detail])),
                }
            }
            let keyed = |(name, details)| (key(check, name), details);
            measured.into_iter().map(keyed)
        }))
    }
}

fn key(check: &CheckReport, measured: &str) -> String {
    [&*check.name, ":", measured].concat()
}

/// What is measured of every run.
const RESPONSE_TIME: &str = "responseTime";

/// And of those that may be too slow.
const SMOOTHED: &str = "smoothedResponseTime";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    component_id: &'a str,
    component_type: ComponentType,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'a str>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Cow<'a, str>>,
    /// Additional to the draft: since when it does not pass, when it was last good, and how many runs failed in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consecutive_failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Links<'a>>,
}

/// The registered relation for what helps a reader.
#[derive(Serialize)]
struct Links<'a> {
    help: &'a str,
}

impl<'a> Detail<'a> {
    /// What all measurements of a check have in common.
    fn bare(check: &'a CheckReport) -> Self {
        Self {
            component_id: &check.name,
            component_type: check.component_type,
            observed_value: None,
            observed_unit: None,
            status: check.status,
            time: check.last_run.as_ref().map(|run| Timestamp(run.time)),
            output: None,
            since: None,
            last_success: None,
            consecutive_failures: None,
            links: None,
        }
    }

    /// How long its runs take of late, if that can be too long.
    fn smoothed(check: &'a CheckReport) -> Option<Self> {
        check.slow_above?;
        Some(Self {
            observed_value: Some(to_millis(check.smoothed_duration?).into()),
            observed_unit: Some("ms"),
            ..Self::bare(check)
        })
    }

    /// How its last run went.
    fn of(check: &'a CheckReport, full: bool) -> Self {
        let run = check.last_run.as_ref();
        let ails = check.status != Status::Pass;
        let failures = Some(check.consecutive_failures);
        Self {
            since: ails.then_some(Timestamp(check.since)),
            last_success: check.last_success.filter(|_| ails).map(Timestamp),
            consecutive_failures: failures.filter(|&failures| ails && failures > 0),
            observed_value: run.map(|run| to_millis(run.duration).into()),
            observed_unit: run.map(|_| "ms"),
            output: match (check.why(), &check.cause) {
                (Some(why), Some(cause)) if full => {
                    Some(format!("{why}: {}", cause.redacted()).into())
                }
                (why, _) => why,
            },
            links: check
                .runbook
                .as_deref()
                .filter(|_| full)
                .map(|help| Links { help }),
            ..Self::bare(check)
        }
    }
}
