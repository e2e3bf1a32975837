//! A service whose requests take some time, over HTTP and gRPC, until it receives a signal. Usage:
//! `live-drains SERVER CLOSE WORK`. `SERVER` is `run_http`, `axum` or `tonic`. `CLOSE` is the time
//! to finish the requests on open connections, and `WORK` is the duration of a request, both in
//! milliseconds.

use std::{env, net::Ipv4Addr, sync::OnceLock, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE},
    routing::{get, post},
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{net::TcpListener, time::sleep};
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tower_health::{BoxError, Health};

/// The duration of a request.
static WORK: OnceLock<Duration> = OnceLock::new();

async fn work() {
    sleep(WORK.get().copied().unwrap_or_default()).await;
}

/// The response of a unary call: an empty message, and the status OK.
async fn place() -> Response<Body> {
    work().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Frame::data(Bytes::from_static(&[0; 5])),
        Frame::trailers(trailers),
    ];
    let frames = frames.map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let args: Vec<String> = env::args().collect();
    let [_, server, close, takes] = args.as_slice() else {
        return Err("live-drains SERVER CLOSE WORK".into());
    };
    _ = WORK.set(Duration::from_millis(takes.parse()?));
    let health = Health::builder("orders")
        .drain_delay(Duration::from_millis(500))
        .drain_finish(Duration::from_millis(1_000))
        .drain_close(Duration::from_millis(close.parse()?))
        .handle_signals()
        .start()?;
    let app = Router::new()
        .route(
            "/orders",
            get(|| async {
                work().await;
                "no orders"
            }),
        )
        .route("/orders.v1.Orders/Place", post(place));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    match &**server {
        "run_http" => health.run_http(listener, health.wrap(app)).await?,
        "axum" => {
            let app = app.layer(health.layer());
            let server = axum::serve(listener, app).with_graceful_shutdown(health.drained());
            health.run(server).await?;
        }
        "tonic" => {
            let server = Server::builder()
                .accept_http1(true)
                .layer(health.layer())
                .add_routes(Routes::from(app))
                .serve_with_incoming_shutdown(TcpIncoming::from(listener), health.drained());
            health.run(server).await?;
        }
        other => return Err(format!("there is no server {other}").into()),
    }
    Ok(())
}
