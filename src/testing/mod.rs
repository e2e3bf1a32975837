//! Utilities for tests of services that use this crate, and of checks: fixed health, scripted
//! checks, assertions on verdicts, a contract for checks, and a proxy that breaks connections.
//!
//! | to test | use |
//! | --- | --- |
//! | a handler, a layer or a page that reads health | [`Health::fixed`](crate::Health::fixed) |
//! | the reaction of a service to a dependency that fails, hangs or recovers | [`ScriptedCheck`] in place of its check |
//! | that readiness changes, and how soon | [`assert_becomes`], [`assert_stays`], [`assert_verdict`] |
//! | a custom check | [`Contract`], once for each state of its dependency |
//! | a client or a check on a failing network | [`FaultProxy`] |
//!
//! # A worked example
//!
//! The service below accepts orders while its ledger is available. Its router takes a
//! [`Health`](crate::Health), so that a test can pass any health. Its checks are created in one
//! place, so that a test can pass a scripted check.
//!
//! ```toml
//! [dev-dependencies]
//! tokio = { version = "1", features = ["full", "test-util"] }
//! tower-health = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```
//! use axum::{Router, extract::State, http::StatusCode, routing::get};
//! use tower_health::{
//!     Check, Health, HealthBuilder, HealthCheck, Probe, Status, report::VerdictReason,
//! };
//!
//! fn health(ledger: impl HealthCheck) -> HealthBuilder {
//!     Health::builder("orders").check(Check::new("ledger", ledger).fail_after(2))
//! }
//!
//! async fn front_page(State(health): State<Health>) -> (StatusCode, &'static str) {
//!     let verdict = health.verdict(Probe::Readiness);
//!     // Readiness also fails during a drain, while the service still has to serve.
//!     match (verdict.status, verdict.reason) {
//!         (Status::Fail, Some(VerdictReason::Checks)) => {
//!             (StatusCode::SERVICE_UNAVAILABLE, "back in a minute")
//!         }
//!         _ => (StatusCode::OK, "welcome"),
//!     }
//! }
//!
//! fn app(health: Health) -> Router {
//!     Router::new()
//!         .route("/", get(front_page))
//!         .with_state(health.clone())
//!         .layer(health.layer())
//! }
//!
//! # use tower::ServiceExt;
//! # async fn get_status(app: &Router, path: &str) -> StatusCode {
//! #     let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
//! #     app.clone().oneshot(request).await.unwrap().status()
//! # }
//! // The handler, with each status. No check runs, and no time passes.
//! # async fn handler() {
//! for (status, code) in [(Status::Pass, 200), (Status::Warn, 200), (Status::Fail, 503)] {
//!     let app = app(Health::fixed(status));
//!     assert_eq!(get_status(&app, "/").await, code);
//!     assert_eq!(get_status(&app, "/ready").await, code);
//! }
//! # }
//!
//! // The whole service, on a paused clock: `#[tokio::test(start_paused = true)]`.
//! # async fn whole() {
//! use std::time::Duration;
//! use tower_health::testing::{ScriptedCheck, assert_becomes, assert_stays};
//!
//! let ledger = ScriptedCheck::new(Status::Pass);
//! let health = health(ledger.clone()).start().unwrap();
//! let seconds = Duration::from_secs;
//! assert_becomes(&health, Probe::Readiness, Status::Pass, seconds(1)).await;
//!
//! // A single failure does not change the verdict, because of `fail_after(2)`.
//! ledger.push_outcome(Status::Fail);
//! assert_stays(&health, Probe::Readiness, Status::Pass, seconds(60)).await;
//!
//! // If the ledger hangs, readiness fails after two runs of 2 s and the delay between them.
//! ledger.hang();
//! assert_becomes(&health, Probe::Readiness, Status::Fail, seconds(20)).await;
//! assert_eq!(get_status(&app(health.clone()), "/").await, 503);
//!
//! // The service recovers by itself.
//! ledger.set_outcome(Status::Pass);
//! let took = assert_becomes(&health, Probe::Readiness, Status::Pass, seconds(20)).await;
//! assert!(took < seconds(4));
//! # }
//! # let paused = |test: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
//! #     let mut runtime = tokio::runtime::Builder::new_current_thread();
//! #     runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
//! # };
//! # paused(Box::pin(handler()));
//! # paused(Box::pin(whole()));
//! ```
//!
//! The check of the real ledger is tested separately, against the real ledger, with a [`Contract`],
//! and behind a [`FaultProxy`] that breaks its connections.
//!
//! # Clocks and statics
//!
//! On a paused clock, read health on the runtime that it was started on, because other threads see
//! the clock of the operating system. A paused clock does not wait for threads either. A run of
//! [`Check::blocking`](crate::Check::blocking) may therefore time out before it begins.
//!
//! Start a `Health` in each test. A `Health` in a `static` uses the runtime of the test that
//! started it, and reports [engine stopped](crate::Reason::EngineStopped) as soon as that test
//! ends. The exception is a builder that was given the handle of a
//! [runtime](crate::HealthBuilder::runtime) that lives longer.
#![allow(clippy::panic, reason = "a failed assertion panics")]

mod assertions;
mod contract;
mod proxy;
mod script;

pub use self::{
    assertions::{assert_becomes, assert_stays, assert_verdict},
    contract::{Contract, ContractError},
    proxy::{Fault, FaultProxy},
    script::ScriptedCheck,
};
