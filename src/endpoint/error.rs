//! Why endpoints are invalid.

use std::{error::Error, fmt};

use http::StatusCode;

use super::builder::{CHECK, MAX_PATH};
use crate::model::write_problems;

/// Why [`Endpoints`](crate::Endpoints) were not built: every problem, each with its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointsError {
    problems: Vec<InvalidEndpoint>,
}

impl EndpointsError {
    pub(super) fn new(problems: Vec<InvalidEndpoint>) -> Self {
        Self { problems }
    }

    /// The problems, in the order of the builder's calls.
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

/// One problem of [`Endpoints`](crate::Endpoints).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidEndpoint {
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

impl fmt::Display for InvalidEndpoint {
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
