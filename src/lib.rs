//! Health checks and probes for tower services: register what a service depends on, answer every prober, and
//! never run a check on a probe.
//!
//! ```
//! use std::time::Duration;
//!
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
//! # The one idea: probes never run checks
//!
//! An engine runs each check on its schedule, with a time limit, and writes what it learns to a board. Whoever
//! asks reads the board: one lock-free read, and a body that is rendered once per change. So a thousand probes
//! cost a database nothing, a check that hangs hangs no probe, a prober that goes away cancels nothing, and two
//! services that probe each other cannot wait for each other.
//!
//! Where there is no time in the background, a check may run [on demand](Check::on_demand). Its readers share the
//! runs, and wait only where nothing is known.
//!
//! # Order of reading
//!
//! 1. [`Health`]: starting it, reading it, and how long it lives.
//! 2. [`Check`]: the forms of a check, and its policy with all defaults. [`Criticality`] is the setting to
//!    think about.
//! 3. [`checks`]: checks that need no driver. Checks of databases, caches, brokers, upstreams, names, certificates and the system are
//!    in [`tower-health-checks`](https://docs.rs/tower-health-checks).
//! 4. [`layer::probes`]: where the layer stands, and what it promises the service below it.
//! 5. [`endpoint`]: paths, codes, methods, headers and bodies, as probers see them; [`Endpoints`] sets them.
//! 6. [`Health::add`], [`Health::watch`], [`Health::subscribe`], [`HealthConfig`](config::HealthConfig): what real services need beyond
//!    a fixed list of checks. [`ProbeService::respond`](endpoint::ProbeService::respond): frameworks that are not tower.
//! 7. [`Health::drain`], [`Health::run`], `HealthBuilder::handle_signals`: leaving. [`Health::maintenance`],
//!    [`Health::reporter`], [`Health::heartbeat`], [`HealthBuilder::startup_task`], [`HealthBuilder::watchdog`]: living.
//!    [`Stage`](report::Stage) draws it all.
//! 8. The other faces, each a feature: `server`, a port of its own; `grpc`; `agent`, for HAProxy; `exec`, a probe without
//!    curl.
//! 9. `metrics`: what is measured, and the alerts that go with it.
//! 10. [`HealthCheck`], to write a check type; [`Outcome`], [`Failure`] and [`Reason`], which it speaks in.
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `metrics` | yes | `metrics`: tells the recorder of the `metrics` facade that you install |
//! | `signals` | yes | `HealthBuilder::handle_signals`; without it no signal is ever touched |
//! | `server` | no | `server`: a management port, and `Health::run_http`, a server that finishes its connections |
//! | `grpc` | no | `grpc`: `grpc.health.v1` with `Check`, `Watch` and `List`, for tonic 0.14 |
//! | `agent` | no | `agent`: HAProxy's `agent-check` |
//! | `systemd` | no | `HealthBuilder::systemd`: `READY=1`, `STATUS=`, `STOPPING=1`, `WATCHDOG=1` |
//! | `exec` | no | `exec`: a probe without curl, for `main`, and the program `tower-health-probe` |
//! | `testing` | no | `testing`: fixed health, scripted checks, assertions on verdicts, a contract for checks |
//!
//! Checks of databases, caches, brokers, upstreams, names, certificates and the system are features of
//! [`tower-health-checks`](https://docs.rs/tower-health-checks), one for each driver. They were features of this crate; it no
//! longer has them: [what moved where](https://docs.rs/tower-health/latest/tower_health/guide/changelog/index.html).
//!
//! # What is public and what is private
//!
//! A [`Reason`] comes from a closed set and may be read by anyone. A [`Cause`] is an error's own text: it is
//! redacted when it is made, and no body, label, `Debug` or serialised value shows it; logs, and code that asks for
//! it, see what redaction left. A panic in a check is reported by its place; its payload is shown to nobody.
//!
//! # What operators see
//!
//! Each transition is logged once through [`tracing`], with the target `tower_health` and the fields `service`, `check`
//! or `probe`, `from`, `to`, `reason`, `blocked_by`, `cause` (redacted) and `lasted_seconds`. A check that warns or fails is a
//! warning, one that recovers an information, and one that passes for the first time for debugging; a verdict is an information, a warning or an error (that of health
//! is the worst of two others, and not logged). Repeats are not logged: a check
//! that fails ten thousand times in a row leaves two lines, one when it begins to and one when it is over.
//!
//! A line is written by the engine's own task, when readers have seen what it tells. A subscriber whose writer blocks
//! holds it up, as it does whoever else logs: write through one that does not, such as that of `tracing-appender`.
//!
//! The same as a stream is [`Health::subscribe`], bounded; as numbers, the module `metrics` (a feature that is on by
//! default).
//!
//! # Time
//!
//! The engine uses [`tokio::time`], so on a runtime with a paused clock everything here is deterministic, as
//! long as it is read within that runtime. Elsewhere a reader uses the operating system's clock. The age of a
//! result is measured on a clock that goes on while the machine sleeps and that nobody sets (`CLOCK_BOOTTIME` on Linux), so
//! a step of the wall clock makes nothing stale. The wall clock is for showing.
//!
//! A process that was suspended, or whose machine slept, is no failure: runs that were cut are repeated,
//! everything is asked anew at once, and heartbeats get their time anew.
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
// Its examples are compiled as such.
#[cfg(all(doc, not(doctest)))]
pub mod guide;
mod health;
pub mod layer;
mod lifecycle;
#[cfg(any(feature = "server", feature = "agent"))]
mod listen;
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

/// Lets [`HealthCheck`] have an async method; re-exported from the crate of that name.
pub use async_trait::async_trait;
pub use check::{Check, HealthCheck};
#[doc(inline)]
pub use endpoint::Endpoints;
pub use health::{Health, HealthBuilder};
pub use model::{
    BoxError, Cause, ComponentType, Criticality, Failure, Outcome, Probe, Reason, Status,
};

/// What a service reports: verdicts, reports of checks, and the stage of its life.
pub mod report {
    pub use crate::model::{CheckReport, LastRun, Name, Report, Stage, Verdict, VerdictReason};
}

/// What changed: events, and the streams that deliver them.
///
/// [`Health::subscribe`](crate::Health::subscribe) delivers every transition, and
/// [`Health::watch`](crate::Health::watch) the latest verdict of one probe.
pub mod event {
    pub use crate::{
        health::{Subscription, VerdictWatch},
        model::{CheckTransition, Event, VerdictTransition},
    };
}

/// What the result of a check is made of, and what is accepted as a check and as a result.
pub mod outcome {
    pub use crate::{
        check::{IntoHealthCheck, IntoOutcome, Success},
        model::{Measurement, Value},
    };
}

/// Results that the application reports itself, without a check that runs.
///
/// [`Health::reporter`](crate::Health::reporter) registers a [`Reporter`](crate::push::Reporter), and
/// [`Health::heartbeat`](crate::Health::heartbeat) a [`Heartbeat`](crate::push::Heartbeat).
pub mod push {
    pub use crate::lifecycle::{Heartbeat, HeartbeatBuilder, Reporter, ReporterBuilder};
}

/// Settings that are read from a file, and changes to the checks of a running service.
pub mod config {
    pub use crate::health::{Change, CheckConfig, HealthConfig};
}

/// What a graceful shutdown waits for, and what its servers return.
pub mod drain {
    pub use crate::lifecycle::{Draining, InFlightGuard, ServerOutput};
}

/// The futures that methods return.
pub mod future {
    pub use crate::{
        health::{RunNow, WaitUntil},
        lifecycle::{Drained, Registering, Run},
    };
}

/// What can go wrong, each error with its remedy.
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
