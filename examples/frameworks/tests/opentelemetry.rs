//! The OpenTelemetry example: requests create spans, and probes create none.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "an example is a separate program"
)]

use axum::{Router, body::Body};
use http::Request;
use opentelemetry_sdk::trace::InMemorySpanExporter;
use tower::ServiceExt;
use tower_health::{Check, Health, Probe, Status};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tracing::Level;

#[path = "../opentelemetry.rs"]
mod example;

const PROBES: [&str; 6] = [
    "/health",
    "/ready",
    "/live",
    "/startup",
    "/health/clock",
    "/health/none",
];

async fn ask(app: &Router, path: &str) -> u16 {
    let request = Request::get(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status().into()
}

#[tokio::test]
async fn each_request_creates_a_span_and_probes_create_none() {
    let exporter = InMemorySpanExporter::default();
    let (_provider, subscriber) = example::tracing(exporter.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let spans = || exporter.get_finished_spans().unwrap().len();
    let health = Health::builder("orders")
        .check(Check::new("clock", || async { Status::Pass }))
        .start()
        .unwrap();
    health.wait_until_good(Probe::Readiness).await.unwrap();

    let app = example::app(&health);
    for path in PROBES {
        let code = if path == "/health/none" { 404 } else { 200 };
        assert_eq!(ask(&app, path).await, code, "{path}");
    }
    assert_eq!(spans(), 0);
    assert_eq!(ask(&app, "/").await, 200);
    assert_eq!(spans(), 1);

    // In the reverse order every probe would create a span.
    let make_spans = DefaultMakeSpan::new().level(Level::INFO);
    let inside_out = Router::new()
        .layer(health.layer())
        .layer(TraceLayer::new_for_http().make_span_with(make_spans));
    assert_eq!(ask(&inside_out, "/ready").await, 200);
    assert_eq!(spans(), 2);
}
