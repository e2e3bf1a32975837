//! Responses: status codes and headers. Bodies come from the [dialects](super::dialect), except for
//! the problem details here.

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER},
};

use super::{Endpoints, ProbeBody, complete::complete};
use crate::{memo::Answer, model::Status};

pub(crate) const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// The header that lowers the priority of an instance in Envoy without ejecting it.
const ENVOY_DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");
const ENVOY_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");
const YES: HeaderValue = HeaderValue::from_static("true");
#[cfg(feature = "server")]
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// These bodies contain nothing that the caller sent.
const NO_SUCH_CHECK: &str =
    r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"check not found"}"#;
const NO_SUCH_PATH: &str =
    r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"not a probe path"}"#;
const METHOD_NOT_ALLOWED: &str = r#"{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"the method is not supported: see the header Allow"}"#;

/// Whether a method is not supported for probes.
pub(super) fn is_unsupported(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Returns the response for an answer: its headers, and its status code as configured.
#[inline]
pub(super) fn answer(
    answer: &Answer,
    retry_after: impl FnOnce() -> Option<u64>,
    method: &Method,
    endpoints: &Endpoints,
) -> Response<ProbeBody> {
    let mut response = to(method, answer.response.clone());
    if endpoints.has_envoy() {
        add_envoy_headers(&mut response, answer.status, endpoints);
    }
    if let Some(code) = endpoints.code_of(answer.status) {
        *response.status_mut() = code;
        if is_bodyless(code) {
            for header in [CONTENT_TYPE, CONTENT_LENGTH] {
                response.headers_mut().remove(header);
            }
            *response.body_mut() = ProbeBody::empty();
        }
    }
    if response.status() == StatusCode::SERVICE_UNAVAILABLE
        && let Some(seconds) = retry_after()
    {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds the headers that Envoy reads on a response to a health check.
fn add_envoy_headers(response: &mut Response<ProbeBody>, status: Status, endpoints: &Endpoints) {
    let headers = response.headers_mut();
    if status == Status::Warn {
        headers.insert(ENVOY_DEGRADED, YES);
    }
    if let Some(cluster) = endpoints.cluster() {
        headers.insert(ENVOY_CLUSTER, cluster.clone());
    }
}

/// Whether a response with this status code has no body.
fn is_bodyless(code: StatusCode) -> bool {
    matches!(
        code,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// Returns the response for a check that does not exist, or that the caller may not see.
pub(super) fn no_such_check(method: &Method) -> Response<ProbeBody> {
    problem(StatusCode::NOT_FOUND, NO_SUCH_CHECK, method)
}

/// Returns the response for a path that is not a probe path. It is 404 for every method.
pub(super) fn no_such_path(method: &Method) -> Response<ProbeBody> {
    problem(StatusCode::NOT_FOUND, NO_SUCH_PATH, method)
}

/// Returns the response for an unsupported method.
pub(crate) fn method_not_allowed(method: &Method) -> Response<ProbeBody> {
    problem(StatusCode::METHOD_NOT_ALLOWED, METHOD_NOT_ALLOWED, method)
}

/// Returns a response with problem details (RFC 9457).
pub(crate) fn problem(
    status: StatusCode,
    body: &'static str,
    method: &Method,
) -> Response<ProbeBody> {
    let body = Bytes::from_static(body.as_bytes());
    to(method, complete(status, PROBLEM, false, body))
}

/// Returns a JSON response that is not a verdict.
#[cfg(feature = "server")]
pub(crate) fn json(document: &impl serde::Serialize, method: &Method) -> Response<ProbeBody> {
    let body = serde_json::to_vec(document).unwrap_or_default();
    to(method, complete(StatusCode::OK, JSON, false, body.into()))
}

/// Converts the response to `GET` to the response for a method.
#[inline]
fn to(method: &Method, response: Response<Bytes>) -> Response<ProbeBody> {
    response.map(|body| match *method {
        Method::HEAD => ProbeBody::empty(),
        _ => ProbeBody::new(body),
    })
}
