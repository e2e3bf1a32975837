//! How endpoints are built: [`EndpointsBuilder`].

use std::{fmt, sync::Arc};

use http::{HeaderValue, StatusCode, header::AUTHORIZATION, request::Parts};
use subtle::ConstantTimeEq;

use super::{
    Dialect, Endpoints, EndpointsError, Exposure, InvalidEndpoint,
    path::{Kind, Route},
};
use crate::model::{Probe, Status};

/// The longest path of one's own, in bytes.
pub(super) const MAX_PATH: usize = 256;

/// What stands for the name of a check at the end of a path.
pub(super) const CHECK: &str = "/{check}";

/// Builds [`Endpoints`]: made by [`Endpoints::builder`] and by the presets beside it.
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
            Some(_) => self.problems.push(InvalidEndpoint::Taken(route.written())),
        }
    }

    /// Answers always in `dialect` at `path`, which is one that was given before, whatever callers accept. Defaults to
    /// what callers accept, but for the paths of presets.
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

    pub(super) fn all_in(mut self, dialect: Dialect) -> Self {
        for route in self.endpoints.paths.routes_mut() {
            route.dialect = Some(dialect);
        }
        self
    }

    /// Adds the paths of `other`, and replaces what `other` sets:
    /// `Endpoints::builder().merge(Endpoints::kubernetes())` answers at the paths of both.
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

    /// How much every caller may see; [rules](Self::authorize) show more to some. [`Exposure::Full`] is refused: it is for a
    /// management port alone, which sets it itself (`ServerBuilder::exposure`). Defaults to [`Exposure::Checks`].
    pub fn exposure(mut self, exposure: Exposure) -> Self {
        if exposure == Exposure::Full {
            self.problems.push(InvalidEndpoint::FullExposure);
        } else {
            self.endpoints.exposure = Some(exposure);
        }
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
        self.endpoints.rules.push(Arc::new(rule));
        self
    }

    /// Shows [everything](Exposure::Full) to callers with this token: `Authorization: Bearer <token>`
    /// ([RFC 6750]). Tokens are compared in constant time; of several, as in a rotation, each is enough. Defaults to none.
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

    /// Answers a verdict of `status` with `code`. `Retry-After` goes with 503, whichever status has it. Defaults to 200 for pass
    /// and warn, and 503 for fail; what is not set keeps its default.
    ///
    /// Think twice: 204, 3xx, 404 and 429 are each read by some prober as the opposite of what they mean to another.
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

    /// Adds what Envoy reads: `x-envoy-degraded` to an answer that is a warning, and, behind a
    /// [layer](crate::layer::probes), `x-envoy-immediate-health-check-fail` to ordinary responses while the instance
    /// [leaves](crate::Health::drain). Defaults to neither.
    ///
    /// Source: [Envoy, HTTP header manipulation](https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter).
    pub fn envoy(mut self) -> Self {
        self.endpoints.envoy = true;
        self
    }

    /// Tells Envoy in each answer whose instance this is, in `x-envoy-upstream-healthchecked-cluster`, for its
    /// `service_name_matcher`; and does what [`envoy`](Self::envoy) does. Defaults to none.
    pub fn envoy_cluster(mut self, cluster: impl AsRef<str>) -> Self {
        match HeaderValue::from_str(cluster.as_ref()) {
            Ok(cluster) if !cluster.is_empty() => self.endpoints.envoy_cluster = Some(cluster),
            _ => self.problems.push(InvalidEndpoint::EnvoyCluster),
        }
        self.envoy()
    }

    /// The endpoints.
    ///
    /// # Errors
    ///
    /// [`EndpointsError`] lists every problem.
    pub fn build(self) -> Result<Endpoints, EndpointsError> {
        if self.problems.is_empty() {
            Ok(self.endpoints)
        } else {
            Err(EndpointsError::new(self.problems))
        }
    }

    /// The endpoints of a preset, which has no problem.
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
