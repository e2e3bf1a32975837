//! A service with ten checks, implemented with each crate, and its response to `/ready`.

use std::{borrow::Cow, convert::Infallible, future::Future, io, sync::Arc};

use async_trait::async_trait;
use axum::{
    Router,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    routing::get,
};
use axum_health::prelude::{HealthDetail, HealthIndicator};
use health::{Checkable, PeriodicChecker, Reporter};
use health_checks::{HealthCheckOptions, HealthCheckResult, HealthChecks, axum::RouterExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};
use tower_health::{Check, Health, Probe, Status};

/// The work that the checks of a service do.
pub(crate) trait Work: Clone + Send + Sync + 'static {
    fn work(&self) -> impl Future<Output = ()> + Send;
}

/// No work, to measure the response alone.
#[derive(Clone)]
pub(crate) struct Nothing;

impl Work for Nothing {
    async fn work(&self) {}
}

/// A round trip to a dependency, over a connection that all checks share.
#[derive(Clone)]
pub(crate) struct Ping(Arc<Mutex<TcpStream>>);

impl Ping {
    pub(crate) async fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(Arc::new(Mutex::new(stream))))
    }
}

impl Work for Ping {
    async fn work(&self) {
        let mut stream = self.0.lock().await;
        stream.write_u8(0).await.expect("a connection");
        stream.read_u8().await.expect("an answer");
    }
}

pub(crate) const CHECKS: usize = 10;

fn names() -> impl Iterator<Item = String> {
    (0..CHECKS).map(|index| format!("check-{index:05}"))
}

fn application() -> Router {
    Router::new().route("/orders", get(|| async { "no orders" }))
}

/// A handler with a constant response, with the headers that such a response should have.
pub(crate) async fn static_handler() -> Router {
    let answer = tower_health(Nothing).await.service();
    let answer = answer.respond("GET", "/ready", None, []).expect("a probe");
    let body: &str = String::from_utf8(answer.await.into_body().into())
        .expect("text")
        .leak();
    let headers = [
        (CONTENT_TYPE, "application/health+json"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let handler = get(move || async move { (headers, body) });
    application().route("/ready", handler)
}

pub(crate) async fn tower_health(work: impl Work) -> Health {
    let check = |name| {
        Check::with(name, work.clone(), |work| async move {
            work.work().await;
            Status::Pass
        })
    };
    let health = Health::builder("orders").checks(names().map(check));
    let health = health.start().expect("valid checks");
    let ready = health.wait_until(Probe::Readiness, Status::Pass).await;
    ready.expect("a running engine");
    health
}

pub(crate) async fn tower_health_layer(work: impl Work) -> Router {
    application().layer(tower_health(work).await.layer())
}

/// The router wrapped by the probes service.
pub(crate) async fn tower_health_wrapped() -> tower_health::layer::probes::Probes<Router> {
    tower_health(Nothing).await.wrap(application())
}

struct Indicator<W>(String, W);

#[async_trait]
impl<W: Work> HealthIndicator for Indicator<W> {
    fn name(&self) -> String {
        self.0.clone()
    }

    async fn details(&self) -> HealthDetail {
        self.1.work().await;
        HealthDetail::up()
    }
}

pub(crate) async fn axum_health(work: impl Work) -> Router {
    let health = axum_health::prelude::Health::builder();
    let health = names().fold(health, |health, name| {
        health.with_indicator(Indicator(name, work.clone()))
    });
    application()
        .route("/ready", get(axum_health::health_check))
        .layer(health.build())
}

pub(crate) async fn health_checks(work: impl Work) -> Router {
    let checks = names().fold(HealthChecks::builder(), |checks, name| {
        let work = work.clone();
        checks.add_async_fn(name, move || {
            let work = work.clone();
            async move {
                work.work().await;
                Ok(HealthCheckResult::healthy())
            }
        })
    });
    application().map_health_checks("/ready", checks.build(), HealthCheckOptions::json())
}

struct Periodic<W>(String, W);

#[async_trait]
impl<W: Work> Checkable for Periodic<W> {
    type Error = Infallible;

    fn name(&self) -> Cow<'_, str> {
        self.0.as_str().into()
    }

    async fn check(&self) -> Result<(), Infallible> {
        self.1.work().await;
        Ok(())
    }
}

/// The crate has no endpoint. This is the handler of its documentation, over all checks.
pub(crate) async fn health(work: impl Work) -> Router {
    let checkers: Arc<[_]> = names()
        .map(|name| {
            let check = Periodic(name, work.clone());
            PeriodicChecker::new(check, health::Config::default())
        })
        .collect();
    for checker in checkers.iter() {
        tokio::spawn(checker.clone().run());
    }
    let handler = move || async move {
        let good = |checker: &PeriodicChecker<_>| checker.status() == Some(health::Status::Healthy);
        if checkers.iter().all(good) {
            (StatusCode::OK, "OK")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "ERROR")
        }
    };
    application().route("/ready", get(handler))
}
