//! Errors of endpoints.

use std::{error::Error, fmt};

use http::StatusCode;

use super::builder::{CHECK, MAX_PATH};
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEndpoint {
    /// A path that is not valid: no request can have it, or it would match other paths.
    Path(String),
    /// A path that is already defined with another probe or dialect.
    Conflict(String),
    /// A dialect for a path that is not defined.
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
    Token,
    /// An informational status code (1xx), which is not a final response.
    Code(StatusCode),
    /// A name of an Envoy cluster that is empty or not valid in a header.
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
                "{path:?} is already defined differently: a path has one meaning, so remove one definition; presets that share a path, \
                 as the default and MicroProfile share \"/health\", need separate ports"
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
