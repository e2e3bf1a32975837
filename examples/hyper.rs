//! The smallest hyper service that answers probes.
//!
//! `cargo run --example hyper`, then `curl -i localhost:3000/ready`: 200 once the first run of the check ended.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::service_fn;
use tower_health::{BoxError, Check, Health, Status};

async fn hello(_: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("Hello")))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let health = Health::builder("orders")
        .check(Check::new("clock", || async { Status::Pass }))
        .start()?;
    let service = TowerToHyperService::new(health.wrap(service_fn(hello)));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let connection = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = connection {
                eprintln!("connection: {error}");
            }
        });
    }
}
