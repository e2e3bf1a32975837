//! Health checks and probes for tower services. Register what the service depends on, answer every
//! prober, and let no prober run a check.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_health::{Check, Health};
//!
//! # #[derive(Clone)]
//! # struct Client;
//! # impl Client {
//! #     async fn ping(&self) -> std::io::Result<()> { Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (database, cache) = (Client, Client);
//! let health = Health::builder("orders")
//!     .release("1.4.2")
//!     .check(Check::with("postgres", database, |db| async move { db.ping().await }).shared())
//!     .check(Check::with("redis", cache, |cache| async move { cache.ping().await }).non_critical())
//!     .start()?;
//!
//! let app: Router = Router::new()
//!     .route("/orders", get(|| async { "no orders" }))
//!     .layer(health.layer()); // the last line: outermost
//! # Ok(())
//! # }
//! ```
//!
//! The service now answers `/ready`, `/live`, `/startup` and `/health`.
//!
//! # How it works
//!
//! An engine runs each check on its schedule, with a time limit, and writes the result to a board.
//! From the results follows a [verdict](report::Verdict) for each probe: a status, and its reason.
//! Probers only read the board. A read takes no lock, and a body is rendered once per change. As a
//! result:
//!
//! * A thousand probes cost the database nothing.
//! * A check that hangs delays no probe.
//! * A prober that disconnects cancels nothing.
//! * Two services that probe each other cannot make each other hang. But if each is a critical
//!   check of the other, neither is ever ready: let them probe liveness, or make the checks
//!   non-critical.
//!
//! A process that gets no CPU time between requests can run a check [on demand](Check::on_demand)
//! instead: when it is read. All readers share the runs. They wait only if there is no result yet,
//! or if the result is stale.
//!
//! # Where to start
//!
//! Read these five first, in this order:
//!
//! 1. [`Health`]: how to start it, how to read it, and how long it lives.
//! 2. [`Check`]: the forms of a check, and its settings with all defaults. The setting that needs
//!    thought is [`Criticality`].
//! 3. [`layer::probes`]: where to put the layer, and what it guarantees to the service below it.
//! 4. [`endpoint`]: the paths, status codes, headers and bodies that probers see. [`Endpoints`]
//!    configures them.
//! 5. [`Health::drain`] and [`Health::run`]: graceful shutdown. `HealthBuilder::handle_signals`
//!    begins it on a signal.
//!
//! The rest can wait until you need it:
//!
//! | you need | see |
//! | --- | --- |
//! | checks that need no driver | [`checks`] |
//! | checks of databases, caches, brokers, upstreams, DNS names, certificates and the system | [`tower-health-checks`](https://docs.rs/tower-health-checks) |
//! | a check type of your own | [`HealthCheck`], [`Outcome`], [`Failure`], [`Reason`] |
//! | checks that come and go while the service runs | [`Health::add`] |
//! | settings for all checks at once, or from a file | [`HealthBuilder::defaults`], [`HealthConfig`](config::HealthConfig) |
//! | to react to changes | [`Health::watch`], [`Health::subscribe`] |
//! | results that the application reports itself | [`Health::reporter`], [`Health::heartbeat`] |
//! | work that must succeed once before the service counts as started | [`HealthBuilder::startup_task`] |
//! | to detect a runtime that stalls | [`HealthBuilder::watchdog`] |
//! | to take an instance out of rotation temporarily | [`Health::maintenance`] |
//! | all stages of an instance in one diagram | [`Stage`](report::Stage) |
//! | a framework that is not tower | [`ProbeService::respond`](endpoint::ProbeService::respond) |
//! | a separate port for probes | `server` |
//! | gRPC, HAProxy's `agent-check`, or a probe without curl | `grpc`, `agent`, `exec` |
//! | the metrics that are recorded, and alerts for them | `metrics` |
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `metrics` | yes | `metrics`: records to the recorder that you install for the `metrics` facade |
//! | `signals` | yes | `HealthBuilder::handle_signals`; no signal is touched unless it is called |
//! | `server` | no | `server`: a management port, and `Health::run_http`, a server that finishes its connections |
//! | `grpc` | no | `grpc`: `grpc.health.v1` with `Check`, `Watch` and `List`, for tonic 0.14 |
//! | `agent` | no | `agent`: HAProxy's `agent-check` |
//! | `systemd` | no | `HealthBuilder::systemd`: `READY=1`, `STATUS=`, `STOPPING=1`, `WATCHDOG=1` |
//! | `exec` | no | `exec`: a probe without curl, for `main`, and the program `tower-health-probe` |
//! | `testing` | no | `testing`: fixed health, scripted checks, assertions on verdicts, a contract for checks |
//!
//! Checks of databases, caches, brokers, upstreams, DNS names, certificates and the system are
//! features of [`tower-health-checks`](https://docs.rs/tower-health-checks), one for each driver.
//!
//! # Public and private
//!
//! A [`Reason`] is one of a fixed list of words, and anyone may read it. A [`Cause`] is the text of
//! an error, and is private. It is redacted when it is created. It does not appear in any `Debug`
//! output, serialized value or metric label. A body contains the redacted text only for callers
//! with [full exposure](endpoint::Exposure::Full). Logs contain it, and code can read it with
//! [`Cause::redacted`].
//!
//! A check that panics fails with the location of the panic as its cause. The payload of the panic
//! is never shown.
//!
//! # Logs
//!
//! Each transition, and each new reason of a check or a verdict that does not pass, is logged once
//! through [`tracing`]. The target is `tower_health`. A check that [flaps](Check::flapping) has a
//! line when that begins and one when it ends instead.
//!
//! | field | of | contents |
//! | --- | --- | --- |
//! | `service` | all | the name of the service |
//! | `check`, `probe` | one of them | the name of the check, or the probe of the verdict |
//! | `from`, `to` | transitions | the statuses |
//! | `reason`, `from_reason` | all | why it does not pass, and why it did not before |
//! | `checks` | verdicts | up to three checks that decide it, each with its reason and criticality, and how many more |
//! | `blocked_by` | checks | the failing dependency |
//! | `cause` | all | the redacted cause, or the purpose of a maintenance |
//! | `criticality`, `effect`, `runbook` | checks | what a failure means, what the check does to the instance by itself ([`CheckEffect`](event::CheckEffect)), and the page for operators |
//! | `lasted_seconds` | transitions | how long the previous status lasted, rounded to 1 ms below 1 s and to 10 ms above |
//! | `since` | verdicts, new reasons, checks that flap | since when it has had its status |
//! | `failing_seconds` or `lasted_seconds` | new reasons | for how long it has had its status |
//! | `changes`, `within_seconds`, `status`, `fail_after`, `pass_after` | checks that flap | how many changes in how long, the current status, and the settings that could spare probers the changes |
//!
//! | event | level |
//! | --- | --- |
//! | a check passes for the first time | debug |
//! | a check recovers | info |
//! | a check warns, fails, still fails for another reason, begins to flap, or still flaps | warn |
//! | a check no longer flaps | info if it passes, else warn |
//! | a verdict passes, warns, fails | info, warn, error |
//! | a verdict fails for a drain or a maintenance, or while the instance returns | info |
//! | the settings of each check, at the start | debug |
//!
//! The verdict of [`Probe::Health`] is the worst of readiness and liveness, and is not logged.
//! Repeats are not logged. A check that fails ten thousand times in a row for the same reason
//! produces two lines: one when it begins to fail, and one when it recovers. A reason that the same
//! failure had before is logged again once it has held for a minute. A verdict that gets worse, or
//! has another reason, only for checks that flap is not logged if such a line was written in the
//! last ten minutes, until its status has held for a minute (liveness: for ten seconds).
//!
//! The task of the engine writes these lines, after readers can see the change. A `tracing`
//! subscriber whose writer blocks therefore stalls the engine, as it stalls everything else that
//! logs. Use a writer that does not block, such as that of `tracing-appender`.
//!
//! [`Health::subscribe`] returns the transitions as a bounded stream. The module `metrics`, a
//! feature that is enabled by default, records them as numbers.
//!
//! # Time
//!
//! The engine uses [`tokio::time`]. On a runtime with a paused clock everything here is
//! deterministic, if it is read within that runtime. Elsewhere a reader uses the clock of the
//! operating system.
//!
//! The age of a result is measured on a clock that continues while the machine sleeps and that
//! nobody sets (`CLOCK_BOOTTIME` on Linux). A step of the wall clock therefore makes no result
//! stale. The wall clock is only used for display.
//!
//! A suspension of the process, or of its machine, does not count as a failure. After it:
//!
//! * Runs that were interrupted are repeated.
//! * A scheduled check runs again after a short random delay, if the suspension took at least 30 s
//!   or at least half of the check's period. A result that is too old meanwhile is stale until that
//!   run has ended.
//! * Heartbeats and reports have their full time again.
#![warn(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "agent")]
#[cfg_attr(docsrs, doc(cfg(feature = "agent")))]
pub mod agent;
mod check;
pub mod checks;
mod detached;
pub mod endpoint;
mod engine;
#[cfg(feature = "exec")]
#[cfg_attr(docsrs, doc(cfg(feature = "exec")))]
pub mod exec;
#[cfg(feature = "grpc")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
pub mod grpc;
// The examples that it includes are compiled as examples, so they are not doctests as well.
#[cfg(all(doc, not(doctest)))]
pub mod guide;
mod health;
pub mod layer;
mod lifecycle;
#[cfg(any(feature = "server", feature = "agent"))]
mod listen;
mod memo;
mod model;
#[cfg(feature = "grpc")]
mod proto;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;
mod telemetry;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod watchdog;

/// Attribute for implementations of [`HealthCheck`], which has an async method. Re-exported from
/// the crate [async-trait](https://docs.rs/async-trait).
pub use async_trait::async_trait;
pub use check::{Check, HealthCheck};
#[doc(inline)]
pub use endpoint::Endpoints;
pub use health::{Health, HealthBuilder};
pub use model::{
    BoxError, Cause, ComponentType, Criticality, Failure, Outcome, Probe, Reason, Status,
};

/// What can be read from a service: verdicts, reports of checks, and the stage of the instance.
///
/// [`Health::verdict`](crate::Health::verdict) and [`Health::stage`](crate::Health::stage) are
/// lock-free reads. [`Health::report`](crate::Health::report) and
/// [`Health::check`](crate::Health::check) copy the state of the checks. None of them runs a check.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Probe, Status, report::{CheckReport, Stage}};
///
/// let health = Health::builder("orders")
///     .check(Check::new("database", || async { Status::Pass }))
///     .check(Check::new("search", || async { Status::Fail }).non_critical())
///     .start()?;
/// health.wait_until_good(Probe::Startup).await?;
/// assert_eq!(health.stage(), Stage::Ready);
///
/// let report = health.report();
/// let fails = |check: &&CheckReport| check.status == Status::Fail;
/// let failing: Vec<&str> = report.checks.iter().filter(fails).map(|check| &*check.name).collect();
/// assert_eq!(failing, ["search"]);
/// # Ok(())
/// # }
/// ```
pub mod report {
    pub use crate::model::{
        CheckReport, CheckSettings, LastRun, Name, Report, Stage, Verdict, VerdictReason,
    };
}

/// Events, and the streams that deliver them.
///
/// | you need | use | a slow reader |
/// | --- | --- | --- |
/// | every transition, in order | [`Health::subscribe`](crate::Health::subscribe) | loses the oldest events, and receives their number |
/// | the latest verdict of one probe | [`Health::watch`](crate::Health::watch) | skips verdicts in between |
/// | to wait for one status | [`Health::wait_until`](crate::Health::wait_until) | |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status, event::Event, testing::ScriptedCheck};
///
/// let database = ScriptedCheck::new(Status::Pass);
/// let health = Health::builder("orders")
///     .check(Check::new("database", database.clone()).non_critical())
///     .start()?;
/// health.run_now("database").await?;
/// let mut events = health.subscribe();
///
/// database.set_outcome(Status::Fail);
/// health.run_now("database").await?;
/// let mut lines = Vec::new();
/// while lines.len() < 2 {
///     match events.next().await {
///         Some(Event::Check(change)) => lines.push(format!("{}: {}", change.name, change.to)),
///         Some(Event::Verdict(change)) => lines.push(format!("{}: {}", change.probe, change.to)),
///         Some(_) => {}
///         None => break,
///     }
/// }
/// assert_eq!(lines, ["database: fail", "readiness: warn"]);
/// # Ok(())
/// # }
/// ```
pub mod event {
    pub use crate::{
        health::{Subscription, VerdictWatch},
        model::{
            CheckEffect, CheckFlapping, CheckReasonChange, CheckTransition, Event, FlappingPhase,
            VerdictReasonChange, VerdictTransition,
        },
    };
}

/// The parts of an outcome, and the traits of what is accepted as a check and as an outcome.
///
/// The traits are for functions that create checks from any code. A service rarely needs to name
/// them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status, outcome::{IntoOutcome, Value}};
///
/// /// A check that passes if the command succeeds.
/// fn command<O: IntoOutcome + 'static>(name: &str, run: fn() -> O) -> Check {
///     Check::blocking(name, run).non_critical()
/// }
///
/// let health = Health::builder("orders")
///     .check(command("clock", || Status::Pass))
///     .check(command("root", || std::fs::metadata("/").map(|_| ())))
///     .start()?;
/// assert_eq!(health.run_now("root").await?.status, Status::Pass);
/// assert_eq!(Value::from(3_u8), Value::Integer(3));
/// # Ok(())
/// # }
/// ```
pub mod outcome {
    pub use crate::{
        check::{IntoHealthCheck, IntoOutcome, Success},
        model::{Measurement, Value},
    };
}

/// Results that the application reports itself. No check runs for them.
///
/// [`Health::reporter`](crate::Health::reporter) registers a [`Reporter`](crate::push::Reporter),
/// for a result that the application knows. [`Health::heartbeat`](crate::Health::heartbeat)
/// registers a [`Heartbeat`](crate::push::Heartbeat), for a worker that has to be alive. A report
/// is visible to readers when the call returns. A tick is cheap enough for each iteration of a
/// loop.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tower_health::{Health, Probe, Reason, Status, push::{Heartbeat, Reporter}};
///
/// let health = Health::builder("orders").start()?;
/// let leader: Reporter = health.reporter("leader", Duration::from_secs(60)).non_critical().await?;
/// let consumer: Heartbeat = health.heartbeat("consumer", Duration::from_secs(30)).await?;
/// leader.report(Status::Pass);
/// consumer.tick();
/// assert_eq!(health.verdict(Probe::Readiness).status, Status::Pass);
///
/// drop(consumer);
/// assert_eq!(health.check("consumer")?.reason, Some(Reason::Died));
/// # Ok(())
/// # }
/// ```
pub mod push {
    pub use crate::lifecycle::{Heartbeat, HeartbeatBuilder, Reporter, ReporterBuilder};
}

/// Settings from a file.
///
/// [`HealthConfig`](crate::config::HealthConfig) overrides the settings in the code when the
/// service starts. Deserialize it from any format that [serde] supports.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Check, Health, Status, config::HealthConfig};
///
/// let text = r#"{"checks": {"search": {"enabled": false}}}"#;
/// let config: HealthConfig = serde_json::from_str(text)?;
/// let health = Health::builder("orders")
///     .check(Check::new("search", || async { Status::Pass }))
///     .config(config)
///     .start()?;
/// assert!(health.check("search").is_err(), "it is disabled");
/// # Ok(())
/// # }
/// ```
pub mod config {
    pub use crate::{
        check::CheckDefaults,
        health::{CheckConfig, HealthConfig},
    };
}

/// Types of a graceful shutdown: what it waits for, and the output of its servers.
///
/// [`Health::drain`](crate::Health::drain) begins it, and [`Health::run`](crate::Health::run) ends
/// the server when it is over. [`Draining`](crate::future::Draining) resolves when it begins, for
/// workers that end themselves. An [`InFlightGuard`](crate::drain::InFlightGuard) makes the drain
/// wait for them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use tokio::time::{Instant, sleep};
/// use tower_health::{Health, drain::InFlightGuard, future::Draining};
///
/// async fn work(draining: Draining, message: InFlightGuard) {
///     draining.await;
///     sleep(Duration::from_secs(7)).await; // finishes its last message
///     drop(message);
/// }
///
/// let health = Health::builder("orders").start()?;
/// tokio::spawn(work(health.draining(), health.in_flight()));
/// let began = Instant::now();
/// health.drain().await;
/// assert_eq!(began.elapsed().as_secs(), 7, "the delay alone is 5 s");
/// # Ok(())
/// # }
/// ```
pub mod drain {
    pub use crate::lifecycle::{InFlightGuard, ServerOutput};
}

/// Futures that methods return, so that a struct or a trait can name them.
///
/// None of them borrows the [`Health`], and none keeps the checks running.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Health, Probe, future::WaitUntil};
///
/// struct Startup {
///     ready: WaitUntil,
/// }
///
/// let health = Health::builder("orders").start()?;
/// let startup = Startup { ready: health.wait_until_good(Probe::Readiness) };
/// assert!(startup.ready.await?.status.is_good());
/// # Ok(())
/// # }
/// ```
pub mod future {
    pub use crate::{
        health::{Change, RunNow, WaitUntil},
        lifecycle::{Drained, Draining, Registering, Run},
    };
}

/// Errors. The message of each error contains its remedy.
///
/// An error that has several causes contains all of them, so that one attempt shows everything that
/// has to be corrected.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tower_health::{Check, Health, Status, error::ConfigError};
///
/// let error = Health::builder("orders")
///     .check(Check::new("Search", || async { Status::Pass }))
///     .concurrency(0)
///     .start()
///     .unwrap_err();
/// assert_eq!(error.problems().len(), 2);
/// assert!(error.problems().contains(&ConfigError::NoConcurrency));
/// let message = error.to_string();
/// assert!(message.starts_with("health cannot start, for 2 reasons:"));
/// assert!(message.contains("try `search`"));
/// # }
/// ```
pub mod error {
    #[cfg(any(feature = "server", feature = "agent"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "server", feature = "agent"))))]
    pub use crate::listen::ServeError;
    pub use crate::{
        endpoint::{EndpointsError, InvalidEndpoint},
        health::{ChangeError, ConfigError, RunError, StartError, Stopped},
        lifecycle::{DrainTimeout, ServerError},
        model::{InvalidName, UnknownCheck},
    };
}

#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
#[doc(inline)]
pub use telemetry::metrics;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
