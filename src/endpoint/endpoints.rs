//! The configuration of paths, responses and callers: [`Endpoints`].

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use http::{Extensions, HeaderValue, Method, Request, StatusCode, Uri, request::Parts};

use super::{
    Exposure,
    path::{Paths, Route, RouteMatch},
};
use crate::{check::guard, model::Status};

/// The paths of probes, their responses and their callers. Configures a
/// [service](super::ProbeService), a [layer](crate::layer::probes) or a management port
/// (`Health::serve`).
///
/// The default has the paths `/health`, `/ready`, `/live`, `/startup` and `/health/{check}`. The
/// dialect of each is negotiated by `Accept`. A builder combines presets and custom paths:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_health::{Endpoints, Health, Probe, endpoint::{Dialect, Exposure}};
///
/// let endpoints = Endpoints::kubernetes()
///     .probe("/internal/up", Probe::Readiness)
///     .dialect("/internal/up", Dialect::HealthJson)
///     .exposure(Exposure::Status) // other callers see only the verdict
///     .bearer_token("f3b1c0ffee") // callers with this token see everything
///     .build()?;
///
/// let health = Health::builder("orders").start()?;
/// let layer = health.layer().endpoints(endpoints);
/// # Ok(())
/// # }
/// ```
///
/// # Which path to probe
///
/// Use `/ready`, `/live` and `/startup` for probers. Their bodies list at most 16 checks, except
/// the text of Kubernetes with `?verbose`. `/health`, the paths of MicroProfile and the groups of
/// Actuator list every check. The body of 100 checks has 18 kB, but a kubelet reads at most 10 kB
/// and HAProxy 16 kB.
///
/// `OPTIONS *`, which refers to the server as a whole, returns the response of the readiness path,
/// if there is one.
///
/// [`build`](super::EndpointsBuilder::build) reports all problems at once.
#[derive(Clone)]
pub struct Endpoints {
    pub(super) paths: Paths,
    pub(super) exposure: Option<Exposure>,
    pub(super) rules: Vec<Rule>,
    /// Indexed by status.
    pub(super) codes: [Option<StatusCode>; Status::Fail as usize + 1],
    pub(super) envoy: bool,
    pub(super) envoy_cluster: Option<HeaderValue>,
    pub(super) namer: Option<Namer>,
}

/// Returns whether a caller may see everything.
pub(super) type Rule = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Names an ordinary request, for the log of a drain.
pub(super) type Namer =
    Arc<dyn for<'a> Fn(&'a Uri, &'a Extensions) -> Option<&'a str> + Send + Sync>;

impl Endpoints {
    /// Returns endpoints without paths, and with the defaults of all other settings.
    pub(super) fn empty() -> Self {
        Self {
            paths: Paths::default(),
            exposure: None,
            rules: Vec::new(),
            codes: Default::default(),
            envoy: false,
            envoy_cluster: None,
            namer: None,
        }
    }

    /// Returns the same endpoints with this exposure for all callers.
    #[cfg(feature = "server")]
    pub(crate) fn with_exposure(mut self, exposure: Exposure) -> Self {
        self.exposure = Some(exposure);
        self
    }

    #[inline]
    pub(super) fn find<'p>(&self, method: &Method, path: &'p str) -> Option<RouteMatch<'p>> {
        self.paths.find(method, path)
    }

    /// Returns the exposure for the caller.
    #[inline]
    pub(super) fn exposure_to<B>(&self, request: &Request<B>) -> Exposure {
        if self.rules.is_empty() || !self.authorizes(request) {
            self.exposure.unwrap_or_default()
        } else {
            Exposure::Full
        }
    }

    /// Whether a rule accepts the caller.
    ///
    /// A rule that panics does not accept. The panic is caught, so that it does not end the
    /// connection.
    pub(crate) fn authorizes<B>(&self, request: &Request<B>) -> bool {
        let parts = &parts_of(request);
        let agrees = |rule: &Rule| guard(AssertUnwindSafe(|| rule(parts))).unwrap_or(false);
        self.rules.iter().any(agrees)
    }

    /// Returns the configured status code for a status. `None` means the default.
    #[inline]
    pub(super) fn code_of(&self, status: Status) -> Option<StatusCode> {
        self.codes.get(status as usize).copied().flatten()
    }

    /// Whether there is a rule.
    #[cfg(feature = "server")]
    pub(crate) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether responses have the headers of Envoy.
    pub(crate) fn has_envoy(&self) -> bool {
        self.envoy
    }

    /// Returns the name of the Envoy cluster, if one is configured.
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

/// Returns the parts of a request that rules see.
///
/// Rules need one type, whatever the type of the body. The copy is made only if there is a rule.
fn parts_of<B>(request: &Request<B>) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.version = request.version();
    parts.headers = request.headers().clone();
    parts.extensions = request.extensions().clone();
    parts
}
