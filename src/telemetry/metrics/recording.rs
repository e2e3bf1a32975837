//! Publishing to the recorder of the `metrics` facade.
//!
//! The engine calls [`Metrics::record`] after each batch of changes, once readers can see them. The
//! recorder is looked up each time, because it may be installed at any time. A [`Recording`] exists
//! for the duration of one such call. Its methods publish what changed, or everything to a recorder
//! that is new. No handle of a metric is kept, so an exporter may drop idle series.

use std::{
    mem, ptr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use metrics::{
    Counter, Gauge, Key, Label, Level, Metadata, Recorder, SharedString, Unit, with_recorder,
};

use super::{
    HEALTH_CHECK_DURATION_SECONDS, HEALTH_CHECK_FAILURES_TOTAL, HEALTH_CHECK_FLAPPING,
    HEALTH_CHECK_INFO, HEALTH_CHECK_LAST_SUCCESS_TIMESTAMP_SECONDS, HEALTH_CHECK_RUNS_TOTAL,
    HEALTH_CHECK_STATUS, HEALTH_CHECK_TRANSITIONS_TOTAL, HEALTH_PROBE_REQUESTS_TOTAL,
    HEALTH_RUNTIME_LAG_SECONDS, HEALTH_STATUS, ProbeRequests,
    requests::{CHECK, Counts, TARGETS},
};
use crate::{
    model::{ComponentType, Criticality, Name, Probe, Reason, Status},
    telemetry::{CheckFacts, Gone, Note, RunResult, Totals, catch_panic, run::STATUSES},
};

/// The target and the level of every metric, for recorders that filter by them.
static METADATA: Metadata<'static> =
    Metadata::new("tower_health", Level::INFO, Some("tower_health"));

/// The metrics of a service, and the state of their publication.
#[derive(Debug)]
pub(crate) struct Metrics {
    service: Arc<str>,
    /// The addresses of the recorders that have received all totals.
    known: Vec<usize>,
    /// When the gauges of verdicts are due again, on the clock of the engine.
    due: Duration,
    requests: Counts,
}

/// Publishes how late a runtime polled. `None` means that this is no longer known, and becomes NaN.
/// The watchdog calls this from its own thread, so that a stalled runtime cannot keep it from being
/// published.
pub(crate) fn runtime_lag(service: &Arc<str>, runtime: &Arc<str>, lag: Option<Duration>) {
    let label =
        |key, value: &Arc<str>| Label::new(key, SharedString::from_shared(Arc::clone(value)));
    let labels = vec![label("service", service), label("runtime", runtime)];
    let key = Key::from_parts(HEALTH_RUNTIME_LAG_SECONDS, labels);
    catch_panic(|| {
        with_recorder(|recorder| {
            let gauge = recorder.register_gauge(&key, &METADATA);
            gauge.set(lag.map_or(f64::NAN, |lag| lag.as_secs_f64()));
        });
    });
}

impl Metrics {
    /// The longest time after which the gauges of verdicts are set again.
    const PERIOD: Duration = Duration::from_secs(10);

    /// The maximum number of recorders that are remembered, which is more than a process has. A
    /// further recorder receives only changes.
    const MOST_KNOWN: usize = 16;

    /// Creates the state for a service. Nothing is published yet, and everything is due.
    pub(crate) fn new(service: &Arc<str>) -> Self {
        Self {
            service: Arc::clone(service),
            known: Vec::new(),
            due: Duration::ZERO,
            requests: Counts::default(),
        }
    }

    /// Returns when there is something to publish, whether or not anything changes. The engine
    /// wakes up at that time.
    pub(crate) fn due(&self) -> Option<Duration> {
        Some(self.due)
    }

    /// Publishes to the recorder that is currently installed: `requests` itself, and the rest
    /// through `record`.
    pub(crate) fn record(
        &mut self,
        now: Duration,
        requests: &ProbeRequests,
        record: impl FnOnce(&Recording<'_>),
    ) {
        with_recorder(|recorder| {
            let everything = self.is_new(recorder);
            let due = self.due <= now;
            let recording = Recording {
                recorder,
                service: &self.service,
                everything,
                due: due || everything,
            };
            if recording.due {
                self.due = now + Self::PERIOD;
                recording.describe();
            }
            let counts = requests.counts();
            // Replaced before they are published. A recorder that panics on one of them would
            // otherwise receive the others again and again.
            let published = mem::replace(&mut self.requests, counts);
            recording.requests(&self.requests, &published);
            record(&recording);
        });
    }

    /// Returns whether a recorder has not received anything yet. A recorder is identified by its
    /// address, because an installed recorder does not move.
    fn is_new(&mut self, recorder: &dyn Recorder) -> bool {
        let place = ptr::from_ref(recorder).cast::<()>().addr();
        let new = !self.known.contains(&place) && self.known.len() < Self::MOST_KNOWN;
        if new {
            self.known.push(place);
        }
        new
    }
}

/// A recorder, and what it needs to receive.
pub(crate) struct Recording<'a> {
    recorder: &'a dyn Recorder,
    service: &'a Arc<str>,
    /// Whether the recorder is new.
    everything: bool,
    /// Whether the period is over. Always true for a new recorder.
    due: bool,
}

impl Recording<'_> {
    /// Whether the recorder is new, and needs to receive every check.
    pub(crate) fn everything(&self) -> bool {
        self.everything
    }

    /// Whether the verdicts are to be published even if they have not changed.
    pub(crate) fn is_due(&self) -> bool {
        self.due
    }

    /// Publishes the status of a verdict.
    pub(crate) fn verdict(&self, probe: Probe, status: Status) {
        self.verdict_gauge(probe).set(value(status));
    }

    /// Publishes the state of a check and, to a new recorder, its totals.
    pub(crate) fn check(&self, check: &CheckFacts<'_>) {
        self.gauges(check);
        if self.everything {
            self.counters(check, check.totals);
        }
    }

    /// Publishes a change of a check.
    pub(crate) fn note(&self, check: &CheckFacts<'_>, note: Note) {
        let name = check.name;
        if let Note::RunEnded(_, _, duration) = note {
            let key = Key::from_parts(HEALTH_CHECK_DURATION_SECONDS, self.labels(name, []));
            let histogram = self.recorder.register_histogram(&key, &METADATA);
            histogram.record(duration.as_secs_f64());
        }
        match note {
            // A new recorder receives it as part of the totals.
            _ if self.everything => {}
            // Starts the counters at 0. A counter that starts with its first count hides that count
            // from a rate.
            Note::Added => self.counters(check, &Totals::default()),
            Note::RunEnded(result, reason, _) => {
                self.runs(name, result).increment(1);
                if let Some(reason) = reason {
                    self.failures(name, reason).increment(1);
                }
            }
            Note::StatusChanged(status) => self.transitions(name, status).increment(1),
            Note::StateChanged => self.gauges(check),
        }
    }

    /// Publishes that a check is no longer run, because its runtime has ended. Its status becomes
    /// 0.
    pub(crate) fn check_stopped(&self, check: &CheckFacts<'_>) {
        self.gauges(&CheckFacts {
            status: Status::Fail,
            flapping: false,
            ..*check
        });
    }

    /// Publishes that a check no longer exists, or has another definition. Its gauges become NaN,
    /// because the facade cannot remove them.
    pub(crate) fn check_gone(&self, gone: &Gone) {
        self.info(&gone.name, gone.criticality, gone.component_type)
            .set(f64::NAN);
        if gone.removed {
            for gauge in [
                HEALTH_CHECK_STATUS,
                HEALTH_CHECK_LAST_SUCCESS_TIMESTAMP_SECONDS,
                HEALTH_CHECK_FLAPPING,
            ] {
                self.check_gauge(gauge, &gone.name).set(f64::NAN);
            }
        }
    }

    /// Publishes that a verdict is no longer available, because the last `Health` was dropped.
    pub(crate) fn verdict_gone(&self, probe: Probe) {
        self.verdict_gauge(probe).set(f64::NAN);
    }

    /// Sets the gauges of a check.
    fn gauges(&self, check: &CheckFacts<'_>) {
        let name = check.name;
        self.check_gauge(HEALTH_CHECK_STATUS, name)
            .set(value(check.status));
        self.check_gauge(HEALTH_CHECK_LAST_SUCCESS_TIMESTAMP_SECONDS, name)
            .set(check.last_success.map_or(0.0, unix_time));
        self.check_gauge(HEALTH_CHECK_FLAPPING, name)
            .set(f64::from(check.flapping));
        self.info(name, check.criticality, check.component_type)
            .set(1.0);
    }

    /// Adds totals to the counters of a check. Zeros are added as well, so that every series that
    /// can occur exists. A check that the application reports has no runs, and the series of a
    /// reason begins when the reason first occurs.
    fn counters(&self, check: &CheckFacts<'_>, totals: &Totals) {
        let name = check.name;
        for (result, count) in RunResult::ALL.into_iter().zip(totals.runs) {
            if check.runs {
                self.runs(name, result).increment(count);
            }
        }
        for &(reason, count) in &totals.failures {
            self.failures(name, reason).increment(count);
        }
        for (to, count) in STATUSES.into_iter().zip(totals.transitions) {
            self.transitions(name, to).increment(count);
        }
    }

    /// Adds the requests since the last publication. A new recorder receives all requests, and a
    /// series for each code that is known and can occur.
    fn requests(&self, counts: &Counts, published: &Counts) {
        for ((asked, row), published) in TARGETS
            .into_iter()
            .zip(&counts.counts)
            .zip(&published.counts)
        {
            for ((code, count), published) in counts.codes.into_iter().zip(row).zip(published) {
                let new = if self.everything {
                    *count
                } else {
                    count - published
                };
                let is_expected = code.is_some_and(|code| can_occur(asked, code));
                if (self.everything && is_expected) || new > 0 {
                    self.request_counter(asked, code).increment(new);
                }
            }
        }
    }

    fn verdict_gauge(&self, probe: Probe) -> Gauge {
        let labels = vec![self.service(), label("probe", probe.as_str())];
        self.gauge(Key::from_parts(HEALTH_STATUS, labels))
    }

    fn check_gauge(&self, name: &'static str, check: &Name) -> Gauge {
        self.gauge(Key::from_parts(name, self.labels(check, [])))
    }

    fn runs(&self, check: &Name, result: RunResult) -> Counter {
        let labels = self.labels(check, [label("result", result_label(result))]);
        self.counter(Key::from_parts(HEALTH_CHECK_RUNS_TOTAL, labels))
    }

    fn failures(&self, check: &Name, reason: Reason) -> Counter {
        let labels = self.labels(check, [label("reason", reason.as_str())]);
        self.counter(Key::from_parts(HEALTH_CHECK_FAILURES_TOTAL, labels))
    }

    fn info(&self, check: &Name, criticality: Criticality, component_type: ComponentType) -> Gauge {
        let properties = [
            label("criticality", criticality.as_str()),
            label("component_type", component_type.as_str()),
        ];
        self.gauge(Key::from_parts(
            HEALTH_CHECK_INFO,
            self.labels(check, properties),
        ))
    }

    fn transitions(&self, check: &Name, to: Status) -> Counter {
        let labels = self.labels(check, [label("to", to.as_str())]);
        self.counter(Key::from_parts(HEALTH_CHECK_TRANSITIONS_TOTAL, labels))
    }

    /// Returns the counter of a code. `None` is the counter of the codes without one of their own.
    fn request_counter(&self, asked: &'static str, code: Option<u16>) -> Counter {
        let code = match code {
            Some(code) => Label::new("code", code.to_string()),
            None => label("code", "other"),
        };
        let labels = vec![self.service(), label("probe", asked), code];
        self.counter(Key::from_parts(HEALTH_PROBE_REQUESTS_TOTAL, labels))
    }

    fn gauge(&self, key: Key) -> Gauge {
        self.recorder.register_gauge(&key, &METADATA)
    }

    fn counter(&self, key: Key) -> Counter {
        self.recorder.register_counter(&key, &METADATA)
    }

    fn service(&self) -> Label {
        Label::new(
            "service",
            SharedString::from_shared(Arc::clone(self.service)),
        )
    }

    /// Returns the labels `service` and `check`, and possibly more. The texts are shared, not copied.
    fn labels(&self, check: &Name, more: impl IntoIterator<Item = Label>) -> Vec<Label> {
        let check = Label::new("check", SharedString::from_shared(check.shared()));
        [self.service(), check].into_iter().chain(more).collect()
    }

    /// Describes every metric to the recorder: its unit, and the text that an exporter shows as its
    /// help.
    fn describe(&self) {
        let gauges = [
            (
                HEALTH_STATUS,
                None,
                "The verdict of the service: 1 pass, 0.5 warn, 0 fail.",
            ),
            (
                HEALTH_CHECK_STATUS,
                None,
                "The status of the check: 1 pass, 0.5 warn, 0 fail, stale or not known yet.",
            ),
            (
                HEALTH_CHECK_INFO,
                None,
                "1. Its labels are the properties of the check.",
            ),
            (
                HEALTH_CHECK_FLAPPING,
                None,
                "1 while the status of the check changes often, else 0.",
            ),
            (
                HEALTH_CHECK_LAST_SUCCESS_TIMESTAMP_SECONDS,
                Some(Unit::Seconds),
                "When a run of the check last had a good outcome, in Unix time.",
            ),
            (
                HEALTH_RUNTIME_LAG_SECONDS,
                Some(Unit::Seconds),
                "How late the runtime polled a ready task.",
            ),
        ];
        for (name, unit, says) in gauges {
            self.recorder.describe_gauge(name.into(), unit, says.into());
        }
        let counters = [
            (HEALTH_CHECK_RUNS_TOTAL, "The runs of the check that ended."),
            (
                HEALTH_CHECK_FAILURES_TOTAL,
                "The failing runs of the check, by reason.",
            ),
            (
                HEALTH_CHECK_TRANSITIONS_TOTAL,
                "The changes of the check's status.",
            ),
            (
                HEALTH_PROBE_REQUESTS_TOTAL,
                "The requests for probes that were answered.",
            ),
        ];
        for (name, says) in counters {
            let unit = Some(Unit::Count);
            self.recorder
                .describe_counter(name.into(), unit, says.into());
        }
        self.recorder.describe_histogram(
            HEALTH_CHECK_DURATION_SECONDS.into(),
            Some(Unit::Seconds),
            "How long the runs of the check took.".into(),
        );
    }
}

/// Returns a label whose text is known when the crate is compiled.
fn label(key: &'static str, result_label: &'static str) -> Label {
    Label::from_static_parts(key, result_label)
}

/// Returns the value of the label `result`.
const fn result_label(result: RunResult) -> &'static str {
    match result {
        RunResult::Pass => "pass",
        RunResult::Warn => "warn",
        RunResult::Fail => "fail",
        RunResult::Timeout => "timeout",
        RunResult::Panic => "panic",
    }
}

/// Whether a response to this target can have this code, unless other codes are configured: the path
/// of a probe is never 404.
fn can_occur(asked: &str, code: u16) -> bool {
    code != 404 || asked == CHECK
}

/// Returns the number of a status. They are in an order in which the minimum of several is the
/// worst.
const fn value(status: Status) -> f64 {
    match status {
        Status::Pass => 1.0,
        Status::Warn => 0.5,
        Status::Fail => 0.0,
    }
}

/// Returns a time in seconds of Unix time. A time before 1970 is 0.
fn unix_time(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
