//! A tonic service that answers probes on its gRPC port.
//!
//! Run `cargo run --example tonic`, then `curl -i localhost:3000/ready`, with or without
//! `--http2-prior-knowledge`. The response is a 200 once the first run of the check has ended. Set
//! `PORT` to use another port. On SIGTERM the service drains: calls in flight are completed, and
//! clients are asked to reconnect elsewhere.

use std::{
    convert::Infallible,
    env,
    future::Future,
    net::Ipv4Addr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tower_health::{BoxError, Check, Health};

/// The request: the name of the person to greet.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Name {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// The response: the greeting.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Greeting {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

async fn greet(request: Request<Name>) -> Result<Response<Greeting>, Status> {
    let text = format!("Hello {}", request.into_inner().name);
    Ok(Response::new(Greeting { text }))
}

/// The code that a build script would generate from `service Greeter { rpc Greet (Name) returns
/// (Greeting); }`.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "hello.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != "/hello.Greeter/Greet" {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::<Greeting, Name>::default());
            Ok(grpc.unary(service_fn(greet), request).await)
        })
    }
}

/// Serves a greeting and the probes until a drain is over.
pub async fn serve(listener: TcpListener, health: Health) -> Result<(), BoxError> {
    let server = Server::builder()
        .accept_http1(true) // Probes over HTTP/1 need this.
        .layer(health.layer())
        .add_service(Greeter)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), health.drained());
    health.run(server).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let health = Health::builder("greeter")
        .check(Check::new("clock", || async { tower_health::Status::Pass }))
        .handle_signals()
        .start()?;

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    serve(listener, health).await?;
    Ok(())
}
