//! The builder of endpoints: [`EndpointsBuilder`].

use std::{fmt, sync::Arc};

use http::{Extensions, HeaderValue, StatusCode, Uri, header::AUTHORIZATION, request::Parts};
use subtle::ConstantTimeEq;

use super::{
    Dialect, Endpoints, EndpointsError, Exposure, InvalidEndpoint,
    path::{CHECK, Kind, MAX_PATH, Route},
};
use crate::model::{Probe, Status};

/// Builder of [`Endpoints`]. Returned by [`Endpoints::builder`] and by the presets, such as
/// [`Endpoints::kubernetes`].
///
/// A setter never fails. It records a problem, and [`build`](Self::build) reports all of them.
/// Setters apply in the order of their calls: a path must be defined before its dialect is set.
///
/// ```
/// use tower_health::{Endpoints, Probe, endpoint::Dialect};
///
/// let endpoints = Endpoints::none()
///     .probe("/up", Probe::Readiness)
///     .dialect("/up", Dialect::KubernetesText);
/// assert!(endpoints.build().is_ok());
///
/// let endpoints = Endpoints::none()
///     .dialect("/up", Dialect::KubernetesText) // not defined yet
///     .probe("up", Probe::Readiness); // no slash
/// assert_eq!(endpoints.build().unwrap_err().problems().len(), 2);
/// ```
#[derive(Clone)]
#[must_use = "endpoints do nothing until they are built"]
pub struct EndpointsBuilder {
    endpoints: Endpoints,
    problems: Vec<InvalidEndpoint>,
}

impl EndpointsBuilder {
    pub(super) fn new() -> Self {
        Self {
            endpoints: Endpoints::empty(),
            problems: Vec::new(),
        }
    }

    /// Adds a path that answers `probe`. Defaults to the paths of the preset.
    ///
    /// A path matches as a whole, segment by segment, with or without one trailing slash.
    /// Percent-encoding is not decoded. A path has at most 256 bytes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::StatusCode;
    /// use tower_health::{Endpoints, Health, Probe};
    ///
    /// let endpoints = Endpoints::none().probe("/internal/up", Probe::Readiness).build()?;
    /// let probes = Health::builder("orders").start()?.service().endpoints(endpoints);
    ///
    /// let response = probes.respond("GET", "/internal/up/", None, []).expect("a probe path");
    /// assert_eq!(response.await.status(), StatusCode::OK);
    /// assert!(probes.respond("GET", "/internal", None, []).is_none());
    /// assert!(probes.respond("GET", "/ready", None, []).is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn probe(self, path: impl Into<String>, probe: Probe) -> Self {
        self.path(path.into(), Kind::Probe(probe))
    }

    /// Adds a path that answers for single checks. It ends in `/{check}`, such as
    /// `/internal/checks/{check}`. Defaults to the path of the preset.
    ///
    /// An unknown check is 404. The path without a name below it does not match.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::StatusCode;
    /// use tower_health::{Endpoints, Health, Status};
    ///
    /// let endpoints = Endpoints::none().checks("/internal/checks/{check}").build()?;
    /// let probes = Health::fixed(Status::Warn).service().endpoints(endpoints);
    /// let ask = |path| probes.respond("GET", path, None, []);
    ///
    /// let response = ask("/internal/checks/fixed").expect("the path of a check");
    /// assert_eq!(response.await.status(), StatusCode::OK, "a warning is good");
    /// let response = ask("/internal/checks/other").expect("the path of a check");
    /// assert_eq!(response.await.status(), StatusCode::NOT_FOUND);
    /// assert!(ask("/internal/checks").is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn checks(self, path: impl Into<String>) -> Self {
        self.path(path.into(), Kind::Checks)
    }

    /// Adds a path if it is valid, and records a problem otherwise. It is stored without a trailing
    /// slash.
    fn path(mut self, path: String, kind: Kind) -> Self {
        let bare = match kind {
            Kind::Probe(_) => Some(path.as_str()),
            Kind::Checks => path.strip_suffix(CHECK),
        };
        match bare.filter(|bare| path.len() <= MAX_PATH && is_path(bare, kind)) {
            None => self.problems.push(InvalidEndpoint::Path(path)),
            Some(bare) => {
                let bare = bare.strip_suffix('/').unwrap_or(bare);
                let route = Route {
                    path: bare.into(),
                    kind,
                    dialect: None,
                };
                self.route(route);
            }
        }
        self
    }

    /// Adds a route. An equal route is ignored, so that presets with a common path can be merged. A
    /// route of the same path with another meaning is a problem.
    fn route(&mut self, route: Route) {
        let same_place = |known: &&Route| {
            known.path == route.path
                && matches!(
                    (known.kind, route.kind),
                    (Kind::Checks, Kind::Checks) | (Kind::Probe(_), Kind::Probe(_))
                )
        };
        match self.endpoints.paths.routes().iter().find(same_place) {
            None => self.endpoints.paths.push(route),
            Some(known) if *known == route => {}
            Some(_) => self
                .problems
                .push(InvalidEndpoint::Conflict(route.written())),
        }
    }

    /// Sets the dialect of all responses at `path`, whatever the `Accept` of the request. The path
    /// must be defined already. Defaults to negotiation by `Accept`. The paths of presets have
    /// their own dialect.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Endpoints, Health, endpoint::Dialect};
    ///
    /// let endpoints = Endpoints::builder().dialect("/ready", Dialect::KubernetesText).build()?;
    /// let probes = Health::builder("orders").start()?.service().endpoints(endpoints);
    ///
    /// let response = probes.respond("GET", "/ready", None, []).expect("a probe path").await;
    /// assert_eq!(response.body(), "ok");
    /// # Ok(())
    /// # }
    /// ```
    pub fn dialect(mut self, path: impl Into<String>, dialect: Dialect) -> Self {
        let path = path.into();
        let is_meant = |route: &&mut Route| {
            route.written() == path || path.strip_suffix('/') == Some(&*route.written())
        };
        match self.endpoints.paths.routes_mut().iter_mut().find(is_meant) {
            Some(route) => route.dialect = Some(dialect),
            None => {
                let known = self
                    .endpoints
                    .paths
                    .routes()
                    .iter()
                    .map(Route::written)
                    .collect();
                let problem = InvalidEndpoint::UnknownPath { path, known };
                self.problems.push(problem);
            }
        }
        self
    }

    /// Sets the dialect of every path that is defined so far. Presets use it.
    pub(super) fn all_in(mut self, dialect: Dialect) -> Self {
        for route in self.endpoints.paths.routes_mut() {
            route.dialect = Some(dialect);
        }
        self
    }

    /// Adds the paths and the rules of `other`. Where both have a value for a setting, the value of
    /// `other` is used. A path that both define differently is a problem.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::StatusCode;
    /// use tower_health::{Endpoints, Health};
    ///
    /// let endpoints = Endpoints::builder().merge(Endpoints::kubernetes()).build()?;
    /// let probes = Health::builder("orders").start()?.service().endpoints(endpoints);
    /// for path in ["/ready", "/readyz"] {
    ///     let response = probes.respond("GET", path, None, []).expect("a probe path").await;
    ///     assert_eq!(response.status(), StatusCode::OK);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn merge(mut self, other: Self) -> Self {
        let Self {
            endpoints: other,
            problems,
        } = other;
        self.problems.extend(problems);
        for route in other.paths.routes() {
            self.route(route.clone());
        }
        let known = &mut self.endpoints;
        known.exposure = other.exposure.or(known.exposure);
        known.rules.extend(other.rules);
        for (code, other) in known.codes.iter_mut().zip(other.codes) {
            *code = other.or(*code);
        }
        known.envoy |= other.envoy;
        known.envoy_cluster = other.envoy_cluster.or(known.envoy_cluster.take());
        self
    }

    /// Sets the exposure for all callers. [Rules](Self::authorize) show more to some callers.
    ///
    /// [`Exposure::Full`] is a problem here, because it is only for a management port, which sets
    /// it itself (`ServerBuilder::exposure`). Defaults to [`Exposure::Checks`].
    ///
    /// ```
    /// use tower_health::{Endpoints, endpoint::{Exposure, InvalidEndpoint}};
    ///
    /// assert!(Endpoints::builder().exposure(Exposure::Status).build().is_ok());
    /// let error = Endpoints::builder().exposure(Exposure::Full).build().unwrap_err();
    /// assert_eq!(error.problems(), [InvalidEndpoint::FullExposure]);
    /// ```
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        if exposure == Exposure::Full {
            self.problems.push(InvalidEndpoint::FullExposure);
        } else {
            self.endpoints.exposure = Some(exposure);
        }
        self
    }

    /// Adds a rule. Callers that it accepts see [everything](Exposure::Full). If there are several
    /// rules, one that accepts is enough. Defaults to none.
    ///
    /// A rule runs only for probes and for the operations of a management port. It must not block.
    /// A rule that panics does not accept.
    ///
    /// A rule sees the headers and the extensions of the request. It can use what the server knows
    /// of the connection, such as axum's `ConnectInfo` or the certificate of the client. Do not
    /// rely on what the client writes, such as `X-Forwarded-For`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_health::{Check, Endpoints, Health, Status, endpoint::Exposure};
    ///
    /// #[derive(Clone)]
    /// struct Operator; // inserted by a layer that authenticates
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("db", || async { Status::Pass }))
    ///     .start()?;
    /// let endpoints = Endpoints::builder()
    ///     .exposure(Exposure::Status)
    ///     .authorize(|parts| parts.extensions.get::<Operator>().is_some())
    ///     .build()?;
    /// let service = health.service().endpoints(endpoints);
    ///
    /// // Other callers do not see whether the check exists.
    /// let request = Request::get("/health/db").body(())?;
    /// let response = service.clone().oneshot(request).await?;
    /// assert_eq!(response.status(), StatusCode::NOT_FOUND);
    ///
    /// let request = Request::get("/health/db").extension(Operator).body(())?;
    /// let response = service.oneshot(request).await?;
    /// assert_ne!(response.status(), StatusCode::NOT_FOUND);
    /// # Ok(())
    /// # }
    /// ```
    pub fn authorize<F>(mut self, rule: F) -> Self
    where
        F: Fn(&Parts) -> bool + Send + Sync + 'static,
    {
        self.endpoints.rules.push(Arc::new(rule));
        self
    }

    /// Sets how a request that is no probe is named in the log of a [drain](crate::Health::drain):
    /// if it is still in flight when servers stop accepting, or when it is cut, the line has its
    /// name. The function is called when the request arrives. Return a route, such as the
    /// `MatchedPath` of axum, and not the path that the client sent. Otherwise each request has a
    /// name of its own, and what a client sent is logged. 64 names are kept, each with at most 128
    /// characters. A request with a further name counts without it.
    ///
    /// A request costs a search among these names, and two atomic additions. Other work has a name
    /// by [`InFlightGuard::named`](crate::drain::InFlightGuard::named). Defaults to no names.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, extract::MatchedPath, routing::get};
    /// use tower_health::{Endpoints, Health};
    ///
    /// let health = Health::builder("orders").start()?;
    /// let endpoints = Endpoints::builder()
    ///     .in_flight_names(|_, extensions| Some(extensions.get::<MatchedPath>()?.as_str()))
    ///     .build()?;
    /// let app: Router = Router::new()
    ///     .route("/orders/{id}", get(|| async { "an order" }))
    ///     .layer(health.layer().endpoints(endpoints));
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_flight_names<F>(mut self, name: F) -> Self
    where
        F: for<'a> Fn(&'a Uri, &'a Extensions) -> Option<&'a str> + Send + Sync + 'static,
    {
        self.endpoints.namer = Some(Arc::new(name));
        self
    }

    /// Adds a [rule](Self::authorize) that accepts `Authorization: Bearer <token>` ([RFC 6750]). If
    /// there are several tokens, as in a rotation, each is enough. Tokens are compared in constant
    /// time. Defaults to none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::StatusCode;
    /// use tower_health::{Check, Endpoints, Health, Status, endpoint::Exposure};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("db", || async { Status::Pass }))
    ///     .start()?;
    /// let endpoints = Endpoints::builder()
    ///     .exposure(Exposure::Status)
    ///     .bearer_token("f3b1c0ffee")
    ///     .build()?;
    /// let probes = health.service().endpoints(endpoints);
    ///
    /// let headers = [("authorization", b"Bearer f3b1c0ffee".as_slice())];
    /// let response = probes.respond("GET", "/health/db", None, headers).expect("a probe path");
    /// assert_ne!(response.await.status(), StatusCode::NOT_FOUND);
    ///
    /// let headers = [("authorization", b"Bearer guess".as_slice())];
    /// let response = probes.respond("GET", "/health/db", None, headers).expect("a probe path");
    /// assert_eq!(response.await.status(), StatusCode::NOT_FOUND);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        let token = token.into();
        if !is_token(&token) {
            self.problems.push(InvalidEndpoint::Token);
            return self;
        }
        self.authorize(move |parts| {
            let is_it = |given: &[u8]| bool::from(given.ct_eq(token.as_bytes()));
            let mut values = parts.headers.get_all(AUTHORIZATION).iter();
            values.any(|value| bearer(value.as_bytes()).is_some_and(is_it))
        })
    }

    /// Sets the status code for a verdict, or a check, with this `status`. A 503 has `Retry-After`,
    /// whatever the status, except for liveness. Defaults to 200 for pass and warn, and 503 for
    /// fail.
    ///
    /// Change this with care. Probers disagree on 204, 3xx, 404 and 429: what means healthy to one
    /// means unhealthy to another.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use http::StatusCode;
    /// use tower_health::{Check, Endpoints, Health, Status};
    ///
    /// let health = Health::builder("orders")
    ///     .check(Check::new("db", || async { Status::Pass }))
    ///     .start()?;
    /// let endpoints = Endpoints::builder()
    ///     .code(Status::Fail, StatusCode::INTERNAL_SERVER_ERROR)
    ///     .build()?;
    /// let probes = health.service().endpoints(endpoints);
    ///
    /// // The check has not run yet.
    /// let response = probes.respond("GET", "/ready", None, []).expect("a probe path");
    /// assert_eq!(response.await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    /// # Ok(())
    /// # }
    /// ```
    pub fn code(mut self, status: Status, code: StatusCode) -> Self {
        if code.is_informational() {
            self.problems.push(InvalidEndpoint::Code(code));
            return self;
        }
        if let Some(slot) = self.endpoints.codes.get_mut(status as usize) {
            *slot = Some(code);
        }
        self
    }

    /// Adds the headers that Envoy reads. Defaults to none.
    ///
    /// * `x-envoy-degraded`: on a response whose verdict or check warns.
    /// * `x-envoy-immediate-health-check-fail`: on ordinary responses through a
    ///   [layer](crate::layer::probes), while the instance is [draining](crate::Health::drain).
    ///
    /// Source: [Envoy, HTTP header manipulation].
    ///
    /// [Envoy, HTTP header manipulation]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, body::Body, routing::get};
    /// use http::Request;
    /// use tower::ServiceExt;
    /// use tower_health::{Endpoints, Health};
    ///
    /// let endpoints = Endpoints::builder().envoy().build()?;
    /// let health = Health::builder("orders").start()?;
    /// let app = Router::new().route("/orders", get(|| async { "no orders" }));
    /// let app = health.wrap(app).endpoints(endpoints);
    /// let ask = || app.clone().oneshot(Request::get("/orders").body(Body::empty()).unwrap());
    ///
    /// let header = "x-envoy-immediate-health-check-fail";
    /// assert!(!ask().await?.headers().contains_key(header));
    /// health.drain();
    /// assert_eq!(ask().await?.headers()[header], "true");
    /// # Ok(())
    /// # }
    /// ```
    pub fn envoy(mut self) -> Self {
        self.endpoints.envoy = true;
        self
    }

    /// Adds the header `x-envoy-upstream-healthchecked-cluster` to each response with a verdict or
    /// a check, for the `service_name_matcher` of Envoy. Also enables [`envoy`](Self::envoy).
    /// Defaults to none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_health::{Endpoints, Health};
    ///
    /// let endpoints = Endpoints::builder().envoy_cluster("orders").build()?;
    /// let probes = Health::builder("orders").start()?.service().endpoints(endpoints);
    /// let response = probes.respond("GET", "/ready", None, []).expect("a probe path").await;
    /// assert_eq!(response.headers()["x-envoy-upstream-healthchecked-cluster"], "orders");
    /// # Ok(())
    /// # }
    /// ```
    pub fn envoy_cluster(mut self, cluster: impl AsRef<str>) -> Self {
        match HeaderValue::from_str(cluster.as_ref()) {
            Ok(cluster) if !cluster.is_empty() => self.endpoints.envoy_cluster = Some(cluster),
            _ => self.problems.push(InvalidEndpoint::EnvoyCluster),
        }
        self.envoy()
    }

    /// Builds the endpoints.
    ///
    /// # Errors
    ///
    /// Returns an [`EndpointsError`] that lists every problem.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_health::{Endpoints, Status, endpoint::InvalidEndpoint};
    ///
    /// let error = Endpoints::builder()
    ///     .bearer_token("not a token")
    ///     .code(Status::Pass, StatusCode::CONTINUE)
    ///     .build()
    ///     .unwrap_err();
    /// assert_eq!(
    ///     error.problems(),
    ///     [InvalidEndpoint::Token, InvalidEndpoint::Code(StatusCode::CONTINUE)],
    /// );
    /// ```
    pub fn build(self) -> Result<Endpoints, EndpointsError> {
        if self.problems.is_empty() {
            Ok(self.endpoints)
        } else {
            Err(EndpointsError::new(self.problems))
        }
    }

    /// Returns the endpoints of a preset, which has no problems.
    pub(super) fn into_valid(self) -> Endpoints {
        self.endpoints
    }
}

impl fmt::Debug for EndpointsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointsBuilder")
            .field("endpoints", &self.endpoints)
            .field("problems", &self.problems)
            .finish()
    }
}

/// Whether a path can be matched literally, byte for byte as it is in a request.
///
/// Nothing is decoded or normalized at a match, so a path with `%`, `.` or `..` would never match
/// as meant.
fn is_path(path: &str, kind: Kind) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        // The checks may be directly below the root.
        return path.is_empty() && kind == Kind::Checks;
    };
    let segments = match kind {
        Kind::Probe(_) => segments.strip_suffix('/').unwrap_or(segments),
        Kind::Checks => segments,
    };
    // A wildcard of other routers would match only itself here, so it is not valid.
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && !segment.starts_with(':')
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(&byte))
    };
    path == "/" && kind != Kind::Checks || segments.split('/').all(is_segment)
}

/// Whether a text is a valid `b64token` of RFC 6750.
fn is_token(token: &str) -> bool {
    let core = token.trim_end_matches('=');
    let is_core = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !core.is_empty() && core.bytes().all(is_core)
}

/// Returns the token in the value of an `Authorization` header.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer".len())?;
    let spaced = token.strip_prefix(b" ")?;
    scheme
        .eq_ignore_ascii_case(b"Bearer")
        .then(|| spaced.trim_ascii())
}
