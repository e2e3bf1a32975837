//! Metrics, through the [`metrics`](https://docs.rs/metrics) facade. Install any recorder, such as
//! that of `metrics-exporter-prometheus`, to receive them.
//!
//! | name | kind | labels | value |
//! | --- | --- | --- | --- |
//! | [`health_status`](HEALTH_STATUS) | gauge | `service`, `probe` | a verdict: 1 pass, 0.5 warn, 0 fail |
//! | [`health_check_status`](HEALTH_CHECK_STATUS) | gauge | `service`, `check` | the status of a check: 1 pass, 0.5 warn, 0 fail, stale or not known yet |
//! | [`health_check_runs_total`](HEALTH_CHECK_RUNS_TOTAL) | counter | `service`, `check`, `result` | runs that ended or were given up: `pass`, `warn`, `fail`, `timeout`, `panic` |
//! | [`health_check_failures_total`](HEALTH_CHECK_FAILURES_TOTAL) | counter | `service`, `check`, `reason` | failing runs by their public reason, such as `timed out` |
//! | [`health_check_info`](HEALTH_CHECK_INFO) | gauge | `service`, `check`, `criticality`, `component_type` | 1, to join the properties of a check |
//! | [`health_check_flapping`](HEALTH_CHECK_FLAPPING) | gauge | `service`, `check` | 1 while the check flaps, else 0 |
//! | [`health_check_duration_seconds`](HEALTH_CHECK_DURATION_SECONDS) | histogram | `service`, `check` | the duration of these runs |
//! | [`health_check_last_success_timestamp_seconds`](HEALTH_CHECK_LAST_SUCCESS_TIMESTAMP_SECONDS) | gauge | `service`, `check` | the time of the last run with a good outcome, in Unix time, or 0 if there was none |
//! | [`health_check_transitions_total`](HEALTH_CHECK_TRANSITIONS_TOTAL) | counter | `service`, `check`, `to` | changes of the status of a check to `pass`, `warn` or `fail` |
//! | [`health_probe_requests_total`](HEALTH_PROBE_REQUESTS_TOTAL) | counter | `service`, `probe`, `code` | answered requests for `liveness`, `readiness`, `startup`, `health`, or one `check` |
//! | [`health_runtime_lag_seconds`](HEALTH_RUNTIME_LAG_SECONDS) | gauge | `service`, `runtime` | the longest delay in the last second with which a watched runtime polled a ready task |
//!
//! # Rules
//!
//! 1. A scrape runs no check. It sees what probers see.
//! 2. Labels contain the name of the service, the names of registered checks, the fixed words above,
//!    and public reasons, which are a closed set. They contain no other text that a check returned,
//!    and nothing that a client sent.
//! 3. A recorder may be installed before or after the service starts. A recorder that is installed
//!    later receives everything within about 1 s, or within 10 s if no check runs. Its counters
//!    count from the start of the service.
//! 4. The gauges of a check are set again with each run, and those of the verdicts every 10 s. An
//!    exporter that drops idle gauges therefore needs an idle timeout that is longer than the
//!    longest period. Do not let an exporter drop idle counters, because a counter that starts
//!    again hides its first count from a rate.
//! 5. The facade cannot remove a gauge. The gauges of a removed check, of the properties that a check
//!    had before it was replaced, of a runtime that has ended, and of a service whose last
//!    [`Health`](crate::Health) is gone become NaN. Comparisons such as `==`, `<` and `>` do not hold
//!    for NaN. To make an exporter drop them, set its idle timeout for gauges
//!    (`PrometheusBuilder::idle_timeout`).
//! 6. If the runtime that runs the checks ends, every gauge of a status becomes 0. The exception is
//!    startup, if it had passed. If that runtime only stalls, gauges keep their last values. Alert
//!    on the absence of runs as well.
//! 7. Two services in one process differ in their label `service`.
//!
//! # Alerts
//!
//! With Prometheus:
//!
//! | expression | fires when |
//! | --- | --- |
//! | `health_status{probe="readiness"} == 0` for a minute | an instance is not ready |
//! | `avg by (job, service) (health_status{probe="readiness"} == bool 0) > 0.5` for a minute | most instances are not ready: the cause is shared |
//! | `health_status{probe="liveness"} == 0` | liveness fails, for example because the runtime of the checks has ended |
//! | `sum by (job, instance, service) (increase(health_check_runs_total[2m])) == 0` for a minute | no check has run for two minutes: the engine has ended, or its runtime is stalled |
//! | `time() - health_check_last_success_timestamp_seconds > 300 and health_check_status == 0` for a minute | a check has not passed for five minutes, or is on demand and nobody has read it |
//! | `health_check_status == 0 and on (job, instance, service, check) health_check_info{criticality="critical"} == 1` for a minute | a critical check fails |
//! | `health_check_flapping == 1` for a minute | a check flaps: repair its dependency, or raise its thresholds |
//!
//! The same alerts as a rule file are among the [configurations][rules].
//!
//! [rules]: https://docs.rs/tower-health/latest/tower_health/guide/configurations/index.html
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use metrics_exporter_prometheus::PrometheusBuilder;
//! use tower_health::{Check, Health, Probe, Status};
//!
//! let metrics = PrometheusBuilder::new().install_recorder()?;
//! let health = Health::builder("orders")
//!     .check(Check::new("clock", || async { Status::Pass }))
//!     .start()?;
//! let scrape = metrics.clone();
//! let app: Router = Router::new()
//!     .route("/metrics", get(move || async move { scrape.render() }))
//!     .layer(health.layer());
//!
//! health.wait_until_good(Probe::Readiness).await?;
//! # tokio::task::yield_now().await;
//! assert!(metrics.render().contains(r#"health_check_status{service="orders",check="clock"} 1"#));
//! # Ok(())
//! # }
//! ```

mod recording;
mod requests;

pub(crate) use self::{
    recording::{Metrics, Recording, runtime_lag},
    requests::ProbeRequests,
};

/// Gauge of a verdict: 1 pass, 0.5 warn, 0 fail. Its labels are `service` and `probe`, which is
/// `liveness`, `readiness`, `startup` or `health`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use tower_health::{Health, metrics::HEALTH_STATUS};
///
/// let metrics = PrometheusBuilder::new().install_recorder()?;
/// let health = Health::builder("orders").start()?;
/// health.maintenance("reindexing", Duration::from_secs(600));
/// tokio::time::sleep(Duration::from_secs(1)).await;
/// let readiness = format!(r#"{HEALTH_STATUS}{{service="orders",probe="readiness"}} 0"#);
/// assert!(metrics.render().contains(&readiness));
/// let liveness = format!(r#"{HEALTH_STATUS}{{service="orders",probe="liveness"}} 1"#);
/// assert!(metrics.render().contains(&liveness));
/// # Ok(())
/// # }
/// ```
pub const HEALTH_STATUS: &str = "health_status";

/// Gauge of the status of a check: 1 pass, 0.5 warn, 0 fail. It is also 0 for a check that is stale
/// or whose status is not known yet. Its labels are `service` and `check`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use tower_health::{Check, Health, Status, metrics::HEALTH_CHECK_STATUS};
///
/// let metrics = PrometheusBuilder::new().install_recorder()?;
/// let health = Health::builder("orders")
///     .check(Check::new("disk", || async { Status::Warn }))
///     .start()?;
/// health.run_now("disk").await?;
/// # tokio::task::yield_now().await;
/// let disk = format!(r#"{HEALTH_CHECK_STATUS}{{service="orders",check="disk"}} 0.5"#);
/// assert!(metrics.render().contains(&disk));
/// # Ok(())
/// # }
/// ```
pub const HEALTH_CHECK_STATUS: &str = "health_check_status";

/// Counter of the runs of a check that ended, or were given up at their timeout.
///
/// Its labels are `service`, `check` and `result`, which is `pass`, `warn`, `fail`, `timeout` or
/// `panic`. A run counts once. Every result has a series from the start, with the value 0, so that
/// a rate sees the first run. A reporter, a heartbeat and a watched runtime have no runs, and no
/// series here.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use tower_health::{Check, Health, metrics::HEALTH_CHECK_RUNS_TOTAL, testing::ScriptedCheck};
///
/// let metrics = PrometheusBuilder::new().install_recorder()?;
/// let health = Health::builder("orders")
///     .check(Check::new("database", ScriptedCheck::hanging()))
///     .start()?;
/// health.run_now("database").await?;
/// # tokio::task::yield_now().await;
/// for (result, count) in [("timeout", 1), ("pass", 0)] {
///     let labels = format!(r#"service="orders",check="database",result="{result}""#);
///     let runs = format!("{HEALTH_CHECK_RUNS_TOTAL}{{{labels}}} {count}");
///     assert!(metrics.render().contains(&runs));
/// }
/// # Ok(())
/// # }
/// ```
pub const HEALTH_CHECK_RUNS_TOTAL: &str = "health_check_runs_total";

/// Counter of the failing runs of a check, by their public reason.
///
/// Its labels are `service`, `check` and `reason`, which is the text of a
/// [`Reason`](crate::Reason), such as `timed out` or `authentication failed`. A series begins with
/// the first failure for that reason, so a rate does not see that one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use tower_health::{Check, Health, metrics::HEALTH_CHECK_FAILURES_TOTAL, testing::ScriptedCheck};
///
/// let metrics = PrometheusBuilder::new().install_recorder()?;
/// let health = Health::builder("orders")
///     .check(Check::new("database", ScriptedCheck::hanging()))
///     .start()?;
/// health.run_now("database").await?;
/// # tokio::task::yield_now().await;
/// let labels = r#"service="orders",check="database",reason="timed out""#;
/// let failures = format!("{HEALTH_CHECK_FAILURES_TOTAL}{{{labels}}} 1");
/// assert!(metrics.render().contains(&failures));
/// # Ok(())
/// # }
/// ```
pub const HEALTH_CHECK_FAILURES_TOTAL: &str = "health_check_failures_total";

/// Gauge of the properties of a check. Its value is 1, and NaN for properties that it no longer has.
///
/// Its labels are `service`, `check`, `criticality` (`critical`, `shared` or `non_critical`) and
/// `component_type` (`component`, `datastore` or `system`). An alert rule joins it to find, for
/// example, the failing checks that are critical:
///
/// ```text
/// health_check_status == 0
///   and on (job, instance, service, check) health_check_info{criticality="critical"} == 1
/// ```
pub const HEALTH_CHECK_INFO: &str = "health_check_info";

/// Gauge that is 1 while a check [flaps](crate::Check::flapping), else 0. Its labels are `service` and
/// `check`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use tower_health::{
///     Check, Health, Status, metrics::HEALTH_CHECK_FLAPPING, testing::ScriptedCheck,
/// };
///
/// let metrics = PrometheusBuilder::new().install_recorder()?;
/// let cache = ScriptedCheck::new(Status::Pass);
/// let health = Health::builder("orders")
///     .check(Check::new("cache", cache.clone()))
///     .start()?;
/// for status in [Status::Pass, Status::Fail, Status::Pass, Status::Fail] {
///     cache.set_outcome(status);
///     health.run_now("cache").await?;
/// }
/// # tokio::task::yield_now().await;
/// let flaps = format!(r#"{HEALTH_CHECK_FLAPPING}{{service="orders",check="cache"}} 1"#);
/// assert!(metrics.render().contains(&flaps));
/// # Ok(())
/// # }
/// ```
pub const HEALTH_CHECK_FLAPPING: &str = "health_check_flapping";

/// Histogram of the duration of the runs of a check, in seconds.
///
/// Its labels are `service` and `check`. A run that was given up is recorded with its duration
/// until then. The application sets the buckets, in the recorder. A recorder that is installed late
/// receives no earlier durations.
///
/// Without buckets, the exporter for Prometheus writes a summary: nine lines for each check, whose
/// quantiles cannot be aggregated. With buckets it writes a histogram:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
/// use tower_health::metrics::HEALTH_CHECK_DURATION_SECONDS;
///
/// let duration = Matcher::Full(HEALTH_CHECK_DURATION_SECONDS.to_owned());
/// let metrics = PrometheusBuilder::new()
///     .set_buckets_for_metric(duration, &[0.01, 0.1, 1.0])?
///     .install_recorder()?;
/// # assert!(metrics.render().is_empty());
/// # Ok(())
/// # }
/// ```
pub const HEALTH_CHECK_DURATION_SECONDS: &str = "health_check_duration_seconds";

/// Gauge of the time of the last run of a check with a good outcome, in seconds of Unix time.
///
/// It is 0 if there was none. Its labels are `service` and `check`. Subtract it from `time()` to
/// alert on the age of the last success. An outcome that the thresholds of the check do not accept
/// yet counts as well.
pub const HEALTH_CHECK_LAST_SUCCESS_TIMESTAMP_SECONDS: &str =
    "health_check_last_success_timestamp_seconds";

/// Counter of the transitions of a check: see [`CheckTransition`](crate::event::CheckTransition).
/// Its labels are `service`, `check` and `to`, which is `pass`, `warn` or `fail`.
///
/// Repeats do not count. Each change counts, also while the check [flaps](HEALTH_CHECK_FLAPPING) and
/// its transitions are not announced.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use tower_health::{Check, Health, Status, metrics::HEALTH_CHECK_TRANSITIONS_TOTAL};
///
/// let metrics = PrometheusBuilder::new().install_recorder()?;
/// let health = Health::builder("orders")
///     .check(Check::new("clock", || async { Status::Pass }))
///     .start()?;
/// tokio::time::sleep(Duration::from_secs(60)).await;
/// let labels = r#"service="orders",check="clock",to="pass""#;
/// let transitions = format!("{HEALTH_CHECK_TRANSITIONS_TOTAL}{{{labels}}} 1\n");
/// assert!(metrics.render().contains(&transitions));
/// # Ok(())
/// # }
/// ```
pub const HEALTH_CHECK_TRANSITIONS_TOTAL: &str = "health_check_transitions_total";

/// Gauge of the longest delay in the last second with which a runtime polled a ready task, in
/// seconds.
///
/// If the runtime does not poll, it is the time since it should have. The
/// [watchdog](crate::HealthBuilder::watchdog) publishes it from its own thread. Its labels are
/// `service` and `runtime`, which is the name of the runtime's check.
pub const HEALTH_RUNTIME_LAG_SECONDS: &str = "health_runtime_lag_seconds";

/// Counter of the requests over HTTP that were answered.
///
/// Its labels are `service`, `probe` and `code`. The label `probe` is `liveness`, `readiness`,
/// `startup`, `health`, or `check` for the path of a single check. The label `code` is the HTTP
/// status code. At most 15 codes are counted separately. They always include 200, 404, 405 and 503.
/// All further codes are counted as `other`.
///
/// They are published with the other metrics, so a scrape may be 10 s behind.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use http::Request;
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use tower::ServiceExt;
/// use tower_health::{Health, metrics::HEALTH_PROBE_REQUESTS_TOTAL};
///
/// let metrics = PrometheusBuilder::new().install_recorder()?;
/// let health = Health::builder("orders").start()?;
/// health.service().oneshot(Request::get("/ready").body(())?).await?;
/// tokio::time::sleep(Duration::from_secs(11)).await;
/// let labels = r#"service="orders",probe="readiness",code="200""#;
/// let requests = format!("{HEALTH_PROBE_REQUESTS_TOTAL}{{{labels}}} 1");
/// assert!(metrics.render().contains(&requests));
/// # Ok(())
/// # }
/// ```
pub const HEALTH_PROBE_REQUESTS_TOTAL: &str = "health_probe_requests_total";
