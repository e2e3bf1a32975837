//! For tests of services that use this crate, and of checks: health that is fixed or scripted, assertions on
//! verdicts, and a contract that every check has to keep.
//!
//! | to test | use |
//! | --- | --- |
//! | a handler, a layer or a page that reads health | [`Health::fixed`](crate::Health::fixed) |
//! | what your service does when a dependency fails, hangs or returns | [`ScriptedCheck`] in its place |
//! | that readiness follows, and how soon | [`assert_becomes`], [`assert_stays`], [`assert_verdict`] |
//! | a check of your own | [`Contract`], once for each way in which its dependency may be |
//!
//! # A worked example
//!
//! The service below takes orders while its ledger is there. Its router takes a [`Health`](crate::Health), so a
//! test can give it any; its checks are made in one place, so a test can put a script there.
//!
//! ```
//! use axum::{Router, extract::State, http::StatusCode, routing::get};
//! use tower_health::{Check, Health, HealthBuilder, HealthCheck, Probe, Status};
//!
//! fn health(ledger: impl HealthCheck) -> HealthBuilder {
//!     Health::builder("orders").check(Check::new("ledger", ledger).fail_after(2))
//! }
//!
//! async fn front_page(State(health): State<Health>) -> (StatusCode, &'static str) {
//!     match health.verdict(Probe::Readiness).status {
//!         Status::Fail => (StatusCode::SERVICE_UNAVAILABLE, "back in a minute"),
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
//! // A handler, for each health that there is. No check runs, and no time passes.
//! # async fn handler() {
//! for (status, code) in [(Status::Pass, 200), (Status::Warn, 200), (Status::Fail, 503)] {
//!     let app = app(Health::fixed(status));
//!     assert_eq!(get_status(&app, "/").await, code);
//!     assert_eq!(get_status(&app, "/ready").await, code);
//! }
//! # }
//!
//! // The whole, on a paused clock: `#[tokio::test(start_paused = true)]`.
//! # async fn whole() {
//! use std::time::Duration;
//! use tower_health::testing::{ScriptedCheck, assert_becomes, assert_stays};
//!
//! let ledger = ScriptedCheck::new(Status::Pass);
//! let health = health(ledger.clone()).start().unwrap();
//! let seconds = Duration::from_secs;
//! assert_becomes(&health, Probe::Readiness, Status::Pass, seconds(1)).await;
//!
//! // One failure is none.
//! ledger.say_once(Status::Fail);
//! assert_stays(&health, Probe::Readiness, Status::Pass, seconds(60)).await;
//!
//! // A ledger that hangs takes the service out, after two runs of 2 s and what lies between them.
//! ledger.hang();
//! assert_becomes(&health, Probe::Readiness, Status::Fail, seconds(20)).await;
//! assert_eq!(get_status(&app(health.clone()), "/").await, 503);
//!
//! // And it comes back by itself.
//! ledger.say(Status::Pass);
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
//! The check of the real ledger is tested by itself, against the real ledger, with a [`Contract`], and behind a [`FaultProxy`]
//! that breaks its connections.
//!
//! # Clocks and statics
//!
//! On a paused clock, read health on the runtime that it was started on: other threads see the operating system's
//! clock. A thread takes no part in it either, so a run of [`Check::blocking`](crate::Check::blocking) may time out
//! before it began. Start a `Health` in each test: one in a `static` lives on the runtime of the test that came first, and
//! says [engine stopped](crate::Reason::EngineStopped) as soon as that test ends, unless the builder was given
//! the handle of a [runtime](crate::HealthBuilder::runtime) that lives longer.
#![allow(clippy::panic, reason = "a test says by a panic that it failed")]

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
