//! The dialects: wire formats of a report, one per file. Each has a function `body`, which renders
//! a [`Page`]. A page is what an answer contains, independent of the format. A [`Form`] is how it
//! is rendered. Two answers with the same page and form are equal, so one of them can be cached.

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

use super::{Exposure, complete::complete};
use crate::{
    check::Policy,
    engine::Service,
    memo::{Answer, Memo},
    model::{
        Cause, CheckReport, CheckSettings, DurationText, Measurement, Name, Probe, Report, Status,
        Timestamp, Value, Verdict, VerdictReason, to_millis,
    },
};

/// A wire format of responses. [`EndpointsBuilder::dialect`] sets it for a path.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Endpoints, Health, Probe, endpoint::Dialect};
///
/// let endpoints = Endpoints::none()
///     .probe("/up", Probe::Readiness)
///     .dialect("/up", Dialect::Actuator)
///     .build()?;
/// let probes = Health::builder("orders").start()?.service().endpoints(endpoints);
/// let response = probes.respond("GET", "/up", None, []).expect("a probe path").await;
/// assert_eq!(response.body(), r#"{"status":"UP"}"#);
/// # Ok(())
/// # }
/// ```
///
/// [`EndpointsBuilder::dialect`]: crate::endpoint::EndpointsBuilder::dialect
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// `application/health+json`: [draft-inadarei-api-health-check-06].
    ///
    /// [draft-inadarei-api-health-check-06]: https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06
    ///
    /// The keys of `checks` are `name:responseTime`, `name:smoothedResponseTime` if the check has a
    /// [bound for slow runs](crate::Check::warn_above), and with full exposure one key for each
    /// measurement. Durations are in milliseconds.
    ///
    /// Fields of a check that the draft does not define are `criticality`, `flapping` (if it is
    /// true), `since`, `lastSuccess` and `consecutiveFailures`, and with full exposure `settings`.
    /// The document has `since` and, if it lists checks, `asOf`. `time` is when the run ended that
    /// the body reports. A body is rendered once for each change, so later runs without a change are
    /// not in it: `asOf` is the time of the last change that it contains.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, Status};
    ///
    /// let probes = Health::fixed(Status::Fail).service();
    /// let response = probes.respond("GET", "/ready", None, []).expect("a probe path").await;
    /// let body: serde_json::Value = serde_json::from_slice(response.body())?;
    /// assert_eq!(body["status"], "fail");
    /// assert_eq!(body["output"], "fixed failed");
    /// assert_eq!(body["checks"]["fixed:responseTime"][0]["consecutiveFailures"], 1);
    /// # Ok(())
    /// # }
    /// ```
    HealthJson,
    /// The plain text of the [Kubernetes API server], with `?verbose` and `?exclude`.
    ///
    /// [Kubernetes API server]: https://kubernetes.io/docs/reference/using-api/health-checks/
    ///
    /// A pass and a warning are `ok`. The reason of a check is withheld, whatever the exposure.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Health, Status};
    ///
    /// let probes = Health::fixed(Status::Warn).service();
    /// let headers = [("accept", b"text/plain".as_slice())];
    /// let ask = |query| probes.respond("GET", "/ready", query, headers).expect("a probe path");
    /// assert_eq!(ask(None).await.body(), "ok");
    /// assert_eq!(ask(Some("verbose")).await.body(), "[+]fixed ok\nreadyz check passed\n");
    /// # Ok(())
    /// # }
    /// ```
    KubernetesText,
    /// The JSON of [MicroProfile Health 4.0].
    ///
    /// [MicroProfile Health 4.0]: https://download.eclipse.org/microprofile/microprofile-health-4.0/microprofile-health-spec-4.0.html
    ///
    /// It has the statuses `UP` and `DOWN`. It lists passing checks as well. It is not negotiated
    /// by `Accept`, because its media type is `application/json`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Endpoints, Health, Status, endpoint::Dialect};
    ///
    /// let endpoints = Endpoints::builder().dialect("/ready", Dialect::MicroProfile).build()?;
    /// let probes = Health::fixed(Status::Fail).service().endpoints(endpoints);
    /// let response = probes.respond("GET", "/ready", None, []).expect("a probe path").await;
    /// let body: serde_json::Value = serde_json::from_slice(response.body())?;
    /// assert_eq!(body["status"], "DOWN");
    /// assert_eq!(body["checks"][0]["name"], "fixed");
    /// assert_eq!(body["checks"][0]["data"]["reason"], "failed");
    /// # Ok(())
    /// # }
    /// ```
    MicroProfile,
    /// The JSON of [Spring Boot's Actuator], version 3.
    ///
    /// [Spring Boot's Actuator]: https://docs.spring.io/spring-boot/api/rest/actuator/health.html
    ///
    /// It has the statuses `UP`, `DOWN`, `OUT_OF_SERVICE` and `UNKNOWN`. A response at a path of
    /// this dialect lists all components. A negotiated one lists those that do not pass, except for
    /// [health](crate::Probe::Health).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use tower_health::{Endpoints, Health, Status};
    ///
    /// let health = Health::fixed(Status::Pass);
    /// health.maintenance("reindexing", Duration::from_secs(600));
    /// let probes = health.service().endpoints(Endpoints::actuator().build()?);
    /// let path = "/actuator/health/readiness";
    /// let response = probes.respond("GET", path, None, []).expect("a probe path").await;
    /// let body: serde_json::Value = serde_json::from_slice(response.body())?;
    /// assert_eq!(body["status"], "OUT_OF_SERVICE");
    /// assert_eq!(body["components"]["fixed"]["status"], "UP");
    /// # Ok(())
    /// # }
    /// ```
    Actuator,
}

/// A body and its media type.
///
/// There is one more than there are dialects, because health+json has two media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    HealthJson,
    /// The same body, for clients that accept only `application/json`.
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
    /// Returns the media type, as in `Content-Type`.
    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::HealthJson => "application/health+json",
            Self::Json | Self::MicroProfile => "application/json",
            Self::KubernetesText => "text/plain; charset=utf-8",
            Self::Actuator => "application/vnd.spring-boot.actuator.v3+json",
        })
    }
}

/// The form of an answer. Two answers to a probe that have the same form are equal until a result
/// changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) format: Format,
    pub(super) exposure: Exposure,
    /// Whether the format was negotiated.
    pub(super) negotiated: bool,
    /// Whether to list every check, although the format would not. Only for Kubernetes text.
    pub(super) verbose: bool,
}

impl Form {
    /// Returns the index of this form of an answer to `probe` among all forms of all answers.
    ///
    /// It is below [`Memo::FORMS`], and unique for each combination.
    pub(super) const fn index(self, probe: Probe) -> usize {
        let kind = if self.verbose {
            VERBOSE
        } else {
            self.format as usize
        };
        let kind = kind * Probe::ALL.len() + probe as usize;
        (kind * EXPOSURES + self.exposure as usize) * 2 + self.negotiated as usize
    }

    /// Whether an answer to `probe` that lists every check lists one with this policy. A procedure
    /// of MicroProfile is for one probe only.
    pub(super) fn lists(self, policy: &Policy, probe: Probe) -> bool {
        self.format != Format::MicroProfile || policy.is_for(probe)
    }

    /// Whether an answer to `probe` lists every check, and not only those that do not pass.
    /// `checks` returns the number of checks. A list of many checks takes time, so only the forms
    /// that need it have it.
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
            // Each path of Actuator is a group with its components.
            (Format::Actuator, probe) => probe == Probe::Health || !self.negotiated,
            (Format::HealthJson | Format::Json, probe) => probe == Probe::Health,
        };
        wants_all && self.exposure > Exposure::Status
    }
}

/// The index of verbose answers, after the indices of the formats.
const VERBOSE: usize = Format::Actuator as usize + 1;

/// The number of exposures.
const EXPOSURES: usize = Exposure::Full as usize + 1;

const _: () = assert!(
    Memo::FORMS == (VERBOSE + 1) * Probe::ALL.len() * EXPOSURES * 2,
    "each form of an answer has a slot"
);

/// The content of an answer, independent of the format.
///
/// It borrows from a published view or from a report. It contains only what the exposure allows,
/// except for causes, runbooks and measurements, which each dialect leaves out itself.
pub(super) struct Page<'a> {
    pub(super) subject: Subject,
    /// The name, version and release of the service.
    pub(super) service: &'a Service,
    /// The status of the subject, which decides the status code.
    pub(super) status: Status,
    /// The checks that are listed.
    pub(super) checks: &'a [CheckReport],
    /// The number of checks that do not pass and are not listed.
    pub(super) more: usize,
    /// The checks that the request excludes, for the note in the body.
    pub(super) excluded: Excluded<'a>,
    /// After how long the status may change, if that is known.
    pub(super) retry_after: Option<Duration>,
    /// The cause of the reason of a verdict.
    pub(super) cause: Option<&'a Cause>,
    /// Whether it is not known yet to fail.
    pub(super) unknown: bool,
    /// Since when the verdict has its status. `None` for a verdict with excluded checks, and for a
    /// single check, which has its own.
    pub(super) since: Option<SystemTime>,
    /// Up to when runs are included. `None` if the page is not kept.
    pub(super) as_of: Option<SystemTime>,
}

/// The subject of an answer.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    Verdict(Probe, Option<VerdictReason>),
    Check,
}

/// The checks that a request excludes.
#[derive(Clone, Copy)]
pub(super) struct Excluded<'a> {
    /// The excluded checks that exist. The verdict was computed without them.
    pub(super) names: &'a [Name],
    /// The excluded names that no check of the probe has. At most [`Verdict::MAX_CHECKS`].
    pub(super) unknown: &'a [Name],
    /// The number of further unknown names. An invalid name is not repeated in a response.
    pub(super) more_unknown: usize,
}

impl Excluded<'static> {
    /// A request without `exclude`.
    pub(super) const NOTHING: Self = Self {
        names: &[],
        unknown: &[],
        more_unknown: 0,
    };
}

impl Page<'_> {
    /// Returns the answer in a form.
    pub(super) fn answer(&self, form: Form) -> Answer {
        let body = match form.format {
            Format::HealthJson | Format::Json => health_json::body(self, form.exposure),
            Format::KubernetesText => kubernetes::body(self, form),
            Format::MicroProfile => microprofile::body(self, form.exposure),
            Format::Actuator => actuator::body(self, form),
        };
        let body = body.into_bytes();
        let code = if self.status.is_good() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
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

    /// Returns why the verdict is not a pass.
    fn reason(&self) -> Option<VerdictReason> {
        match self.subject {
            Subject::Verdict(_, reason) => reason,
            Subject::Check => None,
        }
    }
}

impl<'a> Page<'a> {
    /// Returns the page of a report that lists every check.
    pub(super) fn report(
        probe: Probe,
        service: &'a Service,
        report: &'a Report,
        (retry_after, as_of): (Option<Duration>, SystemTime),
        excluded: Excluded<'a>,
    ) -> Self {
        Self {
            subject: Subject::Verdict(probe, report.reason),
            service,
            status: report.status,
            checks: &report.checks,
            more: 0,
            excluded,
            retry_after,
            cause: report.cause.as_ref(),
            unknown: report.unknown,
            since: excluded.names.is_empty().then_some(report.since),
            as_of: Some(as_of),
        }
    }

    /// Returns the page of a verdict, with the checks that it lists if the exposure allows them.
    pub(super) fn verdict(
        service: &'a Service,
        verdict: &'a Verdict,
        exposure: Exposure,
        excluded: Excluded<'a>,
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
            excluded,
            retry_after: verdict.retry_after,
            cause: verdict.cause.as_ref(),
            unknown: verdict.unknown,
            since: excluded.names.is_empty().then_some(verdict.since),
            as_of: Some(verdict.as_of),
        }
    }

    /// Returns the page of a single check.
    pub(super) fn check(service: &'a Service, check: &'a CheckReport, as_of: SystemTime) -> Self {
        Self {
            subject: Subject::Check,
            service,
            status: check.status,
            checks: std::slice::from_ref(check),
            more: 0,
            excluded: Excluded::NOTHING,
            retry_after: None,
            cause: None,
            unknown: check.is_pending(),
            since: None,
            as_of: Some(as_of),
        }
    }
}

/// Returns a verdict in health+json, on one line.
///
/// The management port sends it as the data of a server-sent event.
#[cfg(feature = "server")]
pub(crate) fn event(service: &Service, verdict: &Verdict, exposure: Exposure) -> String {
    let page = Page {
        // A reader that has received the same otherwise is not notified again.
        as_of: None,
        ..Page::verdict(service, verdict, exposure, Excluded::NOTHING)
    };
    health_json::body(&page, exposure)
}

/// Pairs of a name and a value that describe a check, for dialects that do not define its fields.
#[derive(Default)]
struct Details(Vec<(Cow<'static, str>, Value)>);

impl Details {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a pair has this name.
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Returns the details of a check for MicroProfile and Actuator: first its own fields, then its
/// measurements. The error, the runbook, the settings and the measurements need full exposure. A
/// measurement whose name is taken gets a number, because the names of a JSON object must be unique.
fn details(check: &CheckReport, as_of: Option<SystemTime>, exposure: Exposure) -> Details {
    let full = exposure == Exposure::Full;
    let (cause, runbook) = (check.cause.as_ref(), check.runbook.as_deref());
    let run = check.last_run.as_ref();
    let not_passing = check.status != Status::Pass;
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
        ("asOf", shown(as_of)),
        (
            "criticality",
            Some(text(check.criticality.as_str().to_owned())),
        ),
        ("flapping", check.flapping.then_some(Value::Bool(true))),
        ("since", shown(not_passing.then_some(check.since))),
        (
            "lastSuccess",
            shown(check.last_success.filter(|_| not_passing)),
        ),
        (
            "consecutiveFailures",
            Some(check.consecutive_failures)
                .filter(|&failures| not_passing && failures > 0)
                .map(Value::from),
        ),
    ];
    let told = |(name, value): (_, Option<Value>)| Some((Cow::Borrowed(name), value?));
    let settings = full
        .then(|| settings(&check.settings))
        .into_iter()
        .flatten();
    let mut details = Details(own.into_iter().chain(settings).filter_map(told).collect());
    let measurements = if full { &*check.measurements } else { &[] };
    for measurement in measurements {
        if let Some(value) = observed(&measurement.value) {
            let name = unique_name(labelled(measurement), &details);
            details.0.push((name.into(), value));
        }
    }
    details
}

/// Returns the settings of a check that are in effect, by their names in a configuration.
fn settings(settings: &CheckSettings) -> impl Iterator<Item = (&'static str, Option<Value>)> {
    let duration =
        |value: Option<Duration>| Some(Value::Text(DurationText(value?).to_string().into()));
    let count = |value: Option<u32>| value.map(Value::from);
    [
        ("period", duration(settings.period)),
        ("on_demand", duration(settings.on_demand)),
        ("retry_period", duration(settings.retry_period)),
        ("timeout", duration(settings.timeout)),
        ("max_age", duration(settings.max_age)),
        ("fail_after", count(settings.fail_after)),
        ("pass_after", count(settings.pass_after)),
        ("flapping_low", count(Some(settings.flapping_low.into()))),
        ("flapping_high", count(Some(settings.flapping_high.into()))),
    ]
    .into_iter()
}

/// Returns a name that is not taken: `name`, or `name` and a number.
fn unique_name(name: Cow<'_, str>, taken: &Details) -> String {
    let numbered = (2..).map(|number| format!("{name} {number}"));
    std::iter::once(name.clone().into_owned())
        .chain(numbered)
        .find(|name| !taken.has(name))
        .unwrap_or_default()
}

/// Returns the name of a measurement, with its unit if it has one.
fn labelled(measurement: &Measurement) -> Cow<'_, str> {
    match &*measurement.unit {
        "" => Cow::Borrowed(&measurement.name),
        unit => Cow::Owned(format!("{} ({unit})", measurement.name)),
    }
}

/// Returns a measured value. `None` if JSON cannot represent it, such as NaN.
fn observed(value: &Value) -> Option<Value> {
    let is_not_finite = matches!(value, Value::Float(value) if !value.is_finite());
    (!is_not_finite).then(|| value.clone())
}

/// Returns a document as JSON.
fn to_json(document: &impl Serialize, status: &'static str) -> String {
    // Strings, finite numbers and maps with string keys always serialize. If that ever fails, the
    // body still has the correct status.
    serde_json::to_string(document).unwrap_or_else(|_| format!(r#"{{"status":"{status}"}}"#))
}
