//! What is measured, by the [`metrics`](https://docs.rs/metrics) facade: install any recorder, such as that of
//! `metrics-exporter-prometheus`, and it is told.
//!
//! | name | kind | labels | says |
//! | --- | --- | --- | --- |
//! | [`health_status`](HEALTH_STATUS) | gauge | `service`, `probe` | a verdict: 1 pass, 0.5 warn, 0 fail |
//! | [`health_check_status`](HEALTH_CHECK_STATUS) | gauge | `service`, `check` | a check: 1 pass, 0.5 warn, 0 fail, stale or not known yet |
//! | [`health_check_runs_total`](HEALTH_CHECK_RUNS_TOTAL) | counter | `service`, `check`, `result` | runs that ended, or were given up: `pass`, `warn`, `fail`, `timeout`, `panic` |
//! | [`health_check_duration_seconds`](HEALTH_CHECK_DURATION_SECONDS) | histogram | `service`, `check` | how long they took |
//! | [`health_check_last_success_timestamp_seconds`](HEALTH_CHECK_LAST_SUCCESS_TIMESTAMP_SECONDS) | gauge | `service`, `check` | when a run last had a good outcome, in Unix time; 0 if none ever had |
//! | [`health_check_transitions_total`](HEALTH_CHECK_TRANSITIONS_TOTAL) | counter | `service`, `check`, `to` | changes of its status: to `pass`, `warn`, `fail` |
//! | [`health_probe_requests_total`](HEALTH_PROBE_REQUESTS_TOTAL) | counter | `service`, `probe`, `code` | answers to requests: for `liveness`, `readiness`, `startup`, `health`, or one `check` |
//! | [`health_runtime_lag_seconds`](HEALTH_RUNTIME_LAG_SECONDS) | gauge | `service`, `runtime` | how late a watched runtime polled what was ready, at most, in the last second |
//!
//! # Rules
//!
//! 1. A scrape runs nothing, and sees what probers see.
//! 2. Labels are the service's name, the names of registered checks, and the fixed words above; nothing that a check
//!    said or a caller sent.
//! 3. The order of installing a recorder and of starting does not matter: one that comes late is told everything
//!    within a second or so (ten where no check runs), and the counters count from the start. Gauges are set again
//!    with each run, and those of verdicts every 10 s, so an exporter that forgets idle gauges may do so after
//!    more than the longest period. Let it forget no counter: one that begins anew hides its first count from a rate.
//! 4. The facade has no way to take a gauge back. Those of a check that was removed or of a runtime that has ended, and all of a
//!    service whose last [`Health`](crate::Health) is gone, become NaN, which no comparison holds for. To have an exporter forget them, set
//!    its idle timeout for gauges (`PrometheusBuilder::idle_timeout`).
//! 5. When the runtime ends that ran the checks, every gauge of a status becomes 0, but for a startup that had
//!    passed. When it only stalls, gauges keep their last values: alert on runs that cease, too.
//! 6. Two services in one process differ by their label `service`.
//!
//! # Alerts
//!
//! With Prometheus:
//!
//! | expression | fires when |
//! | --- | --- |
//! | `health_status{probe="readiness"} == 0` for a minute | an instance is not ready |
//! | `avg by (job, service) (health_status{probe="readiness"} == bool 0) > 0.5` for a minute | most instances are not ready: what is wrong is shared |
//! | `health_status{probe="liveness"} == 0` | the checks' runtime has ended, among others |
//! | `sum by (job, instance, service) (increase(health_check_runs_total[2m])) == 0` for a minute | no check has run for two minutes: the engine has ended, or its runtime stands still |
//! | `time() - health_check_last_success_timestamp_seconds > 300 and health_check_status == 0` for a minute | a check has not been good for five minutes (or nobody read it, if it runs on demand) |
//! | `changes(health_check_status[15m]) > 6` | a check flaps: raise its thresholds |
//!
//! The same as a rule file is among the [configurations](https://docs.rs/tower-health/latest/tower_health/guide/configurations/index.html).
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
    recording::{Metrics, Telling, Totals, runtime_lag},
    requests::ProbeRequests,
};

/// A verdict: 1 pass, 0.5 warn, 0 fail. Labels `service` and `probe`, one of `liveness`, `readiness`, `startup` and
/// `health`.
pub const HEALTH_STATUS: &str = "health_status";

/// The status of a check: 1 pass, 0.5 warn, 0 fail, which a check reads as that is stale or that nothing is known of
/// yet. Labels `service` and `check`.
pub const HEALTH_CHECK_STATUS: &str = "health_check_status";

/// The runs of a check that ended, or were given up at their timeout. Labels `service`, `check` and `result`, one of
/// `pass`, `warn`, `fail`, `timeout` and `panic`.
pub const HEALTH_CHECK_RUNS_TOTAL: &str = "health_check_runs_total";

/// How long the runs of a check took, in seconds. Labels `service` and `check`.
pub const HEALTH_CHECK_DURATION_SECONDS: &str = "health_check_duration_seconds";

/// When a run of a check last had a good outcome, in seconds of Unix time; 0 if none ever had. Labels `service` and
/// `check`.
pub const HEALTH_CHECK_LAST_SUCCESS_TIMESTAMP_SECONDS: &str =
    "health_check_last_success_timestamp_seconds";

/// The transitions of a check: see [`CheckTransition`](crate::event::CheckTransition). Labels `service`, `check` and `to`, one
/// of `pass`, `warn` and `fail`.
pub const HEALTH_CHECK_TRANSITIONS_TOTAL: &str = "health_check_transitions_total";

/// How late a runtime polled what was ready, at most, in the last second, or for how long it has not polled at all, in seconds:
/// told by the [watchdog](crate::HealthBuilder::watchdog), from a thread of its own. Labels `service` and `runtime`, the name
/// of its check.
pub const HEALTH_RUNTIME_LAG_SECONDS: &str = "health_runtime_lag_seconds";

/// The requests over HTTP that were answered. Labels `service`, `probe` (one of `liveness`, `readiness`, `startup`, `health`,
/// and `check` for the path of a single check) and `code`, the HTTP status; it is `other` where a service answers with more
/// than 15 of them.
pub const HEALTH_PROBE_REQUESTS_TOTAL: &str = "health_probe_requests_total";
