//! The smallest axum service that answers probes.
//!
//! `cargo run --example axum`, then `curl -i localhost:3000/ready`: 200 once the first run of the check ended.
//! `PORT` sets another port.

use std::{env, io, net::Ipv4Addr, sync::Arc};

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_health::{BoxError, Check, Health};

/// Stands for a client of yours.
struct Ledger;

impl Ledger {
    async fn ping(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Says hello, and how it is.
pub async fn serve(listener: TcpListener, health: Health) -> io::Result<()> {
    let app = Router::new()
        .route("/", get(|| async { "Hello" }))
        .layer(health.layer()); // the last line: outermost

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
