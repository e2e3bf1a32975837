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

mod watch;

use std::{
    collections::BTreeMap,
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

use self::watch::Watch;
use crate::{
    Health,
    endpoint::Exposure,
    engine::{Awaited, Board},
    layer::probes::Endless,
    model::{Probe, Stage, Status as Verdict, UnknownCheck},
    proto::{
        CHECK, HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
        LIST, SERVICE, ServingStatus, WATCH,
    },
};

/// The longest request that is read, in bytes.
const REQUEST: usize = 4 * 1024;

/// The maximum number of services that `List` returns.
const LISTED: usize = 100;

/// The gRPC service `grpc.health.v1.Health`, for `add_service` of a tonic server. Returned by
/// [`Health::grpc`].
///
/// See the [module](self) for its responses. A clone is cheap, and keeps the checks running.
#[derive(Clone)]
#[must_use = "services do nothing unless called"]
pub struct GrpcHealth {
    health: Health,
    services: Arc<Services>,
}

/// The mapping of service names to probes and checks.
#[derive(Clone, Debug, Default)]
struct Services {
    own: BTreeMap<String, Subject>,
    exposure: Exposure,
}

#[derive(Clone, Debug)]
enum Subject {
    Probe(Probe),
    Check(String),
    /// A service that depends on that check alone, but drains with the instance.
    ServiceOf(String),
}

/// The services that always exist.
const PROBES: [(&str, Probe); 4] = [
    ("", Probe::Readiness),
    ("liveness", Probe::Liveness),
    ("readiness", Probe::Readiness),
    ("startup", Probe::Startup),
];

impl Health {
    /// Returns the gRPC service `grpc.health.v1.Health`, for a tonic server. See the
    /// [module](crate::grpc).
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
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        Arc::make_mut(&mut self.services).exposure = exposure;
        self
    }

    fn with(mut self, service: String, subject: Subject) -> Self {
        Arc::make_mut(&mut self.services)
            .own
            .insert(service, subject);
        self
    }

    async fn check(&self, service: &str) -> Result<HealthCheckResponse, Status> {
        let board = self.health.board();
        for run in self.services.demand(board, service) {
            run.await;
        }
        let status = self.services.status(board, service);
        let status = status.ok_or_else(|| Status::not_found("unknown service"))?;
        Ok(status.into())
    }

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

impl Services {
    fn subject(&self, service: &str) -> Option<Subject> {
        let probe = || PROBES.iter().find(|(name, _)| *name == service);
        let check =
            || (self.exposure > Exposure::Status).then(|| Subject::Check(service.to_owned()));
        let own = self.own.get(service).cloned();
        own.or_else(|| probe().map(|&(_, probe)| Subject::Probe(probe)))
            .or_else(check)
    }

    /// Returns the status of a service, if the service exists.
    fn status(&self, board: &Board, service: &str) -> Option<ServingStatus> {
        let status = match self.subject(service)? {
            Subject::Probe(probe) => board.verdict(probe).status,
            Subject::Check(name) => board.check(&name)?.0.status,
            Subject::ServiceOf(name) => {
                let status = board.check(&name)?.0.status;
                match board.stage() {
                    Stage::Draining | Stage::Maintenance => Verdict::Fail,
                    _ => status,
                }
            }
        };
        Some(serving(status))
    }

    /// Runs the checks that run on demand, and returns the runs to wait for.
    fn demand(&self, board: &Board, service: &str) -> Vec<Pin<Box<Awaited>>> {
        let runs = match self.subject(service) {
            Some(Subject::Probe(probe)) => board.demand(probe, &board.published(), &[]),
            Some(Subject::Check(name) | Subject::ServiceOf(name)) => {
                board.demand_check(&name).into_iter().collect()
            }
            None => Vec::new(),
        };
        runs.into_iter().map(Box::pin).collect()
    }

    /// Returns the names of the services. If there are more than can be listed, some are left out.
    fn names(&self, board: &Board) -> Vec<String> {
        let probes = PROBES.iter().map(|&(name, _)| name.to_owned());
        let checks = match self.exposure {
            Exposure::Status => Vec::new(),
            _ => board.names(),
        };
        let mut names: Vec<String> = probes
            .chain(self.own.keys().cloned())
            .chain(checks.iter().take(LISTED + 1).map(ToString::to_string))
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

const fn serving(status: Verdict) -> ServingStatus {
    if status.is_good() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

impl NamedService for GrpcHealth {
    const NAME: &'static str = SERVICE;
}

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

fn grpc<T, U>() -> Grpc<ProstCodec<T, U>>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(REQUEST)
}

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
