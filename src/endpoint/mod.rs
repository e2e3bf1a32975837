//! From a request to a probe, its verdict and a response in the dialect that the caller reads.
//!
//! | path | probe |
//! | --- | --- |
//! | `/health` | [`Probe::Health`](crate::Probe::Health): every check |
//! | `/ready` | [`Probe::Readiness`](crate::Probe::Readiness), and the checks that do not pass |
//! | `/live` | [`Probe::Liveness`](crate::Probe::Liveness), and the workers and runtimes that do not pass |
//! | `/startup` | [`Probe::Startup`](crate::Probe::Startup), and the tasks and checks that hold it |
//! | `/health/{check}` | one check |
//!
//! Other paths, presets for probers of other worlds, and everything else that can be set is in [`Endpoints`].
//!
//! A path matches whole, with or without one trailing slash; `/health/a/b` is not ours. What is answered:
//!
//! * a pass or a warning is **200**, a fail is **503** ([unless](EndpointsBuilder::code) told otherwise), an unknown check
//!   **404**, another method **405**;
//! * `HEAD` gets the status and the headers of `GET`; so does `OPTIONS`, with its body and an `Allow`: HAProxy
//!   probes with a bare `OPTIONS`, and neither a 405 nor a fixed 204 would tell it the truth;
//! * an answer is given at once, from what is known; only one that depends on a check that runs
//!   [on demand](crate::Check::on_demand) waits for it, a while;
//! * every answer that has a body carries `Content-Type` and `Content-Length`, and each `Cache-Control: no-store` and
//!   `X-Content-Type-Options: nosniff`, and a 503 other than that of `/live` carries `Retry-After`.
//!
//! # Dialects
//!
//! | `Accept` | body |
//! | --- | --- |
//! | none, `*/*`, anything unknown | [health+json](Dialect::HealthJson) |
//! | `application/health+json`, `application/json` | the same, by that name |
//! | `text/plain` | the [text of Kubernetes](Dialect::KubernetesText) |
//! | `application/vnd.spring-boot.actuator.v3+json` | the JSON of [Actuator](Dialect::Actuator) |
//!
//! Of several the one of the highest quality is taken, then the one that is named most exactly; no `Accept` is ever
//! refused. Such an answer says `Vary: Accept`. A path can have [one dialect](EndpointsBuilder::dialect) for all, as those of the
//! presets do. 404 and 405 are problems ([RFC 9457]) in every dialect.
//!
//! Where a check is pending, stale or fails, MicroProfile and Actuator say `DOWN` of it, the latter `UNKNOWN` while it is
//! pending; an instance that [leaves](crate::Health::drain) or is in [maintenance](crate::Health::maintenance) is `DOWN`, in
//! Actuator `OUT_OF_SERVICE`. A warning is `UP`.
//!
//! # Queries
//!
//! `?exclude=NAME`, which may be repeated, leaves a check out of that one answer, in every dialect; `?verbose` adds a line
//! for each check to the text of Kubernetes. A query of more than 8 KiB is not read, nor anything else in one.
//!
//! # Who sees what
//!
//! Strangers see as much as the [`Exposure`] says, and whom a [rule](EndpointsBuilder::authorize) knows sees everything. With
//! [`Exposure::Status`] there are no checks: not in a body, not at a path, not for a query.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

mod body;
mod builder;
mod dialect;
mod endpoints;
mod error;
mod exposure;
mod future;
mod in_flight;
mod negotiation;
mod path;
mod query;
mod question;
mod response;
mod waiting;

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use tower_service::Service;

pub use self::{
    body::ProbeBody,
    builder::EndpointsBuilder,
    dialect::Dialect,
    endpoints::Endpoints,
    error::{EndpointsError, InvalidEndpoint},
    exposure::Exposure,
    future::{Respond, ResponseFuture},
};
#[cfg(feature = "server")]
pub(crate) use self::{
    dialect::event,
    path::Target,
    response::{METHODS, json, problem, wrong_method},
};
pub(crate) use self::{
    future::Answer as ProbeAnswer,
    in_flight::{InFlight, Leaving},
};
use self::{path::Found, question::Question, response::no_such_path, waiting::Waiting};
use crate::Health;

/// Answers probes: a [`Service`] of its own, made by [`Health::service`].
///
/// It is always ready, never fails, and keeps the checks running. A request for a path that is no probe's gets
/// a 404.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
/// use tower_health::{Endpoints, Health, endpoint::Exposure};
///
/// let health = Health::builder("orders").start()?;
/// let endpoints = Endpoints::builder().exposure(Exposure::Status).build()?;
/// let service = health.service().endpoints(endpoints);
/// let response = service.oneshot(Request::get("/ready").body(())?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "services do nothing unless called"]
pub struct ProbeService {
    face: Arc<Face>,
}

/// Whose probes are answered, and how.
#[derive(Debug)]
struct Face {
    health: Health,
    endpoints: Arc<Endpoints>,
}

impl Health {
    /// A service that answers probes, and 404 to everything else, for a port of its own: with axum,
    /// `axum::serve(listener, Router::new().fallback_service(health.service()))`.
    ///
    /// Nested under a prefix, it answers below it: `nest_service("/internal", health.service())` has
    /// `/internal/ready`.
    pub fn service(&self) -> ProbeService {
        ProbeService::new(self.clone(), Endpoints::default())
    }
}

impl ProbeService {
    pub(crate) fn new(health: Health, endpoints: Endpoints) -> Self {
        let endpoints = Arc::new(endpoints);
        Self {
            face: Arc::new(Face { health, endpoints }),
        }
    }

    /// Sets the paths, and what is answered there to whom. Defaults to [`Endpoints::default`].
    pub fn endpoints(self, endpoints: Endpoints) -> Self {
        Self::new(self.face.health.clone(), endpoints)
    }

    #[cfg(feature = "server")]
    pub(crate) fn health(&self) -> &Health {
        &self.face.health
    }

    /// Whether there is a rule that says who is known, and whether the sender of a request is.
    #[cfg(feature = "server")]
    pub(crate) fn knows<B>(&self, request: &Request<B>) -> Option<bool> {
        let endpoints = &self.face.endpoints;
        endpoints.has_rules().then(|| endpoints.authorizes(request))
    }

    /// What is told of a verdict to the sender of a request.
    #[cfg(feature = "server")]
    pub(crate) fn exposure_to<B>(&self, request: &Request<B>) -> Exposure {
        self.face.endpoints.exposure_to(request)
    }

    /// The complete answer to a request, for a framework that is not tower; none if the path is no probe's.
    ///
    /// `method`, `path` and `query` are those of the request line, as they came. What is no method is answered 405,
    /// and headers that are none are left out. The response has every header that belongs to it. For `HEAD` its body is
    /// empty and its `Content-Length` that of `GET`; a framework that counts the length itself, and leaves out the body
    /// of `HEAD`, is to ask with `GET`. [Rules](EndpointsBuilder::authorize) see no extensions, and HTTP/1.1 as
    /// the version.
    ///
    /// The future is ready at once, unless it waits for a check that runs [on demand](crate::Check::on_demand).
    /// It works on any executor, and outside tokio.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::{HeaderMap, StatusCode};
    /// use tower_health::Health;
    ///
    /// let probes = Health::builder("orders").start()?.service();
    /// let headers = HeaderMap::new();
    /// let pairs = || headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    ///
    /// let answer = probes.respond("GET", "/ready", None, pairs()).expect("a probe");
    /// assert_eq!(answer.await.status(), StatusCode::OK);
    /// assert!(probes.respond("GET", "/orders", None, pairs()).is_none(), "for the application");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "what is not sent answers nobody"]
    pub fn respond<'r>(
        &self,
        method: &str,
        path: &str,
        query: Option<&str>,
        headers: impl IntoIterator<Item = (&'r str, &'r [u8])>,
    ) -> Option<Respond> {
        // Any other is no method of ours either.
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::CONNECT);
        let found = self.find(&method, path)?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        let uri = match query {
            Some(query) => Uri::try_from(format!("{path}?{query}")),
            None => Uri::try_from(path),
        };
        // One that is none is answered all the same.
        *request.uri_mut() = uri.unwrap_or_default();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                // More than a map can hold is left out.
                _ = request.headers_mut().try_append(name, value);
            }
        }
        Some(self.answer_to(found, query, &request).into_respond())
    }

    /// What a path asks for, if it is a probe's.
    #[inline]
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Option<Found<'p>> {
        self.face.endpoints.find(method, path)
    }

    /// The answer to a request whose path asks for what was found. Most requests do not ask.
    #[inline(never)]
    pub(crate) fn answer<B>(&self, found: Found<'_>, request: &Request<B>) -> ProbeAnswer {
        self.answer_to(found, request.uri().query(), request)
    }

    #[inline]
    fn answer_to<B>(
        &self,
        found: Found<'_>,
        query: Option<&str>,
        request: &Request<B>,
    ) -> ProbeAnswer {
        let (method, headers) = (request.method(), request.headers());
        let exposure = self.face.endpoints.exposure_to(request);
        self.answer_question(Question::read(found, method, query, headers, exposure))
    }

    fn answer_question(&self, question: Question<'_>) -> ProbeAnswer {
        let Face { health, endpoints } = &*self.face;
        let board = health.board();
        let published = board.published();
        let runs = question.demand(board, &published);
        if runs.is_empty() {
            ProbeAnswer::ready(question.answer(board, &published, endpoints))
        } else {
            let endpoints = Arc::clone(endpoints);
            ProbeAnswer::waiting(Waiting::new(board, endpoints, question.into_owned(), runs))
        }
    }

    /// An ordinary request begins.
    #[inline]
    pub(crate) fn enter<B>(&self, request: &Request<B>) -> (InFlight, Leaving) {
        let Face { health, endpoints } = &*self.face;
        let leaving = Leaving {
            envoy: endpoints.has_envoy(),
            closes: request.version() <= Version::HTTP_11 && request.method() != Method::CONNECT,
        };
        (InFlight::new(health.board()), leaving)
    }
}

impl<B> Service<Request<B>> for ProbeService {
    type Response = Response<ProbeBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = match self.find(request.method(), request.uri().path()) {
            Some(found) => self.answer(found, &request),
            None => ProbeAnswer::ready(no_such_path(request.method())),
        };
        answer.into_response_future()
    }
}

impl fmt::Debug for ProbeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeService")
            .field("service", &self.face.health.board().service.name)
            .field("endpoints", &self.face.endpoints)
            .finish()
    }
}
