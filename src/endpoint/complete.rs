//! The headers that all responses have.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS},
};

/// No cache may store a response, because a stale verdict is worse than none.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const VARIES: HeaderValue = HeaderValue::from_static("Accept");

/// Returns a response with the headers that all responses have.
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
