//! Errors of endpoints. [`EndpointsBuilder`](super::EndpointsBuilder) collects the problems while
//! it is configured, so that a service that fails to start lists all of them at once.

use std::{error::Error, fmt};

use http::StatusCode;

use super::path::{CHECK, MAX_PATH};
use crate::model::write_problems;

/// The error of [`EndpointsBuilder::build`](crate::endpoint::EndpointsBuilder::build). It lists
/// every problem. The message contains the remedy for each.
///
/// ```
/// use tower_health::{
///     Endpoints, Probe,
///     endpoint::{Exposure, InvalidEndpoint},
/// };
///
/// let error = Endpoints::builder()
///     .probe("up", Probe::Readiness) // has no slash
///     .exposure(Exposure::Full)
///     .build()
///     .unwrap_err();
/// assert_eq!(
///     error.problems(),
///     [InvalidEndpoint::Path("up".to_owned()), InvalidEndpoint::FullExposure],
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointsError {
    problems: Vec<InvalidEndpoint>,
}

impl EndpointsError {
    pub(super) fn new(problems: Vec<InvalidEndpoint>) -> Self {
        Self { problems }
    }

    /// Returns the problems, in the order of the calls to the builder.
    #[must_use]
    pub fn problems(&self) -> &[InvalidEndpoint] {
        &self.problems
    }
}

impl fmt::Display for EndpointsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problems(f, "invalid endpoints", &self.problems)
    }
}

impl Error for EndpointsError {}

/// A problem of [`Endpoints`](crate::Endpoints).
///
/// Each problem is found when the builder is called, and reported by
/// [`build`](crate::endpoint::EndpointsBuilder::build). Its `Display` contains the remedy.
///
/// ```
/// use tower_health::{Endpoints, Probe, endpoint::InvalidEndpoint};
///
/// let error = Endpoints::none().probe("up", Probe::Readiness).build().unwrap_err();
/// for problem in error.problems() {
///     assert!(matches!(problem, InvalidEndpoint::Path(_)));
///     assert!(problem.to_string().contains("up"), "the message names the path");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEndpoint {
    /// A path that is not valid: no request can have it, or it would match other paths.
    ///
    /// It begins with a slash. Its segments are not empty, are not `.` or `..`, do not begin with
    /// `:`, and contain no percent-encoding and no placeholder, except for a final `/{check}` of
    /// [`checks`](crate::endpoint::EndpointsBuilder::checks).
    ///
    /// ```
    /// use tower_health::{Endpoints, Probe};
    ///
    /// let is_valid = |path: &str| Endpoints::none().probe(path, Probe::Readiness).build().is_ok();
    /// assert!(is_valid("/") && is_valid("/up/") && is_valid("/internal/up.json"));
    /// for path in ["", "up", "//up", "/a/../up", "/up?verbose", "/{id}/up", "/:id", "/%75p"] {
    ///     assert!(!is_valid(path), "{path}");
    /// }
    /// assert!(Endpoints::none().checks("/checks").build().is_err(), "no placeholder");
    /// ```
    Path(String),
    /// A path that is already defined with another probe or dialect.
    ///
    /// An equal definition is not a problem, such as a preset that is merged twice.
    ///
    /// ```
    /// use tower_health::{Endpoints, Probe, endpoint::InvalidEndpoint};
    ///
    /// let error = Endpoints::builder().probe("/live", Probe::Readiness).build().unwrap_err();
    /// assert_eq!(error.problems(), [InvalidEndpoint::Conflict("/live".to_owned())]);
    /// assert!(Endpoints::builder().probe("/live", Probe::Liveness).build().is_ok());
    ///
    /// // `/health` has one meaning in the default and another in MicroProfile.
    /// assert!(Endpoints::builder().merge(Endpoints::microprofile()).build().is_err());
    /// ```
    Conflict(String),
    /// A dialect for a path that is not defined.
    ///
    /// ```
    /// use tower_health::{Endpoints, endpoint::{Dialect, InvalidEndpoint}};
    ///
    /// let endpoints = Endpoints::kubernetes().dialect("/ready", Dialect::HealthJson);
    /// let error = endpoints.build().unwrap_err();
    /// let [InvalidEndpoint::UnknownPath { path, known, .. }] = error.problems() else {
    ///     panic!("{error}");
    /// };
    /// assert_eq!(path, "/ready");
    /// assert!(known.contains(&"/readyz".to_owned()));
    /// ```
    #[non_exhaustive]
    UnknownPath {
        /// The path.
        path: String,
        /// The paths that are defined.
        known: Vec<String>,
    },
    /// [`Exposure::Full`](crate::endpoint::Exposure::Full) for all callers.
    FullExposure,
    /// A bearer token that is not valid in a request. The token is not included.
    ///
    /// A valid token is a `b64token` of RFC 6750: letters, digits and `-._~+/`, then any number of
    /// `=`.
    ///
    /// ```
    /// use tower_health::Endpoints;
    ///
    /// let is_valid = |token: &str| Endpoints::builder().bearer_token(token).build().is_ok();
    /// assert!(is_valid("f3b1c0ffee") && is_valid("Zm9v=="));
    /// assert!(!is_valid("") && !is_valid("two words") && !is_valid("a=b"));
    /// ```
    Token,
    /// An informational status code (1xx), which is not a final response.
    Code(StatusCode),
    /// A name of an Envoy cluster that is empty or not valid in a header.
    ///
    /// ```
    /// use tower_health::Endpoints;
    ///
    /// let is_valid = |name: &str| Endpoints::builder().envoy_cluster(name).build().is_ok();
    /// assert!(is_valid("orders") && !is_valid("") && !is_valid("two\nlines"));
    /// ```
    EnvoyCluster,
}

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(
                f,
                "{path:?} is not a valid path: write whole segments as in a request, \
                 such as \"/internal/ready\", of at most {MAX_PATH} bytes in all, and for checks \
                 \"/internal/checks{CHECK}\""
            ),
            Self::Conflict(path) => write!(
                f,
                "{path:?} is defined twice, with different meanings: remove one definition, or serve one of them on another port"
            ),
            Self::UnknownPath { path, known } => write!(
                f,
                "a dialect is set for {path:?}, which is not defined: add the path first, or use one of \
                 these: [{}]",
                known.join(", ")
            ),
            Self::FullExposure => f.write_str(
                "`Exposure::Full` would show causes and measurements to all callers: select the callers that may see them with \
                 `authorize` or `bearer_token`, or serve them on a management port",
            ),
            Self::Token => f.write_str(
                "a bearer token is empty or contains an invalid character: use letters, digits and -._~+/, and = at the end \
                 alone",
            ),
            Self::Code(code) => write!(
                f,
                "{} is not a final status code: use a code of at least 200",
                code.as_u16()
            ),
            Self::EnvoyCluster => f.write_str(
                "the name of the Envoy cluster is empty or not a valid header value: use visible ASCII",
            ),
        }
    }
}
