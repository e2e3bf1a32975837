//! What is answered where, to whom, and how: [`Endpoints`].

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use http::{HeaderValue, Method, Request, StatusCode, request::Parts};

use super::{
    Dialect, EndpointsBuilder, Exposure,
    path::{Found, Paths, Route},
};
use crate::{
    check::guard,
    model::{Probe, Status},
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
/// use tower_health::{Endpoints, Health, Probe, endpoint::{Dialect, Exposure}};
///
/// let endpoints = Endpoints::kubernetes()
///     .probe("/internal/up", Probe::Readiness)
///     .dialect("/internal/up", Dialect::HealthJson)
///     .exposure(Exposure::Status) // everyone else sees the verdict alone
///     .bearer_token("f3b1c0ffee") // callers with this token see everything
///     .build()?;
///
/// let health = Health::builder("orders").start()?;
/// let layer = health.layer().endpoints(endpoints);
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
/// [`build`](EndpointsBuilder::build) reports every problem at once.
#[derive(Clone)]
pub struct Endpoints {
    pub(super) paths: Paths,
    pub(super) exposure: Option<Exposure>,
    pub(super) rules: Vec<Rule>,
    /// In the order of statuses.
    pub(super) codes: [Option<StatusCode>; Status::Fail as usize + 1],
    pub(super) envoy: bool,
    pub(super) envoy_cluster: Option<HeaderValue>,
}

/// Says whether a caller may see everything.
pub(super) type Rule = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// The paths `/health`, `/ready`, `/live`, `/startup` and `/health/{check}`.
impl Default for Endpoints {
    fn default() -> Self {
        Self::builder().into_valid()
    }
}

impl Endpoints {
    /// The paths of the default, to build on: `/health`, `/ready`, `/live`, `/startup` and `/health/{check}`.
    pub fn builder() -> EndpointsBuilder {
        Self::none()
            .probe("/health", Probe::Health)
            .probe("/ready", Probe::Readiness)
            .probe("/live", Probe::Liveness)
            .probe("/startup", Probe::Startup)
            .checks("/health/{check}")
    }

    /// The paths of the Kubernetes API server, in its [plain text](Dialect::KubernetesText): `/healthz`, `/readyz`,
    /// `/livez` and `/readyz/{check}`. What fails is 503, where the API server itself says 500: probers of both
    /// kinds take it for what it is, and 503 is what load balancers retry elsewhere.
    pub fn kubernetes() -> EndpointsBuilder {
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
    pub fn microprofile() -> EndpointsBuilder {
        Self::none()
            .probe("/health", Probe::Health)
            .probe("/health/live", Probe::Liveness)
            .probe("/health/ready", Probe::Readiness)
            .probe("/health/started", Probe::Startup)
            .all_in(Dialect::MicroProfile)
    }

    /// The paths of Spring Boot's Actuator, in [its JSON](Dialect::Actuator): `/actuator/health`,
    /// `/actuator/health/liveness`, `/actuator/health/readiness` and `/actuator/health/{component}`.
    pub fn actuator() -> EndpointsBuilder {
        Self::none()
            .probe("/actuator/health", Probe::Health)
            .probe("/actuator/health/liveness", Probe::Liveness)
            .probe("/actuator/health/readiness", Probe::Readiness)
            .checks("/actuator/health/{check}")
            .all_in(Dialect::Actuator)
    }

    /// No path at all, to build on.
    pub fn none() -> EndpointsBuilder {
        EndpointsBuilder::new()
    }

    /// No path, and the default of everything else.
    pub(super) fn empty() -> Self {
        Self {
            paths: Paths::default(),
            exposure: None,
            rules: Vec::new(),
            codes: Default::default(),
            envoy: false,
            envoy_cluster: None,
        }
    }

    /// The same, with as much for everyone as `exposure` says.
    #[cfg(feature = "server")]
    pub(crate) fn with_exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = Some(exposure);
        self
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
        let paths: Vec<String> = self.paths.routes().iter().map(Route::written).collect();
        f.debug_struct("Endpoints")
            .field("paths", &paths)
            .field("exposure", &self.exposure.unwrap_or_default())
            .field("rules", &self.rules.len())
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
