//! The smallest axum service that answers probes.
//!
//! Run `cargo run --example axum`, then `curl -i localhost:3000/ready`. The response is a 200 once
//! the first run of the check has ended. Set `PORT` to use another port.

use std::{env, io, net::Ipv4Addr, sync::Arc};

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_health::{BoxError, Check, Health};

/// Stands for a client that your service uses.
struct Ledger;

impl Ledger {
    async fn ping(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Serves a greeting and the probes.
pub async fn serve(listener: TcpListener, health: Health) -> io::Result<()> {
    let app = Router::new()
        .route("/", get(|| async { "Hello" }))
        .layer(health.layer()); // The last line, so that the layer is outermost.

    axum::serve(listener, app).await
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ledger = Arc::new(Ledger);
    let health = Health::builder("orders")
        .check(Check::with("ledger", ledger, |ledger| async move {
            ledger.ping().await
        }))
        .start()?;

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    serve(listener, health).await?;
    Ok(())
}
