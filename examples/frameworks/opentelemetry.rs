//! An axum service that traces its requests with OpenTelemetry, but not its probes.
//!
//! Run `cargo run -p frameworks --example opentelemetry`. Then `curl localhost:3000/` prints a
//! span, and `curl localhost:3000/ready` does not, because the probes layer responds before the
//! request reaches the trace layer. Set `PORT` to use another port.

use std::{env, net::Ipv4Addr};

use axum::{Router, routing::get};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
use tokio::net::TcpListener;
use tower_health::{BoxError, Check, Health, Status};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt};

/// Returns a router that traces the requests that reach it. The probes layer is outside the trace
/// layer, so probes are not traced.
pub fn app(health: &Health) -> Router {
    let spans = DefaultMakeSpan::new().level(Level::INFO);
    Router::new()
        .route("/", get(|| async { "Hello" }))
        .layer(TraceLayer::new_for_http().make_span_with(spans))
        .layer(health.layer()) // The last line, so that the layer is outermost.
}

/// Exports each span as it ends. Services with many spans use `with_batch_exporter` and OTLP.
pub fn tracing(exporter: impl SpanExporter + 'static) -> (SdkTracerProvider, impl Subscriber) {
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter)
        .build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("orders"));
    // Transitions of checks are events, which are logged and not traced.
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry()
        .with(spans.with_filter(LevelFilter::INFO))
        .with(logs.with_filter(LevelFilter::INFO));
    (provider, subscriber)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (provider, subscriber) = tracing(opentelemetry_stdout::SpanExporter::default());
    tracing::subscriber::set_global_default(subscriber)?;
    let health = Health::builder("orders")
        .check(Check::new("clock", || async { Status::Pass }))
        .start()?;

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    axum::serve(listener, app(&health)).await?;
    provider.shutdown()?;
    Ok(())
}
