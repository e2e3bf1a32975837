use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    },
};

use super::{ProbeBody, dialect::health_json};
use crate::engine::Answer;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Nothing the caller sent is in these.
const NO_SUCH_CHECK: &str = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"there is no such check to be seen here"}"#;
const NO_SUCH_PATH: &str = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"only probes are answered here"}"#;
const WRONG_METHOD: &str = r#"{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"probes are asked with GET, HEAD or OPTIONS"}"#;

/// The longest that `Retry-After` says.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What is answered, before the method has its say.
#[derive(Debug)]
pub(super) enum Reply {
    /// A verdict, and after how long to ask again if it is a fail.
    Verdict(Answer, Option<Duration>),
    /// There is no such check, or none that the caller may see.
    NoSuchCheck,
}

/// Whether a method asks nothing of a probe.
pub(super) fn refuses(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

impl Reply {
    /// A verdict that says when to ask again.
    pub(super) fn verdict(answer: Answer) -> Self {
        let retry_after = answer.retry_after.unwrap_or(LONGEST_RETRY);
        Self::Verdict(answer, Some(retry_after))
    }

    /// A verdict for which asking again later is no cure.
    pub(super) fn without_retry(answer: Answer) -> Self {
        Self::Verdict(answer, None)
    }

    pub(super) fn into_response(self, method: &Method) -> Response<ProbeBody> {
        let mut response = match refuses(method) {
            true => problem(StatusCode::METHOD_NOT_ALLOWED, WRONG_METHOD, method),
            false => self.into_get(method),
        };
        if refuses(method) || *method == Method::OPTIONS {
            response.headers_mut().insert(ALLOW, METHODS);
        }
        response
    }

    fn into_get(self, method: &Method) -> Response<ProbeBody> {
        match self {
            Self::Verdict(answer, _) if answer.status.is_good() => respond(
                StatusCode::OK,
                health_json::CONTENT_TYPE,
                answer.body,
                method,
            ),
            Self::Verdict(answer, retry_after) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut response = respond(status, health_json::CONTENT_TYPE, answer.body, method);
                if let Some(delay) = retry_after {
                    response
                        .headers_mut()
                        .insert(RETRY_AFTER, whole_seconds(delay).into());
                }
                response
            }
            Self::NoSuchCheck => problem(StatusCode::NOT_FOUND, NO_SUCH_CHECK, method),
        }
    }
}

/// The answer to a path that is no probe's. What is not there has no methods.
pub(super) fn no_such_path(method: &Method) -> Response<ProbeBody> {
    problem(StatusCode::NOT_FOUND, NO_SUCH_PATH, method)
}

/// From 1 to 60: a delay of zero would invite a storm.
fn whole_seconds(delay: Duration) -> u64 {
    let seconds = delay.min(LONGEST_RETRY).as_secs_f64().ceil() as u64;
    seconds.max(1)
}

fn problem(status: StatusCode, body: &'static str, method: &Method) -> Response<ProbeBody> {
    respond(status, PROBLEM, Bytes::from_static(body.as_bytes()), method)
}

fn respond(
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
    method: &Method,
) -> Response<ProbeBody> {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, body.len().into());
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    let mut response = Response::new(match *method {
        Method::HEAD => ProbeBody::empty(),
        _ => ProbeBody::new(body),
    });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
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
