//! Probe endpoints over HTTP: paths, status codes, headers and bodies.
//!
//! # Paths
//!
//! | path | probe |
//! | --- | --- |
//! | `/health` | [`Probe::Health`](crate::Probe::Health), and every check |
//! | `/ready` | [`Probe::Readiness`](crate::Probe::Readiness), and the checks that do not pass |
//! | `/live` | [`Probe::Liveness`](crate::Probe::Liveness), and the workers and runtimes that do not pass |
//! | `/startup` | [`Probe::Startup`](crate::Probe::Startup), and the tasks and checks that it waits for |
//! | `/health/{check}` | one check |
//!
//! A path matches as a whole, with or without one trailing slash. `/health/a/b` does not match.
//!
//! [`Endpoints`] sets other paths, and has presets for the probers of Kubernetes, MicroProfile and
//! Spring Boot.
//!
//! # Responses
//!
//! * **200** for a pass or a warning, and **503** for a fail. [`code`](EndpointsBuilder::code)
//!   changes these.
//! * **404** for an unknown check, and **405** for an unsupported method.
//! * `HEAD` returns the status code and the headers of `GET`.
//! * `OPTIONS` returns the response of `GET`, with its body and an `Allow` header. HAProxy probes
//!   with a bare `OPTIONS`, and a 405 or a fixed 204 would misreport the state to it.
//! * The response is ready immediately, because it is made from the last results. The exception is
//!   a probe that depends on a check that runs [on demand](crate::Check::on_demand). It waits for
//!   that check, for a limited [time](crate::Check::wait).
//!
//! | header | on |
//! | --- | --- |
//! | `Cache-Control: no-store`, `X-Content-Type-Options: nosniff` | every response |
//! | `Content-Type`, `Content-Length` | every response with a body |
//! | `Retry-After` | every 503, except that of `/live` |
//! | `Vary: Accept` | a response whose dialect depends on `Accept` |
//!
//! `Retry-After` is in whole seconds, from 1 to 60. For readiness and health during maintenance it
//! is the time that is left, but at most 60. Otherwise it is the time after which the status may
//! change, or 60 if that is not known.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http::{StatusCode, header::{CONTENT_LENGTH, RETRY_AFTER}};
//! use tower_health::{Health, Status};
//!
//! let probes = Health::fixed(Status::Fail).service();
//! let ask = |method, path| probes.respond(method, path, None, []).expect("a probe path");
//!
//! let get = ask("GET", "/ready").await;
//! assert_eq!(get.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert!(get.headers().contains_key(RETRY_AFTER));
//!
//! let head = ask("HEAD", "/ready").await;
//! assert_eq!(head.headers()[CONTENT_LENGTH], get.headers()[CONTENT_LENGTH]);
//! assert!(head.body().is_empty());
//!
//! assert_eq!(ask("OPTIONS", "/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(ask("POST", "/ready").await.status(), StatusCode::METHOD_NOT_ALLOWED);
//! assert_eq!(ask("GET", "/health/unknown").await.status(), StatusCode::NOT_FOUND);
//! # Ok(())
//! # }
//! ```
//!
//! # Dialects
//!
//! | `Accept` | body |
//! | --- | --- |
//! | none, `*/*`, anything unknown | [health+json](Dialect::HealthJson) |
//! | `application/health+json`, `application/json` | the same, with that `Content-Type` |
//! | `text/plain` | the [text of Kubernetes](Dialect::KubernetesText) |
//! | `application/vnd.spring-boot.actuator.v3+json` | the JSON of [Actuator](Dialect::Actuator) |
//!
//! If `Accept` names several media types, the highest quality is used, and then the most specific
//! name. If text and JSON are still equal, the first in the header is used. There is no 406: an
//! `Accept` that names none of these media types gets health+json.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http::header::CONTENT_TYPE;
//! use tower_health::{Health, Status};
//!
//! let probes = Health::fixed(Status::Pass).service();
//! for (accept, media_type) in [
//!     ("*/*", "application/health+json"),
//!     ("application/json, text/plain", "application/json"),
//!     ("application/json;q=0.5, text/plain", "text/plain; charset=utf-8"),
//!     ("image/png", "application/health+json"),
//! ] {
//!     let headers = [("accept", accept.as_bytes())];
//!     let response = probes.respond("GET", "/ready", None, headers).expect("a probe path").await;
//!     assert_eq!(response.headers()[CONTENT_TYPE], media_type);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A path can have [one dialect](EndpointsBuilder::dialect) for all requests, as the paths of the
//! presets do. The bodies of 404 and 405 are problem details ([RFC 9457]) in every dialect.
//!
//! The JSON of MicroProfile and of Actuator has statuses of its own:
//!
//! | state | MicroProfile | Actuator |
//! | --- | --- | --- |
//! | a check passes or warns | `UP` | `UP` |
//! | a check fails or is stale | `DOWN` | `DOWN` |
//! | a check is pending | `DOWN` | `UNKNOWN` |
//! | readiness or health, while the instance is starting and nothing is known to fail | `DOWN` | `UNKNOWN` |
//! | readiness or health, while the instance is [draining](crate::Health::drain) or in [maintenance](crate::Health::maintenance) | `DOWN` | `OUT_OF_SERVICE` |
//!
//! A check that does not fail the verdict, such as a non-critical one, is `UP` in MicroProfile and
//! in the liveness of Actuator.
//!
//! # Queries
//!
//! * `?exclude=NAME` excludes a check from this response, in every dialect. It may be repeated. The
//!   verdict is computed without these checks. A name that no check has excludes nothing. A body in
//!   health+json, and a list of Kubernetes text, contain a note about it.
//! * `?verbose` adds a line for each check to the text of Kubernetes.
//!
//! Other parameters are ignored, and so is a query longer than 8 KiB.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http::StatusCode;
//! use tower_health::{Health, Status};
//!
//! let probes = Health::fixed(Status::Fail).service(); // its only check is named `fixed`
//! let ask = |query| probes.respond("GET", "/ready", query, []).expect("a probe path");
//! assert_eq!(ask(None).await.status(), StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(ask(Some("exclude=fixed")).await.status(), StatusCode::OK);
//! assert_eq!(ask(Some("exclude=other")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
//! # Ok(())
//! # }
//! ```
//!
//! # Exposure
//!
//! [`Exposure`] sets how much anonymous callers see. Callers that a
//! [rule](EndpointsBuilder::authorize) accepts see everything. With [`Exposure::Status`], no check
//! is visible: not in a body, not at a path, and not through a query.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use http::{Request, StatusCode, header::{ACCEPT, CONTENT_TYPE}};
//! use tower::ServiceExt;
//! use tower_health::Health;
//!
//! let service = Health::builder("orders").start()?.service();
//!
//! let request = Request::get("/ready").body(())?;
//! let response = service.clone().oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.headers()[CONTENT_TYPE], "application/health+json");
//!
//! let request = Request::get("/ready").header(ACCEPT, "text/plain").body(())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
//! # Ok(())
//! # }
//! ```
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

mod body;
mod builder;
mod complete;
mod dialect;
pub(crate) mod endless;
mod endpoints;
mod error;
mod exposure;
mod future;
mod in_flight;
mod negotiation;
mod path;
mod presets;
mod query;
mod question;
mod response;
mod retry;
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
    response::{METHODS, json, method_not_allowed, problem},
};
pub(crate) use self::{
    future::Answer as ProbeAnswer,
    in_flight::{DrainHeaders, InFlight},
};
use self::{path::RouteMatch, question::ProbeQuery, response::no_such_path, waiting::Waiting};
use crate::Health;

/// A [`Service`] that answers probes. Returned by [`Health::service`].
///
/// Its `poll_ready` always returns ready, its future returns no error, and it keeps the checks
/// running. It returns 404 for a path that is not a probe path.
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
    shared: Arc<Shared>,
}

/// The part of a [`ProbeService`] that its clones share.
#[derive(Debug)]
struct Shared {
    health: Health,
    endpoints: Arc<Endpoints>,
}

impl Health {
    /// Returns a service that answers probes, and returns 404 for every other path. Use it for a
    /// separate port, or nested under a prefix.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, body::Body};
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_health::Health;
    ///
    /// let health = Health::builder("orders").start()?;
    ///
    /// // A separate port: `axum::serve(listener, probes)`.
    /// let probes: Router = Router::new().fallback_service(health.service());
    /// let response = probes.oneshot(Request::get("/ready").body(Body::empty())?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    ///
    /// // Nested under a prefix.
    /// let app: Router = Router::new().nest_service("/internal", health.service());
    /// let response = app.oneshot(Request::get("/internal/ready").body(Body::empty())?).await?;
    /// assert_eq!(response.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    pub fn service(&self) -> ProbeService {
        ProbeService::new(self.clone(), Endpoints::default())
    }
}

impl ProbeService {
    pub(crate) fn new(health: Health, endpoints: Endpoints) -> Self {
        let endpoints = Arc::new(endpoints);
        Self {
            shared: Arc::new(Shared { health, endpoints }),
        }
    }

    /// Sets the paths, their responses and their callers. Defaults to [`Endpoints::default`].
    ///
    /// They replace the previous endpoints completely.
    ///
    /// ```
    /// use tower_health::{Endpoints, Health, Status};
    ///
    /// let probes = Health::fixed(Status::Pass).service();
    /// assert!(probes.respond("GET", "/ready", None, []).is_some());
    ///
    /// let probes = probes.endpoints(Endpoints::kubernetes().build()?);
    /// assert!(probes.respond("GET", "/readyz", None, []).is_some());
    /// assert!(probes.respond("GET", "/ready", None, []).is_none());
    /// # Ok::<_, tower_health::error::EndpointsError>(())
    /// ```
    pub fn endpoints(self, endpoints: Endpoints) -> Self {
        Self::new(self.shared.health.clone(), endpoints)
    }

    #[cfg(feature = "server")]
    pub(crate) fn health(&self) -> &Health {
        &self.shared.health
    }

    /// Whether a rule accepts the caller. `None` if there is no rule.
    #[cfg(feature = "server")]
    pub(crate) fn is_authorized<B>(&self, request: &Request<B>) -> Option<bool> {
        let endpoints = &self.shared.endpoints;
        endpoints.has_rules().then(|| endpoints.authorizes(request))
    }

    /// Returns the exposure for the caller.
    #[cfg(feature = "server")]
    pub(crate) fn exposure_to<B>(&self, request: &Request<B>) -> Exposure {
        self.shared.endpoints.exposure_to(request)
    }

    /// Returns the complete response to a request, for a framework that is not tower. Returns
    /// `None` if the path is not a probe path.
    ///
    /// `method`, `path` and `query` are those of the request line, unchanged. The response to an
    /// invalid method is 405. Invalid headers are ignored. [Rules](EndpointsBuilder::authorize) see
    /// no extensions, and see HTTP/1.1 as the version.
    ///
    /// The response has all its headers. For `HEAD`, the body is empty and `Content-Length` is that
    /// of `GET`. A framework that sets the length itself, and drops the body of `HEAD`, must pass
    /// `GET`.
    ///
    /// The future resolves on its first poll, unless it waits for a check that runs
    /// [on demand](crate::Check::on_demand). It works on any executor, also outside tokio.
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
    #[must_use = "the response must be sent"]
    pub fn respond<'r>(
        &self,
        method: &str,
        path: &str,
        query: Option<&str>,
        headers: impl IntoIterator<Item = (&'r str, &'r [u8])>,
    ) -> Option<Respond> {
        // CONNECT stands for an invalid method, because it is not supported either.
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::CONNECT);
        let found = self.find(&method, path)?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        let uri = match query {
            Some(query) => Uri::try_from(format!("{path}?{query}")),
            None => Uri::try_from(path),
        };
        // An invalid URI does not matter: only rules read it.
        *request.uri_mut() = uri.unwrap_or_default();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                // Headers beyond the capacity of a map are ignored.
                _ = request.headers_mut().try_append(name, value);
            }
        }
        Some(self.answer_to(found, query, &request).into_respond())
    }

    /// Returns the target of a path, if it is a probe path.
    #[inline]
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Option<RouteMatch<'p>> {
        self.shared.endpoints.find(method, path)
    }

    /// Returns the response to a request for a probe. Not inlined, because most requests are not
    /// for probes.
    #[inline(never)]
    pub(crate) fn answer<B>(&self, found: RouteMatch<'_>, request: &Request<B>) -> ProbeAnswer {
        self.answer_to(found, request.uri().query(), request)
    }

    /// Selects the exposure, reads the question and answers it. `query` is separate, because
    /// [`respond`](Self::respond) receives it separately.
    #[inline]
    fn answer_to<B>(
        &self,
        found: RouteMatch<'_>,
        query: Option<&str>,
        request: &Request<B>,
    ) -> ProbeAnswer {
        let (method, headers) = (request.method(), request.headers());
        let exposure = self.shared.endpoints.exposure_to(request);
        self.answer_question(ProbeQuery::read(found, method, query, headers, exposure))
    }

    /// Answers immediately if no run is needed. Otherwise the question becomes owned, because the
    /// future outlives the request.
    fn answer_question(&self, question: ProbeQuery<'_>) -> ProbeAnswer {
        let Shared { health, endpoints } = &*self.shared;
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

    /// Counts an ordinary request as in flight.
    ///
    /// The second value contains the headers that the response needs if the instance drains until
    /// then.
    #[inline]
    pub(crate) fn enter<B>(&self, request: &Request<B>) -> (InFlight, DrainHeaders) {
        let Shared { health, endpoints } = &*self.shared;
        let headers = DrainHeaders {
            envoy: endpoints.has_envoy(),
            closes: request.version() <= Version::HTTP_11 && request.method() != Method::CONNECT,
        };
        let mut in_flight = InFlight::new(health.board());
        if let Some(namer) = &endpoints.namer {
            name(&mut in_flight, namer, request);
        }
        (in_flight, headers)
    }
}

/// Names a request that is in flight, if it has a name.
#[cold]
fn name<B>(in_flight: &mut InFlight, namer: &endpoints::Namer, request: &Request<B>) {
    if let Some(name) = namer(request.uri(), request.extensions()) {
        in_flight.name(name);
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
            .field("service", &self.shared.health.board().service.name)
            .field("endpoints", &self.shared.endpoints)
            .finish()
    }
}
