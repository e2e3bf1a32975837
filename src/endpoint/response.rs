use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::{Endpoints, ProbeBody};
use crate::{engine::Answer, model::Status};

pub(crate) const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const VARIES: HeaderValue = HeaderValue::from_static("Accept");
const ENVOY_DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");
const ENVOY_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");
const YES: HeaderValue = HeaderValue::from_static("true");
#[cfg(feature = "server")]
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Nothing the caller sent is in these.
const NO_SUCH_CHECK: &str = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"there is no such check to be seen here"}"#;
const NO_SUCH_PATH: &str = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"only probes are answered here"}"#;
const WRONG_METHOD: &str = r#"{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"probes are asked with GET, HEAD or OPTIONS"}"#;

/// The longest that `Retry-After` says.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// When it is worth asking again after a fail.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retry {
    Never,
    After(Duration),
}

impl Retry {
    pub(super) fn after(delay: Option<Duration>) -> Self {
        Self::After(delay.unwrap_or(LONGEST_RETRY))
    }
}

/// Whether a method asks nothing of a probe.
pub(super) fn refuses(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The response with an answer.
#[inline]
pub(super) fn answer(
    answer: &Answer,
    retry: Retry,
    method: &Method,
    endpoints: &Endpoints,
) -> Response<ProbeBody> {
    let mut response = to(method, answer.response.clone());
    if endpoints.has_envoy() {
        tell_envoy(&mut response, answer.status, endpoints);
    }
    if let Some(code) = endpoints.code_of(answer.status) {
        *response.status_mut() = code;
        if has_no_body(code) {
            for header in [CONTENT_TYPE, CONTENT_LENGTH] {
                response.headers_mut().remove(header);
            }
            *response.body_mut() = ProbeBody::empty();
        }
    }
    if let (StatusCode::SERVICE_UNAVAILABLE, Retry::After(delay)) = (response.status(), retry) {
        let seconds = whole_seconds(delay).into();
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn tell_envoy(response: &mut Response<ProbeBody>, status: Status, endpoints: &Endpoints) {
    let headers = response.headers_mut();
    if status == Status::Warn {
        headers.insert(ENVOY_DEGRADED, YES);
    }
    if let Some(cluster) = endpoints.cluster() {
        headers.insert(ENVOY_CLUSTER, cluster.clone());
    }
}

/// Whether what is sent with this code has no body.
fn has_no_body(code: StatusCode) -> bool {
    matches!(
        code,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// The answer about a check that is not there, or that the caller may not see.
pub(super) fn no_such_check(method: &Method) -> Response<ProbeBody> {
    problem(StatusCode::NOT_FOUND, NO_SUCH_CHECK, method)
}

/// The answer to a path that is no probe's. What is not there has no methods.
pub(super) fn no_such_path(method: &Method) -> Response<ProbeBody> {
    problem(StatusCode::NOT_FOUND, NO_SUCH_PATH, method)
}

/// The answer to a method that asks nothing.
pub(crate) fn wrong_method(method: &Method) -> Response<ProbeBody> {
    problem(StatusCode::METHOD_NOT_ALLOWED, WRONG_METHOD, method)
}

/// From 1 to 60: a delay of zero would invite a storm.
fn whole_seconds(delay: Duration) -> u64 {
    let seconds = delay.min(LONGEST_RETRY).as_secs_f64().ceil() as u64;
    seconds.max(1)
}

/// A problem (RFC 9457), written out.
pub(crate) fn problem(
    status: StatusCode,
    body: &'static str,
    method: &Method,
) -> Response<ProbeBody> {
    let body = Bytes::from_static(body.as_bytes());
    to(method, complete(status, PROBLEM, false, body))
}

/// Something that is no verdict, in JSON.
#[cfg(feature = "server")]
pub(crate) fn json(document: &impl serde::Serialize, method: &Method) -> Response<ProbeBody> {
    let body = serde_json::to_vec(document).unwrap_or_default();
    to(method, complete(StatusCode::OK, JSON, false, body.into()))
}

/// A response with every header that all answers have.
pub(super) fn complete(
    status: StatusCode,
    content_type: HeaderValue,
    negotiated: bool,
    body: Bytes,
) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    if negotiated {
        headers.insert(VARY, VARIES);
    }
    response
}

/// What of a response to `GET` is for a method.
#[inline]
fn to(method: &Method, response: Response<Bytes>) -> Response<ProbeBody> {
    response.map(|body| match *method {
        Method::HEAD => ProbeBody::empty(),
        _ => ProbeBody::new(body),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_whole_seconds_from_1_to_60() {
        for (millis, seconds) in [
            (0, 1),
            (1, 1),
            (1_000, 1),
            (1_001, 2),
            (10_000, 10),
            (u64::MAX, 60),
        ] {
            assert_eq!(
                whole_seconds(Duration::from_millis(millis)),
                seconds,
                "{millis}"
            );
        }
    }
}
