//! `application/health+json`: JSON of the draft for health checks.
//!
//! Source:
//! [draft-inadarei-api-health-check-06](https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06).
//!
//! `pass` and `warn` are 200, and `fail` is 503, unless other codes are configured. The dialect
//! adds fields that the draft does not define to a check, and `since` and `asOf` to the document.

use std::{borrow::Cow, fmt, iter};

use serde::{Serialize, Serializer};

use super::{Page, Subject, observed, to_json};
use crate::{
    endpoint::Exposure,
    engine::Service,
    model::{
        Cause, CheckReport, CheckSettings, ComponentType, Criticality, Name, Status, Timestamp,
        Value, Verdict, VerdictReason, to_millis,
    },
};

/// Returns the document of a page. Without exposure it contains the status alone.
pub(super) fn body(page: &Page<'_>, exposure: Exposure) -> String {
    let status = page.status;
    if exposure == Exposure::Status {
        return to_json(&Document::bare(status), status.as_str());
    }
    let not_passing = || {
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
            checks: not_passing().take(Verdict::MAX_CHECKS).collect(),
            more: page.more + not_passing().count().saturating_sub(Verdict::MAX_CHECKS),
        }),
    };
    let document = Document {
        output,
        notes: notes(page),
        since: page.since.filter(|_| status != Status::Pass).map(Timestamp),
        as_of: page
            .as_of
            .filter(|_| !page.checks.is_empty())
            .map(Timestamp),
        checks: Checks {
            reports: page.checks,
            exposure,
        },
        ..Document::of(page.service, status)
    };
    to_json(&document, status.as_str())
}

/// Returns notes on the list of checks: omitted, excluded and unknown ones.
fn notes(page: &Page<'_>) -> Vec<String> {
    let excluded = &page.excluded;
    let more = (page.more > 0).then(|| format!("{} more checks do not pass", page.more));
    let known = (!excluded.names.is_empty())
        .then(|| format!("excluded from this response: {}", names(excluded.names)));
    let unknown = match (excluded.unknown.is_empty(), excluded.more_unknown) {
        (true, 0) => None,
        (true, more) => Some(format!("cannot be excluded: {more} that are not checks")),
        (false, 0) => Some(format!("cannot be excluded: {}", names(excluded.unknown))),
        (false, more) => Some(format!(
            "cannot be excluded: {} and {more} more",
            names(excluded.unknown)
        )),
    };
    [more, known, unknown].into_iter().flatten().collect()
}

/// Joins names with commas.
fn names(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    names.join(", ")
}

/// The document of a page. A field without a value is left out.
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
    /// Not in the draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// Not in the draft: until when runs are included. The document is rendered once for each
    /// change, and runs without one may have ended since.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    #[serde(skip_serializing_if = "Checks::is_empty")]
    checks: Checks<'a>,
}

impl<'a> Document<'a> {
    /// Returns a document with a status and nothing else.
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
            as_of: None,
            checks: Checks::NONE,
        }
    }

    /// Returns a document that also describes the service.
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
    /// Why a single check does not pass.
    Check(Cow<'a, str>),
    /// Why a verdict is not a pass. `checks` are the first that do not pass, and `more` is the
    /// number of the others.
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
            // The names of the checks say that checks do not pass.
            Self::Verdict {
                reason: VerdictReason::Checks,
                checks,
                more,
                ..
            } => list(f, "", checks, *more),
            // Every check has the same reason then.
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

/// Writes the checks, each with its reason, after `first`.
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

/// The checks of a page, as a JSON object. A check has one key for the duration of its last run,
/// and one for each further thing that is measured.
struct Checks<'a> {
    reports: &'a [CheckReport],
    exposure: Exposure,
}

impl Checks<'_> {
    /// No checks, for a document without exposure.
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
                // A key appears once, with all measurements of that name.
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

/// Returns a key of the draft: the component and what is measured, separated by a colon.
fn key(check: &CheckReport, measured: &str) -> String {
    [&*check.name, ":", measured].concat()
}

/// The name of the duration of the last run.
const RESPONSE_TIME: &str = "responseTime";

/// The name of the average duration, for checks with a slow threshold.
const SMOOTHED: &str = "smoothedResponseTime";

/// One value of a check. Only the value of the last run has an output, links and the fields that
/// are not in the draft.
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
    /// This and the rest but `links` are not in the draft. What a failure means for readiness.
    #[serde(skip_serializing_if = "Option::is_none")]
    criticality: Option<Criticality>,
    /// Whether the status changes often.
    #[serde(skip_serializing_if = "Option::is_none")]
    flapping: Option<bool>,
    /// Since when the check does not pass, when it was last good, and how many runs failed in a
    /// row.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consecutive_failures: Option<u32>,
    /// The settings that are in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a CheckSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Links<'a>>,
}

/// Links, with the registered relation `help`.
#[derive(Serialize)]
struct Links<'a> {
    help: &'a str,
}

impl<'a> Detail<'a> {
    /// Returns the parts that all details of a check have in common.
    fn bare(check: &'a CheckReport) -> Self {
        Self {
            component_id: &check.name,
            component_type: check.component_type,
            observed_value: None,
            observed_unit: None,
            status: check.status,
            time: check.last_run.as_ref().map(|run| Timestamp(run.time)),
            output: None,
            criticality: None,
            flapping: None,
            since: None,
            last_success: None,
            consecutive_failures: None,
            settings: None,
            links: None,
        }
    }

    /// Returns the average duration of recent runs, if the check has a slow threshold.
    fn smoothed(check: &'a CheckReport) -> Option<Self> {
        check.slow_above?;
        Some(Self {
            observed_value: Some(to_millis(check.smoothed_duration?).into()),
            observed_unit: Some("ms"),
            ..Self::bare(check)
        })
    }

    /// Returns the duration and the result of the last run.
    fn of(check: &'a CheckReport, full: bool) -> Self {
        let run = check.last_run.as_ref();
        let not_passing = check.status != Status::Pass;
        let failures = Some(check.consecutive_failures);
        Self {
            criticality: Some(check.criticality),
            flapping: check.flapping.then_some(true),
            settings: full.then_some(&check.settings),
            since: not_passing.then_some(Timestamp(check.since)),
            last_success: check.last_success.filter(|_| not_passing).map(Timestamp),
            consecutive_failures: failures.filter(|&failures| not_passing && failures > 0),
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
