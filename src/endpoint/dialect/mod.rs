//! The wire formats of a report, one file each.

mod actuator;
mod health_json;
mod kubernetes;
mod microprofile;

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, StatusCode};
use serde::{Serialize, Serializer};

use super::{Exposure, response::complete};
use crate::{
    check::Policy,
    engine::{Answer, Memo, Service},
    model::{
        Cause, CheckReport, Measurement, Name, Probe, Report, Status, Timestamp, Value, Verdict,
        VerdictReason, to_millis,
    },
};

/// A wire format, for [paths](crate::endpoint::EndpointsBuilder::dialect) whose answers are all in the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// `application/health+json`: [draft-inadarei-api-health-check-06].
    ///
    /// [draft-inadarei-api-health-check-06]: https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06
    HealthJson,
    /// The plain text of the [Kubernetes API server], with `?verbose` and `?exclude`.
    ///
    /// [Kubernetes API server]: https://kubernetes.io/docs/reference/using-api/health-checks/
    KubernetesText,
    /// The JSON of [MicroProfile Health 4.0].
    ///
    /// [MicroProfile Health 4.0]: https://download.eclipse.org/microprofile/microprofile-health-4.0/microprofile-health-spec-4.0.html
    MicroProfile,
    /// The JSON of [Spring Boot's Actuator], version 3.
    ///
    /// [Spring Boot's Actuator]: https://docs.spring.io/spring-boot/api/rest/actuator/health.html
    Actuator,
}

/// A body and its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    HealthJson,
    /// The same body, for clients that know no other JSON.
    Json,
    KubernetesText,
    MicroProfile,
    Actuator,
}

impl From<Dialect> for Format {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::HealthJson => Self::HealthJson,
            Dialect::KubernetesText => Self::KubernetesText,
            Dialect::MicroProfile => Self::MicroProfile,
            Dialect::Actuator => Self::Actuator,
        }
    }
}

impl Format {
    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::HealthJson => "application/health+json",
            Self::Json | Self::MicroProfile => "application/json",
            Self::KubernetesText => "text/plain; charset=utf-8",
            Self::Actuator => "application/vnd.spring-boot.actuator.v3+json",
        })
    }
}

/// How an answer is told: answers of the same form look the same until something changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) format: Format,
    pub(super) exposure: Exposure,
    /// Whether the format was negotiated.
    pub(super) negotiated: bool,
    /// Whether each check is listed where the format would not; nothing but Kubernetes text knows of that.
    pub(super) verbose: bool,
}

impl Form {
    /// The place of this form of an answer to `probe` among all forms of all answers.
    pub(super) const fn index(self, probe: Probe) -> usize {
        let kind = match self.verbose {
            true => VERBOSE,
            false => self.format as usize,
        };
        let kind = kind * Probe::ALL.len() + probe as usize;
        (kind * EXPOSURES + self.exposure as usize) * 2 + self.negotiated as usize
    }

    /// Whether a check is listed in an answer to `probe` that lists every one: procedures of MicroProfile are of one kind each.
    pub(super) fn lists(self, policy: &Policy, probe: Probe) -> bool {
        self.format != Format::MicroProfile || policy.is_for(probe)
    }

    /// Whether every check is listed in an answer to `probe` of this status, of so many checks, and not those alone that
    /// do not pass. To list all of many takes its time, so only who wants that waits for it.
    #[inline]
    pub(super) fn lists_all(
        self,
        probe: Probe,
        status: Status,
        checks: impl FnOnce() -> usize,
    ) -> bool {
        let wants_all = match (self.format, probe) {
            (Format::MicroProfile, _) => true,
            (_, Probe::Startup) => false,
            (Format::KubernetesText, _) => {
                self.verbose || (!status.is_good() && checks() <= Verdict::MAX_CHECKS)
            }
            // The paths of Actuator are groups, of which each has its components.
            (Format::Actuator, probe) => probe == Probe::Health || !self.negotiated,
            (Format::HealthJson | Format::Json, probe) => probe == Probe::Health,
        };
        wants_all && self.exposure > Exposure::Status
    }
}

/// The kind of answer that is none of a format alone.
const VERBOSE: usize = Format::Actuator as usize + 1;

const EXPOSURES: usize = Exposure::Full as usize + 1;

const _: () = assert!(
    Memo::FORMS == (VERBOSE + 1) * Probe::ALL.len() * EXPOSURES * 2,
    "there is room for each form of an answer"
);

/// What an answer tells, before it is written in any format.
pub(super) struct Page<'a> {
    pub(super) subject: Subject,
    pub(super) service: &'a Service,
    pub(super) status: Status,
    /// What of the checks, or of the check, may be told.
    pub(super) checks: &'a [CheckReport],
    /// How many more checks there are that do not pass.
    pub(super) more: usize,
    pub(super) left_out: LeftOut<'a>,
    pub(super) retry_after: Option<Duration>,
    /// What stands behind the reason of a verdict.
    pub(super) cause: Option<&'a Cause>,
    /// Whether nothing is known yet that fails it.
    pub(super) unknown: bool,
    /// Since when the verdict is as it is; none of one that is told to nobody else, or of a check, which tells so itself.
    pub(super) since: Option<SystemTime>,
}

/// What is told of.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    Verdict(Probe, Option<VerdictReason>),
    Check,
}

/// What a caller did not want to count.
#[derive(Clone, Copy)]
pub(super) struct LeftOut<'a> {
    pub(super) names: &'a [Name],
    pub(super) unknown: &'a [Name],
    /// How many more are unknown: what could not even be a name is not repeated.
    pub(super) more_unknown: usize,
}

impl LeftOut<'static> {
    pub(super) const NOTHING: Self = Self {
        names: &[],
        unknown: &[],
        more_unknown: 0,
    };
}

impl Page<'_> {
    /// The answer in some form.
    pub(super) fn answer(&self, form: Form) -> Answer {
        let body = match form.format {
            Format::HealthJson | Format::Json => health_json::body(self, form.exposure),
            Format::KubernetesText => kubernetes::body(self, form),
            Format::MicroProfile => microprofile::body(self, form.exposure),
            Format::Actuator => actuator::body(self, form),
        };
        let body = body.into_bytes();
        let code = match self.status.is_good() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        Answer {
            status: self.status,
            retry_after: self.retry_after,
            response: complete(
                code,
                form.format.content_type(),
                form.negotiated,
                body.into(),
            ),
        }
    }

    /// Why the verdict is not a pass.
    fn reason(&self) -> Option<VerdictReason> {
        match self.subject {
            Subject::Verdict(_, reason) => reason,
            Subject::Check => None,
        }
    }
}

impl<'a> Page<'a> {
    /// A report with every check.
    pub(super) fn report(
        probe: Probe,
        service: &'a Service,
        report: &'a Report,
        retry_after: Option<Duration>,
        left_out: LeftOut<'a>,
    ) -> Self {
        Self {
            subject: Subject::Verdict(probe, report.reason),
            service,
            status: report.status,
            checks: &report.checks,
            more: 0,
            left_out,
            retry_after,
            cause: report.cause.as_ref(),
            unknown: report.unknown,
            since: left_out.names.is_empty().then_some(report.since),
        }
    }

    /// A verdict, and the checks that it lists, if any of them may be told.
    pub(super) fn verdict(
        service: &'a Service,
        verdict: &'a Verdict,
        exposure: Exposure,
        left_out: LeftOut<'a>,
    ) -> Self {
        let (checks, more) = match exposure {
            Exposure::Status => (&[][..], 0),
            _ => (&*verdict.checks, verdict.more),
        };
        Self {
            subject: Subject::Verdict(verdict.probe, verdict.reason),
            service,
            status: verdict.status,
            checks,
            more,
            left_out,
            retry_after: verdict.retry_after,
            cause: verdict.cause.as_ref(),
            unknown: verdict.unknown,
            since: left_out.names.is_empty().then_some(verdict.since),
        }
    }

    /// One check.
    pub(super) fn check(service: &'a Service, check: &'a CheckReport) -> Self {
        Self {
            subject: Subject::Check,
            service,
            status: check.status,
            checks: std::slice::from_ref(check),
            more: 0,
            left_out: LeftOut::NOTHING,
            retry_after: None,
            cause: None,
            unknown: check.is_pending(),
            since: None,
        }
    }
}

/// A verdict in health+json, on one line.
#[cfg(feature = "server")]
pub(crate) fn event(service: &Service, verdict: &Verdict, exposure: Exposure) -> String {
    let page = Page::verdict(service, verdict, exposure, LeftOut::NOTHING);
    health_json::body(&page, exposure)
}

/// What is told of one check beside its status, for dialects that leave that open: a name each, and a value.
#[derive(Default)]
struct Details(Vec<(Cow<'static, str>, Value)>);

impl Details {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn details(check: &CheckReport, exposure: Exposure) -> Details {
    let full = exposure == Exposure::Full;
    let (cause, runbook) = (check.cause.as_ref(), check.runbook.as_deref());
    let run = check.last_run.as_ref();
    let ails = check.status != Status::Pass;
    let text = |text: String| Value::Text(Cow::Owned(text));
    let shown = |time: Option<SystemTime>| Some(text(Timestamp(time?).to_string()));
    let own = [
        ("reason", check.why().map(|why| text(why.into_owned()))),
        (
            "error",
            cause
                .filter(|_| full)
                .map(|cause| text(cause.redacted().to_string())),
        ),
        (
            "runbook",
            runbook.filter(|_| full).map(|link| text(link.to_owned())),
        ),
        (
            "responseTime (ms)",
            run.map(|run| to_millis(run.duration).into()),
        ),
        ("time", shown(run.map(|run| run.time))),
        ("since", shown(ails.then_some(check.since))),
        ("lastSuccess", shown(check.last_success.filter(|_| ails))),
        (
            "consecutiveFailures",
            Some(check.consecutive_failures)
                .filter(|&failures| ails && failures > 0)
                .map(Value::from),
        ),
    ];
    let told = |(name, value): (_, Option<Value>)| Some((Cow::Borrowed(name), value?));
    let mut details = Details(own.into_iter().filter_map(told).collect());
    let measurements = if full { &*check.measurements } else { &[] };
    for measurement in measurements {
        if let Some(value) = observed(&measurement.value) {
            let name = free(labelled(measurement), &details);
            details.0.push((name.into(), value));
        }
    }
    details
}

/// A name that is not taken yet: this one, or with a number behind it.
fn free(name: Cow<'_, str>, taken: &Details) -> String {
    let numbered = (2..).map(|number| format!("{name} {number}"));
    std::iter::once(name.clone().into_owned())
        .chain(numbered)
        .find(|name| !taken.has(name))
        .unwrap_or_default()
}

/// A measurement's name, with its unit if it has one.
fn labelled(measurement: &Measurement) -> Cow<'_, str> {
    match &*measurement.unit {
        "" => Cow::Borrowed(&measurement.name),
        unit => Cow::Owned(format!("{} ({unit})", measurement.name)),
    }
}

/// A measured value, if it can be written.
fn observed(value: &Value) -> Option<Value> {
    let is_nothing = matches!(value, Value::Float(value) if !value.is_finite());
    (!is_nothing).then(|| value.clone())
}

/// A document as text.
fn in_json(document: &impl Serialize, status: &'static str) -> String {
    // Strings, finite numbers and maps with string keys can always be written; should that ever fail, the status
    // still tells the truth.
    serde_json::to_string(document).unwrap_or_else(|_| format!(r#"{{"status":"{status}"}}"#))
}
