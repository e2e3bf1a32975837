//! The smallest axum service that answers probes.
//!
//! `cargo run --example axum`, then `curl -i localhost:3000/ready`: 200 once the first run of the check ended.

use std::sync::Arc;

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

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let ledger = Arc::new(Ledger);
    let health = Health::builder("orders")
        .check(Check::with("ledger", ledger, |ledger| async move {
            ledger.ping().await
        }))
        .start()?;

    let app = Router::new()
        .route("/", get(|| async { "Hello" }))
        .layer(health.layer()); // the last line: outermost

    axum::serve(TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}
