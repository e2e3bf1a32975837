//! What is answered where, to whom, and how: [`Endpoints`].

use std::{error::Error, fmt, panic::AssertUnwindSafe, sync::Arc};

use http::{HeaderValue, Method, Request, StatusCode, header::AUTHORIZATION, request::Parts};
use subtle::ConstantTimeEq;

use super::{
    Dialect, Exposure,
    path::{Found, Kind, Paths, Route},
};
use crate::{
    check::guard,
    model::{Probe, Status, write_mistakes},
};

/// What is answered where, to whom, and how: the settings of a [service](super::ProbeService), of a
/// [layer](crate::layer::probes) or of a management port (`Health::serve`).
///
/// The default has the paths `/health`, `/ready`, `/live`, `/startup` and `/health/{check}`, each in the dialect that the
/// caller accepts. Others are made of presets and of paths of one's own:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Dialect, Endpoints, Exposure, Health, Probe};
///
/// let endpoints = Endpoints::kubernetes()
///     .probe("/internal/up", Probe::Readiness)
///     .dialect("/internal/up", Dialect::HealthJson)
///     .exposure(Exposure::Status) // to strangers, the verdict alone
///     .bearer_token("f3b1c0ffee"); // to whoever has this, everything
///
/// let health = Health::builder("orders").start()?;
/// let layer = health.layer().endpoints(endpoints)?;
/// # Ok(())
/// # }
/// ```
///
/// # Which path for whom
///
/// Probers want a verdict: give them `/ready`, `/live` and `/startup`, which list 16 checks at most. `/health`, the paths of
/// MicroProfile and the groups of Actuator list each check: 100 of them are 18 kB, where a kubelet reads 10 and HAProxy 16.
///
/// `OPTIONS *`, which asks for the server as a whole, is answered as the path of readiness is, if there is one.
///
/// The chain never fails; whatever takes the endpoints reports every mistake at once.
#[derive(Clone)]
#[must_use = "endpoints do nothing until they are given to a layer or a service"]
pub struct Endpoints {
    paths: Paths,
    exposure: Option<Exposure>,
    rules: Vec<Rule>,
    /// In the order of statuses.
    codes: [Option<StatusCode>; Status::Fail as usize + 1],
    envoy: bool,
    envoy_cluster: Option<HeaderValue>,
    mistakes: Vec<EndpointsMistake>,
}

/// Says whether a caller may see everything.
type Rule = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// The longest path of one's own, in bytes.
const MAX_PATH: usize = 256;

/// What stands for the name of a check at the end of a path.
const CHECK: &str = "/{check}";

/// The paths of the default.
impl Default for Endpoints {
    fn default() -> Self {
        Self::none()
            .probe("/health", Probe::Health)
            .probe("/ready", Probe::Readiness)
            .probe("/live", Probe::Liveness)
            .probe("/startup", Probe::Startup)
            .checks("/health/{check}")
    }
}

impl Endpoints {
    /// The paths of the Kubernetes API server, in its [plain text](Dialect::KubernetesText): `/healthz`, `/readyz`,
    /// `/livez` and `/readyz/{check}`. What fails is 503, where the API server itself says 500: probers of both
    /// kinds take it for what it is, and 503 is what load balancers retry elsewhere.
    pub fn kubernetes() -> Self {
        Self::none()
            .probe("/healthz", Probe::Health)
            .probe("/readyz", Probe::Readiness)
            .probe("/livez", Probe::Liveness)
            .checks("/readyz/{check}")
            .all_in(Dialect::KubernetesText)
    }

    /// The paths of MicroProfile Health 4.0, in [its JSON](Dialect::MicroProfile): `/health`, `/health/live`,
    /// `/health/ready` and `/health/started`. Each of the three lists every procedure that is there for it, passing ones too:
    /// `live` heartbeats and runtimes, `ready` checks, `started` start-up tasks. A procedure is down if it fails the verdict, so one
    /// that is not critical is up, with its reason as data. Where the instance itself is why, as while it drains, none is down.
    pub fn microprofile() -> Self {
        Self::none()
            .probe("/health", Probe::Health)
            .probe("/health/live", Probe::Liveness)
            .probe("/health/ready", Probe::Readiness)
            .probe("/health/started", Probe::Startup)
            .all_in(Dialect::MicroProfile)
    }

    /// The paths of Spring Boot's Actuator, in [its JSON](Dialect::Actuator): `/actuator/health`,
    /// `/actuator/health/liveness`, `/actuator/health/readiness` and `/actuator/health/{component}`.
    pub fn actuator() -> Self {
        Self::none()
            .probe("/actuator/health", Probe::Health)
            .probe("/actuator/health/liveness", Probe::Liveness)
            .probe("/actuator/health/readiness", Probe::Readiness)
            .checks("/actuator/health/{check}")
            .all_in(Dialect::Actuator)
    }

    /// No path at all, to build on.
    pub fn none() -> Self {
        Self {
            paths: Paths::default(),
            exposure: None,
            rules: Vec::new(),
            codes: Default::default(),
            envoy: false,
            envoy_cluster: None,
            mistakes: Vec::new(),
        }
    }

    /// Answers `probe` at `path` as well. Defaults to the paths of the preset.
    ///
    /// A path is matched whole, segment by segment, with or without a slash at its end; nothing is decoded.
    pub fn probe(self, path: impl Into<String>, probe: Probe) -> Self {
        self.path(path.into(), Kind::Probe(probe))
    }

    /// Answers for single checks as well, at a path that ends in `/{check}`. Defaults to that of the preset.
    pub fn checks(self, path: impl Into<String>) -> Self {
        self.path(path.into(), Kind::Checks)
    }

    fn path(mut self, path: String, kind: Kind) -> Self {
        let bare = match kind {
            Kind::Probe(_) => Some(path.as_str()),
            Kind::Checks => path.strip_suffix(CHECK),
        };
        match bare.filter(|bare| path.len() <= MAX_PATH && is_path(bare, kind)) {
            None => self.mistakes.push(EndpointsMistake::Path(path)),
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

    fn route(&mut self, route: Route) {
        let same_place = |known: &&Route| {
            known.path == route.path
                && matches!(
                    (known.kind, route.kind),
                    (Kind::Checks, Kind::Checks) | (Kind::Probe(_), Kind::Probe(_))
                )
        };
        match self.paths.routes().iter().find(same_place) {
            None => self.paths.push(route),
            Some(known) if *known == route => {}
            Some(_) => self.mistakes.push(EndpointsMistake::Taken(written(&route))),
        }
    }

    /// Answers always in `dialect` at `path`, which is one that was given before, whatever callers accept. Defaults to
    /// what callers accept, but for the paths of presets.
    pub fn dialect(mut self, path: impl Into<String>, dialect: Dialect) -> Self {
        let path = path.into();
        let is_meant = |route: &&mut Route| {
            written(route) == path || path.strip_suffix('/') == Some(&*written(route))
        };
        match self.paths.routes_mut().iter_mut().find(is_meant) {
            Some(route) => route.dialect = Some(dialect),
            None => {
                let known = self.paths.routes().iter().map(written).collect();
                let mistake = EndpointsMistake::UnknownPath { path, known };
                self.mistakes.push(mistake);
            }
        }
        self
    }

    fn all_in(mut self, dialect: Dialect) -> Self {
        for route in self.paths.routes_mut() {
            route.dialect = Some(dialect);
        }
        self
    }

    /// Adds the paths of `other`, and what else it sets on top of what this one does:
    /// `Endpoints::default().and(Endpoints::kubernetes())` answers at the paths of both.
    pub fn and(mut self, other: Self) -> Self {
        for route in other.paths.routes() {
            self.route(route.clone());
        }
        self.exposure = other.exposure.or(self.exposure);
        self.rules.extend(other.rules);
        for (code, other) in self.codes.iter_mut().zip(other.codes) {
            *code = other.or(*code);
        }
        self.envoy |= other.envoy;
        self.envoy_cluster = other.envoy_cluster.or(self.envoy_cluster);
        self.mistakes.extend(other.mistakes);
        self
    }

    /// How much anyone may see. [`Exposure::Full`] is for a management port (`Health::serve`) alone; elsewhere only
    /// [rules](Self::authorize) give it. Defaults to [`Exposure::Checks`].
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = Some(exposure);
        self
    }

    /// Shows [everything](Exposure::Full) to callers of whom `rule` says so; of several rules one is enough. It is asked
    /// for requests for probes alone, must not block, and if it panics it says no. Defaults to none.
    ///
    /// Beside the headers it sees the request's extensions, so it can go by what the server knows of the connection,
    /// such as axum's `ConnectInfo` or the certificate of a client. Do not go by what the caller writes, such as an
    /// `X-Forwarded-For`.
    pub fn authorize<F>(mut self, rule: F) -> Self
    where
        F: Fn(&Parts) -> bool + Send + Sync + 'static,
    {
        self.rules.push(Arc::new(rule));
        self
    }

    /// Shows [everything](Exposure::Full) to callers with this token: `Authorization: Bearer <token>`
    /// ([RFC 6750]). Tokens are compared in constant time; of several, as in a rotation, each is enough. Defaults to none.
    ///
    /// [RFC 6750]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        let token = token.into();
        if !is_token(&token) {
            self.mistakes.push(EndpointsMistake::Token);
            return self;
        }
        self.authorize(move |parts| {
            let is_it = |given: &[u8]| bool::from(given.ct_eq(token.as_bytes()));
            let mut values = parts.headers.get_all(AUTHORIZATION).iter();
            values.any(|value| bearer(value.as_bytes()).is_some_and(is_it))
        })
    }

    /// Answers a verdict of `status` with `code`. `Retry-After` goes with 503, whichever status has it. Defaults to 200 for pass
    /// and warn, and 503 for fail; what is not set keeps its default.
    ///
    /// Think twice: 204, 3xx, 404 and 429 are each read by some prober as the opposite of what they mean to another.
    pub fn code(mut self, status: Status, code: StatusCode) -> Self {
        if code.is_informational() {
            self.mistakes.push(EndpointsMistake::Code(code));
            return self;
        }
        if let Some(slot) = self.codes.get_mut(status as usize) {
            *slot = Some(code);
        }
        self
    }

    /// Adds what Envoy reads: `x-envoy-degraded` to an answer that is a warning, and, behind a
    /// [layer](crate::layer::probes), `x-envoy-immediate-health-check-fail` to ordinary responses while the instance
    /// [leaves](crate::Health::drain). Defaults to neither.
    ///
    /// Source: [Envoy, HTTP header manipulation](https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter).
    pub fn envoy(mut self) -> Self {
        self.envoy = true;
        self
    }

    /// Tells Envoy in each answer whose instance this is, in `x-envoy-upstream-healthchecked-cluster`, for its
    /// `service_name_matcher`; and does what [`envoy`](Self::envoy) does. Defaults to none.
    pub fn envoy_cluster(mut self, cluster: impl AsRef<str>) -> Self {
        match HeaderValue::from_str(cluster.as_ref()) {
            Ok(cluster) if !cluster.is_empty() => self.envoy_cluster = Some(cluster),
            _ => self.mistakes.push(EndpointsMistake::EnvoyCluster),
        }
        self.envoy()
    }

    /// What holds where anyone may see as much as was set.
    pub(crate) fn trusted(self) -> Result<Self, EndpointsError> {
        match self.mistakes.is_empty() {
            true => Ok(self),
            false => Err(EndpointsError {
                mistakes: self.mistakes,
            }),
        }
    }

    /// What holds where strangers ask.
    pub(crate) fn public(mut self) -> Result<Self, EndpointsError> {
        if self.exposure == Some(Exposure::Full) {
            self.mistakes.push(EndpointsMistake::FullExposure);
        }
        self.trusted()
    }

    #[inline]
    pub(super) fn find<'p>(&self, method: &Method, path: &'p str) -> Option<Found<'p>> {
        self.paths.find(method, path)
    }

    /// How much the sender of a request may see.
    #[inline]
    pub(super) fn exposure_to<B>(&self, request: &Request<B>) -> Exposure {
        match self.rules.is_empty() || !self.authorizes(request) {
            true => self.exposure.unwrap_or_default(),
            false => Exposure::Full,
        }
    }

    /// Whether some rule knows the sender of a request.
    pub(crate) fn authorizes<B>(&self, request: &Request<B>) -> bool {
        let parts = &parts_of(request);
        let agrees = |rule: &Rule| guard(AssertUnwindSafe(|| rule(parts))).unwrap_or(false);
        self.rules.iter().any(agrees)
    }

    #[inline]
    pub(super) fn code_of(&self, status: Status) -> Option<StatusCode> {
        self.codes.get(status as usize).copied().flatten()
    }

    /// Whether there is any rule.
    #[cfg(feature = "server")]
    pub(crate) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    pub(crate) fn has_envoy(&self) -> bool {
        self.envoy
    }

    pub(super) fn cluster(&self) -> Option<&HeaderValue> {
        self.envoy_cluster.as_ref()
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> = self.paths.routes().iter().map(written).collect();
        f.debug_struct("Endpoints")
            .field("paths", &paths)
            .field("exposure", &self.exposure.unwrap_or_default())
            .field("rules", &self.rules.len())
            .field("mistakes", &self.mistakes)
            .finish_non_exhaustive()
    }
}

/// What rules see of a request.
fn parts_of<B>(request: &Request<B>) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.version = request.version();
    parts.headers = request.headers().clone();
    parts.extensions = request.extensions().clone();
    parts
}

/// A path as it was written.
fn written(route: &Route) -> String {
    match route.kind {
        Kind::Checks => format!("{}{CHECK}", route.path),
        Kind::Probe(_) if route.path.is_empty() => "/".to_owned(),
        Kind::Probe(_) => route.path.to_string(),
    }
}

/// Whether a path can be matched as it is: it stands in a request as it stands here.
fn is_path(path: &str, kind: Kind) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        // Checks may stand right below the root.
        return path.is_empty() && kind == Kind::Checks;
    };
    let segments = match kind {
        Kind::Probe(_) => segments.strip_suffix('/').unwrap_or(segments),
        Kind::Checks => segments,
    };
    // What other routers take for a wildcard would be taken at its word here.
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && !segment.starts_with(':')
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(&byte))
    };
    path == "/" && kind != Kind::Checks || segments.split('/').all(is_segment)
}

/// Whether a text can be sent as a token, `b64token` in RFC 6750.
fn is_token(token: &str) -> bool {
    let core = token.trim_end_matches('=');
    let is_core = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !core.is_empty() && core.bytes().all(is_core)
}

/// The token in the value of an `Authorization`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer".len())?;
    let spaced = token.strip_prefix(b" ")?;
    scheme
        .eq_ignore_ascii_case(b"Bearer")
        .then(|| spaced.trim_ascii())
}

/// Why some [`Endpoints`] cannot be: every mistake, each with its cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointsError {
    mistakes: Vec<EndpointsMistake>,
}

impl EndpointsError {
    /// The mistakes, in the order of the calls.
    #[must_use]
    pub fn mistakes(&self) -> &[EndpointsMistake] {
        &self.mistakes
    }
}

impl fmt::Display for EndpointsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_mistakes(f, "the endpoints cannot be", &self.mistakes)
    }
}

impl Error for EndpointsError {}

/// One mistake in some [`Endpoints`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointsMistake {
    /// A path that no request could have, or that would match others.
    Path(String),
    /// A path that is answered already, otherwise.
    Taken(String),
    /// A dialect for a path that is not answered.
    #[non_exhaustive]
    UnknownPath {
        /// The path.
        path: String,
        /// Those that are answered.
        known: Vec<String>,
    },
    /// Everything for everyone.
    FullExposure,
    /// A token that no request could carry. It is not repeated.
    Token,
    /// A code that is no answer.
    Code(StatusCode),
    /// The name of an Envoy cluster that no header could carry.
    EnvoyCluster,
}

impl fmt::Display for EndpointsMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(
                f,
                "{path:?} is no path that can be matched as it stands: write whole segments as they are in requests, \
                 such as \"/internal/ready\", of at most {MAX_PATH} bytes in all, and for checks \
                 \"/internal/checks{CHECK}\""
            ),
            Self::Taken(path) => write!(
                f,
                "{path:?} is answered otherwise already: a path has one meaning, so drop one of them; presets that share a path, \
                 as the default and MicroProfile share \"/health\", go on ports of their own"
            ),
            Self::UnknownPath { path, known } => write!(
                f,
                "a dialect is set for {path:?}, where nothing is answered: give the path its probe first, or take one of \
                 these: [{}]",
                known.join(", ")
            ),
            Self::FullExposure => f.write_str(
                "`Exposure::Full` would show causes and measurements to strangers: say who may see them with \
                 `authorize` or `bearer_token`, or serve them on a management port",
            ),
            Self::Token => f.write_str(
                "a bearer token is empty or holds what no token can: use letters, digits and -._~+/ with = at the end \
                 alone",
            ),
            Self::Code(code) => write!(
                f,
                "{} is no answer to a probe: map to a final code, from 200 on",
                code.as_u16()
            ),
            Self::EnvoyCluster => f.write_str(
                "the name of the Envoy cluster is empty or cannot stand in a header: use visible ASCII",
            ),
        }
    }
}
