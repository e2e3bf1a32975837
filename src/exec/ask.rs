//! The requests of a probe, over a connection of its own: `GET` over HTTP/1, and `Check` over gRPC.
//!
//! An error means that there was no response. The caller makes it unhealthy, with the error as its
//! reason. The connection is neither reused nor closed properly, because the process ends
//! afterwards.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT, HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tonic::{body::Body as TonicBody, client::Grpc, codegen::Service};

use super::{ExecAnswer, target::Target};
use crate::{
    model::BoxError,
    proto::{self, ServingStatus},
};

/// The time limit for reading a body.
const BODY_TIMEOUT: Duration = Duration::from_millis(100);

/// How much of a body is read, in bytes.
const READ: usize = 64 * 1024;

/// The `User-Agent` of a probe, by which access logs can omit it.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tower-health/", env!("CARGO_PKG_VERSION")));

/// Probes a target, without a time limit.
pub(super) async fn ask(target: &Target) -> Result<ExecAnswer, BoxError> {
    match target {
        Target::Http {
            authority,
            host,
            port,
            path,
        } => get(connect(host, *port).await?, authority, path).await,
        #[cfg(unix)]
        Target::Unix { socket, path } => {
            let stream = tokio::net::UnixStream::connect(socket).await?;
            get(stream, "localhost", path).await
        }
        #[cfg(not(unix))]
        Target::Unix { .. } => Err("Unix sockets are not supported on this system".into()),
        Target::Grpc {
            authority,
            host,
            port,
            service,
        } => check(connect(host, *port).await?, authority, service).await,
    }
}

/// Connects over TCP. A name may have several addresses, which are tried in order.
async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect((host, port)).await
}

/// Sends `GET`. It is healthy if the status code is 2xx. A redirect is not followed.
async fn get<S>(stream: S, authority: &str, path: &str) -> Result<ExecAnswer, BoxError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, authority)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "application/health+json, */*;q=0.5")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    // The status code is the result, however long the body takes. The body only adds text for
    // people.
    let first_line = timeout(BODY_TIMEOUT, first_line(response))
        .await
        .ok()
        .flatten();
    let line = match first_line {
        Some(first_line) => format!("{}, {first_line}", status.as_u16()),
        None => status.to_string(),
    };
    Ok(if status.is_success() {
        ExecAnswer::healthy(line)
    } else {
        ExecAnswer::unhealthy(line)
    })
}

/// Returns the output of a body in health+json, and `None` if the body cannot be read.
async fn first_line(response: Response<Incoming>) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        output: Option<String>,
    }

    let body = Limited::new(response.into_body(), READ).collect().await;
    let document: Document = serde_json::from_slice(&body.ok()?.to_bytes()).ok()?;
    document.output
}

/// Sends `Check` for a service. It is healthy if the status is `SERVING`. A server without
/// `grpc.health.v1` is unhealthy, with the status of gRPC as its reason.
async fn check(stream: TcpStream, authority: &str, service: &str) -> Result<ExecAnswer, BoxError> {
    let io = TokioIo::new(stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    let origin = Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query("/")
        .build()?;
    let mut grpc = Grpc::with_origin(Sender(sender), origin);
    grpc.ready().await?;
    Ok(match proto::ask(&mut grpc, service).await {
        Ok(ServingStatus::Serving) => ExecAnswer::healthy("SERVING".to_owned()),
        Ok(ServingStatus::NotServing) => ExecAnswer::unhealthy("NOT_SERVING".to_owned()),
        Ok(ServingStatus::Unknown) => ExecAnswer::unhealthy("UNKNOWN".to_owned()),
        Ok(ServingStatus::ServiceUnknown) => ExecAnswer::unhealthy("SERVICE_UNKNOWN".to_owned()),
        Err(status) => ExecAnswer::unhealthy(format!("{}: {}", status.code(), status.message())),
    })
}

/// A connection, as tonic expects one.
struct Sender(http2::SendRequest<TonicBody>);

impl Service<Request<TonicBody>> for Sender {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<TonicBody>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
