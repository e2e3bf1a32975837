//! A service with a complete lifecycle. A rolling update of it drops no requests.
//!
//! Run `cargo run --example graceful --features server`, then:
//!
//! ```text
//! curl -i localhost:3000/startup   503 until the cache is warm; a failed attempt would be retried
//! curl -i localhost:3000/ready     200 after that
//! curl -i localhost:3001/live      503 if the runtime stalls or the worker ends
//! curl localhost:3000/slow &       takes 1 s
//! kill -TERM <the printed pid>     not ready immediately; serves for 5 s, then ends once idle
//! ```
//!
//! The management server has its own port and thread. Environment variables:
//!
//! * `PORT` sets another port. The management port is one above it. `PORT=0` selects a free port,
//!   and management is on port 1.
//! * `DRAIN_DELAY` sets the time for which requests are served after the signal, in milliseconds.
//! * `DRAIN=off` disables signal handling, so that the process ends immediately.

use std::{env, net::Ipv4Addr, time::Duration};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, time::sleep};
use tower_health::{BoxError, Health};

async fn warm_cache() -> Result<(), std::io::Error> {
    sleep(Duration::from_millis(300)).await;
    Ok(())
}

/// Runs in the background. The service is useless without it, so its heartbeat decides liveness.
async fn worker(health: Health) -> Result<(), BoxError> {
    let heartbeat = health
        .heartbeat("consumer", Duration::from_secs(30))
        .liveness()
        .await?;
    // The service still serves until then, so the worker goes on as well.
    let mut drained = std::pin::pin!(health.drained());
    loop {
        tokio::select! {
            () = drained.as_mut() => break heartbeat.stop(), // This end is intended.
            () = sleep(Duration::from_secs(1)) => heartbeat.tick(),
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let delay = env::var("DRAIN_DELAY").map_or(Ok(5_000), |delay| delay.parse())?;

    let mut builder = Health::builder("orders")
        .startup_task("warm-cache", warm_cache)
        .watchdog(Duration::from_secs(10))
        .drain_delay(Duration::from_millis(delay));
    if env::var_os("DRAIN").is_none_or(|drain| drain != "off") {
        builder = builder.handle_signals();
    }
    let health = builder.start()?;
    tokio::spawn(worker(health.clone()));

    let app = Router::new()
        .route("/orders", get(|| async { "no orders" }))
        .route(
            "/slow",
            get(|| async {
                sleep(Duration::from_secs(1)).await;
                "no orders, after a while"
            }),
        );
    let management = (Ipv4Addr::LOCALHOST, port.saturating_add(1));
    let _management = health.serve(management).own_thread().start()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on {port}, process {}", std::process::id());
    health.run_http(listener, health.wrap(app)).await?;
    println!("ended, {}", health.stage());
    Ok(())
}
