//! The check of a gRPC service, by the standard protocol `grpc.health.v1`.
//!
//! A status that the server sent and an error of the transport have the same type in tonic. Only
//! the latter has a [source](Error::source), which is how [`reason`] distinguishes them.

use std::{error::Error, fmt, future::poll_fn};

use bytes::Bytes;
use http_body::Body;
use tonic::{
    Code, Status, TimeoutExpired, body::Body as TonicBody, client::GrpcService, codegen::StdError,
    transport::Channel,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower_health::{Failure, HealthCheck, Outcome, Reason, async_trait};

use super::chain;

/// Health check of a gRPC service that implements `grpc.health.v1`.
///
/// | finding | outcome |
/// | --- | --- |
/// | `SERVING` | pass |
/// | `NOT_SERVING`; or `UNAVAILABLE`, from the server or a proxy | fail, unhealthy |
/// | the server does not know the service (`NOT_FOUND`, `SERVICE_UNKNOWN`) | fail, not found |
/// | another status, or a response that is not gRPC | fail, unexpected answer |
/// | the server does not implement the protocol (`UNIMPLEMENTED`) | fail, misconfigured |
/// | `UNAUTHENTICATED` | fail, authentication failed |
/// | `PERMISSION_DENIED` | fail, permission denied |
/// | `RESOURCE_EXHAUSTED` | warn, busy |
/// | `DEADLINE_EXCEEDED`, or no response | fail, timed out |
/// | no address was found for the name; the channel does not trust the certificate | fail, unreachable, untrusted |
/// | nothing listens there, the connection is cut | fail, connection refused, connection lost |
///
/// A run is one unary call, one round trip, over the connection of the channel. A channel
/// reconnects by itself, with the next call. On a network that silently drops packets, only
/// `Endpoint::http2_keep_alive_interval` detects that a connection is lost, and only
/// `Endpoint::connect_timeout` detects that it was never established. Set both.
///
/// If two services check each other's readiness, and each is ready only if the other is, neither
/// becomes ready again once both are not. Make the check
/// [non-critical](tower_health::Check::non_critical) in that case.
///
/// `S` is a [`Channel`], or a wrapper of it, such as a
/// `tonic::service::interceptor::InterceptedService` that authenticates the calls.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tonic::transport::Endpoint;
/// use tower_health::Check;
/// use tower_health_checks::GrpcUpstream;
///
/// let channel = Endpoint::new("http://stock.internal:50051")?.connect_lazy();
/// let stock = Check::new("stock", GrpcUpstream::new(channel).service("stock.v1.Stock")).non_critical();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a check does nothing until it is passed to `Check::new`"]
pub struct GrpcUpstream<S = Channel> {
    /// Cloned for each run. The clones share one connection.
    channel: S,
    /// Empty for the server as a whole.
    service: String,
}

impl<S> GrpcUpstream<S> {
    /// Creates a check of the server that `channel` is connected to.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tonic::transport::Endpoint;
    /// use tower_health::{HealthCheck, Reason};
    /// use tower_health_checks::GrpcUpstream;
    ///
    /// // Nothing listens on this port.
    /// let channel = Endpoint::new("http://127.0.0.1:1")?.connect_lazy();
    /// let outcome = GrpcUpstream::new(channel).check().await.unwrap();
    /// assert_eq!(outcome.reason(), Some(Reason::ConnectionRefused));
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(channel: S) -> Self {
        Self {
            channel,
            service: String::new(),
        }
    }

    /// Sets the service whose health is requested from the server. Defaults to `""`, the server as
    /// a whole.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tokio_stream::wrappers::TcpListenerStream;
    /// # use tonic::transport::{Endpoint, Server};
    /// use tower_health::{Health, HealthCheck, Probe, Reason, Status};
    /// use tower_health_checks::GrpcUpstream;
    ///
    /// let stock = Health::builder("stock").start()?;
    /// let grpc = stock.grpc().service("stock.v1.Stock", Probe::Readiness);
    /// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let channel = Endpoint::new(format!("http://{}", listener.local_addr()?))?.connect_lazy();
    /// # let incoming = TcpListenerStream::new(listener);
    /// # tokio::spawn(Server::builder().add_service(grpc).serve_with_incoming(incoming));
    ///
    /// let known = GrpcUpstream::new(channel.clone()).service("stock.v1.Stock");
    /// assert_eq!(known.check().await.unwrap().status(), Status::Pass);
    ///
    /// let unknown = GrpcUpstream::new(channel).service("stock.v2.Stock");
    /// assert_eq!(unknown.check().await.unwrap().reason(), Some(Reason::NotFound));
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }
}

impl<S> GrpcUpstream<S>
where
    S: GrpcService<TonicBody> + Clone,
    S::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <S::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    /// Sends one request, and returns the status of the service or of the call.
    async fn ask(&self) -> Result<ServingStatus, Status> {
        let mut channel = self.channel.clone();
        // Polled here, because the client keeps only the text of this error.
        let ready = poll_fn(|cx| channel.poll_ready(cx)).await;
        ready.map_err(|error| Status::from_error(error.into()))?;
        let request = HealthCheckRequest {
            service: self.service.clone(),
        };
        let response = HealthClient::new(channel).check(request).await?;
        Ok(response.into_inner().status())
    }
}

#[async_trait]
impl<S> HealthCheck for GrpcUpstream<S>
where
    S: GrpcService<TonicBody> + Clone + Send + Sync + 'static,
    S::Error: Send,
    S::Future: Send,
    S::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <S::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    async fn check(&self) -> Result<Outcome, Failure> {
        let reason = match self.ask().await {
            Ok(ServingStatus::Serving) => return Ok(Outcome::pass()),
            Ok(ServingStatus::NotServing) => Reason::Unhealthy,
            Ok(ServingStatus::ServiceUnknown) => Reason::NotFound,
            Ok(ServingStatus::Unknown) => Reason::UnexpectedAnswer,
            Err(status) => return Ok(judge(&status)),
        };
        Ok(Outcome::fail(reason))
    }
}

/// Returns the outcome of a call that failed. A server without capacity is a warning.
fn judge(status: &Status) -> Outcome {
    let reason = reason(status);
    let outcome = match reason {
        Reason::Busy => Outcome::warn(reason),
        reason => Outcome::fail(reason),
    };
    outcome.with_cause(message(status))
}

/// Returns the reason of a call that failed: that of the transport, or else that of the status
/// code.
fn reason(status: &Status) -> Reason {
    // A status that the server sent has no source.
    if let Some(error) = status.source() {
        let is_late = chain(error).any(<dyn Error>::is::<TimeoutExpired>);
        return match (Reason::of(error), status.code()) {
            _ if is_late => Reason::TimedOut,
            (Reason::Failed, Code::Internal) => Reason::UnexpectedAnswer,
            (Reason::Failed, Code::ResourceExhausted) => Reason::Busy,
            (Reason::Failed, _) => Reason::ConnectionLost,
            (reason, _) => reason,
        };
    }
    match status.code() {
        Code::NotFound => Reason::NotFound,
        Code::Unimplemented => Reason::Misconfigured,
        Code::Unauthenticated => Reason::AuthenticationFailed,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::ResourceExhausted => Reason::Busy,
        Code::Unavailable => Reason::Unhealthy,
        Code::DeadlineExceeded => Reason::TimedOut,
        _ => Reason::UnexpectedAnswer,
    }
}

/// Returns the message of a status and of its sources, without its metadata.
fn message(status: &Status) -> String {
    let mut message = format!("{:?}: {}", status.code(), status.message());
    for source in status.source().into_iter().flat_map(chain) {
        message = format!("{message}: {source}");
    }
    message
}

impl<S> fmt::Debug for GrpcUpstream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcUpstream")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
