//! `grpc.health.v1`, the health checking protocol of gRPC: [`Health::grpc`](crate::Health::grpc).
//!
//! | service asked for | answers for |
//! | --- | --- |
//! | `""`, `readiness` | [`Probe::Readiness`] |
//! | `liveness` | [`Probe::Liveness`] |
//! | `startup` | [`Probe::Startup`] |
//! | the name of a check | that check |
//! | what [`service`](GrpcHealth::service) and [`service_of_check`](GrpcHealth::service_of_check) name | what they say |
//!
//! A pass and a warning are `SERVING`; everything else is `NOT_SERVING`. So are readiness and the services that were named,
//! but for those of liveness and startup, while the instance [leaves](crate::Health::drain) or is in
//! [maintenance](crate::Health::maintenance).
//!
//! * `Check` answers at once, from what is known; only one that depends on a check that runs
//!   [on demand](crate::Check::on_demand) waits for it, a while. A service that is unknown is `NOT_FOUND`.
//! * `Watch` tells the status at once, and then each other one. Of a service that is unknown it tells `SERVICE_UNKNOWN`,
//!   and stays: a check may come. It runs nothing. A [drain](crate::Health::drain) does not wait for it, and it ends when that
//!   is over, or when the checks end.
//! * `List` tells all of them, if there are at most 100; else it is `RESOURCE_EXHAUSTED`.
//!
//! Source: [health.proto](https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto) and
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

/// How many services `List` tells.
const LISTED: usize = 100;

/// The gRPC service `grpc.health.v1.Health`: made by [`Health::grpc`], for `add_service` of a tonic server.
///
/// See the [module](self) for what is answered. A clone is cheap; it keeps the checks running.
#[derive(Clone)]
#[must_use = "services do nothing unless called"]
pub struct GrpcHealth {
    health: Health,
    services: Arc<Services>,
}

/// What is answered for which service.
#[derive(Clone, Debug, Default)]
struct Services {
    own: BTreeMap<String, Subject>,
    exposure: Exposure,
}

#[derive(Clone, Debug)]
enum Subject {
    Probe(Probe),
    Check(String),
    /// A service that needs no more than that check, but leaves with the instance.
    ServiceOf(String),
}

/// The services that there always are.
const PROBES: [(&str, Probe); 4] = [
    ("", Probe::Readiness),
    ("liveness", Probe::Liveness),
    ("readiness", Probe::Readiness),
    ("startup", Probe::Startup),
];

impl Health {
    /// The gRPC service `grpc.health.v1.Health`, for a tonic server; see the [module](crate::grpc).
    pub fn grpc(&self) -> GrpcHealth {
        GrpcHealth {
            health: self.clone(),
            services: Arc::default(),
        }
    }
}

impl GrpcHealth {
    /// Answers for a service with the verdict of `probe`. Defaults to those of the [module](self); one of the same name is
    /// replaced.
    pub fn service(self, service: impl Into<String>, probe: Probe) -> Self {
        self.with(service.into(), Subject::Probe(probe))
    }

    /// Answers for a service with the status of a check, until the instance leaves. Defaults to the name of each check,
    /// which tells of that check alone. If the check is removed, the service is unknown.
    ///
    /// # Errors
    ///
    /// [`UnknownCheck`] lists the names that are registered.
    pub fn service_of_check(
        self,
        service: impl Into<String>,
        check: &str,
    ) -> Result<Self, UnknownCheck> {
        self.health.check(check)?;
        Ok(self.with(service.into(), Subject::ServiceOf(check.to_owned())))
    }

    /// How much callers may see: with [`Exposure::Status`] checks are no services, unless they are
    /// [named](Self::service_of_check). Defaults to [`Exposure::Checks`]; more than that there is nothing to see.
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

    /// How a service is, if it is one.
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

    /// Runs what is to be run on demand, and says what has to be waited for.
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

    /// The services that there are; of very many, not all.
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
    match status.is_good() {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
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
