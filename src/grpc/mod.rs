//! `grpc.health.v1`, the health checking protocol of gRPC: [`Health::grpc`](crate::Health::grpc).
//!
//! | requested service | what it reports |
//! | --- | --- |
//! | `""`, `readiness` | [`Probe::Readiness`] |
//! | `liveness` | [`Probe::Liveness`] |
//! | `startup` | [`Probe::Startup`] |
//! | the name of a check | that check |
//! | a name added by [`service`](GrpcHealth::service) or [`service_of_check`](GrpcHealth::service_of_check) | the probe or check given there |
//!
//! A pass and a warning are `SERVING`. Everything else is `NOT_SERVING`. Readiness and the added
//! services are also `NOT_SERVING` while the instance is [draining](crate::Health::drain) or in
//! [maintenance](crate::Health::maintenance). Added services of liveness and startup are the
//! exception.
//!
//! * `Check` responds immediately with the current status. The exception is a service that depends
//!   on a check that runs [on demand](crate::Check::on_demand): it waits for that check for a
//!   limited time. An unknown service is `NOT_FOUND`.
//! * `Watch` sends the status immediately, and then each change. For an unknown service it sends
//!   `SERVICE_UNKNOWN` and stays open, because the check may be added later. It runs no check. A
//!   [drain](crate::Health::drain) does not wait for it. It ends when the drain is over, or when
//!   the checks end.
//! * `List` returns all services, if there are at most 100. Otherwise it returns
//!   `RESOURCE_EXHAUSTED`.
//!
//! Source:
//! [health.proto](https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto) and
//! [the protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_health::{Health, Probe};
//!
//! let health = Health::builder("orders").start()?;
//! let grpc = health.grpc().service("orders.v1.Orders", Probe::Readiness);
//! # fn is_service<S: tonic::server::NamedService>(_: &S) {}
//! # is_service(&grpc);
//! // tonic::transport::Server::builder().add_service(grpc)
//! # Ok(())
//! # }
//! ```

mod services;
mod watch;

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body::Body;
use prost::Message;
use tonic::{
    Code, Request, Response, Status,
    body::Body as TonicBody,
    codegen::StdError,
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower_service::Service;

use self::{
    services::{LISTED, Services, Subject},
    watch::Watch,
};
use crate::{
    Health,
    endpoint::{Exposure, endless::Endless},
    model::{Probe, UnknownCheck},
    proto::{
        CHECK, HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        LIST, SERVICE, WATCH,
    },
};

/// The longest request that is read, in bytes.
const REQUEST: usize = 4 * 1024;

/// The gRPC service `grpc.health.v1.Health`, for `add_service` of a tonic server. Returned by
/// [`Health::grpc`].
///
/// See the [module](self) for its responses. A clone is cheap, and keeps the checks running.
///
/// ```
/// use tonic::server::NamedService;
/// use tower_health::grpc::GrpcHealth;
///
/// assert_eq!(GrpcHealth::NAME, "grpc.health.v1.Health");
/// ```
#[derive(Clone)]
#[must_use = "services do nothing unless called"]
pub struct GrpcHealth {
    health: Health,
    services: Arc<Services>,
}

impl Health {
    /// Returns the gRPC service `grpc.health.v1.Health`, for a tonic server. See the
    /// [module](crate::grpc).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use bytes::Bytes;
    /// use http::Request;
    /// use http_body_util::{BodyExt, Full};
    /// use tower::ServiceExt;
    /// use tower_health::{Health, Status};
    ///
    /// // `Check` of the service "", which is an empty message.
    /// let request = Request::post("/grpc.health.v1.Health/Check")
    ///     .header("content-type", "application/grpc")
    ///     .body(Full::new(Bytes::from_static(&[0; 5])))?;
    /// let response = Health::fixed(Status::Pass).grpc().oneshot(request).await?;
    /// let message = response.into_body().collect().await?.to_bytes();
    /// assert_eq!(message[5..], [0x08, 1], "field 1 is SERVING");
    /// # Ok(())
    /// # }
    /// ```
    pub fn grpc(&self) -> GrpcHealth {
        GrpcHealth {
            health: self.clone(),
            services: Arc::default(),
        }
    }
}

impl GrpcHealth {
    /// Adds a service that reports the verdict of `probe`. It replaces a service of the same name.
    /// Defaults to the services of the [module](self).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # #[derive(Clone, PartialEq, prost::Message)]
    /// # struct Check { #[prost(string, tag = "1")] service: String }
    /// # #[derive(Clone, PartialEq, prost::Message)]
    /// # struct Response { #[prost(int32, tag = "1")] status: i32 }
    /// # use tower_health::grpc::GrpcHealth;
    /// # async fn check(grpc: GrpcHealth, service: &str) -> Result<i32, tonic::Code> {
    /// #     let mut client = tonic::client::Grpc::new(grpc);
    /// #     client.ready().await.expect("always ready");
    /// #     let request = tonic::Request::new(Check { service: service.to_owned() });
    /// #     let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    /// #     let codec = tonic_prost::ProstCodec::<Check, Response>::default();
    /// #     let response = client.unary(request, path, codec).await;
    /// #     response.map(|response| response.into_inner().status).map_err(|status| status.code())
    /// # }
    /// use tower_health::{Health, Probe, Status};
    ///
    /// const SERVING: i32 = 1;
    /// const NOT_SERVING: i32 = 2;
    ///
    /// let grpc = Health::fixed(Status::Fail)
    ///     .grpc()
    ///     .service("orders.v1.Orders", Probe::Readiness)
    ///     .service("orders.v1.Admin", Probe::Liveness);
    /// assert_eq!(check(grpc.clone(), "orders.v1.Orders").await, Ok(NOT_SERVING));
    /// assert_eq!(check(grpc.clone(), "orders.v1.Admin").await, Ok(SERVING));
    /// assert_eq!(check(grpc, "orders.v1.Other").await, Err(tonic::Code::NotFound));
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(self, service: impl Into<String>, probe: Probe) -> Self {
        self.with(service.into(), Subject::Probe(probe))
    }

    /// Adds a service that reports the status of a check. While the instance is draining or in
    /// maintenance, the service is `NOT_SERVING`. Defaults to the name of each check, which reports
    /// that check alone. If the check is removed, the service is unknown.
    ///
    /// # Errors
    ///
    /// Returns [`UnknownCheck`], which lists the registered names, if there is no such check.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Check, Health, Status};
    ///
    /// let archive = Check::new("archive", || async { Status::Pass }).non_critical();
    /// let health = Health::builder("orders").check(archive).start()?;
    /// assert!(health.grpc().service_of_check("orders.v1.Archive", "archive").is_ok());
    ///
    /// let error = health.grpc().service_of_check("orders.v1.Archive", "unknown").unwrap_err();
    /// assert_eq!(error.known()[0], "archive");
    /// # Ok(())
    /// # }
    /// ```
    pub fn service_of_check(
        self,
        service: impl Into<String>,
        check: &str,
    ) -> Result<Self, UnknownCheck> {
        self.health.check(check)?;
        Ok(self.with(service.into(), Subject::ServiceOf(check.to_owned())))
    }

    /// Sets how much callers may see. With [`Exposure::Status`], checks are not services, unless
    /// they are [added](Self::service_of_check). Defaults to [`Exposure::Checks`]. A higher
    /// exposure shows nothing more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # #[derive(Clone, PartialEq, prost::Message)]
    /// # struct Check { #[prost(string, tag = "1")] service: String }
    /// # #[derive(Clone, PartialEq, prost::Message)]
    /// # struct Response { #[prost(int32, tag = "1")] status: i32 }
    /// # use tower_health::grpc::GrpcHealth;
    /// # async fn check(grpc: GrpcHealth, service: &str) -> Result<i32, tonic::Code> {
    /// #     let mut client = tonic::client::Grpc::new(grpc);
    /// #     client.ready().await.expect("always ready");
    /// #     let request = tonic::Request::new(Check { service: service.to_owned() });
    /// #     let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    /// #     let codec = tonic_prost::ProstCodec::<Check, Response>::default();
    /// #     let response = client.unary(request, path, codec).await;
    /// #     response.map(|response| response.into_inner().status).map_err(|status| status.code())
    /// # }
    /// use tower_health::{Health, Status, endpoint::Exposure};
    ///
    /// const SERVING: i32 = 1;
    ///
    /// let grpc = Health::fixed(Status::Pass).grpc(); // its only check is named `fixed`
    /// assert_eq!(check(grpc.clone(), "fixed").await, Ok(SERVING));
    ///
    /// let grpc = grpc.exposure(Exposure::Status);
    /// assert_eq!(check(grpc.clone(), "fixed").await, Err(tonic::Code::NotFound));
    /// assert_eq!(check(grpc, "readiness").await, Ok(SERVING));
    /// # Ok(())
    /// # }
    /// ```
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        Arc::make_mut(&mut self.services).exposure = exposure;
        self
    }

    /// Adds a service of the application.
    fn with(mut self, service: String, subject: Subject) -> Self {
        Arc::make_mut(&mut self.services)
            .own
            .insert(service, subject);
        self
    }

    /// Answers `Check`, after the runs on demand that it needs.
    async fn check(&self, service: &str) -> Result<HealthCheckResponse, Status> {
        let board = self.health.board();
        for run in self.services.demand(board, service) {
            run.await;
        }
        let status = self.services.status(board, service);
        let status = status.ok_or_else(|| Status::not_found("unknown service"))?;
        Ok(status.into())
    }

    /// Answers `List`. It runs no check.
    fn list(&self) -> Result<HealthListResponse, Status> {
        let board = self.health.board();
        let names = self.services.names(board);
        if names.len() > LISTED {
            let message = format!("there are more than {LISTED} services");
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        let status = |name: String| {
            let status = self.services.status(board, &name)?;
            Some((name, status.into()))
        };
        Ok(HealthListResponse {
            statuses: names.into_iter().filter_map(status).collect(),
        })
    }
}

impl NamedService for GrpcHealth {
    const NAME: &'static str = SERVICE;
}

/// A future of a response. It does not borrow the service, because tonic requires that.
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<B> Service<http::Request<B>> for GrpcHealth
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send,
{
    type Response = http::Response<TonicBody>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = Method(self.clone());
        Box::pin(async move {
            Ok(match request.uri().path() {
                CHECK => {
                    grpc::<HealthCheckResponse, HealthCheckRequest>()
                        .unary(method, request)
                        .await
                }
                LIST => {
                    grpc::<HealthListResponse, HealthListRequest>()
                        .unary(method, request)
                        .await
                }
                WATCH => {
                    let mut watch = grpc().server_streaming(method, request).await;
                    watch.extensions_mut().insert(Endless);
                    watch
                }
                _ => Status::unimplemented("there is no such method").into_http(),
            })
        })
    }
}

/// Returns the codec of a method, with a limit for what is read.
fn grpc<T, U>() -> Grpc<ProstCodec<T, U>>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(REQUEST)
}

/// The implementation of each method, as tonic calls it.
struct Method(GrpcHealth);

impl UnaryService<HealthCheckRequest> for Method {
    type Response = HealthCheckResponse;
    type Future = BoxFuture<Result<Response<HealthCheckResponse>, Status>>;

    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let health = self.0.clone();
        Box::pin(async move {
            let service = request.into_inner().service;
            health.check(&service).await.map(Response::new)
        })
    }
}

impl UnaryService<HealthListRequest> for Method {
    type Response = HealthListResponse;
    type Future = std::future::Ready<Result<Response<HealthListResponse>, Status>>;

    fn call(&mut self, _: Request<HealthListRequest>) -> Self::Future {
        std::future::ready(self.0.list().map(Response::new))
    }
}

impl ServerStreamingService<HealthCheckRequest> for Method {
    type Response = HealthCheckResponse;
    type ResponseStream = Watch;
    type Future = std::future::Ready<Result<Response<Watch>, Status>>;

    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let GrpcHealth { health, services } = &self.0;
        let service = request.into_inner().service;
        let watch = Watch::new(health.board(), Arc::clone(services), service);
        std::future::ready(Ok(Response::new(watch)))
    }
}

impl fmt::Debug for GrpcHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcHealth")
            .field("service", &self.health.board().service.name)
            .field("services", &self.services)
            .finish()
    }
}
