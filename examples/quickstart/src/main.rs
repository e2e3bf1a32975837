//! A service with health checks, and three dependencies that you can break.
//!
//! Run `cargo run -p quickstart`, then `curl -i localhost:3000/ready`. Set `PORT` to use another
//! port. With `QUICKSTART_UPSTREAM=down` the service starts without its upstream.

mod demo;
mod introduction;

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tower_health::{BoxError, Check, ComponentType, Health, Outcome, Reason};

use self::demo::Demo;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let port = env::var("PORT").unwrap_or("3000".to_owned());
    let port = port
        .parse()
        .map_err(|_| format!("PORT is {port:?}: set a number up to 65535"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| {
            format!("cannot listen on 127.0.0.1:{port}: {error}; set PORT to a free one")
        })?;
    let address = listener.local_addr()?;
    let demo = Arc::new(Demo::new(address.port()).await?);
    introduction::introduce(address);
    // Logging as in any service. Each transition of the health is one line.
    tracing_subscriber::fmt().with_target(false).init();

    // The periods are short, so that changes show quickly. Use the defaults in production: a period
    // of 10 s and a timeout of 2 s.
    let short = |check: Check| {
        check
            .period(Duration::from_secs(1))
            .timeout(Duration::from_millis(500))
    };
    let (file, disk) = (Arc::clone(&demo), Arc::clone(&demo));
    let health = Health::builder("quickstart")
        .release(env!("CARGO_PKG_VERSION"))
        .check(
            short(Check::blocking("database", move || {
                demo::roll_back_an_order(&file.file)
            }))
            .component_type(ComponentType::Datastore),
        )
        .check(short(Check::with("upstream", demo.upstream, ping_upstream)).shared())
        .check(
            short(Check::blocking("disk", move || {
                free_space(disk.directory(), disk.least_free())
            }))
            .non_critical(),
        )
        .start()?;

    let metrics = PrometheusBuilder::new().install_recorder()?;
    tokio::spawn(run_upkeep(metrics.clone()));

    let app = Router::new()
        .route("/", get(|| async { "Hello" }))
        .route("/metrics", get(async move || metrics.render()))
        .route("/demo/{action}/{thing}", post(demo::act).with_state(demo))
        .layer(health.layer()); // The last line, so that the layer is outermost.
    axum::serve(listener, app).await?;
    Ok(())
}

/// Aggregates the recorded metrics regularly, because the exporter otherwise keeps them until a
/// scrape.
async fn run_upkeep(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

async fn ping_upstream(upstream: SocketAddr) -> Result<Outcome, BoxError> {
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http::<Empty<&[u8]>>();
    let response = client.get(format!("http://{upstream}/").parse()?).await?;
    Ok(match response.status() {
        StatusCode::OK => Outcome::pass(),
        status => Outcome::fail(Reason::UnexpectedAnswer).with_cause(status),
    })
}

fn free_space(directory: &Path, least: u64) -> std::io::Result<Outcome> {
    let disk = rustix::fs::statvfs(directory)?;
    let free = disk.f_bavail * disk.f_frsize;
    let outcome = if free < least {
        Outcome::fail(Reason::LimitExceeded)
    } else {
        Outcome::pass()
    };
    Ok(outcome.measure("free", free, "bytes"))
}
