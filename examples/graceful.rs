//! A service that starts, lives and leaves as its orchestrator would have it: a roll of it loses no request.
//!
//! `cargo run --example graceful --features server`, then
//!
//! ```text
//! curl -i localhost:3000/startup   503 until the cache is warm; if that failed, it would be tried again
//! curl -i localhost:3000/ready     200 after that
//! curl -i localhost:9000/live      on a port and a thread of its own: 503 if the runtime stalls, or the worker dies
//! curl localhost:3000/slow &       one second long
//! kill -TERM <the pid it prints>   not ready at once, 5 s of service, and then the end, when nothing is in flight
//! ```
//!
//! `PORT` sets another port (management is on the one above it, but for port 0), `DRAIN_DELAY` how many milliseconds it
//! serves on, and `DRAIN=off` has it end as it would without all this.

use std::{env, net::Ipv4Addr, time::Duration};

use axum::{Router, routing::get};
use tokio::{net::TcpListener, time::sleep};
use tower_health::{BoxError, Health};

async fn warm_cache() -> Result<(), std::io::Error> {
    sleep(Duration::from_millis(300)).await;
    Ok(())
}

/// Works in the background, and is of no use if it does not.
async fn worker(health: Health) -> Result<(), BoxError> {
    let heartbeat = health
        .heartbeat("consumer", Duration::from_secs(30))
        .liveness()
        .await?;
    let mut drained = std::pin::pin!(health.drained());
    loop {
        tokio::select! {
            () = drained.as_mut() => break heartbeat.stop(), // on purpose
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
