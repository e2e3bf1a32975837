//! Metrics, logs and events.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::MatchedPath, routing::get};
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, LocalRecorderGuard, Metadata, Recorder,
    SharedString, Unit, set_default_local_recorder,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tower_health::{
    Check, Endpoints, Failure, Health, HealthBuilder, Outcome, Probe, Reason, Status,
    config::CheckDefaults, event::Event,
};
use tracing::{Level, subscriber::DefaultGuard};

use crate::support::{Gate, SECOND, Scripted, after, ask, ask_with, ms};

pub(crate) fn builder() -> HealthBuilder {
    Health::builder("orders").seed(7)
}

/// Returns the name of a metric, followed by the values of its labels.
fn words(key: &Key) -> String {
    let labels = key.labels().map(Label::value);
    let words: Vec<&str> = [key.name()].into_iter().chain(labels).collect();
    words.join(" ")
}

/// A recorder that is installed on this thread until the value is dropped. The runtime of a test
/// has no other thread.
pub(crate) struct Installed {
    handle: PrometheusHandle,
    _guard: LocalRecorderGuard<'static>,
}

fn recorder() -> &'static PrometheusRecorder {
    Box::leak(Box::new(PrometheusBuilder::new().build_recorder()))
}

pub(crate) fn install() -> Installed {
    let recorder = recorder();
    Installed {
        handle: recorder.handle(),
        _guard: set_default_local_recorder(recorder),
    }
}

impl Installed {
    /// Returns each series with its value.
    fn series(&self) -> BTreeMap<String, String> {
        let text = self.handle.render();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        lines
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').unwrap();
                (series.to_owned(), value.to_owned())
            })
            .collect()
    }

    /// Returns the value of one series, by its name and its labels after `service`.
    pub(crate) fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let series = format!("{name}{{service=\"orders\",{labels}}}");
        self.series()
            .get(&series)
            .map(|value| value.parse().unwrap())
    }

    fn status(&self, check: &str) -> Option<f64> {
        self.value("health_check_status", &format!("check=\"{check}\""))
    }

    fn verdict(&self, probe: &str) -> Option<f64> {
        self.value("health_status", &format!("probe=\"{probe}\""))
    }

    fn runs(&self, check: &str, result: &str) -> Option<f64> {
        let labels = format!("check=\"{check}\",result=\"{result}\"");
        self.value("health_check_runs_total", &labels)
    }

    pub(crate) fn transitions(&self, check: &str, to: &str) -> Option<f64> {
        let labels = format!("check=\"{check}\",to=\"{to}\"");
        self.value("health_check_transitions_total", &labels)
    }

    fn requests(&self, probe: &str, code: u16) -> Option<f64> {
        let labels = format!("probe=\"{probe}\",code=\"{code}\"");
        self.value("health_probe_requests_total", &labels)
    }
}

/// The log of this thread, at every level.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn listen(level: Level) -> (Self, DefaultGuard) {
        // Whether a line is of interest to anyone is a state of the process. Tests that run at the
        // same time change it, so somebody listens to everything, always.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| {
            _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        });
        let log = Self::default();
        let sink = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(move || sink.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// Returns the lines since the last call, without those of registered checks.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = self.all_lines();
        lines.retain(|line| !line.contains("health check is registered"));
        lines
    }

    /// Returns all lines since the last call.
    fn all_lines(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        let lines = String::from_utf8(lines).unwrap();
        lines.lines().map(|line| line.trim().to_owned()).collect()
    }
}

// Metrics

#[tokio::test(start_paused = true)]
async fn checks_and_verdicts_have_the_documented_metrics() {
    let metrics = install();
    let disk = Scripted::new(Status::Warn);
    let health = builder()
        .check(Check::new("db", Scripted::new(Status::Pass)))
        .check(Check::new("disk", disk.clone()))
        .check(Check::new("mail", Scripted::new(Status::Fail)).non_critical())
        .start()
        .unwrap();
    after(SECOND).await;
    assert_eq!(metrics.status("db"), Some(1.0));
    assert_eq!(metrics.status("disk"), Some(0.5));
    assert_eq!(metrics.status("mail"), Some(0.0));
    for (probe, value) in [
        ("liveness", 1.0),
        ("startup", 1.0),
        ("readiness", 0.5),
        ("health", 0.5),
    ] {
        assert_eq!(metrics.verdict(probe), Some(value), "{probe}");
    }
    assert_eq!(metrics.runs("db", "pass"), Some(1.0));
    assert_eq!(metrics.transitions("disk", "warn"), Some(1.0));
    let labels = "check=\"db\"";
    let name = "health_check_last_success_timestamp_seconds";
    let succeeded = metrics.value(name, labels).unwrap();
    let told = health.check("db").unwrap().last_success.unwrap();
    let told = told.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(
        (succeeded - told.as_secs_f64()).abs() < 0.001,
        "{succeeded}"
    );
    assert_eq!(metrics.value(name, "check=\"mail\""), Some(0.0), "never");
    assert_eq!(
        metrics.value("health_check_duration_seconds_count", labels),
        Some(1.0)
    );

    disk.set_outcome(Status::Fail);
    after(30 * SECOND).await;
    assert_eq!(
        (metrics.status("disk"), metrics.verdict("readiness")),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(
        metrics.transitions("disk", "fail"),
        Some(1.0),
        "a repeat is no transition"
    );
    disk.set_outcome(Status::Pass);
    after(30 * SECOND).await;
    assert_eq!(
        (metrics.status("disk"), metrics.verdict("readiness")),
        (Some(1.0), Some(0.5))
    );
    assert_eq!(metrics.transitions("disk", "pass"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn every_run_is_counted_once_by_its_result() {
    let metrics = install();
    let slow = Scripted::hanging();
    let _health = builder()
        .check(
            Check::new("db", slow.clone())
                .period(SECOND)
                .timeout(ms(100)),
        )
        .check(Check::new("panics", Scripted::panicking("no")))
        .check(Check::new(
            "says-so",
            Scripted::new(Outcome::fail(Reason::TimedOut)),
        ))
        .check(Check::new("warns", Scripted::new(Status::Warn)))
        .start()
        .unwrap();
    after(SECOND).await;
    assert!(metrics.runs("db", "timeout") >= Some(1.0));
    assert_eq!(
        metrics.runs("db", "pass"),
        Some(0.0),
        "a counter that begins with its first count hides it"
    );
    assert_eq!(metrics.runs("panics", "panic"), Some(1.0));
    assert_eq!(metrics.runs("panics", "fail"), Some(0.0));
    assert_eq!(metrics.runs("says-so", "timeout"), Some(1.0));
    assert_eq!(metrics.runs("warns", "warn"), Some(1.0));
    slow.set_outcome(Status::Pass);
    after(60 * SECOND).await;
    let counted = ["pass", "timeout"].map(|result| metrics.runs("db", result).unwrap());
    assert_eq!(counted.iter().sum::<f64>(), slow.runs() as f64);
}

/// A run that exceeds its timeout and continues counts as one run, however often the check fails
/// meanwhile.
#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_end_is_counted_once() {
    let metrics = install();
    let gate = Gate::default();
    gate.set(true);
    let health = builder()
        .check(gate.check("db").timeout(ms(10)))
        .start()
        .unwrap();
    while health.check("db").unwrap().reason != Some(Reason::StillRunning) {
        // The check has its own thread, and the paused clock advances for the engine only.
        after(ms(100)).await;
    }
    after(60 * SECOND).await;
    assert_eq!(
        (metrics.runs("db", "timeout"), metrics.runs("db", "fail")),
        (Some(1.0), Some(0.0))
    );
    assert_eq!(metrics.status("db"), Some(0.0));
    gate.set(false);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_installed_late_gets_the_same_values_as_an_early_one() {
    let scenario = |late: bool| async move {
        let early = (!late).then(install);
        let db = Scripted::new(Status::Pass);
        let health = builder()
            .check(Check::new("db", db.clone()))
            .check(Check::new("seldom", Scripted::new(Status::Warn)).period(3_600 * SECOND))
            .check(Check::new("asked", Scripted::new(Status::Pass)).on_demand(SECOND))
            .start()
            .unwrap();
        let service = health.service();
        after(SECOND).await;
        for path in ["/ready", "/live", "/health/db", "/health/none"] {
            ask(&service, path).await;
        }
        db.set_outcome(Status::Fail);
        after(60 * SECOND).await;
        let metrics = early.unwrap_or_else(install);
        after(2 * SECOND).await;
        // A histogram cannot be recorded afterwards, and timestamps follow the wall clock.
        let mut series = metrics.series();
        series.retain(|name, _| !name.contains("duration") && !name.contains("timestamp"));
        let text = metrics.handle.render();
        let help = |line: &&str| line.starts_with("# HELP") && !line.contains("duration");
        let described: BTreeSet<String> = text.lines().filter(help).map(str::to_owned).collect();
        (series, described)
    };
    let there = scenario(false).await;
    assert!(there.0.len() > 40 && there.1.len() == 9, "{there:#?}");
    assert_eq!(scenario(true).await, there);
}

/// Counts how often each gauge is registered.
#[derive(Default)]
struct Resolved(Mutex<BTreeMap<String, usize>>);

impl Recorder for Resolved {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let name = words(key);
        *self.0.lock().unwrap().entry(name).or_default() += 1;
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn each_gauge_is_registered_and_set_again_every_period() {
    let resolved: &Resolved = Box::leak(Box::default());
    let _guard = set_default_local_recorder(resolved);
    let _health = builder()
        .check(Check::new("db", Scripted::new(Status::Pass)))
        .check(Check::new("asked", Scripted::new(Status::Pass)).on_demand(SECOND))
        .start()
        .unwrap();
    after(SECOND).await;
    for minute in 1..4 {
        std::mem::take(&mut *resolved.0.lock().unwrap());
        after(60 * SECOND).await;
        let resolved = resolved.0.lock().unwrap();
        assert_eq!(resolved.len(), 4 + 2 * 4, "{resolved:#?}");
        // A period is 10 s, plus or minus a tenth.
        assert!(
            resolved.values().all(|&times| times >= 5),
            "{minute}: {resolved:#?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn two_healths_are_distinguished_by_their_service_label() {
    let metrics = install();
    let start = |service: &str, status| {
        let check = Check::new("db", Scripted::new(status));
        Health::builder(service).check(check).start().unwrap()
    };
    let _healths = (start("orders", Status::Pass), start("mail", Status::Fail));
    after(SECOND).await;
    let series = metrics.series();
    assert_eq!(
        series["health_check_status{service=\"orders\",check=\"db\"}"],
        "1"
    );
    assert_eq!(
        series["health_check_status{service=\"mail\",check=\"db\"}"],
        "0"
    );
}

#[tokio::test(start_paused = true)]
async fn removed_checks_have_no_gauge_and_their_counters_continue() {
    let metrics = install();
    let health = builder().start().unwrap();
    after(SECOND).await;
    for round in 1..4 {
        let db = Check::new("db", Scripted::new(Status::Fail)).non_critical();
        health.add(db).await.unwrap();
        after(ms(1)).await;
        assert_eq!(metrics.status("db"), Some(0.0));
        assert_eq!(metrics.runs("db", "fail"), Some(f64::from(round)));
        assert_eq!(metrics.runs("db", "panic"), Some(0.0));
        health
            .replace(Check::new("db", Scripted::new(Status::Pass)))
            .await
            .unwrap();
        after(ms(1)).await;
        assert_eq!(metrics.status("db"), Some(1.0));
        health.remove("db").await.unwrap();
        after(ms(1)).await;
        assert!(
            metrics.status("db").unwrap().is_nan(),
            "nothing is failing any more"
        );
    }
    assert_eq!(metrics.verdict("readiness"), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_stale_check_is_recorded_as_failing() {
    let metrics = install();
    let hog = Scripted::new(Status::Pass);
    let pass = || Scripted::new(Status::Pass);
    let health = builder()
        .concurrency(1)
        .check(Check::new("db", pass()).period(SECOND).max_age(5 * SECOND))
        .check(
            Check::new("hog", hog.clone())
                .period(SECOND)
                .timeout(600 * SECOND),
        )
        .check(Check::new("asked", pass()).on_demand(SECOND).non_critical())
        .start()
        .unwrap();
    health.run_now("asked").await.unwrap();
    after(SECOND).await;
    let status = |check| metrics.status(check).unwrap();
    assert_eq!((status("db"), status("asked")), (1.0, 1.0));
    // It takes all permits.
    hog.hang();
    after(10 * SECOND).await;
    assert_eq!(
        (status("db"), metrics.verdict("readiness")),
        (0.0, Some(0.0))
    );
    // The expiry of a check that nobody reads is no event, but a reader would see that the check is
    // stale.
    after(60 * SECOND).await;
    assert_eq!(status("asked"), 0.0);
    assert_eq!(metrics.transitions("asked", "fail"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_probe_and_code() {
    let metrics = install();
    let db = Scripted::new(Status::Pass);
    let health = builder()
        .check(Check::new("db", db.clone()))
        .check(
            Check::new("asked", Scripted::new(Status::Pass))
                .on_demand(SECOND)
                .non_critical(),
        )
        .start()
        .unwrap();
    after(SECOND).await;
    let service = health.service();
    for path in [
        "/ready",
        "/ready/",
        "/health",
        "/live",
        "/startup",
        "/health/db",
        "/health/none",
    ] {
        ask(&service, path).await;
    }
    ask_with(&service, "HEAD", "/ready").await;
    ask_with(&service, "POST", "/ready").await;
    ask(&service, "/elsewhere").await;
    db.set_outcome(Status::Fail);
    after(15 * SECOND).await;
    ask(&service, "/ready").await;
    after(2 * SECOND).await;
    let counts = |probe| [200, 405, 503].map(|code| metrics.requests(probe, code).unwrap());
    assert_eq!(counts("readiness"), [3.0, 1.0, 1.0]);
    assert_eq!(counts("health"), [1.0, 0.0, 0.0]);
    assert_eq!(counts("liveness"), [1.0, 0.0, 0.0]);
    assert_eq!(counts("startup"), [1.0, 0.0, 0.0]);
    assert_eq!(counts("check"), [1.0, 0.0, 0.0]);
    assert_eq!(metrics.requests("check", 404), Some(1.0));
    for probe in ["readiness", "health", "liveness", "startup"] {
        assert_eq!(metrics.requests(probe, 404), None, "it cannot occur");
    }
    // The label is the status code of the response, whatever the verdict is.
    let mapped = Endpoints::builder().code(Status::Fail, http::StatusCode::IM_A_TEAPOT);
    let mapped = health.service().endpoints(mapped.build().unwrap());
    assert_eq!(metrics.requests("readiness", 418), None);
    ask(&mapped, "/ready").await;
    after(15 * SECOND).await;
    assert_eq!(metrics.requests("readiness", 418), Some(1.0));
    assert_eq!(counts("readiness"), [3.0, 1.0, 1.0]);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_served_while_all_is_down_and_a_scrape_runs_nothing() {
    let metrics = install();
    let (db, asked) = (Scripted::new(Status::Fail), Scripted::new(Status::Pass));
    let health = builder()
        .check(Check::new("db", db.clone()))
        .check(Check::new("asked", asked.clone()).on_demand(SECOND))
        .start()
        .unwrap();
    let scrape = metrics.handle.clone();
    let app = axum::Router::new()
        .route(
            "/metrics",
            axum::routing::get(async move || scrape.render()),
        )
        .layer(health.layer());
    after(SECOND).await;
    assert_eq!(ask(&app, "/ready").await.status, 503);
    after(2 * SECOND).await;
    let runs = (db.runs(), asked.runs());
    for _ in 0..100 {
        let answer = ask(&app, "/metrics").await;
        assert_eq!(answer.status, 200);
        assert!(
            answer
                .body
                .contains("health_status{service=\"orders\",probe=\"readiness\"} 0")
        );
    }
    assert_eq!((db.runs(), asked.runs()), runs);
}

#[test]
fn gauges_do_not_stay_at_pass_when_the_engine_ends() {
    let metrics = install();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let health = builder()
        .runtime(runtime.handle().clone())
        .check(Check::new("db", Scripted::new(Status::Pass)))
        .start()
        .unwrap();
    runtime.block_on(after(SECOND));
    assert_eq!(
        (metrics.status("db"), metrics.verdict("readiness")),
        (Some(1.0), Some(1.0))
    );
    let (log, _guard) = Log::listen(Level::WARN);
    drop(runtime);
    assert_eq!(
        (metrics.status("db"), metrics.verdict("readiness")),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(
        (metrics.verdict("liveness"), metrics.verdict("startup")),
        (Some(0.0), Some(1.0))
    );
    let lines = log.lines();
    assert!(
        lines.len() == 1 && lines[0].contains("checks have stopped"),
        "{lines:#?}"
    );
    drop(health);
}

#[tokio::test(start_paused = true)]
async fn gauges_are_nan_after_the_last_handle_is_dropped() {
    let metrics = install();
    let (log, _guard) = Log::listen(Level::WARN);
    let health = builder()
        .check(Check::new("db", Scripted::new(Status::Pass)))
        .start()
        .unwrap();
    after(SECOND).await;
    let _subscription = health.subscribe();
    drop(health);
    after(ms(1)).await;
    assert!(metrics.status("db").unwrap().is_nan());
    assert!(metrics.verdict("readiness").unwrap().is_nan());
    assert_eq!(log.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_does_not_count_yet_has_no_metric() {
    let early = install();
    let health = builder().start().unwrap();
    let hanging = |name| Check::new(name, Scripted::hanging()).timeout(60 * SECOND);
    drop(health.add(hanging("new")));
    drop(health.add(hanging("new-on-demand").on_demand(SECOND)));
    after(15 * SECOND).await;
    let told = |metrics: &Installed| {
        let series = metrics.series();
        series
            .keys()
            .filter(|series| series.contains("new"))
            .count()
    };
    assert_eq!(told(&early), 0);
    let late = install();
    after(15 * SECOND).await;
    assert_eq!(late.verdict("readiness"), Some(1.0));
    assert_eq!(told(&late), 0);
}

/// A recorder that panics for one counter, and counts the others.
#[derive(Default)]
struct PanicsForOneCounter(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for PanicsForOneCounter {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let series = words(key);
        assert!(!series.ends_with("readiness 200"), "a choosy recorder");
        let mut counters = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(series).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_panics_for_one_counter_gets_no_other_value_twice() {
    let recorder: &PanicsForOneCounter = Box::leak(Box::default());
    let _guard = set_default_local_recorder(recorder);
    let health = builder().start().unwrap();
    after(SECOND).await;
    for path in ["/live", "/ready"] {
        ask(&health.service(), path).await;
    }
    after(60 * SECOND).await;
    let counters = recorder.0.lock().unwrap();
    let live = &counters["health_probe_requests_total orders liveness 200"];
    assert_eq!(live.load(Ordering::Relaxed), 1);
}

/// A recorder that always panics.
struct Broken;

impl Recorder for Broken {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        panic!("a broken recorder")
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("a broken recorder")
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("a broken recorder")
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_panics_does_not_end_the_engine() {
    let _guard = set_default_local_recorder(&Broken);
    let db = Scripted::new(Status::Pass);
    let health = builder()
        .check(Check::new("db", db.clone()))
        .start()
        .unwrap();
    after(60 * SECOND).await;
    assert!(db.runs() >= 5);
    assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
    drop(health);
    after(SECOND).await;
}

// Logs

#[tokio::test(start_paused = true)]
async fn each_transition_is_logged_once_with_its_duration_and_reason() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let db = Scripted::new(Status::Pass);
    let _health = builder()
        .check(Check::new("db", db.clone()).period(SECOND))
        .start()
        .unwrap();
    after(ms(500)).await;
    let lines = log.lines();
    let [check, startup, readiness] = &lines[..] else {
        panic!("{lines:#?}")
    };
    assert!(
        check.starts_with("DEBUG ") && check.contains("health check passes"),
        "{check}"
    );
    assert!(
        check.contains(
            "service=\"orders\" check=\"db\" to=\"pass\" criticality=\"critical\" lasted_seconds="
        ),
        "{check}"
    );
    assert!(
        startup.starts_with("INFO ") && startup.contains("probe=\"startup\""),
        "{startup}"
    );
    assert!(
        readiness.contains("probe=\"readiness\" from=\"fail\" to=\"pass\""),
        "{readiness}"
    );

    let failure = Failure::new(Reason::ConnectionRefused)
        .with_cause("cannot reach postgres://app:hunter2@db.internal/orders");
    db.set_outcome(Outcome::from(failure));
    after(60 * SECOND).await;
    let lines = log.lines();
    let [check, readiness] = &lines[..] else {
        panic!("{lines:#?}")
    };
    assert!(
        check.starts_with("WARN ") && check.contains("health check fails"),
        "{check}"
    );
    let why = "from=\"pass\" to=\"fail\" reason=\"connection refused\" \
               cause=\"cannot reach postgres://***@db.internal/orders\" criticality=\"critical\" \
               effect=\"not ready\" lasted_seconds=";
    assert!(check.contains(why), "{check}");
    assert!(
        readiness.starts_with("ERROR ")
            && readiness.contains("to=\"fail\" checks=\"db connection refused (critical)\""),
        "{readiness}"
    );

    db.set_outcome(Status::Pass);
    after(3 * SECOND).await;
    let lines = log.lines();
    let [check, readiness] = &lines[..] else {
        panic!("{lines:#?}")
    };
    assert!(
        check.starts_with("INFO ") && readiness.starts_with("INFO "),
        "{lines:#?}"
    );
    let lasted = check
        .split("lasted_seconds=")
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap();
    assert!((55.0..65.0).contains(&lasted), "{lasted}");
}

/// Returns the lines without the times and durations in them.
pub(crate) fn timeless(lines: &[String]) -> Vec<String> {
    let is_timed = |word: &&str| {
        let (field, _) = word.split_once('=').unwrap_or((word, ""));
        ![
            "lasted_seconds",
            "failing_seconds",
            "within_seconds",
            "since",
        ]
        .contains(&field)
    };
    let timeless = |line: &String| {
        line.split(' ')
            .filter(is_timed)
            .collect::<Vec<_>>()
            .join(" ")
    };
    lines.iter().map(timeless).collect()
}

#[tokio::test(start_paused = true)]
async fn an_outage_whose_reason_changes_has_a_line_for_each_reason_and_the_runbook() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let metrics = install();
    let redis = Scripted::hanging();
    let _health = builder()
        .check(
            Check::new("redis", redis.clone())
                .non_critical()
                .runbook("https://runbooks.example/redis")
                .period(SECOND),
        )
        .start()
        .unwrap();
    after(10 * SECOND).await;
    let wrong = Outcome::fail(Reason::AuthenticationFailed).with_cause("WRONGPASS");
    redis.set_outcome(wrong);
    after(60 * SECOND).await;
    redis.set_outcome(Status::Pass);
    after(10 * SECOND).await;
    let lines = log.lines();
    let of_check: Vec<String> = lines
        .iter()
        .filter(|line| line.contains("check="))
        .cloned()
        .collect();
    let end = "criticality=\"non_critical\" effect=\"stays ready\" \
               runbook=\"https://runbooks.example/redis\"";
    assert_eq!(
        timeless(&of_check),
        [
            format!(
                "WARN tower_health: health check fails service=\"orders\" check=\"redis\" \
                 to=\"fail\" reason=\"timed out\" {end}"
            ),
            format!(
                "WARN tower_health: health check still fails service=\"orders\" check=\"redis\" \
                 from_reason=\"timed out\" reason=\"authentication failed\" \
                 cause=\"WRONGPASS\" {end}"
            ),
            "INFO tower_health: health check passes service=\"orders\" check=\"redis\" \
             from=\"fail\" to=\"pass\" criticality=\"non_critical\" \
             runbook=\"https://runbooks.example/redis\""
                .to_owned()
        ]
    );
    assert!(of_check[1].contains("since=20"), "{of_check:#?}");
    let failures = |reason: &str| {
        let labels = format!("check=\"redis\",reason=\"{reason}\"");
        metrics.value("health_check_failures_total", &labels)
    };
    assert_eq!(failures("timed out"), metrics.runs("redis", "timeout"));
    assert_eq!(
        failures("authentication failed"),
        metrics.runs("redis", "fail")
    );
    assert_eq!(failures("busy"), None, "it has not occurred");
}

#[tokio::test(start_paused = true)]
async fn a_length_of_time_in_a_line_is_rounded() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let db = Scripted::new(Status::Pass);
    let _health = builder()
        .check(Check::new("db", db.clone()).period(ms(1234)))
        .start()
        .unwrap();
    after(10 * SECOND).await;
    db.set_outcome(Status::Fail);
    after(10 * SECOND).await;
    let lines = log.lines();
    for line in &lines {
        let lasted = line.split("lasted_seconds=").nth(1).unwrap();
        let fraction = lasted.trim().split('.').nth(1).unwrap_or("");
        assert!(fraction.len() <= 3, "{line}");
    }
    assert!(lines.len() > 3);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_becomes_ready_says_which_checks_keep_it_from_that() {
    let (log, _guard) = Log::listen(Level::INFO);
    let shard = |number| Check::new(format!("shard-{number}"), Scripted::new(Status::Fail));
    let _health = builder().checks((0..5).map(shard)).start().unwrap();
    after(60 * SECOND).await;
    let lines = timeless(&log.lines());
    let readiness: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("probe=\"readiness\""))
        .collect();
    assert_eq!(
        readiness,
        [
            "ERROR tower_health: health verdict has another reason service=\"orders\" \
             probe=\"readiness\" status=\"fail\" from_reason=\"starting\" \
             checks=\"shard-0 failed (critical), shard-1 failed (critical), \
             shard-2 failed (critical), 2 more\""
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_and_a_maintenance_are_no_errors_and_are_logged_while_checks_fail() {
    let (log, _guard) = Log::listen(Level::INFO);
    let health = builder()
        .check(Check::new("db", Scripted::new(Status::Fail)))
        .start()
        .unwrap();
    after(SECOND).await;
    log.lines();
    health.maintenance("reindexing", 600 * SECOND);
    after(SECOND).await;
    health.drain().await;
    let lines = timeless(&log.lines());
    let readiness: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("probe=\"readiness\""))
        .collect();
    let line = |from, to| {
        format!(
            "INFO tower_health: health verdict has another reason service=\"orders\" \
             probe=\"readiness\" status=\"fail\" from_reason=\"{from}\" reason=\"{to}"
        )
    };
    assert_eq!(readiness.len(), 2, "{lines:#?}");
    assert!(
        readiness[0].starts_with(&line("checks", "maintenance\" cause=\"reindexing\"")),
        "{lines:#?}"
    );
    assert!(
        readiness[1].starts_with(&line("maintenance", "draining\"")),
        "{lines:#?}"
    );
    assert!(!lines.iter().any(|line| line.starts_with("ERROR")));
}

#[tokio::test(start_paused = true)]
async fn a_check_has_its_properties_as_a_metric_which_follow_a_replacement() {
    let metrics = install();
    let health = builder()
        .check(Check::new("db", Scripted::new(Status::Pass)).shared())
        .start()
        .unwrap();
    let _consumer = health.heartbeat("consumer", 60 * SECOND).await.unwrap();
    after(SECOND).await;
    let info = |labels: &str| metrics.value("health_check_info", labels);
    let is = |criticality| {
        format!("check=\"db\",criticality=\"{criticality}\",component_type=\"component\"")
    };
    assert_eq!(info(&is("shared")), Some(1.0));
    let critical = Check::new("db", Scripted::new(Status::Pass));
    health.replace(critical).await.unwrap();
    after(SECOND).await;
    assert_eq!(info(&is("critical")), Some(1.0));
    assert!(info(&is("shared")).unwrap().is_nan());
    health.remove("db").await.unwrap();
    after(SECOND).await;
    assert!(info(&is("critical")).unwrap().is_nan());
    assert_eq!(metrics.runs("consumer", "pass"), None, "it has no runs");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_failures_in_a_row_log_two_lines() {
    let (log, _guard) = Log::listen(Level::TRACE);
    let db = Scripted::new(Status::Pass);
    let health = builder()
        .check(
            Check::new("db", db.clone())
                .period(ms(100))
                .retry_period(ms(100))
                .timeout(ms(50)),
        )
        .start()
        .unwrap();
    after(SECOND).await;
    log.lines();
    db.set_outcome(Outcome::fail(Reason::Failed).with_cause("no"));
    let runs = db.runs();
    while db.runs() < runs + 10_000 {
        after(100 * SECOND).await;
    }
    // The line of the check, and the line of readiness.
    let lines = log.lines();
    let [check, readiness] = &lines[..] else {
        panic!("{lines:#?}")
    };
    assert!(
        check.contains("check=\"db\"") && check.contains("cause=\"no\""),
        "{check}"
    );
    assert!(readiness.contains("probe=\"readiness\""), "{readiness}");
    assert!(health.check("db").unwrap().streak >= 10_000);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_is_logged() {
    let (log, _guard) = Log::listen(Level::INFO);
    let _health = builder()
        .check(Check::new("db", Scripted::new(Status::Fail)))
        .start()
        .unwrap();
    after(60 * SECOND).await;
    let lines = log.lines();
    let failed = lines
        .iter()
        .filter(|line| line.contains("health check fails"));
    assert_eq!(failed.count(), 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_lasts_longer_than_a_period_is_logged_once() {
    let (log, _guard) = Log::listen(Level::WARN);
    let slow = || Scripted::new(Status::Pass).duration(ms(1_900));
    let _health = builder()
        .checks((0..10).map(|i| Check::new(format!("slow-{i}"), slow()).period(SECOND)))
        .concurrency(1)
        .start()
        .unwrap();
    after(60 * SECOND).await;
    let lines = log.lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("raise the concurrency"));
    assert_eq!(said.count(), 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_does_not_end_the_engine() {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(|| -> std::io::Stdout { panic!("a broken subscriber") })
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let slow = Scripted::new(Status::Pass).duration(ms(1_900));
    let health = builder()
        .checks((0..10).map(|i| Check::new(format!("slow-{i}"), slow.clone()).period(SECOND)))
        .concurrency(1)
        .start()
        .unwrap();
    after(60 * SECOND).await;
    let runs = slow.runs();
    after(60 * SECOND).await;
    assert!(slow.runs() > runs + 20);
    assert_eq!(health.verdict(Probe::Liveness).status, Status::Pass);
}

#[tokio::test(start_paused = true)]
async fn a_requested_run_that_waits_too_long_is_logged_once() {
    let (log, _guard) = Log::listen(Level::WARN);
    let health = builder()
        .concurrency(1)
        .check(Check::new("hog", Scripted::hanging()).timeout(600 * SECOND))
        .check(Check::new("db", Scripted::new(Status::Pass)).on_demand(SECOND))
        .start()
        .unwrap();
    after(SECOND).await;
    drop(health.run_now("db"));
    after(60 * SECOND).await;
    let lines = log.lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("raise the concurrency"));
    assert_eq!(said.count(), 1, "{lines:#?}");
}

/// A password in an outcome or a name of a check never appears in anything that operators see.
#[tokio::test(start_paused = true)]
async fn no_metric_log_or_event_contains_a_password() {
    const PASSWORD: &str = "hunter2";
    let (log, _guard) = Log::listen(Level::TRACE);
    let metrics = install();
    let failing =
        |cause: &str| Scripted::new(Outcome::fail(Reason::ConnectionRefused).with_cause(cause));
    let warning = Outcome::warn(Reason::Busy)
        .with_cause("token=hunter2")
        .measure("user", "app:hunter2".to_owned(), "");
    let blocking = || -> Result<(), io::Error> {
        Err(io::Error::other("amqp://guest:hunter2@mq:5672/%2f is gone"))
    };
    let health = builder()
        .check(Check::new(
            "url",
            failing("postgres://app:hunter2@db.internal:5432/orders"),
        ))
        .check(Check::new(
            "host",
            failing("no host is called app:hunter2@db.internal"),
        ))
        .check(Check::new(
            "pair",
            failing("host=db user=app password=hunter2 sslmode=require"),
        ))
        .check(Check::new(
            "json",
            failing(r#"{"host":"db","password":"hunter2"}"#),
        ))
        .check(Check::new("panic", Scripted::panicking("password=hunter2")))
        .check(Check::new("warning", Scripted::new(warning)))
        .check(Check::blocking("blocking", blocking))
        .start()
        .unwrap();
    let mut events = health.subscribe();
    let service = health.service();
    for _ in 0..3 {
        after(20 * SECOND).await;
        for path in [
            "/health",
            "/ready",
            "/health/hunter2",
            "/health/url?password=hunter2",
        ] {
            ask(&service, path).await;
        }
    }
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(ms(1), events.next()).await {
        told.push(format!(
            "{event:?} {}",
            serde_json::to_string(&event).unwrap()
        ));
        if let Event::Check(transition) = event {
            told.extend(transition.cause.map(|cause| cause.redacted().to_owned()));
        }
    }
    assert!(told.len() >= 14, "{told:#?}");
    let (log, metrics) = (log.lines().join("\n"), metrics.handle.render());
    for name in [
        "url", "host", "pair", "json", "panic", "warning", "blocking",
    ] {
        let label = format!("check=\"{name}\"");
        assert!(
            log.contains(&label) && metrics.contains(&label),
            "{name}: {log}"
        );
    }
    for seen in told.iter().chain([&log, &metrics]) {
        assert!(!seen.contains(PASSWORD), "{seen}");
    }
    // The logs of operators contain redacted causes. Labels contain only names and fixed values.
    for private in ["db.internal", "mq:5672", "orders.rs", "is gone"] {
        assert!(!metrics.contains(private), "{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_half_a_minute_is_a_warning_at_start() {
    let (log, _guard) = Log::listen(Level::WARN);
    let start = |delay: Duration, finish: Duration| {
        let health = builder()
            .drain_delay(delay)
            .drain_finish(finish)
            .start()
            .unwrap();
        drop(health);
        log.lines()
    };
    let told = start(5 * SECOND, ms(19_999));
    assert!(told.is_empty(), "{told:?}");
    let told = start(5 * SECOND, 20 * SECOND);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("30"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_critical_check_that_depends_on_a_shared_one_is_a_warning_at_start() {
    let (log, _guard) = Log::listen(Level::WARN);
    let check = |name: &str| Check::new(name, Scripted::new(Status::Pass));
    let health = builder()
        .check(check("postgres").shared())
        .check(check("schema").depends_on("postgres"))
        .check(check("ledger").shared().depends_on("postgres"))
        .check(check("cache").non_critical().depends_on("postgres"))
        .start()
        .unwrap();
    let told = log.lines();
    assert_eq!(told.len(), 1, "{told:?}");
    for word in ["schema", "postgres", ".shared()"] {
        assert!(told[0].contains(word), "{told:?}");
    }
    drop(health);
}

#[tokio::test(start_paused = true)]
async fn the_settings_of_each_check_are_logged_at_the_start() {
    let (log, _guard) = Log::listen(Level::DEBUG);
    let _health = builder()
        .defaults(CheckDefaults::default().period(30 * SECOND).fail_after(3))
        .check(
            Check::new("db", Scripted::new(Status::Pass))
                .shared()
                .timeout(ms(500)),
        )
        .check(Check::new("asked", Scripted::new(Status::Pass)).on_demand(60 * SECOND))
        .start()
        .unwrap();
    assert_eq!(
        log.all_lines(),
        [
            r#"DEBUG tower_health: health check is registered service="orders" check="db" criticality="shared" period_seconds=30.0 retry_period_seconds=30.0 timeout_seconds=0.5 max_age_seconds=90.5 fail_after=3 pass_after=1 flapping_low=10 flapping_high=25"#,
            r#"DEBUG tower_health: health check is registered service="orders" check="asked" criticality="critical" on_demand_seconds=60.0 retry_period_seconds=2.0 timeout_seconds=2.0 max_age_seconds=182.0 fail_after=3 pass_after=1 flapping_low=10 flapping_high=25"#,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_drain_names_the_routes_and_the_work_that_are_unfinished() {
    let (log, _guard) = Log::listen(Level::INFO);
    let health = builder().start().unwrap();
    let endpoints = Endpoints::builder()
        .in_flight_names(|_, extensions| Some(extensions.get::<MatchedPath>()?.as_str()))
        .build()
        .unwrap();
    let hangs = || async { std::future::pending::<()>().await };
    let app: Router = Router::new()
        .route("/orders/{id}", get(hangs))
        .route("/quick", get(|| async { "done" }))
        .fallback(hangs)
        .layer(health.layer().endpoints(endpoints));
    assert_eq!(ask(&app, "/quick").await.body, "done");
    let clients = ["/orders/7", "/orders/8", "/elsewhere"].map(|path| {
        let app = app.clone();
        tokio::spawn(async move { ask(&app, path).await })
    });
    let short = health.in_flight().named("refund");
    let job = health.in_flight().named("nightly report");
    after(SECOND).await;
    log.lines();
    health.drain();
    drop(short);
    health.drained().await;
    clients[0].abort();
    after(10 * SECOND).await;
    let lines = log.lines();
    let closes = lines
        .iter()
        .find(|line| line.contains("servers stop accepting"))
        .unwrap();
    assert!(
        closes.contains(
            r#"in_flight=4 names="/orders/{id} (2), nightly report (1), 1 without a name""#
        ),
        "{lines:#?}"
    );
    let cut = lines.iter().find(|line| line.contains("are cut")).unwrap();
    assert!(
        cut.contains(
            r#"in_flight=3 names="nightly report (1), /orders/{id} (1), 1 without a name""#
        ),
        "{lines:#?}"
    );
    drop(job);
}
