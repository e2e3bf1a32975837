//! The smallest hyper service that answers probes.
//!
//! Run `cargo run --example hyper`, then `curl -i localhost:3000/ready`. The response is a 200 once
//! the first run of the check has ended. Set `PORT` to use another port.

use std::{convert::Infallible, env, io, net::Ipv4Addr};

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

/// Serves a greeting and the probes.
pub async fn serve(listener: TcpListener, health: Health) -> io::Result<()> {
    let service = TowerToHyperService::new(health.wrap(service_fn(hello)));
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

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let health = Health::builder("orders")
        .check(Check::new("clock", || async { Status::Pass }))
        .start()?;

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    serve(listener, health).await?;
    Ok(())
}
